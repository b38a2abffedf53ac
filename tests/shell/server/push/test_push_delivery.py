"""Push notifications arrive: in order, at least once, whatever the receiver does and whenever the server stops."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from opencode_a2a.server.push import notifier as push
from opencode_a2a.server.push.notifier import Counters, Notifier, Render
from opencode_a2a.server.push.outbound_client import CheckedClient
from opencode_a2a.server.store import MemoryStore, PushRow, Store, open_store
from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.server.tasks.loading import loaded
from sansio.a2a.bindings.json_output import encoded_pieces
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import (
    Artifact,
    Message,
    PushAuthentication,
    PushConfig,
    Role,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.push_notifications import Schedule
from sansio.a2a.tasks.task_log import ArtifactChunk, LogEvent, MessageAdded, StatusChanged
from sansio.outbound import OutboundPolicy
from tests import schemas
from tests.shell.cases import each_value
from tests.shell.harness import DEADLINE
from tests.shell.push_receiver import OK, Received, answer, receiving
from tests.shell.raw_server import HANG_UP, SILENCE, Step

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
PERSEVERING = Schedule(attempts=10_000)


def status(state: TaskState, text: str | None = None) -> StatusChanged:
    message = Message(message_id="m", role=Role.AGENT, parts=(TextPart(text=text),)) if text is not None else None
    return StatusChanged(status=TaskStatus(state=state, message=message, timestamp="2026-01-01T00:00:00Z"))


def chunk(text: str, *, append: bool = True, last: bool = False) -> ArtifactChunk:
    artifact = Artifact(artifact_id="a", parts=(TextPart(text=text),))
    return ArtifactChunk(artifact=artifact, append=append, last_chunk=last, joins=True)


QUESTION = MessageAdded(Message(message_id="q", role=Role.USER, parts=(TextPart(text="hi"),)))
BEGINNING = (status(TaskState.SUBMITTED), QUESTION, status(TaskState.WORKING), chunk("Hello ", append=False))
MIDDLE = (status(TaskState.INPUT_REQUIRED, "may I?"), status(TaskState.WORKING), chunk("world"), chunk("", last=True))
END = (status(TaskState.COMPLETED),)
TOLD_1_0 = [1, 3, 5, 6, 8, 9]
TOLD_0_3 = [1, 3, 5, 6, 9]


@define(eq=False)
class Bench:
    """A store and a client, tasks that say what a test lets them say, and one notifier after the other."""

    store: Store
    client: CheckedClient
    lives: dict[str, ActiveTask] = field(factory=dict)
    pauses: list[float] = field(factory=list)

    def task(self, id: str = "t", principal: str = "alice") -> ActiveTask:
        facts = Facts(task_id=id, context_id="c", principal=principal, message_id="q", created_at=1)
        active = self.lives[id] = ActiveTask.new(facts)
        return active

    async def say(self, active: ActiveTask, *events: LogEvent) -> None:
        active.publish(events)
        await self.store.commit(active.rows())
        active.reveal(active.log.last)

    async def find(self, task_id: str) -> ActiveTask | None:
        if task_id in self.lives:
            return self.lives[task_id]
        stored = await self.store.task(task_id)
        return await loaded(stored, await self.store.events(task_id)) if stored is not None else None

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await anyio.lowlevel.checkpoint()

    def notifier(
        self,
        tasks: TaskGroup,
        schedule: Schedule = PERSEVERING,
        pause: Callable[[float], Any] | None = None,
        find: Callable[[str], Awaitable[ActiveTask | None]] | None = None,
    ) -> Notifier:
        return Notifier(
            store=self.store,
            tasks=tasks,
            client=self.client,
            find=find or self.find,
            render=rendering,
            wall=lambda: NOW,
            rng=random.Random(1),
            schedule=schedule,
            pause=pause or self.pause,
        )

    @asynccontextmanager
    async def notifying(self, schedule: Schedule = PERSEVERING) -> AsyncGenerator[Notifier]:
        """A notifier that is killed at the end."""
        async with anyio.create_task_group() as tasks:
            yield self.notifier(tasks, schedule)
            tasks.cancel_scope.cancel()

    async def row(self, task_id: str = "t", config_id: str = "mine") -> PushRow:
        (row,) = (row for row in await self.store.push_configs(task_id) if row.config_id == config_id)
        return row

    async def finished(self, task_id: str = "t", config_id: str = "mine") -> PushRow:
        """The row once nothing more will be delivered."""
        await eventually(lambda: self._is_finished(task_id, config_id))
        return await self.row(task_id, config_id)

    async def _is_finished(self, task_id: str, config_id: str) -> bool:
        return (await self.row(task_id, config_id)).finished


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds: what the store says cannot be waited for in another way."""
    with anyio.fail_after(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - nothing tells when a row is written
            await anyio.sleep(0.01)


def rendering(active: ActiveTask, form: str) -> Render:
    return lambda item: encoded_pieces(CODECS[form].render_item(item))


@asynccontextmanager
async def bench_with(store: Store, *, timeout: float = DEADLINE) -> AsyncGenerator[Bench]:
    policy = OutboundPolicy(allow_private=True)
    async with store, CheckedClient(policy, timeout=timeout) as client:
        yield Bench(store, client)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else open_store(f"sqlite:///{tmp_path / 'tasks.db'}")


def config(url: str, id: str | None = "mine", **more: Any) -> PushConfig:
    return PushConfig(url=url, id=id, **more)


def numbers(received: Sequence[Received]) -> list[int]:
    return [one.number for one in received]


# --- what arrives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected", "type"),
    [("1.0", TOLD_1_0, "application/a2a+json"), ("0.3", TOLD_0_3, "application/json")],
)
async def test_receiver_is_told_of_the_whole_task_in_order(
    store: Store, form: str, expected: list[int], type: str
) -> None:
    authentication = PushAuthentication(scheme="Bearer", credentials="s3cret")
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        wanted = config(receiver.url("/hook"), token="tok-1", authentication=authentication)
        await notifier.check(wanted, ("push",), form)
        notifier.begin(active, wanted, form, 0)
        for events in (BEGINNING, MIDDLE, END):
            await bench.say(active, *events)
        row = await bench.finished()

        assert numbers(receiver.received) == expected
        assert (row.cursor, row.form) == (active.log.last, form)
        for request in receiver.received:
            schemas.check(form, schemas.STREAM_ITEM, request.json)
            assert request.id == f"t/mine/{request.number}"
            assert request.headers["content-type"] == type
            assert request.headers["a2a-version"] == form
            assert request.headers["x-a2a-notification-token"] == "tok-1"
            assert request.headers["authorization"] == "Bearer s3cret"
        last = receiver.received[-1].json
        assert "completed" in orjson.dumps(last).decode().lower()
        assert notifier.counters == Counters(deliveries=len(expected))


