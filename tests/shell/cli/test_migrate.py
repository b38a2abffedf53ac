"""`opencode-a2a migrate`: a file of an earlier release goes into any store, once, and is not changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from opencode_a2a.cli.main import main
from opencode_a2a.server.store import TaskQuery, open_store
from tests.shell.earlier_databases import VERSIONS, Earlier
from tests.shell.harness import RUNTIMES
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import postgresql_url as postgresql_url

CREDENTIALS = (
    '[{"scheme": "bearer", "token": "tok-31e5a0", "principal": "alice"},'
    ' {"scheme": "bearer", "token": "tok-77b1c2", "principal": "bob"}]'
)


@pytest.fixture(name="source", params=VERSIONS)
def earlier_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "earlier.db"
    made = Earlier(f"sqlite:///{path}", request.param)
    made.create()
    for who in ("alice", "bob"):
        made.owner(f"ses_{who}", who)
        made.binding(who, f"context-of-{who}", f"ses_{who}")
        made.task(f"task-of-{who}", f"context-of-{who}", who, f"ses_{who}", "completed")
    made.task("waiting", "context-of-bob", "bob", "ses_bob", "input-required")
    made.interrupt("per_1", "permission", "waiting", 4_000_000_000.0)
    return path


def content(path: Path) -> tuple[str, list[str]]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return digest, sorted(one.name for one in path.parent.iterdir() if one.name.startswith("earlier"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_is_counted_then_imported_once(
    runtime: str,
    source: Path,
    durable_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(source.parent)
    given = {"A2A_TASK_STORE_DATABASE_URL": durable_url, "A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS}
    for name, value in {**given, "A2A_RUNTIME": runtime}.items():
        monkeypatch.setenv(name, value)
    before = content(source)

    assert main(["migrate", "--from", str(source), "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert not (source.parent / "tasks.db").exists()
    assert main(["migrate", "--from", str(source)]) == 0
    done = capsys.readouterr().out
    assert main(["migrate", "--from", str(source)]) == 0
    again = capsys.readouterr().out
    assert main(["migrate", "--from", str(source), "--dry-run"]) == 0

    assert dry.splitlines()[1:] == done.splitlines()[1:]
    assert [line.split() for line in done.splitlines()[1:4]] == [["2", "owners"], ["2", "bindings"], ["3", "tasks"]]
    assert "1  interrupts, noted in their tasks" in done
    assert again == "imported:\n  nothing new\n"
    assert content(source) == before

    async def stored() -> tuple[list[str], str | None]:
        async with open_store(durable_url) as store:
            page = await store.tasks(TaskQuery(principal="bob", limit=10))
            return sorted(row.task_id for row in page.rows), await store.owner_of("ses_alice")

    assert RUNTIMES[runtime].run(stored) == (["task-of-bob", "waiting"], "alice")


def test_a_principal_that_nobody_has_stops_it(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(source.parent)
    monkeypatch.setenv("A2A_TASK_STORE_DATABASE_URL", "sqlite:///new.db")

    code = main(["migrate", "--from", "earlier.db", "--dry-run"])

    assert code == 2
    assert "A2A_IMPORT_PRINCIPALS" in capsys.readouterr().err
    assert not (source.parent / "new.db").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("earlier.db", "the configured store itself"), ("other.db", "no tables"), ("none.db", "no file")],
)
def test_a_file_that_is_no_source_is_refused(
    name: str, says: str, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(source.parent)
    url = "sqlite:///earlier.db" if name == "earlier.db" else "sqlite:///new.db"
    monkeypatch.setenv("A2A_TASK_STORE_DATABASE_URL", url)
    (source.parent / "other.db").write_bytes(b"")

    code = main(["migrate", "--from", name, "--dry-run"])

    assert code == 2
    assert says in capsys.readouterr().err
