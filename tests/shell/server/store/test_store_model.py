"""Any sequence of writes reads as if they had been folded one by one."""

from __future__ import annotations

import tempfile

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opencode_a2a.server.store import (
    Binding,
    EventRow,
    EventsPruned,
    PushDropped,
    PushRow,
    SessionRow,
    Store,
    StoredTask,
    TaskQuery,
    TaskRow,
    TaskRows,
    Write,
    open_store,
)
from tests.shell.store_cases import empty_postgresql, paged
from tests.shell.store_cases import postgresql_url as postgresql_url

# Their order as text differs from one collation to the next.
TASK_IDS = ["B", "a", "ä"]
PRINCIPALS = ["ada", "Bob"]
CONTEXTS = ["x", ""]
STATES = ["working", "completed"]
MESSAGES = ["m", "M"]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
task_ids = st.sampled_from(TASK_IDS)
sequence_numbers = st.integers(0, 6)
times = st.integers(0, 4)
task_rows = st.builds(
    TaskRow,
    task_id=task_ids,
    context_id=st.sampled_from(CONTEXTS),
    principal=st.sampled_from(PRINCIPALS),
    message_id=st.sampled_from(MESSAGES),
    state=st.sampled_from(STATES),
    finished=st.booleans(),
    created_at=times | st.integers(-(2**63), 2**63 - 1),
    updated_at=times | st.integers(0, 2**45),
    session_id=st.none() | texts,
    prompt_id=st.none() | texts,
    last_seq=sequence_numbers,
    snapshot=st.binary(max_size=9),
    options=st.binary(max_size=9),
)
event_rows = st.builds(
    EventRow,
    task_id=task_ids,
    first_seq=sequence_numbers,
    last_seq=sequence_numbers,
    body=st.binary(max_size=9),
)
bindings = st.builds(Binding, st.sampled_from(PRINCIPALS), st.sampled_from(CONTEXTS), texts)
config_ids = st.sampled_from(["1", "2"])
push_rows = st.builds(
    PushRow,
    task_id=task_ids,
    config_id=config_ids,
    form=texts,
    created_at=times,
    cursor=sequence_numbers,
    finished=st.booleans(),
    body=st.binary(max_size=9),
)
SESSION_IDS = ("a known session", "another")
session_rows = st.builds(
    SessionRow,
    session_id=st.sampled_from(SESSION_IDS),
    principal=st.sampled_from(PRINCIPALS),
    claimed_until=st.none() | times,
    place=texts,
)
writes = (
    session_rows
    | task_rows
    | event_rows
    | bindings
    | push_rows
    | st.builds(PushDropped, task_ids, config_ids)
    | st.builds(EventsPruned, times)
)
Calls = list[tuple[str, list[Write]]]
calls = st.lists(st.tuples(st.sampled_from(["put", "commit", "read"]), st.lists(writes, max_size=8)), max_size=8)


class Model:
    """The promise in a few lines: dicts, folded one write at a time. A snapshot never goes back."""

    def __init__(self) -> None:
        self.rows: dict[str, TaskRow] = {}
        self.events: dict[tuple[str, int], EventRow] = {}
        self.prunable: set[str] = set()
        self.sessions: dict[tuple[str, str], str] = {}
        self.known: dict[str, SessionRow] = {}
        self.pushes: dict[tuple[str, str], PushRow] = {}

    def forward(self, write: Write) -> Write:
        """The write as a caller who keeps the rules would give it."""
        before = self.rows.get(write.task_id) if isinstance(write, TaskRow) else None
        if isinstance(write, TaskRow) and before is not None:
            return attrs.evolve(write, last_seq=max(write.last_seq, before.last_seq))
        return write

    def fold(self, write: Write) -> None:
        match write:
            case TaskRow():
                self.rows[write.task_id] = self.identified(write)
                (self.prunable.add if write.finished else self.prunable.discard)(write.task_id)
            case EventRow():
                self.events[write.task_id, write.first_seq] = write
            case Binding():
                self.sessions[write.principal, write.context_id] = write.session_id
            case SessionRow():
                self.known[write.session_id] = write
            case PushRow():
                self.pushes[write.task_id, write.config_id] = write
            case PushDropped():
                self.pushes.pop((write.task_id, write.config_id), None)
            case EventsPruned():
                pruned = {task_id for task_id in self.prunable if self.rows[task_id].updated_at < write.before}
                self.prunable -= pruned
                self.events = {key: event for key, event in self.events.items() if key[0] not in pruned}

    def identified(self, row: TaskRow) -> TaskRow:
        first = self.rows.get(row.task_id, row)
        names = ("context_id", "principal", "message_id", "created_at")
        return attrs.evolve(row, **{name: getattr(first, name) for name in names})

    def events_of(self, task_id: str) -> tuple[EventRow, ...]:
        return tuple(self.events[key] for key in sorted(self.events) if key[0] == task_id)

    def stored(self, row: TaskRow | None) -> StoredTask | None:
        if row is None:
            return None
        return StoredTask(row, tuple(event for event in self.events_of(row.task_id) if event.last_seq > row.last_seq))

    def listed(self, query: TaskQuery) -> TaskRows:
        found = [
            row
            for row in self.rows.values()
            if row.principal == query.principal
            and query.context_id in (None, row.context_id)
            and query.state in (None, row.state)
            and (query.changed_after is None or row.updated_at > query.changed_after)
        ]
        found.sort(key=lambda row: (row.updated_at, row.task_id), reverse=True)
        return TaskRows(tuple(found), len(found))

    def started_by(self, principal: str, context_id: str, message_id: str) -> StoredTask | None:
        wanted = (principal, context_id, message_id)
        rows = [row for row in self.rows.values() if (row.principal, row.context_id, row.message_id) == wanted]
        return self.stored(max(rows, key=lambda row: (row.created_at, row.task_id), default=None))

    def of_message(self, principal: str, message_id: str) -> tuple[TaskRow, ...]:
        rows = [row for row in self.rows.values() if (row.principal, row.message_id) == (principal, message_id)]
        return tuple(sorted(rows, key=lambda row: (row.created_at, row.task_id), reverse=True))


