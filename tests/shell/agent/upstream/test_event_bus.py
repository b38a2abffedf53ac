"""The one subscription to OpenCode's bus: to whom events go, and what becomes of a bus that breaks or lies."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from attrs import define, field

from opencode_a2a.agent.upstream import event_bus as hub_module
from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.upstream import Piece, Upstream, UpstreamError
from sansio.a2a.backoff import Backoff
from sansio.a2a.bindings.sse import encode
from sansio.chunked import ChunkedDecoder
from sansio.opencode.upstream.events import BusEvent, PartDelta
from sansio.opencode.upstream.faults import TaskFailure
from sansio.opencode.upstream.requests import UpstreamCall
from tests.shell.cases import each_value
from tests.shell.harness import DEADLINE, until
from tests.shell.ports import free_port
from tests.shell.raw_server import HANG_UP, SILENCE, RawServer, Step, answering

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(type: str, **properties: object) -> bytes:
    """A frame of the global bus, as a chunk."""
    payload = {"id": "evt_1", "type": type, "properties": properties}
    return chunk(encode(orjson.dumps({"directory": "/d", "project": "p", "payload": payload})))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def delta(session: str, text: str) -> bytes:
    names = {"sessionID": session, "messageID": "msg_1", "partID": "prt_1", "field": "text"}
    return event("message.part.delta", **names, delta=text)


def child(session: str, parent: str) -> bytes:
    info = {"id": session, "parentID": parent, "title": "t", "directory": "/d", "time": {"created": 1, "updated": 1}}
    return event("session.created", sessionID=session, info=info)


HELLO = event("server.connected")


@define(eq=False)
class Listener:
    """A turn that writes down what the hub tells it."""

    said: list[str] = field(factory=list)
    batches: list[int] = field(factory=list)
    gaps: int = 0
    breaks_on: str | None = None

    def feed(self, event: BusEvent) -> None:
        assert isinstance(event, PartDelta)
        if event.delta == self.breaks_on:
            raise RuntimeError("a bug of this turn")
        self.said.append(event.delta)

    def flush(self) -> None:
        self.batches.append(len(self.said))

    def gap(self) -> None:
        self.gaps += 1


@asynccontextmanager
async def listening(
    *answers: Sequence[Step], silence: float = 60.0, **listeners: Listener
) -> AsyncGenerator[tuple[EventBus, RawServer]]:
    """A hub on a bus that says what it is told to."""
    async with answering(*answers) as server, Upstream(f"http://127.0.0.1:{server.port}") as upstream:
        bus = EventBus(upstream, silence=silence, clock=time.time)
        for session, listener in listeners.items():
            bus.attach(session, listener)
        async with anyio.create_task_group() as tasks:
            await tasks.start(bus.run)
            yield bus, server
            tasks.cancel_scope.cancel()


async def test_events_go_to_the_turn_of_their_session() -> None:
    a, b = Listener(), Listener()
    said = [delta("ses_a", "1"), delta("ses_b", "2"), delta("ses_c", "3"), delta("ses_a", "4")]
    async with listening([HEAD + HELLO, *said, SILENCE], ses_a=a, ses_b=b):
        await until(lambda: len(a.said) + len(b.said) == 3)

    assert (a.said, b.said) == (["1", "4"], ["2"])


async def test_a_subagents_session_leads_to_its_root() -> None:
    root = Listener()
    said = [child("ses_b", "ses_a"), child("ses_c", "ses_b"), delta("ses_c", "deep"), delta("ses_b", "near")]
    async with listening([HEAD + HELLO, *said, SILENCE], ses_a=root):
        await until(lambda: len(root.said) == 2)

    assert root.said == ["deep", "near"]


async def test_sessions_that_are_each_others_parents_lead_nowhere() -> None:
    other = Listener()
    said = [child("ses_b", "ses_c"), child("ses_c", "ses_b"), delta("ses_c", "lost"), delta("ses_a", "here")]
    async with listening([HEAD + HELLO, *said, SILENCE], ses_a=other):
        await until(lambda: other.said)

    assert other.said == ["here"]


async def test_what_comes_together_is_delivered_together() -> None:
    one = Listener()
    together = b"".join(delta("ses_a", str(number)) for number in range(50))
    async with listening([HEAD + HELLO + together, SILENCE], ses_a=one):
        await until(lambda: len(one.said) == 50)

    assert one.said == [str(number) for number in range(50)]
    assert len(one.batches) < 10


async def test_pieces_of_a_text_are_joined_where_much_has_come() -> None:
    many: dict[str, Any] = {f"ses_{number}": Listener() for number in range(20)}
    text = "x" * 1000
    together = b"".join(delta(session, text) for _ in range(50) for session in many)
    async with listening([HEAD + HELLO + together, SILENCE], **many):
        await until(lambda: all(len("".join(one.said)) == 50 * len(text) for one in many.values()))

    assert sum(len(one.said) for one in many.values()) < 1000 / 2  # a million bytes, of which a read has a part


class Scripted(Upstream):
    """An OpenCode whose first event stream comes in these pieces; what is to be called stands between them."""

    def __init__(self, *steps: Piece | Callable[[], None]) -> None:
        super().__init__("http://127.0.0.1:9")
        self.steps = list(steps)

    @asynccontextmanager
    async def stream(
        self, call: UpstreamCall, *, within: float | None = None
    ) -> AsyncGenerator[AsyncGenerator[Piece]]:
        async with aclosing(self._pieces()) as pieces:
            yield pieces

    async def _pieces(self) -> AsyncGenerator[Piece]:
        steps, self.steps = self.steps, []
        yield piece_of(HELLO, more=False)
        for step in steps:
            if isinstance(step, Piece):
                yield step
            else:
                step()
        await anyio.sleep_forever()


def piece_of(*chunks: bytes, more: bool) -> Piece:
    return Piece(ChunkedDecoder().feed(b"".join(chunks)), more=more)


@asynccontextmanager
async def running(bus: EventBus) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        await tasks.start(bus.run)
        yield
        tasks.cancel_scope.cancel()


async def test_a_turn_that_begins_while_events_are_held_gets_its_own() -> None:
    first, second = Listener(), Listener()

    def follow() -> None:
        bus.detach("ses_a", first)
        bus.attach("ses_a", second)

    upstream = Scripted(
        piece_of(delta("ses_a", "1"), delta("ses_a", "2"), more=True),
        follow,
        piece_of(delta("ses_a", "3"), delta("ses_a", "4"), more=False),
    )
    bus = EventBus(upstream, clock=time.time)
    bus.attach("ses_a", first)
    async with running(bus):
        await until(lambda: second.said)

    assert (first.said, second.said) == ([], ["3", "4"])


async def test_what_came_whole_before_the_bus_broke_is_delivered_though_it_was_held() -> None:
    def breaks() -> None:
        raise UpstreamError(TaskFailure(text="cut", type="UPSTREAM_UNREACHABLE"))

    one = Listener()
    upstream = Scripted(piece_of(delta("ses_a", "1"), delta("ses_a", "2"), more=True), breaks)
    bus = EventBus(upstream, clock=time.time)
    bus.attach("ses_a", one)
    async with running(bus):
        await until(lambda: one.gaps == 2)

    assert one.said == ["1", "2"]


async def test_the_events_of_a_turn_are_delivered_together_though_those_of_others_are_between() -> None:
    many: dict[str, Any] = {f"ses_{number}": Listener() for number in range(20)}
    together = b"".join(delta(session, str(number)) for number in range(5) for session in many)
    async with listening([HEAD + HELLO + together, SILENCE], **many):
        await until(lambda: all(one.batches for one in many.values()))

    assert [(one.said, one.batches) for one in many.values()] == [(["0", "1", "2", "3", "4"], [5])] * 20


async def test_a_turn_that_ends_while_others_get_their_events_gets_no_more() -> None:
    class Ending(Listener):
        def flush(self) -> None:
            super().flush()
            bus.detach("ses_b", ended)

    first, ended, last = Ending(), Listener(), Listener()
    said = [delta("ses_a", "1"), delta("ses_b", "2"), delta("ses_c", "3")]
    async with listening([HEAD + HELLO + b"".join(said), SILENCE], ses_a=first, ses_b=ended, ses_c=last) as (bus, _):
        await until(lambda: last.said)

    assert (first.said, ended.said, last.said) == (["1"], [], ["3"])


async def test_others_have_their_turn_between_the_events_of_one_read() -> None:
    turns: list[int] = [0]
    met: list[int] = []

    class Noting(Listener):
        def flush(self) -> None:
            met.append(turns[0])

    async def others() -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            turns[0] += 1

    many: dict[str, Any] = {f"ses_{number}": Noting() for number in range(128)}
    together = b"".join(delta(session, "x") for session in many for _ in range(2))
    assert len(together) < 65536  # one read
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        async with listening([HEAD + HELLO + together, SILENCE], **many):
            await until(lambda: all("".join(one.said) == "xx" for one in many.values()))
        tasks.cancel_scope.cancel()

    assert len(set(met)) >= 3  # of five batches; trio may begin two rounds with whom it ended the one before


async def test_events_cut_anywhere_arrive_whole() -> None:
    one = Listener()
    data = HEAD + HELLO + delta("ses_a", "ü☂") + delta("ses_a", "2")
    async with listening([*[data[at : at + 7] for at in range(0, len(data), 7)], SILENCE], ses_a=one):
        await until(lambda: len(one.said) == 2)

    assert one.said == ["ü☂", "2"]


@each_value(
    "noise",
    [
        chunk(b"data: not json\n\n"),
        chunk(b"data: 5\n\n"),
        chunk(b'data: {"payload": 5}\n\n'),
        chunk(b": a comment\n\nevent: x\nretry: 5\n\n"),
        event("message.part.delta"),
        event("message.part.updated", part=7),
        event("nobody.knows", a=1),
        event("session.created", info=[]),
    ],
)
async def test_what_cannot_be_read_is_passed_over(noise: bytes) -> None:
    one = Listener()
    async with listening([HEAD + HELLO, noise, delta("ses_a", "after"), SILENCE], ses_a=one) as (bus, server):
        await until(lambda: one.said)

        assert (bus.connected, bus.reconnects, server.connections) == (True, 1, 1)


@pytest.mark.parametrize("ending", [[HANG_UP], [b"0\r\n\r\n", SILENCE], [b"zz\r\n", SILENCE]])
async def test_a_bus_that_ends_or_breaks_is_opened_again_and_the_turns_are_told(ending: list[Step]) -> None:
    one = Listener()
    second: list[Step] = [HEAD + HELLO, delta("ses_a", "2"), SILENCE]
    async with listening([HEAD + HELLO, delta("ses_a", "1"), *ending], second, ses_a=one) as (bus, _):
        await until(lambda: one.said[-1:] == ["2"])  # what came right before the break may be lost with it

        assert (bus.connected, bus.reconnects) == (True, 2)
    assert one.gaps == 2  # the first: it was attached before the bus was there


async def test_a_bus_that_goes_silent_is_opened_again() -> None:
    one = Listener()
    second: list[Step] = [HEAD + HELLO, delta("ses_a", "2"), SILENCE]
    async with listening([HEAD + HELLO, SILENCE], second, silence=0.1, ses_a=one):
        await until(lambda: one.said == ["2"])


async def test_a_bus_that_is_not_opened_is_asked_for_again_soon() -> None:
    async def not_opened(said: list[Step]) -> None:
        async with listening(said, said, [HEAD + HELLO, SILENCE]) as (bus, server):
            started = anyio.current_time()
            await until(lambda: bus.connected)

            assert (len(server.requests), bus.reconnects) == (3, 1), said
            assert anyio.current_time() - started < 5, said
            await until(lambda: server.open == 1)

    begun: list[list[Step]] = [[], [b"HTTP/1.1 200 OK\r\n"], [HEAD], [HEAD + b"1\r\n:\r\n"]]
    async with anyio.create_task_group() as tasks:  # at once: each waits for seconds
        for one in begun:
            tasks.start_soon(not_opened, [*one, SILENCE])


async def test_a_bus_that_is_refused_is_asked_for_again() -> None:
    refused = [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"]
    async with listening(refused, refused, [HEAD + HELLO, SILENCE]) as (bus, server):
        await until(lambda: bus.connected)

        assert len(server.requests) == 3


async def test_a_turn_that_breaks_does_not_cut_the_others_off() -> None:
    bad, good = Listener(breaks_on="1"), Listener()
    said = [delta("ses_a", "1"), delta("ses_b", "2"), delta("ses_a", "3")]
    async with listening([HEAD + HELLO, *said, SILENCE], ses_a=bad, ses_b=good) as (bus, _):
        await until(lambda: good.said and bad.said)
        assert bus.reconnects == 1

    assert (good.said, bad.said) == (["2"], ["3"])
    assert bad.gaps == 2


async def test_nobody_is_told_after_leaving() -> None:
    one, gate = Listener(), anyio.Event()
    async with listening([HEAD + HELLO, delta("ses_a", "1"), gate, delta("ses_a", "2"), SILENCE], ses_a=one) as (
        bus,
        _,
    ):
        other = Listener()
        await until(lambda: one.said)
        bus.detach("ses_a", one)
        gate.set()
        bus.attach("ses_b", other)
        assert await bus.wait_connected(DEADLINE)

    assert one.said == ["1"]


def begun(session: str) -> bytes:
    part = {
        "id": "prt_1",
        "sessionID": session,
        "messageID": "msg_1",
        "type": "text",
        "text": "",
        "time": {"start": 1},
    }
    return event("message.part.updated", sessionID=session, part=part, time=1)


async def test_whoever_comes_in_mid_text_gets_the_text_so_far_and_then_every_delta() -> None:
    first, late, gate = Listener(), Listener(), anyio.Event()
    said: list[Step] = [begun("ses_a"), delta("ses_a", "one"), delta("ses_a", " two"), delta("ses_b", "now"), gate]
    async with listening([HEAD + HELLO, *said, delta("ses_a", " three"), SILENCE], ses_b=first) as (bus, _):
        await until(lambda: first.said)
        [part] = bus.attach("ses_a", late)
        gate.set()
        await until(lambda: late.said)

    assert (part.part_id, part.body["text"], late.said) == ("prt_1", "one two", [" three"])


async def test_after_a_reconnect_nobody_gets_a_text_whose_midst_was_missed() -> None:
    first, late = Listener(), Listener()
    said: list[Step] = [begun("ses_a"), delta("ses_a", "one"), delta("ses_b", "now"), HANG_UP]
    async with listening([HEAD + HELLO, *said], [HEAD + HELLO, delta("ses_b", "again"), SILENCE], ses_b=first) as (
        bus,
        _,
    ):
        await until(lambda: len(first.said) == 2)

        assert bus.attach("ses_a", late) == []


async def test_whoever_leaves_late_does_not_cut_off_whoever_came_since() -> None:
    earlier, later, gate = Listener(), Listener(), anyio.Event()
    async with listening([HEAD + HELLO, gate, delta("ses_a", "1"), SILENCE], ses_a=earlier) as (bus, _):
        bus.attach("ses_a", later)
        bus.detach("ses_a", earlier)
        gate.set()
        await until(lambda: later.said)

    assert (earlier.said, later.said) == ([], ["1"])


async def test_waiting_for_a_bus_that_is_not_there_ends(anyio_backend: str) -> None:
    async with Upstream(f"http://127.0.0.1:{free_port()}") as upstream, anyio.create_task_group() as tasks:
        bus = EventBus(upstream, clock=time.time)
        await tasks.start(bus.run)

        assert not await bus.wait_connected(0.05)

        tasks.cancel_scope.cancel()


async def test_who_waits_for_the_bus_does_not_sit_out_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "BACKOFF", Backoff((0.01, 0.01, 0.01, 3 * DEADLINE)))
    refused = [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"]
    async with listening(*[refused] * 4, [HEAD + HELLO, SILENCE]) as (bus, server):
        await until(lambda: len(server.requests) == 4)  # the next try is far away
        with anyio.fail_after(DEADLINE):
            assert await bus.wait_connected(2 * DEADLINE)
