"""The client side of the WebSocket binding: interfaces of cards, requests as our server understands them, answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.cards.parse import (
    GRPC,
    HTTP_JSON,
    JSONRPC,
    WEBSOCKET,
    WEBSOCKET_URI,
    Interface,
    choose,
    handshake_url,
    read_card,
)
from sansio.a2a.cards.review import review
from sansio.a2a.client.calls import StreamReader, operation_call, read_answer, read_deletion, send_call
from sansio.a2a.client.client_errors import AgentError, InvalidAnswerError
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.errors import ErrorKind
from sansio.a2a.model import StatusUpdate, Task, TaskIdRequest
from sansio.a2a.operations import Operation
from sansio.a2a.websocket.messages import ClientRequest, parse_message, with_service_params
from tests import strategies

URL = "https://agent.example/websocket"
OLD, NEW = (Interface(binding=WEBSOCKET, version=version, url=URL) for version in ("0.3", "1.0"))
each_interface = pytest.mark.parametrize("interface", [OLD, NEW], ids=str)
TASK = {"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}}
UPDATE = {"statusUpdate": {"taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_INPUT_REQUIRED"}}}


def message(**members: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": "1", **members})


@each_interface
@given(data=st.data())
def test_a_message_reaches_our_server_as_it_was_sent(interface: Interface, data: st.DataObject) -> None:
    request = data.draw(strategies.send_requests(interface.version))
    call = send_call(interface, request, request_id="1", streaming=True, extensions=["urn:a", "urn:b"])

    assert (call.method, call.url, call.message_id, call.streaming) == ("GET", URL, "1", True)
    found = parse_message(with_service_params(call.body or b"", call.headers.items()))

    assert isinstance(found, ClientRequest)
    assert found.request.id == "1"
    assert found.request.method == Operation.STREAM.row.rpc_names[interface.version]
    assert found.service_params == dict(call.headers)
    assert found.service_params["a2a-version"] == interface.version
    assert "urn:a, urn:b" in found.service_params.values()
    codec = CODECS[interface.version]
    assert codec.render_send(codec.parse_send(found.request.params)) == codec.render_send(request)


def test_a_subscription_names_the_event_to_begin_after() -> None:
    call = operation_call(NEW, Operation.SUBSCRIBE, TaskIdRequest(id="t"), request_id="1", last_event_id="7")
    assert call.headers["last-event-id"] == "7"
    assert orjson.loads(call.body or b"")["params"] == {"id": "t"}


def test_an_answer_is_read_out_of_its_envelope() -> None:
    assert isinstance(read_answer(NEW, 200, message(result=TASK)), Task)
    read_deletion(200, message(result=None))
    with pytest.raises(InvalidAnswerError, match="neither a result nor an error"):
        read_answer(NEW, 200, message())
    with pytest.raises(AgentError) as caught:
        read_answer(NEW, 200, message(error={"code": -32001, "message": "none"}))
    assert caught.value.is_kind(ErrorKind.TASK_NOT_FOUND)


def test_each_message_of_a_stream_is_an_event() -> None:
    reader = StreamReader(NEW, limit=200)

    assert list(reader.feed(b"")) == []
    [task] = reader.feed(message(result=TASK, eventId="2"))
    [update] = reader.feed(message(result=UPDATE))

    assert isinstance(task, Task)
    assert isinstance(update, StatusUpdate)
    assert update.final  # the version has no word for it
    assert (reader.last_id, reader.held) == ("2", 0)
    with pytest.raises(InvalidAnswerError, match="is larger than 200 bytes"):
        list(reader.feed(message(result={"task": "t" * 200})))
    with pytest.raises(AgentError, match="no room"):
        list(reader.feed(message(error={"code": -32603, "message": "no room"})))


# --- cards ------------------------------------------------------------------------------------------------


def card(*entries: tuple[str, str, str]) -> bytes:
    supported = [
        {"url": url, "protocolBinding": binding, "protocolVersion": version} for url, binding, version in entries
    ]
    return orjson.dumps({"name": "a", "supportedInterfaces": supported})


WS = ("wss://agent.example/websocket", WEBSOCKET_URI, "1.0")
RPC = ("https://agent.example/", JSONRPC, "0.3")
REMOTE = ("https://agent.example/", GRPC, "1.0")


def test_the_interface_of_a_card_has_the_url_of_the_handshake() -> None:
    found = read_card(card(WS, ("ws://[::1]:8/x", WEBSOCKET_URI, "0.3"), (URL, WEBSOCKET_URI, "1.0")))

    assert found.interfaces == (NEW, Interface(binding=WEBSOCKET, version="0.3", url="http://[::1]:8/x"))
    assert [one.address for one in found.interfaces] == [WS[0], "ws://[::1]:8/x"]
    assert choose(read_card(card(RPC))).address == RPC[0]
    label = f"{WEBSOCKET_URI.upper()[:32]} 1.0"
    assert found.unusable == (f"{label} (its URL: must be a URL that begins with ws:// or wss://)",)


def test_the_word_alone_names_another_binding() -> None:
    found = read_card(card((WS[0], "WEBSOCKET", "1.0")))
    assert (found.interfaces, found.unusable) == ((), ("WEBSOCKET 1.0",))
    assert "interface WEBSOCKET 1.0: cannot be used" in review(card((WS[0], "WEBSOCKET", "1.0"))).problems


def test_websocket_is_chosen_where_nothing_else_fits_but_grpc() -> None:
    found = read_card(card(WS, RPC, REMOTE))

    assert choose(found).binding == JSONRPC
    assert choose(found, bindings=(HTTP_JSON, WEBSOCKET, GRPC)) == NEW
    assert choose(found, bindings=(HTTP_JSON, GRPC, WEBSOCKET), own_order=False) == NEW
    assert choose(found, bindings=(JSONRPC, WEBSOCKET)) == NEW  # the newest version
    assert choose(read_card(card(REMOTE, WS))) == NEW
    assert choose(read_card(card(REMOTE))).binding == GRPC


@pytest.mark.parametrize("url", ["http://agent.example", "wss//agent.example", "", "ftp://a"])
def test_other_urls_begin_no_connection(url: str) -> None:
    with pytest.raises(ValueError, match="must be a URL that begins with ws:// or wss://"):
        handshake_url(url)