async def test_configuration_on_a_running_task_is_told_what_happens_from_then_on(store: Store) -> None:
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        await bench.say(active, *BEGINNING)
        notifier.begin(active, config(receiver.url()), "1.0", active.log.last)
        await bench.say(active, *MIDDLE, *END)
        await bench.finished()

        assert numbers(receiver.received) == [5, 6, 8, 9]
        assert receiver.received[2].json["artifactUpdate"]["artifact"]["parts"][0]["text"] == "Hello world"


async def test_a_large_task_arrives_whole(store: Store) -> None:
    text = "word " * 400_000
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        await bench.say(active, *BEGINNING)
        notifier.begin(active, config(receiver.url()), "0.3", active.log.last)
        await bench.say(active, chunk(text), *END)
        await bench.finished()

        (request,) = receiver.received
        assert request.json["artifacts"][0]["parts"][0]["text"] == f"Hello {text}"


async def test_configuration_on_a_finished_task_has_nothing_to_tell(store: Store) -> None:
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        await bench.say(active, *BEGINNING, *END)
        made = notifier.begin(active, config(receiver.url(), None), "1.0", active.log.last)

        assert made.id
        assert (await bench.row("t", made.id)).finished
        assert await bench.store.unfinished_pushes() == ()
        assert receiver.received == []