async def assert_reads_as(store: Store, model: Model) -> None:
    tasks = [model.stored(model.rows.get(task_id)) for task_id in TASK_IDS]
    assert [await store.task(task_id) for task_id in TASK_IDS] == tasks
    for task_id in TASK_IDS:
        assert await store.events(task_id) == model.events_of(task_id)
    unfinished = [stored for stored in tasks if stored is not None and not stored.row.finished]
    unfinished.sort(key=lambda stored: (stored.row.created_at, stored.row.task_id))
    assert await store.unfinished() == unfinished
    for (principal, context_id), session_id in model.sessions.items():
        assert await store.session_of(principal, context_id) == session_id
        assert (await store.owner_of(session_id), session_id) in {
            (owner, bound) for (owner, _), bound in model.sessions.items()
        }
    for session_id in SESSION_IDS:
        known = model.known.get(session_id)
        assert await store.session(session_id) == known
        owned = known is not None and known.claimed_until is None
        assert await store.owner_of(session_id) == (known.principal if known is not None and owned else None)
    await assert_lists_as(store, model)
    await assert_pushes_as(store, model)


async def assert_lists_as(store: Store, model: Model) -> None:
    for principal in PRINCIPALS:
        everything = TaskQuery(principal=principal, limit=2)
        for query in (
            everything,
            attrs.evolve(everything, context_id="x"),
            attrs.evolve(everything, state="working"),
            attrs.evolve(everything, context_id="", changed_after=1),
        ):
            assert await paged(store, query) == model.listed(query)
        for context_id in CONTEXTS:
            for message_id in MESSAGES:
                found = await store.started_by(principal, context_id, message_id)
                assert found == model.started_by(principal, context_id, message_id)

        for message_id in MESSAGES:
            newest = model.of_message(principal, message_id)
            assert await store.tasks_of_message(principal, message_id, 2) == newest[:2]
    pairs = {(row.principal, row.message_id) for row in model.rows.values()}
    assert sorted(await store.message_ids(None, len(pairs) + 1)) == sorted(pairs)


async def assert_pushes_as(store: Store, model: Model) -> None:
    rows = sorted(model.pushes.values(), key=lambda row: (row.created_at, row.task_id, row.config_id))
    for task_id in TASK_IDS:
        assert await store.push_configs(task_id) == tuple(row for row in rows if row.task_id == task_id)
    assert await store.unfinished_pushes() == tuple(row for row in rows if not row.finished)


async def assert_reads_as_written(url: str, sequence: Calls, survives: bool) -> None:
    model = Model()
    async with open_store(url) as store:
        for call, given_writes in sequence:
            kept = []
            for write in given_writes:
                kept.append(model.forward(write))
                model.fold(kept[-1])
            if call == "commit":
                await store.commit(kept)
            else:
                store.put(kept)
            if call == "read":
                await assert_reads_as(store, model)
        await assert_reads_as(store, model)
    if survives:
        async with open_store(url) as store:
            await assert_reads_as(store, model)


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
@settings(max_examples=25)  # one takes a tenth of a second
@given(sequence=calls)
def test_any_sequence_of_writes_reads_as_folded_one_by_one(runtime: str, sequence: Calls) -> None:
    anyio.run(assert_reads_as_written, "memory", sequence, False, backend=runtime)
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(assert_reads_as_written, f"sqlite:///{folder}/tasks.db", sequence, True, backend=runtime)


# The fixture says where the database is; each example empties it itself.
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=calls)
def test_any_sequence_of_writes_reads_the_same_from_postgresql(postgresql: str, sequence: Calls) -> None:
    empty_postgresql(postgresql)
    anyio.run(assert_reads_as_written, postgresql, sequence, True)
