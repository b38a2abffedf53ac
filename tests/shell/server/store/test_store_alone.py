"""A database has one server at a time: the second is refused and told which has it, and a crash is no obstacle."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from opencode_a2a.server.store import StoreGoneError, StoreInUseError, open_store, sql
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import postgresql_url as postgresql_url
from tests.shell.store_cases import task_row

pytestmark = pytest.mark.anyio

HOLDER = """
import sys
import anyio
from opencode_a2a.server.store import open_store

async def main():
    async with open_store(sys.argv[1]):
        print("open", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def test_a_second_store_on_a_database_is_refused_and_the_first_is_not_disturbed(
    durable_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "OPEN_SECONDS", 0.9)
    async with open_store(durable_url) as first:
        with pytest.raises(StoreInUseError, match="another opencode-a2a") as refused:
            async with open_store(durable_url):
                pass
        await first.commit([task_row()])
        assert await first.task("task-1") is not None
    async with open_store(durable_url) as again:
        assert await again.task("task-1") is not None
    if durable_url.startswith("sqlite"):
        assert f"process {os.getpid()};" in str(refused.value)


async def test_the_process_that_has_a_database_is_named_and_its_crash_gives_it_up(
    durable_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await anyio.open_process([sys.executable, "-c", HOLDER, durable_url], stderr=None)
    try:
        assert holder.stdout is not None
        assert (await holder.stdout.receive()).startswith(b"open")
        with monkeypatch.context() as hasty:
            hasty.setattr(sql, "OPEN_SECONDS", 0.9)
            with pytest.raises(StoreInUseError) as refused:
                async with open_store(durable_url):
                    pass
    finally:
        holder.kill()
        await holder.aclose()
    async with open_store(durable_url) as store:
        await store.commit([task_row()])

    if durable_url.startswith("sqlite"):
        assert f"process {holder.pid};" in str(refused.value)


async def test_another_name_of_a_file_is_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    (tmp_path / "link.db").symlink_to(path)
    async with open_store(f"sqlite:///{path}"):
        with pytest.raises(StoreInUseError):
            async with open_store(f"sqlite:///{tmp_path / 'link.db'}"):
                pass


async def test_a_file_that_is_replaced_is_neither_read_nor_written(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store.commit([task_row()])
        away = path.rename(tmp_path / "away.db")
        path.write_bytes(b"somebody else's")
        with pytest.raises(StoreGoneError, match="deleted or replaced"):
            await store.commit([task_row("task-2")])
        with pytest.raises(StoreGoneError):
            await store.task("task-1")
        troubles = [store.trouble]
        assert path.read_bytes() == b"somebody else's"
        away.rename(path)
        await store.commit([task_row("task-3")])
        troubles.append(store.trouble)
        found = [await store.task(f"task-{number}") for number in (1, 2, 3)]

    assert [one is not None for one in found] == [True, False, True]
    assert [one is not None for one in troubles] == [True, False]


async def test_a_file_that_is_deleted_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store.commit([task_row()])
        path.unlink()
        with pytest.raises(StoreGoneError):
            await store.commit([task_row()])

    assert not path.exists()