async def test_cursor_that_is_out_of_reach_is_told_the_task_as_it_is_once_and_what_follows() -> None:
    async with bench_with(MemoryStore()) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        await bench.say(active, *BEGINNING)
        notifier.begin(active, config(receiver.url()), "1.0", 1000)
        await receiver.until(lambda: len(receiver.received) == 1)
        await bench.say(active, *MIDDLE, *END)
        await bench.finished()

        assert numbers(receiver.received) == [4, 5, 6, 8, 9]
        assert list(receiver.received[0].json) == ["task"]


# --- receivers in trouble ---------------------------------------------------------------------------------


async def test_failed_notification_is_tried_again_before_the_next_and_keeps_its_id(store: Store) -> None:
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        url = receiver.plan(
            "/hook",
            answer(503),
            answer(302, f"location: {receiver.url('/elsewhere')}"),
            [HANG_UP],
            [b"HTTP/1.1 2", HANG_UP],
            answer(429, "retry-after: 7"),
            answer(404),
            OK,
        )
        active = bench.task()
        notifier.begin(active, config(url), "1.0", 0)
        await bench.say(active, *BEGINNING, *MIDDLE, *END)
        await bench.finished()

        assert numbers(receiver.received) == [1] * 7 + TOLD_1_0[1:]
        assert len({one.body for one in receiver.received[:7]}) == 1
        assert receiver.at("/elsewhere") == []
        assert notifier.counters == Counters(deliveries=len(TOLD_1_0), retries=6)
        assert len(bench.pauses) == 6
        assert bench.pauses[4] >= 7


async def test_receiver_that_stalls_is_left_and_asked_again() -> None:
    async with (
        bench_with(MemoryStore(), timeout=2.0) as bench,
        receiving() as receiver,
        bench.notifying() as notifier,
    ):
        active = bench.task()
        notifier.begin(active, config(receiver.plan("/", [SILENCE], OK)), "1.0", 0)
        await bench.say(active, *BEGINNING, *END)
        await bench.finished()

        assert list(dict.fromkeys(numbers(receiver.received))) == [1, 3, 5]
        assert notifier.counters.retries >= 1
        assert notifier.counters.deliveries == 3


async def test_receiver_that_answers_late_holds_up_nobody_but_itself(store: Store) -> None:
    late = anyio.Event()
    async with (
        bench_with(store, timeout=6 * DEADLINE) as bench,
        receiving() as receiver,
        bench.notifying() as notifier,
    ):
        active = bench.task()
        slow = receiver.plan("/slow", [late, *OK], OK)
        notifier.begin(active, config(slow, "slow"), "1.0", 0)
        notifier.begin(active, config(receiver.url("/quick"), "quick"), "0.3", 0)
        await bench.say(active, *BEGINNING, *MIDDLE, *END)
        await bench.finished("t", "quick")
        await receiver.until(lambda: receiver.at("/slow"))
        before = numbers(receiver.at("/slow"))
        late.set()
        await bench.finished("t", "slow")

        assert before == [1]
        assert numbers(receiver.at("/slow")) == TOLD_1_0
        assert numbers(receiver.at("/quick")) == TOLD_0_3


