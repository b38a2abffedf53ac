"""The requests of one connection: which begin, which are refused, and when the connection ends."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sansio.a2a.errors import ErrorKind
from sansio.a2a.websocket.session import STOPPING, Begun, CloseCode, Left, Refused, Session, SessionLimits, Step

LIMITS = SessionLimits(requests=3, first=10.0, idle=100.0, ping=20.0)


def session() -> Session:
    return Session(LIMITS, 0.0)


def request(**members: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "method": "m", **members})


def leave(request_id: object) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "cancelStream": True})


def begun(found: Step) -> Begun:
    assert isinstance(found, Begun)
    return found


def refused(found: Step) -> Refused:
    assert isinstance(found, Refused)
    return found


def test_requests_run_at_once_and_an_id_is_free_once_it_is_answered() -> None:
    one = session()
    first = begun(one.receive(request(id=1)))
    begun(one.receive(request(id="1")))
    error = refused(one.receive(request(id=1))).error
    assert (error.kind, error.request_id) == (ErrorKind.INVALID_REQUEST, None)
    assert len(one) == 2
    one.ended(first, 1.0)
    begun(one.receive(request(id=1)))


def test_notifications_run_beside_each_other_and_count() -> None:
    one = session()
    found = [begun(one.receive(request())) for _ in range(3)]
    error = refused(one.receive(request(id=5))).error
    assert (error.kind, error.request_id, error.metadata) == (ErrorKind.OVERLOADED, 5, {"limit": "3"})
    twice = b'{"jsonrpc":"2.0","method":"m","params":{"a":1,"a":2}}'
    texts = (request(id=5), request(), twice, twice[:-1] + b',"id":6}', b"{", b'{"jsonrpc":"2.0"}')
    answered = [refused(one.receive(text)).error.is_answered for text in texts]
    assert answered == [True, False, False, True, True, True]
    one.ended(found[1], 1.0)
    assert len(one) == 2


def test_a_stream_that_runs_can_be_left_and_no_other() -> None:
    one = session()
    stream = begun(one.receive(request(id=1)))
    assert one.receive(leave(1)) == Left(stream)
    assert one.receive(leave(2)) is None
    one.ended(stream, 1.0)
    assert one.receive(leave(1)) is None


def test_a_broken_message_is_refused() -> None:
    assert refused(session().receive(b"{")).error.kind is ErrorKind.PARSE_ERROR


def test_the_error_of_a_broken_message_does_not_keep_the_message() -> None:
    error = refused(Session(SessionLimits(), 0.0).receive(b"[" * 30_000)).error

    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)


def test_a_broken_message_with_the_id_of_a_request_that_runs_is_refused_without_it() -> None:
    one = session()
    broken = orjson.dumps({"id": 1})
    assert refused(one.receive(b'{"jsonrpc":"2.0","id":1}')).error.request_id == 1
    begun(one.receive(request(id=1)))
    assert refused(one.receive(b'{"jsonrpc":"2.0","id":1}')).error.request_id is None
    assert refused(one.receive(broken)).error.request_id is None


def test_a_connection_without_a_valid_request_ends() -> None:
    one = session()
    one.receive(b"{")
    assert one.wait(4.0) == 6.0
    assert one.wait(11.0) == 0.0
    assert one.due(9.9) is None
    close = one.due(10.0)
    assert close is not None
    assert close.code is CloseCode.A2A_PROTOCOL_ERROR


def test_a_connection_ends_once_nothing_was_asked_for_long() -> None:
    one = session()
    running = begun(one.receive(request(id=1)))
    assert one.wait(0.0) == LIMITS.ping
    assert one.due(1000.0) is None
    one.ended(running, 1000.0)
    assert one.due(1099.0) is None
    close = one.due(1100.0)
    assert close is not None
    assert close.code is CloseCode.GOING_AWAY


def test_a_drain_lets_requests_end_and_begins_none() -> None:
    one = session()
    running = begun(one.receive(request(id=1)))
    one.drain()
    error = refused(one.receive(request(id=2))).error
    assert (error.kind, error.request_id) == (ErrorKind.OVERLOADED, 2)
    assert one.due(1.0) is None
    one.ended(running, 2.0)
    assert one.due(2.0) == STOPPING


@pytest.mark.parametrize("close", [STOPPING])
def test_reasons_fit_into_a_close_frame(close: Any) -> None:
    assert len(close.reason.encode()) <= 123


class Connection(RuleBasedStateMachine):
    """What runs is what was begun and not ended, and never more than may."""

    def __init__(self) -> None:
        super().__init__()
        self.session = session()
        self.running: dict[int, Begun] = {}

    @rule(request_id=st.integers(0, 5))
    def begin(self, request_id: int) -> None:
        found = self.session.receive(request(id=request_id))
        if request_id in self.running or len(self.running) == LIMITS.requests:
            refused(found)
        else:
            self.running[request_id] = begun(found)

    @rule(request_id=st.integers(0, 5))
    def end(self, request_id: int) -> None:
        if (found := self.running.pop(request_id, None)) is not None:
            self.session.ended(found, 1.0)

    @rule(request_id=st.integers(0, 5))
    def leave(self, request_id: int) -> None:
        found = self.session.receive(leave(request_id))
        assert found == (Left(self.running[request_id]) if request_id in self.running else None)

    @invariant()
    def counts(self) -> None:
        assert len(self.session) == len(self.running)


TestConnection = Connection.TestCase
TestConnection.settings = settings(max_examples=30, stateful_step_count=20)


def test_a_request_that_was_parsed_lets_go_of_its_params() -> None:
    one = session()
    running = begun(one.receive(request(id=1, params={"large": "x"})))
    running.forget_params()
    assert running.message.request.params is None
    assert begun(one.receive(request(id=2))) is not running
    one.ended(running, 1.0)
    begun(one.receive(request(id=1)))
