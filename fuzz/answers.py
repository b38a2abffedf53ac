"""Targets of what other programs send us in the middle of something: a body's coding, an agent's answers, options."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from attrs import evolve
from hypothesis import strategies as st

from fuzz import samples
from fuzz.target import Target, require
from sansio.a2a.backoff import Backoff
from sansio.a2a.bindings.sse import encode
from sansio.a2a.cards.parse import JSONRPC, Interface
from sansio.a2a.client.calls import StreamReader, read_answer
from sansio.a2a.client.client_errors import (
    AgentError,
    BusyAgentError,
    ClientError,
    UnavailableError,
    UnsupportedError,
)
from sansio.a2a.client.following import Following, Stop
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs import v1_0
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import JsonObject, Task
from sansio.chunked import ChunkedDecoder
from sansio.opencode.deployment import OUTPUT_MODES
from sansio.opencode.send_options import send_options_of
from tests import strategies

_INTERFACES = tuple(
    Interface(binding=binding, version=version, url="http://127.0.0.1/")
    for binding in (JSONRPC, "HTTP+JSON")
    for version in ("0.3", "1.0")
)


def _decoded(pieces: list[bytes]) -> tuple[bytes, bool, bool]:
    decoder = ChunkedDecoder()
    body = b""
    for piece in pieces:
        try:
            body += decoder.feed(piece)
        except ProtocolError:
            return body, decoder.ended, True
    return body, decoder.ended, decoder.fault is not None


def check_chunked(data: bytes) -> None:
    """However the bytes come, the same body is given, and the same bytes are refused as not chunked."""
    whole = _decoded([data])
    for size in (1, 3, 7):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        require(_decoded(pieces) == whole, f"in pieces of {size} it is another body")


def check_gateway(data: bytes) -> None:
    """JSON is refused, or what it says is written in the form and read again as the same."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    v0_3_gateway.recognizes(value)
    _survives(value, lambda read: v0_3_gateway.render_send(v0_3_gateway.parse_send(read)))
    _survives(value, lambda read: v0_3_gateway.render_item(v0_3_gateway.parse_item(read)))
    _survives(value, _push_config_again)


def _push_config_again(value: object) -> JsonObject:
    config = v0_3_gateway.parse_push_config_request(value)
    return {"taskId": config.task_id, **v0_3_gateway.render_push_config_result(evolve(config, id=config.id or "new"))}


def _survives(value: object, rewrite: Callable[[object], JsonObject]) -> None:
    try:
        written = rewrite(value)
    except ProtocolError:
        return
    require(rewrite(orjson.loads(orjson.dumps(written))) == written, "it is written in another way")


def check_wishes(data: bytes) -> None:
    """What a message asks for is known by name, or refused with a word about it."""
    try:
        request = v1_0.parse_send(orjson.loads(data))
        send_options = send_options_of(request, OUTPUT_MODES)
    except (orjson.JSONDecodeError, ProtocolError) as error:
        require(bool(str(error)), "a refusal without a word")
        return
    require(send_options.session_id != "", "a session without a name")


def check_answers(data: bytes) -> None:
    """Whatever an agent answers, it is an item, an error of the agent's, or no answer of the protocol's."""
    for interface in _INTERFACES:
        for status in (200, 404):
            try:
                read_answer(interface, status, data)
            except (AgentError, ProtocolError) as error:
                require(bool(str(error)), "an error without a word")
        try:
            list(StreamReader(interface).feed(data + b"\n\n"))
        except (AgentError, ProtocolError) as error:
            require(bool(str(error)), "an error without a word")


def check_following(data: bytes) -> None:
    """Whatever comes of a task, in any order, the follower goes on or raises a `ClientError`, and stops for good."""
    following = Following(patience=5.0, pauses=Backoff((1.0, 2.0)) if len(data) % 3 else None)
    following.begin(0.0, streaming=bool(len(data) % 2))
    for now, byte in enumerate(data):
        item = samples.ITEMS[byte % len(samples.ITEMS)]
        try:
            match byte >> 5:
                case 0 | 1 | 2:
                    following.feed(item, str(byte) if byte % 2 else "")
                case 3:
                    following.subscribed()
                case 4:
                    following.ended(now, whole=bool(byte % 2))
                case 5:
                    following.failed(_FAILURES[byte % len(_FAILURES)], now)
                case 6 if isinstance(item, Task):
                    following.read(item, now)
                case _:
                    following.answering = following.status
        except ClientError:
            continue
        if following.next() == Stop():
            require(following.next() == Stop(), "it goes on after its end")
            return


_FAILURES = (UnavailableError("lost"), UnsupportedError("no"), BusyAgentError("later"), AgentError("no"))
_CHUNKED = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"A;name=value\r\n0123456789\r\n3\r\nabc\r\n",
    b"1\r\nx\r\nzz\r\n",
)
_WISHES = tuple(
    orjson.dumps({"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}, **more})
    for more in (
        {"metadata": {"shared": {"session": {"id": "ses_1"}, "model": {"providerID": "p", "modelID": "m"}}}},
        {"metadata": {"opencode": {"directory": "/x"}}},
        {"configuration": {"acceptedOutputModes": ["text/*", "image/png"]}},
    )
)
_RESULTS = tuple(orjson.dumps(v1_0.render_item(item)) for item in samples.ITEMS)
_ANSWERS = (
    *_RESULTS,
    *(b'{"jsonrpc":"2.0","id":"1","result":' + result + b"}" for result in _RESULTS),
    *(encode(result) for result in _RESULTS),
    b'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no"}}',
)
_json = strategies.json_values.map(orjson.dumps)

TARGETS = (
    Target(
        name="chunked",
        check=check_chunked,
        documents=_CHUNKED,
        strategy=st.binary(max_size=40) | st.lists(st.sampled_from((b"3\r\n", b"abc", b"\r\n", b"0"))).map(b"".join),
    ),
    Target(
        name="gateway",
        check=check_gateway,
        documents=samples.documents_of(v0_3_gateway),
        strategy=_json | strategies.items("0.3").map(v0_3_gateway.render_item).map(orjson.dumps),
    ),
    Target(
        name="wishes",
        check=check_wishes,
        documents=_WISHES,
        strategy=strategies.send_requests("1.0").map(v1_0.render_send).map(orjson.dumps) | _json,
    ),
    Target(
        name="following",
        check=check_following,
        documents=(b"\x00\x20\x80\x60\x01\xa0\xc0", b"\x05\xa1\x60\x06\x80\xc1"),
        strategy=st.binary(max_size=40),
    ),
    Target(name="answers", check=check_answers, documents=_ANSWERS, strategy=_json | st.binary(max_size=30)),
)