async def test_receiver_that_never_answers_well_is_given_up_and_said_to_be_without_its_secrets(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying(Schedule(attempts=3)) as notifier:
        caplog.set_level(logging.DEBUG, logger="opencode_a2a")
        url = receiver.plan("/s3cret-path", answer(500, body=b"s3cret-body"))
        authentication = PushAuthentication(scheme="Bearer", credentials="s3cret-token")
        active = bench.task()
        notifier.begin(
            active, config(f"{url}?key=s3cret-key", token="s3cret", authentication=authentication), "1.0", 0
        )
        receiver.plans["/s3cret-path?key=s3cret-key"] = receiver.plans["/s3cret-path"]
        await bench.say(active, *BEGINNING)
        row = await bench.finished()
        await bench.say(active, *MIDDLE, *END)

        assert (row.cursor, numbers(receiver.received)) == (0, [1, 1, 1])
        assert notifier.counters == Counters(retries=2, given_up=1)
        (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
        assert receiver.url("") in record.getMessage()
        assert "after 3 attempts: the answer was 500" in record.getMessage()
        assert "s3cret" not in caplog.text
        assert await notifier.configs("t") != ()


async def test_receiver_that_is_gone_loses_its_configuration(store: Store) -> None:
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        notifier.begin(active, config(receiver.plan("/", OK, answer(410))), "1.0", 0)
        await bench.say(active, *BEGINNING, *MIDDLE, *END)

        async def is_dropped() -> bool:
            return await notifier.configs("t") == ()

        await eventually(is_dropped)

        assert numbers(receiver.received) == [1, 3]
        assert notifier.counters == Counters(deliveries=1)


async def test_only_so_many_notifications_are_under_way_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "PARALLEL", 5)
    release = anyio.Event()
    async with (
        bench_with(MemoryStore(), timeout=6 * DEADLINE) as bench,
        receiving() as receiver,
        bench.notifying() as notifier,
    ):
        active = bench.task()
        for index in range(12):
            notifier.begin(active, config(receiver.plan(f"/{index}", [release, *OK]), str(index)), "1.0", 0)
        await bench.say(active, status(TaskState.SUBMITTED))
        await receiver.until(lambda: len(receiver.received) == 5)
        await anyio.wait_all_tasks_blocked()
        at_first = len(receiver.received)
        release.set()
        await receiver.until(lambda: len(receiver.received) == 12)

        assert at_first == 5


async def test_one_that_is_replaced_as_its_turn_comes_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "PARALLEL", 1)
    async with bench_with(MemoryStore()) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        await bench.say(active, *BEGINNING, *END)
        for _ in range(3):  # without a pause between them: none of the earlier ones gets to send
            notifier.begin(active, config(receiver.plan("/", OK)), "1.0", 0)

        await bench.finished()

        assert numbers(receiver.received) == [1, 3, 5]


async def test_one_that_is_replaced_while_its_task_is_looked_for_does_not_end_the_new_one() -> None:
    async def find(task_id: str) -> None:
        notifier.begin(active, config(receiver.plan("/", [release, *OK])), "1.0", 0)

    release = anyio.Event()
    async with bench_with(MemoryStore()) as bench, receiving() as receiver, anyio.create_task_group() as tasks:
        active = bench.task()
        async with anyio.create_task_group() as earlier:
            bench.notifier(earlier).begin(active, config(receiver.url("/earlier")), "1.0", 0)
            await bench.store.commit([])
            earlier.cancel_scope.cancel()
        notifier = bench.notifier(tasks, find=find)
        await notifier.recover()
        await bench.say(active, *BEGINNING)
        await receiver.until(lambda: receiver.received)

        assert not (await bench.row()).finished
        assert numbers(receiver.at("/")) == [1]
        release.set()
        tasks.cancel_scope.cancel()


async def test_receivers_of_one_principal_that_hang_delay_no_other_principal() -> None:
    never = anyio.Event()
    async with (
        bench_with(MemoryStore(), timeout=6 * DEADLINE) as bench,
        receiving() as receiver,
        receiving() as other,
        bench.notifying() as notifier,
    ):
        hanging = [bench.task(f"h{index}") for index in range(5)]
        for active in hanging:
            for index in range(32):
                path = f"/{active.facts.task_id}/{index}"
                notifier.begin(active, config(receiver.plan(path, [never, *OK]), str(index)), "1.0", 0)
            await bench.say(active, status(TaskState.SUBMITTED))
        await receiver.until(lambda: len(receiver.received) == push.OF_RECEIVER)
        bobs = bench.task("b", "bob")
        notifier.begin(bobs, config(receiver.plan("/same", OK), "same"), "1.0", 0)
        notifier.begin(bobs, config(other.plan("/other", OK), "other"), "1.0", 0)
        await bench.say(bobs, status(TaskState.SUBMITTED), QUESTION, *END)

        # long before the first of those that hang is given up
        for name in ("same", "other"):
            await bench.finished("b", name)

        assert len([one for one in receiver.received if one.path.startswith("/h")]) == push.OF_RECEIVER


