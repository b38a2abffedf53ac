"""Servers reach the database through PgBouncer, which gives each transaction whatever session is free."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest
from sqlalchemy import make_url

from opencode_a2a.cli.operator.doctor import examine
from opencode_a2a.cli.operator.local_checks import LoadedSettings
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.store import SharedOptions, Store, StoreUrlError, TaskTakenError, open_store
from opencode_a2a.server.store.database.engine import make_engine
from opencode_a2a.server.store.database.inspection import inspect_store
from opencode_a2a.server.store.database.urls import parse_database_url
from opencode_a2a.server.store.shared.listening_check import check_listening
from sansio.doctor.finding import Outcome
from sansio.doctor.listening import LISTENING
from sansio.doctor.store import judge_store
from tests.deploy.tools import program
from tests.shell.ports import free_port
from tests.shell.server.store.shared.cases import WAIT, ids, looking, shared
from tests.shell.store_cases import postgresql_url as postgresql_url
from tests.shell.store_cases import task_row

pytestmark = pytest.mark.anyio

_LEASE = 0.6


@pytest.fixture(scope="module")
def bouncer(postgresql_server: str) -> Iterator[str]:
    """The URL of the database through PgBouncer in transaction mode, as it is without further settings."""
    with _bouncing(postgresql_server) as url:
        yield url


@pytest.fixture(scope="module")
def lenient(postgresql_server: str) -> Iterator[str]:
    """The same through one that takes options of a connection, and ignores them."""
    with _bouncing(postgresql_server, "ignore_startup_parameters = options") as url:
        yield url


@contextmanager
def _bouncing(postgresql_server: str, *lines: str) -> Iterator[str]:
    command = program("pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    folder.chmod(0o755)
    url, port = make_url(postgresql_server), free_port()
    server = f"host={url.host} port={url.port} user={url.username}"
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = {server}\n"
        f"session = {server} dbname={url.database} pool_mode=session pool_size=9\n"
        f"few = {server} dbname={url.database} pool_mode=session pool_size=2\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 5\n" + "\n".join(lines)
    )
    account: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([command, str(folder / "pgbouncer.ini")], stdout=output, stderr=output, **account)
    through = url.set(port=port)
    try:
        deadline = time.monotonic() + WAIT
        while True:
            with suppress(psycopg.OperationalError), closing(psycopg.connect(through.render_as_string())):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield through.render_as_string()
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def through(bouncer: str, listening: str) -> Store:
    return open_store(bouncer, shared=True, options=SharedOptions(lease=_LEASE, listen_url=listening))


async def test_servers_share_the_database_through_a_pool_of_transactions(bouncer: str, postgresql: str) -> None:
    async with through(bouncer, postgresql) as first, through(bouncer, postgresql) as second:
        changes = second.ownership.changes()
        await anext(changes)
        # more often than the driver prepares a statement, and at once on more connections than there are sessions
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                await first.commit([task_row("a", last_seq=number)])
                tasks.start_soon(first.task, "a")
                tasks.start_soon(second.task, "a")
        with anyio.fail_after(WAIT):
            while "a" not in (await anext(changes)).task_ids:
                pass
        await anyio.sleep(1.5 * _LEASE)  # renewals pass
        with pytest.raises(TaskTakenError):
            await second.commit([task_row("a", last_seq=20)])
        living = [one.replica_id for one in await second.ownership.replicas()]
        found = await second.task("a")

    assert found is not None
    assert found.row.last_seq == 19
    assert len(living) == 2
    async with through(bouncer, postgresql) as third:
        assert ids(await third.ownership.adopt(10)) == ["a"]


async def test_a_pool_without_an_address_past_it_is_refused_with_what_to_set(bouncer: str, postgresql: str) -> None:
    with pytest.raises(StoreUrlError, match="set A2A_LISTEN_DATABASE_URL to a URL that leads past"):
        async with shared(bouncer):
            pass


CASES = {
    "the database itself": ("direct", None, None),
    "past the pool": ("bouncer", "direct", None),
    "a pool alone": ("bouncer", None, "A2A_LISTEN_DATABASE_URL to a URL that leads past"),
    "the pool to listen, too": ("bouncer", "bouncer", "A2A_LISTEN_DATABASE_URL itself leads to a pool"),
    "a pool to listen": ("direct", "bouncer", "A2A_LISTEN_DATABASE_URL itself leads to a pool"),
    "a pool that ignores options": ("lenient", None, "A2A_LISTEN_DATABASE_URL to a URL that leads past"),
    "such a pool to listen": ("direct", "lenient", "A2A_LISTEN_DATABASE_URL itself leads to a pool"),
    "a pool of sessions": ("sessions", None, None),
    "another database": ("direct", "other", "A2A_LISTEN_DATABASE_URL leads to another database"),
    "another database past the pool": ("bouncer", "other", "A2A_LISTEN_DATABASE_URL leads to another database"),
}


@pytest.fixture(scope="module")
def urls(postgresql_server: str, bouncer: str, lenient: str) -> Iterator[dict[str, str]]:
    """URLs of the database, by the way that leads there; and that of another one."""
    with looking(postgresql_server) as connection:
        connection.execute("CREATE DATABASE other")
        yield {
            "direct": postgresql_server,
            "bouncer": bouncer,
            "lenient": lenient,
            "sessions": make_url(lenient).set(database="session").render_as_string(),
            "other": make_url(postgresql_server).set(database="other").render_as_string(),
        }
        connection.execute("DROP DATABASE other WITH (FORCE)")


@pytest.mark.parametrize("case", CASES)
async def test_a_server_starts_where_the_check_up_finds_that_notifications_arrive(
    case: str, urls: dict[str, str], postgresql: str
) -> None:
    store, listen, fault = CASES[case]
    options = SharedOptions(lease=_LEASE, listen_url=listen and urls[listen])
    facts = await anyio.to_thread.run_sync(inspect_store, urls[store], options)
    failed = [row for row in judge_store(facts) if row.outcome is Outcome.FAIL]

    if fault is None:
        async with open_store(urls[store], shared=True, options=options) as opened:
            assert await opened.ownership.replicas()
        assert not failed
    else:
        [row] = failed
        assert fault in f"{row.detail}; {row.remedy}"
        with pytest.raises(StoreUrlError, match=re.escape(f"{row.detail}; {row.remedy}")):
            async with open_store(urls[store], shared=True, options=options):
                pass


async def test_a_pool_is_found_however_many_sessions_it_has_idle(lenient: str, postgresql: str) -> None:
    engine = make_engine(parse_database_url(lenient))
    with ExitStack() as stack:
        for _ in range(3):  # all of them are idle after that
            stack.enter_context(closing(psycopg.connect(lenient))).execute("SELECT 1")

    found = [check_listening(engine, parse_database_url(lenient), has_url=True) for _ in range(5)]

    assert [(facts.is_direct, facts.moves) for facts in found] == [(False, True)] * 5


async def test_the_command_shows_the_row_that_keeps_a_server_from_starting(
    urls: dict[str, str], postgresql: str
) -> None:
    settings = Settings(
        opencode_url="http://127.0.0.1:1",
        port=free_port(),
        task_store_database_url=urls["bouncer"],
        listen_database_url=urls["other"],
    )

    found = await examine(LoadedSettings(settings, (), ()))

    [row] = [row for row in found if row.check == LISTENING]
    assert row.outcome is Outcome.FAIL
    assert "another database" in row.detail


def test_a_pool_that_keeps_sessions_and_has_few_is_enough_to_listen(lenient: str) -> None:
    few = parse_database_url(make_url(lenient).set(database="few").render_as_string())

    facts = check_listening(make_engine(few), few, has_url=False)

    assert (facts.is_direct, facts.moves, facts.arrived) == (False, False, True)


async def test_a_url_to_listen_that_cannot_be_reached_is_found_by_the_check_up_alone(postgresql: str) -> None:
    options = SharedOptions(lease=60.0, listen_url="postgresql://ada:s3cret@127.0.0.1:1/nowhere")

    facts = await anyio.to_thread.run_sync(inspect_store, postgresql, options)
    async with open_store(postgresql, shared=True, options=options):
        pass

    [row] = [row for row in judge_store(facts) if row.outcome is Outcome.FAIL]
    assert row.check == LISTENING
    assert "refused" in row.detail
    assert "s3cret" not in row.detail


async def test_a_primary_that_listens_for_another_user_without_rights_is_enough(postgresql: str) -> None:
    with looking(postgresql) as connection:
        connection.execute("CREATE ROLE listener LOGIN")
        try:
            options = SharedOptions(listen_url=make_url(postgresql).set(username="listener").render_as_string())
            facts = await anyio.to_thread.run_sync(inspect_store, postgresql, options)
        finally:
            connection.execute("DROP ROLE listener")

    assert facts.listening is not None
    assert facts.listening.arrived
