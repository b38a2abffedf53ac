"""`opencode-a2a backup`: a copy that is taken under load serves as a database; nothing is overwritten by mistake."""

from __future__ import annotations

import os
import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from opencode_a2a.cli.main import main
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import Say
from opencode_a2a.server.store import open_store
from opencode_a2a.server.store.database.backup import BackupExistsError, back_up
from sansio.a2a.model import TaskState
from tests.shell.harness import CREDENTIALS, RPC_10, Agent, agent_at, agent_before, quick, served, until
from tests.shell.store_cases import event_row, task_row

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("vacuum", [False, True])
async def test_a_backup_under_load_is_whole_and_a_server_starts_on_it(
    anyio_backend: str, tmp_path: Path, vacuum: bool
) -> None:
    source, target = tmp_path / "tasks.db", tmp_path / "backup.db"
    known: list[str] = []
    async with agent_before(anyio_backend, None, task_store_database_url=f"sqlite:///{source}") as agent:

        async def send_on() -> None:
            while True:
                known.append((await agent.caller().send("hi")).id)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_on)
            await agent.until(lambda: len(known) >= 3)
            before = list(known)
            await anyio.to_thread.run_sync(lambda: back_up(source, target, vacuum=vacuum))
            count = len(known)
            await agent.until(lambda: len(known) > count)  # the server has gone on
            tasks.cancel_scope.cancel()

    assert target.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(target)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    async with agent_before(anyio_backend, None, task_store_database_url=f"sqlite:///{target}") as agent:
        for task_id in before:
            assert (await agent.caller().get(task_id)).status.state is TaskState.COMPLETED


async def test_after_a_rollback_no_id_of_an_event_stands_for_another(anyio_backend: str, tmp_path: Path) -> None:
    source, target = tmp_path / "tasks.db", tmp_path / "backup.db"
    fake_opencode = quick()

    async with served(anyio_backend, fake_opencode) as opencode:

        def agent(path: Path) -> AbstractAsyncContextManager[Agent]:
            url = f"sqlite:///{path}"
            settings = Settings(opencode_url=opencode, credentials=CREDENTIALS, task_store_database_url=url)
            return agent_at(anyio_backend, fake_opencode, settings)

        fake_opencode.hold(Say, tokens=5)
        async with agent(source) as first:
            task_id = (await first.caller().send("LONG 40", configuration=RPC_10.at_once())).id
            await until(lambda: "w4" in newest(source)[1])
            before, _ = newest(source)
            await anyio.to_thread.run_sync(back_up, source, target)
        async with agent(source) as upgraded, upgraded.caller().subscribed(task_id, before) as stream:
            fake_opencode.release()
            await stream.whole()
            seen = [event.number for event in stream.events[1:]]
        async with agent(target) as restored:
            await restored.caller().finished(task_id)
            again = await restored.caller().subscribe(task_id, before)
            resumed = [await restored.caller().subscribe(task_id, number) for number in seen]

    assert set(seen).isdisjoint(event.number for event in again.events)
    for stream in resumed:  # what the client has of events that this database never had is replaced
        assert [chunk.append for chunk in stream.chunks] == [False]
        assert (stream.text, stream.state) == ("".join(f"w{number} " for number in range(40)), "completed")


def newest(path: Path) -> tuple[int, str]:
    """The number of the newest event in a database, and the row that holds it."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute(
            "SELECT last_seq, body FROM opencode_a2a_task_event ORDER BY last_seq DESC"
        ).fetchone()
    return (0, "") if found is None else (found[0], str(found[1]))


async def test_what_is_committed_while_it_runs_is_there_as_one_moment_had_it(tmp_path: Path) -> None:
    source, target = tmp_path / "tasks.db", tmp_path / "backup.db"
    async with open_store(f"sqlite:///{source}") as store:
        for number in range(200):
            name = f"task-{number}"
            await store.commit([task_row(name, finished=True, body=b"{}" * 500), event_row(1, task_id=name)])
            if number == 100:
                await anyio.to_thread.run_sync(back_up, source, target)

    with closing(sqlite3.connect(target)) as database:
        tasks, events = (
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("opencode_a2a_task", "opencode_a2a_task_event")
        )
    assert tasks == events == 101


async def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    source, target = tmp_path / "tasks.db", tmp_path / "backup.db"
    async with open_store(f"sqlite:///{source}"):
        pass
    target.write_text("mine")

    with pytest.raises(BackupExistsError):
        back_up(source, target)
    with pytest.raises(BackupExistsError):
        back_up(source, source, overwrite=True)
    assert target.read_text() == "mine"

    assert back_up(source, target, overwrite=True) == target.stat().st_size
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    ("ending", "through"),
    [
        *((ending, way) for ending in ("", "-wal", "-shm", ".lock") for way in ("its name", "its folder", "a link")),
        ("-journal", "its name"),  # SQLite has no such file now, but it could come
    ],
)
async def test_no_file_of_the_database_itself_is_overwritten(tmp_path: Path, ending: str, through: str) -> None:
    """A server that runs would go on writing into a file that has no name any more."""
    folder = tmp_path / "data"
    folder.mkdir()
    source = folder / "tasks.db"
    target = folder / f"tasks.db{ending}"
    (tmp_path / "link").symlink_to(folder)
    async with open_store(f"sqlite:///{source}") as store:
        await store.commit([task_row("task-1")])
        if through == "its folder":
            target = tmp_path / "link" / target.name
        elif through == "a link":
            target = tmp_path / "other.db"
            target.symlink_to(folder / f"tasks.db{ending}")
        before = sorted((path.name, path.stat().st_ino) for path in folder.iterdir())
        with pytest.raises(BackupExistsError, match="belongs to the database itself"):
            back_up(source, target, overwrite=True)
        assert sorted((path.name, path.stat().st_ino) for path in folder.iterdir()) == before
        await store.commit([task_row("task-2")])
    async with open_store(f"sqlite:///{source}") as store:
        assert len(await store.unfinished()) == 2


async def test_the_database_of_a_server_that_runs_is_not_overwritten(tmp_path: Path) -> None:
    source, running = tmp_path / "tasks.db", tmp_path / "running.db"
    async with open_store(f"sqlite:///{source}"), open_store(f"sqlite:///{running}"):
        with pytest.raises(BackupExistsError, match=f"a server that runs, process {os.getpid()}"):
            back_up(source, running, overwrite=True)
    assert back_up(source, running, overwrite=True) > 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://me:secret-7f@db.example/tasks", "pg_dump"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///missing.db", "there is no database file"),
    ],
)
def test_a_store_without_a_file_is_refused(
    url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A2A_TASK_STORE_DATABASE_URL", url)

    code = main(["backup", "copy.db"])

    assert code == 2
    error = capsys.readouterr().err
    assert says in error
    assert "secret-7f" not in error
    assert not (tmp_path / "copy.db").exists()