async def test_failure_of_our_own_stops_one_configuration_and_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench_with(MemoryStore()) as bench, receiving() as receiver, anyio.create_task_group() as tasks:
        notifier = bench.notifier(tasks)
        active = bench.task()
        notifier.begin(active, config(receiver.url("/a"), "a"), "no such form", 0)
        notifier.begin(active, config(receiver.url("/b"), "b"), "1.0", 0)
        await bench.say(active, *BEGINNING, *END)
        await bench.finished("t", "b")
        await notifier.drain(DEADLINE)

        assert numbers(receiver.at("/b")) == [1, 3, 5]
        assert not (await bench.row("t", "a")).finished
        assert "push notifications of task t stopped" in caplog.text


# --- configurations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (config("http://169.254.169.254/latest"), "push.url"),
        (config("https://127.0.0.1/", token="a\r\nb"), "push.token"),
        (config("ftp://x/"), "push.url"),
    ],
)
async def test_what_cannot_be_delivered_to_is_refused_with_its_field(wanted: PushConfig, field: str) -> None:
    async with bench_with(MemoryStore()) as bench, bench.notifying() as notifier:
        with pytest.raises(ProtocolError) as caught:
            await notifier.check(wanted, ("push",))

        assert [violation.field for violation in caught.value.violations] == [field]


async def test_configurations_are_listed_as_they_were_given_with_their_ids(store: Store) -> None:
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        given = config(
            receiver.url(), token="tok", authentication=PushAuthentication(scheme="Basic", credentials="YTpi")
        )
        first = notifier.begin(active, given, "1.0", 0)
        second = notifier.begin(active, evolve(given, id=None), "0.3", 0)

        assert first == evolve(given, task_id="t")
        assert second.id not in (None, "mine")
        assert set(await notifier.configs("t")) == {first, second}
        assert await notifier.configs("another") == ()


async def test_same_id_replaces_and_what_is_replaced_or_dropped_hears_no_more(store: Store) -> None:
    release = anyio.Event()
    async with (
        bench_with(store, timeout=6 * DEADLINE) as bench,
        receiving() as receiver,
        bench.notifying() as notifier,
    ):
        active = bench.task()
        notifier.begin(active, config(receiver.plan("/old", [release, *OK])), "1.0", 0)
        notifier.begin(active, config(receiver.plan("/dropped", [release, *OK]), "dropped"), "1.0", 0)
        await bench.say(active, *BEGINNING)
        await receiver.until(lambda: receiver.at("/old") and receiver.at("/dropped"))
        notifier.begin(active, config(receiver.url("/new")), "1.0", active.log.last)
        known = await notifier.drop("t", "dropped"), await notifier.drop("t", "dropped")
        release.set()
        await bench.say(active, *MIDDLE, *END)
        row = await bench.finished()

        assert known == (True, False)
        assert [kept.id for kept in await notifier.configs("t")] == ["mine"]
        assert row.cursor == active.log.last
        assert [numbers(receiver.at(path)) for path in ("/old", "/dropped", "/new")] == [[1], [1], [5, 6, 8, 9]]


# --- stopping and starting --------------------------------------------------------------------------------


@each_value("killed_at", range(1, len(TOLD_1_0) + 1))
async def test_killed_server_goes_on_where_it_was_and_repeats_at_most_what_was_under_way(
    store: Store, killed_at: int
) -> None:
    held: Sequence[Step] = [SILENCE]
    async with bench_with(store, timeout=6 * DEADLINE) as bench, receiving() as receiver:
        url = receiver.plan("/", *[OK] * (killed_at - 1), held, OK)
        active = bench.task()
        async with bench.notifying() as notifier:
            notifier.begin(active, config(url), "1.0", 0)
            await bench.say(active, *BEGINNING, *MIDDLE, *END)
            await receiver.until(lambda: len(receiver.received) == killed_at)
        bench.lives.clear()
        async with bench.notifying() as notifier:
            await notifier.recover()
            await bench.finished()

        assert numbers(receiver.received) == TOLD_1_0[:killed_at] + TOLD_1_0[killed_at - 1 :]
        assert await bench.store.unfinished_pushes() == ()


