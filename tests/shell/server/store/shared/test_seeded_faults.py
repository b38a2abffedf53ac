"""Three servers on one database, killed, stopped, cut off and closed at random: each task has one owner in the end.

The database itself records who wrote each event, and who had the task then.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import Any

import anyio
import pytest
from attrs import define, evolve

from opencode_a2a.server.store import open_store
from tests.shell.cases import each_value
from tests.shell.server.store.shared.cases import WAIT, looking, until
from tests.shell.server.store.shared.replica_process import ReplicaProcess
from tests.shell.store_cases import postgresql_url as postgresql_url
from tests.shell.store_cases import task_row

pytestmark = pytest.mark.anyio

TASKS = 100
SECONDS = 12.0
LEASE = 1.0

RECORD = """
CREATE TABLE recorded (number bigserial, task_id text, writer text, owner text, finished boolean, living boolean);
CREATE FUNCTION record_write() RETURNS trigger AS $$
BEGIN
  INSERT INTO recorded (task_id, writer, owner, finished, living)
  SELECT NEW.task_id, one.writer, task.replica_id, task.finished,
         EXISTS (SELECT 1 FROM opencode_a2a_replica WHERE replica_id = one.writer)
  FROM opencode_a2a_task AS task, (SELECT convert_from(NEW.body, 'UTF8')::json ->> 'by' AS writer) AS one
  WHERE task.task_id = NEW.task_id;
  RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER record_write BEFORE INSERT ON opencode_a2a_task_event FOR EACH ROW EXECUTE FUNCTION record_write();
"""
FORGET = """
DROP TRIGGER IF EXISTS record_write ON opencode_a2a_task_event;
DROP FUNCTION record_write;
DROP TABLE recorded;
"""


@contextmanager
def recording(url: str) -> Iterator[None]:
    with looking(url) as connection:
        connection.execute(RECORD)
    try:
        yield
    finally:
        with looking(url) as connection:
            connection.execute(FORGET)


@define
class Fleet:
    """The processes, one in each place. One that ended is started again."""

    url: str
    chance: random.Random
    processes: list[ReplicaProcess]
    started: int = 0

    async def start(self, place: int) -> None:
        self.started += 1
        backend = ("asyncio", "trio")[self.started % 2]
        module = "tests.shell.server.store.shared.working_replica"
        command = [sys.executable, "-m", module, self.url, backend, str(LEASE), f"{self.started}"]
        process = ReplicaProcess(await anyio.open_process(command, stderr=None))
        self.processes[place:place] = [process]
        await process.answer()

    async def disturb(self) -> str:
        """Do one thing that servers have to live with."""
        process = self.chance.choice(self.processes)
        kind = self.chance.choice(["kill", "stop", "stop", "cut", "cut", "leave"])
        match kind:
            case "kill" | "leave":
                place = self.processes.index(process)
                if kind == "kill":
                    process.signal(signal.SIGKILL)
                await process.close(patience=WAIT)
                self.processes.remove(process)
                await self.start(place)
            case "stop":
                process.signal(signal.SIGSTOP)
                await anyio.sleep(self.chance.uniform(0.1, 3 * LEASE))
                process.signal(signal.SIGCONT)
            case "cut":
                with looking(self.url) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                        " AND datname = current_database() AND random() < 0.5"
                    )
        return kind

    async def end(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.signal(signal.SIGKILL)
            await process.close(patience=WAIT)


def unfinished(url: str) -> dict[str, str | None]:
    """The owner of each unfinished task, as far as it lives."""
    with looking(url) as connection:
        return dict(
            connection.execute(
                "SELECT task_id, replica.replica_id FROM opencode_a2a_task AS task"
                " LEFT JOIN opencode_a2a_replica AS replica USING (replica_id) WHERE NOT finished"
            ).fetchall()
        )


def records(url: str) -> list[Any]:
    with looking(url) as connection:
        found = connection.execute(
            "SELECT task_id, writer, owner, finished, living FROM recorded ORDER BY task_id, number"
        )
        return found.fetchall()


@each_value("seed", [1, 2])
async def test_each_task_has_one_owner_and_nothing_of_another_is_written(postgresql: str, seed: int) -> None:
    async with open_store(postgresql) as alone:
        rows = [evolve(task_row(f"task-{number:03}"), created_at=number) for number in range(TASKS)]
        await alone.commit(rows)
    fleet = Fleet(postgresql, random.Random(seed), [])
    done: list[str] = []
    answers: list[dict[str, Any]] = []
    with recording(postgresql):
        try:
            for place in range(3):
                await fleet.start(place)
            with anyio.move_on_after(SECONDS):
                while True:
                    await anyio.sleep(fleet.chance.uniform(0.1, 0.5))
                    with anyio.CancelScope(shield=True):
                        done.append(await fleet.disturb())

            async def settled() -> bool:
                answers[:] = [await process.ask("owned") for process in fleet.processes]
                claimed = {task_id: one["id"] for one in answers for task_id in one["owned"]}
                expected = unfinished(postgresql)
                return claimed == expected and sum(len(one["owned"]) for one in answers) == len(expected)

            await until(settled)
        finally:
            with anyio.CancelScope(shield=True):
                await fleet.end()
        written = records(postgresql)

    writers = {
        task_id: [writer for writer, _ in groupby(row[1] for row in some)]
        for task_id, some in groupby(written, lambda row: row[0])
    }
    handed_over = sum(len(some) - 1 for some in writers.values())
    print(f"seed {seed}: {done}, {len(written)} events, {handed_over} times another owner")
    assert [row for row in written if not row[4] or row[2] not in (row[1], None)] == []
    assert [row for row in written if row[2] is None and not row[3]] == []
    assert {task_id: some for task_id, some in writers.items() if len(set(some)) < len(some)} == {}
    assert [one["refused"] for one in answers] == [0, 0, 0]
    assert handed_over > 0
