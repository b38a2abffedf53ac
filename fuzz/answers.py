"""Targets of what other programs send us in the middle of something: a body's coding, an agent's answers, options."""

from __future__ import annotations

import base64
from collections.abc import Callable

import orjson
from attrs import evolve
from hypothesis import strategies as st

from fuzz import samples
from fuzz.target import Target, require
from sansio.a2a.backoff import Backoff
from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.sse import encode
from sansio.a2a.cards.parse import JSONRPC, WEBSOCKET, Interface
from sansio.a2a.client.calls import StreamReader, read_answer
from sansio.a2a.client.client_errors import (
    AgentError,
    BusyAgentError,
    ClientError,
    InvalidAnswerError,
    UnavailableError,
    UnsupportedError,
)
from sansio.a2a.client.following import Following, Stop
from sansio.a2a.client.grpc_answers import status_in
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs import v1_0
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import JsonObject, StreamItem, Task
from sansio.a2a.protobuf.conversion import message_of
from sansio.a2a.protobuf.messages import message
from sansio.a2a.websocket.exchanges import Exchanges, parse_server_message
from sansio.chunked import ChunkedDecoder
from sansio.opencode.deployment import OUTPUT_MODES
from sansio.opencode.send_options import send_options_of
from tests import strategies

_INTERFACES = tuple(
    Interface(binding=binding, version=version, url="http://127.0.0.1/")
    for binding in (JSONRPC, "HTTP+JSON")
    for version in ("0.3", "1.0")
)


_WEBSOCKET_INTERFACES = tuple(
    Interface(binding=WEBSOCKET, version=version, url="http://127.0.0.1/") for version in ("0.3", "1.0")
)
_GRPC_INTERFACES = tuple(
    Interface(binding="GRPC", version=version, url="http://127.0.0.1") for version in ("0.3", "1.0")
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


def check_grpc_answers(data: bytes) -> None:
    """Whatever comes over gRPC, in any chunking, it is the same items, an error of the agent's, or no answer."""
    found = [_items(interface, data, size) for interface in _GRPC_INTERFACES for size in (1 << 20, 1, 3)]
    for whole, *others in (found[:3], found[3:]):
        require(all(one == whole for one in others), "in pieces it is another stream")
    for interface in _GRPC_INTERFACES:
        try:
            read_answer(interface, 200, data)
        except (AgentError, ProtocolError) as error:
            require(bool(str(error)), "an error without a word")
    for trailers in ([(b"grpc-status", data)], [(b"grpc-status", b"5"), (b"grpc-message", data)]):
        _check_status(trailers)
    _check_status([(b"grpc-status", b"5"), (b"grpc-status-details-bin", base64.b64encode(data))])
    _check_status([(b"grpc-status", b"5"), (b"grpc-status-details-bin", data)])


def check_websocket_answers(data: bytes) -> None:
    """Whatever a server sends over WebSocket, a message is refused, or for its own exchange alone."""
    running = Exchanges(0.0, 30.0, 400)
    begun = [running.begin(name, streaming=name != "1") for name in ("1", "2", "3")]
    bodies = data.split(b"\n")
    most = 400 + max(map(len, bodies))
    for body in bodies:
        over = [exchange for exchange in begun if exchange.over]
        try:
            message = parse_server_message(body)
        except InvalidAnswerError as error:
            require(bool(str(error)), "an error without a word")
            continue
        found = running.receive(message)
        require(not any(exchange in over for exchange in found), "something comes behind an end")
        require(message.id is None or all(one.id == message.id for one in found), "it reaches another exchange")
        require(all(one.size < most for one in begun), "more waits than may")
        for interface in _WEBSOCKET_INTERFACES:
            try:
                list(StreamReader(interface).feed(body))
            except (AgentError, ProtocolError) as error:
                require(bool(str(error)), "an error without a word")
    running.fail(UnavailableError("lost"))
    require(all(exchange.over for exchange in begun), "it outlives its connection")


def _items(interface: Interface, data: bytes, size: int) -> tuple[list[StreamItem], str]:
    reader = StreamReader(interface, limit=4096)
    items: list[StreamItem] = []
    try:
        for at in range(0, len(data), size):
            items.extend(reader.feed(data[at : at + size]))
    except (AgentError, ProtocolError) as error:
        return items, type(error).__name__
    return items, reader.last_id


def _check_status(trailers: list[tuple[bytes, bytes]]) -> None:
    try:
        status = status_in(trailers)
    except ProtocolError as error:
        require(bool(str(error)), "an error without a word")
        return
    require(status is None or bool(str(status.error())), "an error without a word")


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
_GRPC_ANSWERS = tuple(
    grpc.framed(message_of(message("lf.a2a.v1.StreamResponse"), v1_0.render_item(item)).SerializeToString())
    for item in samples.ITEMS
)
_ANSWERS = (
    *_RESULTS,
    *(b'{"jsonrpc":"2.0","id":"1","result":' + result + b"}" for result in _RESULTS),
    *(encode(result) for result in _RESULTS),
    b'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no"}}',
)
_MESSAGES = (
    b"\n".join(
        b'{"jsonrpc":"2.0","id":"%d","result":%b,"eventId":"4"}' % (index % 4, result)
        for index, result in enumerate(_RESULTS)
    ),
    b'{"jsonrpc":"2.0","id":"2","error":{"code":1}}\n{"jsonrpc":"2.0","id":"3","streamEnd":true,"reason":"r"}',
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700},"serviceParams":{"a2a-version":"1.0"}}',
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
    Target(name="grpc_answers", check=check_grpc_answers, documents=_GRPC_ANSWERS, strategy=st.binary(max_size=60)),
    Target(
        name="websocket_answers",
        check=check_websocket_answers,
        documents=_MESSAGES,
        strategy=st.lists(st.sampled_from(_MESSAGES) | st.binary(max_size=20)).map(b"\n".join),
    ),
    Target(name="answers", check=check_answers, documents=_ANSWERS, strategy=_json | st.binary(max_size=30)),
)