async def test_delivery_goes_on_where_the_store_refuses_to_remember_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tasks.db"
    async with (
        bench_with(open_store(f"sqlite:///{file}")) as bench,
        receiving() as receiver,
        bench.notifying() as notifier,
    ):
        with sqlite3.connect(file) as database:
            database.execute(
                "CREATE TRIGGER refusing BEFORE INSERT ON opencode_a2a_push WHEN NEW.cursor BETWEEN 1 AND 5"
                " BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        database.close()
        active = bench.task()
        notifier.begin(active, config(receiver.url()), "1.0", 0)
        await bench.say(active, *BEGINNING, *MIDDLE, *END)
        await receiver.until(lambda: len(receiver.received) == len(TOLD_1_0))
        row = await bench.finished()

        assert numbers(receiver.received) == TOLD_1_0
        assert row.cursor == active.log.last
        assert "gave up 1 queued write" in caplog.text


async def test_task_that_nobody_has_any_more_and_rows_nobody_can_read_are_finished(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench_with(MemoryStore()) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        notifier.begin(active, config(receiver.url()), "1.0", 0)
        row = await bench.row()
        await notifier.drain(0)
        bench.store.put([evolve(row, task_id="lost"), evolve(row, config_id="bad", body=b'{"token":"s3cret"}')])
        bench.lives.clear()
        async with bench.notifying() as next_one:
            await next_one.recover()
            await bench.finished("lost")
            await bench.finished("t", "bad")

        assert receiver.received == []
        assert "cannot be read" in caplog.text
        assert "s3cret" not in caplog.text


async def test_stopping_waits_for_what_is_under_way_and_not_for_the_next_attempt(store: Store) -> None:
    release, pausing = anyio.Event(), anyio.Event()

    async def pause(seconds: float) -> None:
        pausing.set()
        await anyio.sleep_forever()

    async with bench_with(store, timeout=6 * DEADLINE) as bench, receiving() as receiver:
        active = bench.task()
        async with anyio.create_task_group() as tasks:
            notifier = bench.notifier(tasks, pause=pause)
            notifier.begin(active, config(receiver.plan("/slow", [release, *OK], OK), "slow"), "1.0", 0)
            notifier.begin(active, config(receiver.plan("/ill", answer(500), OK), "ill"), "1.0", 0)
            await bench.say(active, *BEGINNING, *END)
            await receiver.until(lambda: receiver.at("/slow"))
            with anyio.fail_after(DEADLINE):
                await pausing.wait()
            tasks.start_soon(notifier.drain, 6 * DEADLINE)
            await anyio.lowlevel.checkpoint()
            release.set()
            await bench.finished("t", "slow")
        left = await bench.store.unfinished_pushes()
        async with bench.notifying() as notifier:
            await notifier.recover()
            await bench.finished("t", "ill")

        assert [row.config_id for row in left] == ["ill"]
        assert numbers(receiver.at("/slow")) == [1, 3, 5]
        assert numbers(receiver.at("/ill")) == [1, 1, 3, 5]


async def test_stopping_takes_no_longer_than_its_grace_and_keeps_what_is_left(store: Store) -> None:
    async with bench_with(store, timeout=6 * DEADLINE) as bench, receiving() as receiver:
        active = bench.task()
        async with anyio.create_task_group() as tasks:
            notifier = bench.notifier(tasks)
            notifier.begin(active, config(receiver.plan("/", [SILENCE])), "1.0", 0)
            await bench.say(active, *BEGINNING, *END)
            await receiver.until(lambda: receiver.received)
            with anyio.fail_after(DEADLINE):
                await notifier.drain(0.01)
            after = notifier.begin(active, config(receiver.url(), "after"), "1.0", 0)

        left = {row.config_id for row in await bench.store.unfinished_pushes()}
        assert left == {"mine", after.id}


async def test_failure_while_stopping_is_left_for_the_next_start() -> None:
    release = anyio.Event()
    async with bench_with(MemoryStore(), timeout=6 * DEADLINE) as bench, receiving() as receiver:
        active = bench.task()
        async with anyio.create_task_group() as tasks:
            notifier = bench.notifier(tasks)
            notifier.begin(active, config(receiver.plan("/", [release, *answer(500)])), "1.0", 0)
            await bench.say(active, *BEGINNING, *END)
            await receiver.until(lambda: receiver.received)
            tasks.start_soon(notifier.drain, 6 * DEADLINE)
            await anyio.wait_all_tasks_blocked()
            release.set()

        assert len(receiver.received) == 1
        assert not (await bench.row()).finished
