"""Targets of gRPC: the bytes of a request become a call or a status, and JSON becomes messages and comes back."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.codecs import v1_0
from sansio.a2a.errors import ProtocolError
from sansio.a2a.operations import GRPC_PATHS, Operation
from sansio.a2a.protobuf.conversion import json_of, message_of
from sansio.a2a.protobuf.messages import RPCS
from sansio.a2a.server import CallRefusedError, ServedProtocol, understand
from tests import strategies

_LARGEST_HEADERS = 8192  # bytes of trailers that clients take
_SERVED = ServedProtocol(bindings=frozenset({"GRPC"}))
_PATHS = sorted(GRPC_PATHS)
_ANSWERS = RPCS["/lf.a2a.v1.A2AService/SubscribeToTask"].answer


def check_grpc(data: bytes) -> None:
    """Bytes for any method are a call whose parameters are read or refused, or a status that fits into headers."""
    path = _PATHS[data[0] % len(_PATHS)] if data else _PATHS[0]
    body = data[2:] if data[1:2] == b"\0" else grpc.framed(data[2:])
    headers = {"content-type": "application/grpc"}
    request = Request(method="POST", path=path, query_string=b"", headers=headers, body=body, takes_trailers=True)
    try:
        call = understand(request, _SERVED)
    except CallRefusedError as refused:
        _check_status(refused.response)
        return
    require(call.operation is GRPC_PATHS[path][1], "another operation")
    if call.operation is Operation.EXTENDED_CARD:
        return
    try:
        call.read()
    except ProtocolError as error:
        _check_status(call.refuse(error))


def _check_status(answer: Response) -> None:
    trailers = dict(answer.trailers or ())
    require(trailers.get("grpc-status", "0") != "0", "a refusal without a code")
    require(sum(len(name) + len(text) + 32 for name, text in trailers.items()) <= _LARGEST_HEADERS, "large trailers")
    require(all(text.isascii() and text.isprintable() for text in trailers.values()), "trailers that are no header")


def check_grpc_messages(data: bytes) -> None:
    """Bytes in any chunking are the same messages; an item that is read from one is the same after another."""
    whole, pieces = _messages(data, len(data) or 1), _messages(data, 7)
    require(whole == pieces, "the chunking matters")
    for message in whole or ():
        try:
            value = json_of(_ANSWERS, message)
            item = v1_0.parse_item(value)
        except ProtocolError:
            continue
        again = json_of(_ANSWERS, message_of(_ANSWERS, v1_0.render_item(item)).SerializeToString())
        require(v1_0.parse_item(again) == item, "another item")


def _messages(data: bytes, size: int) -> list[bytes] | None:
    reader = grpc.MessageReader(4096)
    found: list[bytes] = []
    try:
        for start in range(0, len(data), size):
            found += reader.feed(data[start : start + size])
        reader.end()
    except ProtocolError:
        return None
    return found


def _item(value: Any) -> bytes:
    return grpc.framed(message_of(_ANSWERS, v1_0.render_item(value)).SerializeToString())


_SEND = orjson.loads(b'{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"},{"data":{"a":[1]}}]}}')
_REQUESTS = tuple(
    bytes((number, 1)) + message_of(RPCS[path].request, _SEND).SerializeToString()
    for number, path in enumerate(_PATHS)
    if "Message" in path
)

TARGETS = (
    Target(
        name="grpc",
        check=check_grpc,
        documents=_REQUESTS,
        strategy=st.binary(max_size=60) | st.sampled_from(_REQUESTS),
    ),
    Target(
        name="grpc_messages",
        check=check_grpc_messages,
        documents=(grpc.framed(b"\x0a\x00") * 2,),
        strategy=st.lists(strategies.items("1.0").map(_item), max_size=3).map(b"".join) | st.binary(max_size=40),
    ),
)
