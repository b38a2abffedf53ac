"""Messages of the WebSocket binding: what a client may send, and what the server adds to JSON-RPC."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sansio.a2a.bindings.jsonrpc import RpcRequestError
from sansio.a2a.cards.agent_card import websocket_address
from sansio.a2a.errors import ErrorKind
from sansio.a2a.websocket.messages import (
    FRAGMENT,
    CancelStream,
    ClientRequest,
    LargeMessage,
    chosen_subprotocol,
    message_of,
    parse_message,
    service_params_in,
    stream_end,
    ticket_in,
    with_service_params,
)


def message(**members: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", **members})


def test_a_request_has_its_id_and_its_service_parameters_by_lower_case_names() -> None:
    params = {"A2A-Version": "1.0", "x-other": 7, "Last-Event-ID": "4"}
    found = parse_message(message(id="a", method="GetTask", params={"id": "t"}, serviceParams=params))
    assert isinstance(found, ClientRequest)
    assert (found.request.id, found.request.method, found.request.params) == ("a", "GetTask", {"id": "t"})
    assert found.service_params == {"a2a-version": "1.0", "last-event-id": "4"}


def test_a_notification_has_no_id() -> None:
    found = parse_message(message(method="GetTask", cancelStream=False, serviceParams=None))
    assert isinstance(found, ClientRequest)
    assert found.request.notification
    assert not found.service_params


def test_a_stream_is_left_by_its_id() -> None:
    assert parse_message(message(id=7, cancelStream=True)) == CancelStream(7)


@pytest.mark.parametrize(
    ("members", "kind", "field"),
    [
        ({"id": None, "method": "m"}, ErrorKind.INVALID_REQUEST, "id"),
        ({"id": 1}, ErrorKind.INVALID_REQUEST, "method"),
        ({"id": 1, "cancelStream": "yes"}, ErrorKind.INVALID_REQUEST, "cancelStream"),
        ({"cancelStream": True}, ErrorKind.INVALID_REQUEST, "cancelStream"),
        ({"id": 1, "cancelStream": True, "method": "m"}, ErrorKind.INVALID_REQUEST, "cancelStream"),
        ({"id": 1, "method": "m", "serviceParams": "x"}, ErrorKind.INVALID_REQUEST, "serviceParams"),
        (
            {"id": 1, "method": "m", "serviceParams": {"traceparent": 1}},
            ErrorKind.INVALID_REQUEST,
            "serviceParams.traceparent",
        ),
        (
            {"id": 1, "method": "m", "serviceParams": {"a2a-version": "1.0", "A2A-Version": "0.3"}},
            ErrorKind.INVALID_REQUEST,
            "serviceParams.A2A-Version",
        ),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], kind: ErrorKind, field: str) -> None:
    with pytest.raises(RpcRequestError) as refused:
        parse_message(message(**members))
    assert refused.value.kind is kind
    assert field in refused.value.message
    assert refused.value.request_id == members.get("id")


def test_the_end_of_a_stream_says_why_where_it_can_be_resumed() -> None:
    assert orjson.loads(stream_end("a")) == {"jsonrpc": "2.0", "id": "a", "streamEnd": True}
    assert orjson.loads(stream_end(1, "too slow")) == {
        "jsonrpc": "2.0",
        "id": 1,
        "streamEnd": True,
        "resumable": True,
        "reason": "too slow",
    }


def test_service_parameters_of_an_answer_are_a_member_of_it() -> None:
    answer = with_service_params(message(id=1, result={}), [("a2a-version", "1.0")])
    assert orjson.loads(answer) == {"jsonrpc": "2.0", "id": 1, "result": {}, "serviceParams": {"a2a-version": "1.0"}}


def test_the_headers_of_an_answer_that_are_service_parameters_are_chosen() -> None:
    headers = (("content-type", "application/json"), ("a2a-version", "1.0"), ("a2a-extensions", "urn:a"))

    assert list(service_params_in(headers)) == [("a2a-version", "1.0"), ("a2a-extensions", "urn:a")]


def test_of_service_parameters_with_the_same_name_the_last_one_counts() -> None:
    answer = with_service_params(b'{"id":1}', [("a2a-extensions", "urn:a"), ("a2a-extensions", "urn:a, urn:b")])

    assert orjson.loads(answer)["serviceParams"] == {"a2a-extensions": "urn:a, urn:b"}


def test_a_client_offers_our_subprotocol_and_perhaps_a_ticket() -> None:
    assert chosen_subprotocol(["chat", "a2a.v1"]) == "a2a.v1"
    assert chosen_subprotocol(["a2a.v2"]) is None
    assert ticket_in(["a2a.v1", "a2a.ticket.abc"]) == "abc"
    assert ticket_in(["a2a.v1"]) is None


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/websocket"),
        ("https://agent.example/a/", "wss://agent.example/a/websocket"),
    ],
)
def test_the_card_has_the_url_of_the_binding(url: str, address: str) -> None:
    assert websocket_address(url) == address


@pytest.mark.parametrize("params", [(), (("a2a-version", "1.0"),)])
@pytest.mark.parametrize("cut", [1, 7, FRAGMENT - 1, 3 * FRAGMENT])
def test_a_large_message_is_sent_in_fragments_wherever_its_pieces_are_cut(
    cut: int, params: tuple[tuple[str, str], ...]
) -> None:
    text = "é€\U0001f600" * FRAGMENT
    whole = orjson.dumps({"result": text})
    found = message_of((b"", whole[:cut], whole[cut:], b""), params)

    assert isinstance(found, LargeMessage)
    fragments = list(found.fragments())
    assert [ends for _, ends in fragments] == [False] * (len(fragments) - 1) + [True]
    assert max(len(part.encode()) for part, _ in fragments) < FRAGMENT + 4  # of a character that was cut
    sent = "".join(part for part, _ in fragments).encode()
    assert len(sent) == len(found)
    assert orjson.loads(sent) == {"result": text, **({"serviceParams": dict(params)} if params else {})}


def test_a_small_message_is_one_text() -> None:
    assert message_of((b'{"id"', b"", b":1}")) == b'{"id":1}'
    assert message_of((b"{", b'"id":1}', b""), [("a", "b")]) == b'{"id":1,"serviceParams":{"a":"b"}}'
    assert isinstance(message_of((b" " * FRAGMENT,)), bytes)
    assert isinstance(message_of((b" " * FRAGMENT, b"{}")), LargeMessage)
