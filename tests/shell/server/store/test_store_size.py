"""The size of a store as the metrics have it: measured now and then, for any store."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from opencode_a2a.metrics.prometheus import PrometheusMeters
from opencode_a2a.server.store import open_store, size_watch
from opencode_a2a.server.store.size_watch import watch_size
from tests.shell.harness import DEADLINE
from tests.shell.store_cases import any_url as any_url
from tests.shell.store_cases import postgresql_url as postgresql_url
from tests.shell.store_cases import task_row

pytestmark = pytest.mark.anyio


async def test_the_size_of_the_store_is_read_from_time_to_time_and_by_no_scrape(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(size_watch, "INTERVAL", 0.02)
    meters = PrometheusMeters()
    async with open_store(url) as store, anyio.create_task_group() as tasks:
        assert (await sizes(meters)) == (None, None)
        tasks.start_soon(watch_size, store, meters)
        await store.commit([task_row("t1"), task_row("t2", body=b'"%b"' % (b"x" * 90000))])
        size = await once_tasks_are(2, meters)
        tasks.cancel_scope.cancel()

    assert size is None if url == "memory" else size is not None and size > 90000


async def test_a_store_that_cannot_be_read_has_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_watch, "INTERVAL", 0.02)
    meters, file = PrometheusMeters(), tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{file}") as store, anyio.create_task_group() as tasks:
        tasks.start_soon(watch_size, store, meters)
        assert await once_tasks_are(0, meters)
        file.rename(tmp_path / "elsewhere.db")
        assert await once_tasks_are(None, meters) is None
        tasks.cancel_scope.cancel()


async def once_tasks_are(wanted: int | None, meters: PrometheusMeters) -> float | None:
    """The bytes of the store once it has so many tasks."""
    with anyio.fail_after(DEADLINE):
        while True:
            size, tasks = await sizes(meters)
            if tasks == wanted:
                return size
            await anyio.sleep(0.01)


async def sizes(meters: PrometheusMeters) -> tuple[float | None, float | None]:
    """The bytes and the tasks of the store, as the metrics have them."""
    families = text_string_to_metric_families((await meters.text()).decode())
    found = {sample.name: sample.value for one in families for sample in one.samples}
    return found.get("a2a_store_size_bytes"), found.get("a2a_store_tasks")
