"""The client side of one connection: which message answers what, and what is left when it ends."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sansio.a2a.client.client_errors import (
    AgentError,
    AuthenticationError,
    BusyAgentError,
    ClientError,
    InvalidAnswerError,
    UnavailableError,
)
from sansio.a2a.websocket.exchanges import (
    Exchange,
    Exchanges,
    ServerMessage,
    Silence,
    closing_error,
    parse_server_message,
)
from sansio.a2a.websocket.messages import CancelStream, parse_message

LOST = UnavailableError("lost")


def exchanges(share: int = 1000) -> Exchanges:
    return Exchanges(100.0, 30.0, share)


def message(request_id: object, **members: Any) -> ServerMessage:
    return parse_server_message(orjson.dumps({"jsonrpc": "2.0", "id": request_id, **members}))


def taken(exchange: Exchange) -> list[Any]:
    """What waits in an exchange, decoded."""
    found = []
    while exchange.unread:
        one = exchange.take()
        assert one is not None
        found.append(orjson.loads(one.body))
    return found


def results(exchange: Exchange) -> list[Any]:
    return [one.get("result") for one in taken(exchange)]


# --- messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b'{"id":"a"}', b'{"jsonrpc":"1.0","id":"a"}', b"{" * 2_000_000])
def test_what_is_no_object_of_json_rpc_is_an_error(body: bytes) -> None:
    with pytest.raises(InvalidAnswerError):
        parse_server_message(body)


def test_service_parameters_are_texts_by_their_lower_case_names() -> None:
    found = message("a", result=1, serviceParams={"A2A-Version": "1.0", "other": 1})
    assert found.service_params == {"a2a-version": "1.0"}
    assert message("a", result=1, serviceParams=[]).service_params == {}


def test_the_reason_of_an_end_is_one_short_line() -> None:
    assert message("a", streamEnd=True, reason="a\n b" + 300 * "c").reason == "a b" + 197 * "c"
    assert message("a", streamEnd=True, reason=1).reason == ""


# --- exchanges --------------------------------------------------------------------------------------------


def test_each_answer_reaches_its_request_in_any_order() -> None:
    running = exchanges()
    one, two = running.begin("1", streaming=False), running.begin("2", streaming=False)

    assert running.receive(message("2", result="b")) == [two]
    assert not one.is_ready
    assert running.receive(message("1", error={"code": 1})) == [one]

    assert (results(two), two.over, two.size) == (["b"], True, 0)
    assert (results(one), one.over) == ([None], True)
    assert (one.take(), len(running)) == (None, 0)
    assert running.receive(message("1", result="again")) == []


def test_a_stream_lasts_to_its_end() -> None:
    running = exchanges()
    stream = running.begin("1", streaming=True)

    ended = []
    for members in ({"result": 0}, {"result": 1}, {"error": {"code": 1}}, {"streamEnd": True}):
        running.receive(message("1", **members))
        ended.append(stream.over)

    assert ended == [False, False, False, True]
    assert results(stream) == [0, 1, None]
    assert stream.take() is None


def test_a_stream_that_is_refused_has_no_end_but_its_error() -> None:
    running = exchanges()
    stream = running.begin("1", streaming=True)
    running.receive(message("1", error={"code": 1}))
    assert (stream.over, len(running)) == (True, 0)


def test_a_stream_that_ends_before_its_task_says_why() -> None:
    running = exchanges()
    stream = running.begin("1", streaming=True)
    running.receive(message("1", result="a"))
    running.receive(message("1", streamEnd=True, resumable=True, reason="too slow"))

    assert results(stream) == ["a"]
    with pytest.raises(UnavailableError, match="The agent ended the stream: too slow"):
        stream.take()


def test_a_request_that_is_no_stream_does_not_end_without_an_answer() -> None:
    running = exchanges()
    one = running.begin("1", streaming=False)
    running.receive(message("1", streamEnd=True))
    with pytest.raises(InvalidAnswerError, match="before it gave one"):
        one.take()


def test_events_that_nobody_takes_end_their_stream_alone() -> None:
    running = exchanges(share=100)
    slow, other = running.begin("1", streaming=True), running.begin("2", streaming=True)
    kept = 0
    while not slow.over:
        running.receive(message("1", result=kept))
        kept += 1
    running.receive(message("2", result="b"))

    assert [parse_message(one) for one in running.to_send] == [CancelStream("1")]
    assert results(slow) == list(range(kept - 1))
    with pytest.raises(UnavailableError, match="not read in time"):
        slow.take()
    assert results(other) == ["b"]


def test_what_is_taken_makes_room() -> None:
    running = exchanges(share=100)
    stream = running.begin("1", streaming=True)
    for number in range(100):
        running.receive(message("1", result=number))
        assert results(stream) == [number]
    assert (running.to_send, stream.over) == ([], False)


def test_an_error_without_an_id_is_for_all_that_have_no_answer() -> None:
    running = exchanges()
    answered, one, two = (running.begin(name, streaming=True) for name in "abc")
    running.receive(message("a", result=1))

    assert running.receive(message(None, error={"code": -32700})) == [one, two]
    assert running.receive(message(None, result=1)) == []
    assert running.receive(message(7, error={"code": 1})) == []

    assert (one.over, two.over, answered.over) == (True, True, False)
    assert taken(one) == [{"jsonrpc": "2.0", "id": None, "error": {"code": -32700}}]


def test_a_stream_that_is_left_is_cancelled_and_forgotten() -> None:
    running = exchanges()
    stream, one = running.begin("1", streaming=True), running.begin("2", streaming=False)

    for _ in range(2):
        running.leave(stream)
        running.leave(one)

    assert [parse_message(sent) for sent in running.to_send] == [CancelStream("1")]
    assert running.receive(message("1", result="late")) == []
    assert len(running) == 0


def test_the_end_of_the_connection_ends_all_and_leaves_what_has_come() -> None:
    running = exchanges()
    stream, one = running.begin("1", streaming=True), running.begin("2", streaming=False)
    running.receive(message("1", result="a"))

    assert running.fail(LOST) == [stream, one]

    assert results(stream) == ["a"]
    for exchange in (stream, one):
        with pytest.raises(UnavailableError, match="lost"):
            exchange.take()
    assert running.fail(LOST) == []
    stream.end(None)
    assert stream.failure is LOST


# --- signs of life ----------------------------------------------------------------------------------------


def test_a_silent_server_is_asked_for_a_sign_of_life_and_then_is_dead() -> None:
    running = exchanges()
    running.reads(100.0)

    assert running.wait(100.0) == 15.0
    assert running.look(114.0) is Silence.WAIT
    assert running.look(115.0) is Silence.PING
    assert running.wait(115.0) == 15.0
    assert running.look(129.0) is Silence.WAIT
    running.heard(129.5)
    assert running.look(144.0) is Silence.WAIT
    assert running.look(144.5) is Silence.PING
    assert running.look(160.0) is Silence.DEAD


def test_time_in_which_nobody_reads_is_no_silence() -> None:
    running = exchanges()
    running.reads(100.0)
    assert running.look(115.0) is Silence.PING
    running.rests(120.0)
    running.reads(500.0)

    assert running.wait(500.0) == 10.0
    assert running.look(509.0) is Silence.WAIT
    assert running.look(510.0) is Silence.DEAD


# --- the end of a connection ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (None, UnavailableError, "The connection to the agent broke: why"),
        (1001, UnavailableError, "The agent closed the connection: why"),
        (1002, AgentError, "no WebSocket: why"),
        (1008, BusyAgentError, "fewer messages: why"),
        (1009, AgentError, "larger than the agent takes: why"),
        (1012, BusyAgentError, "is being stopped: why"),
        (4000, UnavailableError, "closed the connection: why"),
        (4001, AuthenticationError, "not take the credential any more: why"),
    ],
)
def test_a_close_code_is_an_error(code: int | None, error: type[ClientError], text: str) -> None:
    found = closing_error(code, " why\n")
    assert type(found) is error
    assert found.message.endswith(text)
    assert not closing_error(code).message.endswith(":")


class Connection(RuleBasedStateMachine):
    """Whatever a server sends, in any order, each exchange ends once, and only its own messages reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.running = exchanges(share=200)
        self.all: dict[str, Exchange] = {}
        self.ended: set[str] = set()

    @rule(streaming=st.booleans())
    def begin(self, streaming: bool) -> None:
        name = str(len(self.all))
        self.all[name] = self.running.begin(name, streaming=streaming)

    @rule(
        number=st.integers(0, 4) | st.none(),
        members=st.sampled_from(
            [{"result": "x"}, {"error": {"code": 1}}, {"streamEnd": True}, {"streamEnd": True, "reason": "r"}]
        ),
    )
    def receive(self, number: int | None, members: dict[str, Any]) -> None:
        found = self.running.receive(message(None if number is None else str(number), **members))
        assert all(not one.over or one.id not in self.ended for one in found)
        assert number is None or [one.id for one in found] in ([], [str(number)])

    @rule(number=st.integers(0, 4))
    def leave(self, number: int) -> None:
        if (found := self.all.get(str(number))) is not None:
            self.running.leave(found)
            assert found.over

    @rule(number=st.integers(0, 4))
    def take(self, number: int) -> None:
        if (found := self.all.get(str(number))) is not None and found.unread:
            one = found.take()
            assert one is not None
            assert one.id in (None, found.id)

    @rule()
    def fail(self) -> None:
        self.running.fail(LOST)
        assert all(one.over for one in self.all.values())

    @invariant()
    def those_that_run_are_those_that_are_not_over(self) -> None:
        assert len(self.running) == sum(not one.over for one in self.all.values())
        assert all(one.size == sum(len(part.body) for part in one.unread) for one in self.all.values())
        self.ended = {name for name, one in self.all.items() if one.over}


TestConnection = Connection.TestCase
TestConnection.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
