"""Databases that 0.7.1 and 1.4.0 have really written are imported, and this server goes on from there."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from attrs import frozen

from opencode_a2a.client import ClientOptions, connect
from opencode_a2a.server.runtimes import find_runtime
from sansio.a2a.model import Message, Task, TaskState, TextPart
from sansio.redact import Secret
from tests.interop.driver import ROOT
from tests.interop.upgrade.earlier import (
    CREDENTIALS,
    RELEASES,
    SECONDS,
    TOKENS,
    WORDS,
    Written,
    answer_in_opencode,
    in_opencode,
)
from tests.real.adapter import environment, running_adapter

pytestmark = pytest.mark.interop

VERSIONS = ("0.3", "1.0")
RUNS = tuple(zip(RELEASES, ("asyncio", "trio"), strict=True))
"""Each release, and the runtime of the server that goes on: what is imported comes by no event loop."""


@frozen(kw_only=True)
class Migrated:
    """A store of ours with what a release has written, in a folder of its own."""

    written: Written
    runtime: str
    folder: Path

    def migrate(self, source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["migrate", "--from", str(source), *arguments]
        return subprocess.run(
            [sys.executable, "-m", "opencode_a2a", *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.folder) | {
            "A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS,
            "A2A_RUNTIME": self.runtime,
            "OPENCODE_WORKSPACE_ROOT": str(self.written.database.parent),
            "PYTHONPATH": str(ROOT),
        }

    @contextmanager
    def served(self) -> Iterator[str]:
        """The URL of our server on that store, before the OpenCode of the release."""
        with running_adapter(self.runtime, self.folder, self.written.opencode, self.environment) as adapter:
            yield adapter.url


@pytest.fixture(name="migrated", params=RUNS, ids="-".join)
def migrated_store(request: pytest.FixtureRequest, written_of: Callable[[str], Written], tmp_path: Path) -> Migrated:
    version, runtime = request.param
    return Migrated(written=written_of(version), runtime=runtime, folder=tmp_path)


def content(database: Path) -> dict[str, str]:
    """Digests of a database file and its log."""
    files = [one for end in ("", "-wal") if (one := Path(f"{database}{end}")).exists()]
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


def counts_in(text: str) -> dict[str, int]:
    """The lines of what was imported."""
    rows = [line.split(maxsplit=1) for line in text.splitlines()[1:]]
    return {what: int(count) for count, what in rows}


def read(migrated: Migrated, url: str, version: str) -> dict[str, Task]:
    """Every task, by its owner and on one protocol version."""
    written = migrated.written

    async def reading() -> dict[str, Task]:
        found = {}
        for who in TOKENS:
            async with connect(url, ClientOptions(bearer=Secret(TOKENS[who]), version=version)) as agent:
                for task_id, owner in written.owners.items():
                    if owner == who and task_id not in written.left_out:
                        found[task_id] = await agent.get_task(task_id)
        return found

    return find_runtime(migrated.runtime).run(reading)


def send(migrated: Migrated, url: str, who: str, text: str, context_id: str) -> Task:
    async def sending() -> Task | Message:
        async with connect(url, ClientOptions(bearer=Secret(TOKENS[who]))) as agent:
            return await agent.send(text, context_id=context_id)

    answer = find_runtime(migrated.runtime).run(sending)
    assert isinstance(answer, Task)
    return answer


def text_of(task: Task) -> str:
    return "".join(part.text for one in task.artifacts for part in one.parts if isinstance(part, TextPart))


def outputs_of(task: Task) -> list[tuple[object, ...]]:
    """The artifacts, without metadata: those of a stream are for clients that ask for them."""
    return [(one.artifact_id, one.name, one.description, one.parts) for one in task.artifacts]


def test_every_task_is_there_with_its_text_and_its_state(migrated: Migrated) -> None:
    written = migrated.written
    rows = {row["id"] for row in written.rows("tasks")}
    before = content(written.database)
    dry = migrated.migrate(written.database, "--dry-run")
    done = migrated.migrate(written.database)
    again = migrated.migrate(written.database)

    assert done.returncode == 0, done.stderr
    assert counts_in(done.stdout) == counts_in(dry.stdout)
    left_out = written.left_out
    assert counts_in(done.stdout)["tasks"] == len(rows - left_out)
    assert counts_in(done.stdout).get("tasks of unknown owners, left out", 0) == len(left_out)
    assert again.stdout.splitlines()[1] == "  nothing new"
    assert again.stdout.splitlines()[2:] == [line for line in done.stdout.splitlines() if line.endswith("left out")]
    assert content(written.database) == before

    with migrated.served() as url:
        for version in VERSIONS:
            found = read(migrated, url, version)
            assert found.keys() == rows - left_out
            for task_id, task in written.tasks.items():
                if task_id in left_out:
                    continue
                assert outputs_of(found[task_id]) == outputs_of(task)
                assert found[task_id].history == task.history
                state = task.status.state if task.status.state.terminal else TaskState.FAILED
                assert found[task_id].status.state is state
                assert found[task_id].context_id == task.context_id
    words = [text_of(task) for task in found.values() if task.context_id == "ctx-words"]
    assert [text.endswith(WORDS[-20:]) for text in words] == [True]


def test_a_message_goes_on_in_the_session_of_its_context(migrated: Migrated) -> None:
    written = migrated.written
    assert migrated.migrate(written.database).returncode == 0

    with migrated.served() as url:
        task = send(migrated, url, "alice", f"ECHO further {migrated.runtime}", context_id="ctx-file")
        foreign = send(migrated, url, "bob", "ECHO not yours", context_id="ctx-file")

    session = written.session_of("ctx-file")
    messages = in_opencode(written.opencode, f"/session/{session}/message", written.database.parent)
    said = [part.get("text", "") for message in messages for part in message["parts"]]
    assert (task.status.state, text_of(task)) == (TaskState.COMPLETED, f"further {migrated.runtime}")
    assert f"ECHO further {migrated.runtime}" in said
    assert foreign.status.state is TaskState.COMPLETED  # in a context of its own caller, with a session of its own
    assert "ECHO not yours" not in said


def test_what_waits_is_named_and_its_context_goes_on_once_it_is_answered(migrated: Migrated) -> None:
    """The task has ended, and its turn in OpenCode waits still: there it is answered, and a message goes on."""
    written = migrated.written
    folder = written.database.parent
    context_id = f"ctx-permission-{migrated.runtime}"
    [asked] = [one for one in written.rows("a2a_interrupt_requests") if one["context_id"] == context_id]
    assert migrated.migrate(written.database).returncode == 0

    with migrated.served() as url:
        ended = read(migrated, url, "1.0")[written.asking[context_id]]
        waiting = [one["id"] for one in in_opencode(written.opencode, "/permission", folder)]
        answer_in_opencode(written.opencode, f"/permission/{asked['request_id']}/reply", folder, {"reply": "once"})
        task = send(migrated, url, "alice", "ECHO and now", context_id=context_id)

    assert ended.status.message is not None
    assert f"permission {asked['request_id']}: answer it in OpenCode" in repr(ended.status.message.parts)
    assert asked["request_id"] in waiting
    assert (task.status.state, text_of(task)) == (TaskState.COMPLETED, "and now")


REFUSED = {
    "damaged": "malformed",
    "cut": "malformed",
    "no database": "not a database",
    "foreign": "no tables of an earlier opencode-a2a",
    "incomplete": "who owns which session cannot be read",
    "ours": "no tables of an earlier opencode-a2a",
    "away": "there is no file",
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_cannot_be_imported_is_refused_and_nothing_is_written(what: str, migrated: Migrated) -> None:
    source = migrated.folder / "source.db"
    spoil(migrated.written.database, source, what)
    before = content(source)

    refused = migrated.migrate(source)

    assert refused.returncode == 2
    assert REFUSED[what] in refused.stderr
    assert "Traceback" not in refused.stderr
    assert content(source) == before
    assert migrated.migrate(migrated.written.database).returncode == 0  # the store has taken no harm


def test_a_store_that_a_server_has_is_not_written(migrated: Migrated) -> None:
    with migrated.served():
        refused = migrated.migrate(migrated.written.database)

    assert refused.returncode == 2
    assert "is in use by another opencode-a2a, process" in refused.stderr
    assert "Traceback" not in refused.stderr


def spoil(written: Path, source: Path, what: str) -> None:
    """Make a file of a database that a release has written."""
    if what == "away":
        return
    with (
        closing(sqlite3.connect(f"file:{written}?mode=ro", uri=True)) as whole,
        closing(sqlite3.connect(source)) as copy,
    ):
        whole.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        if what == "incomplete":
            copy.execute("ALTER TABLE a2a_session_owners RENAME TO owners_of_sessions")
        names = [name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if what in ("foreign", "ours"):
            for name in names:
                if not name.startswith("sqlite_"):
                    copy.execute(f"DROP TABLE {name}")
            copy.execute("CREATE TABLE opencode_a2a_schema (version_num)" if what == "ours" else "CREATE TABLE x (y)")
        copy.commit()
    if what == "no database":
        source.write_bytes(b"no database at all" * 1000)
    if what == "cut":
        source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    if what == "damaged":
        whole_file = bytearray(source.read_bytes())
        whole_file[4096:] = b"\xff" * (len(whole_file) - 4096)
        source.write_bytes(whole_file)
