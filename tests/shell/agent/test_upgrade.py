"""The databases of 0.7.1 and 1.4.0 are imported: everybody keeps what they own, and nobody else gets it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import unquote

import anyio
import pytest

from opencode_a2a.agent.application import application
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.server.store import SchemaError
from sansio.a2a.model import Task, TaskState
from sansio.access import Credential, CredentialSet
from tests.shell.earlier_databases import VERSIONS, Earlier
from tests.shell.folding import text_of
from tests.shell.harness import ALICE, BOB, CREDENTIALS, DEADLINE, Agent, agent_at, client, quick, served
from tests.shell.method_calls import Methods
from tests.shell.refusals import refusal, wrong
from tests.shell.store_cases import any_durable_url, postgresql_url

pytestmark = pytest.mark.anyio
__all__ = ["any_durable_url", "postgresql_url"]

VERSION_ON = dict(zip(("asyncio", "trio"), VERSIONS, strict=True))
HERS, HIS, CLAIMED = "alices-context", "bobs-context", "claimed-context"


@pytest.fixture
def earlier(anyio_backend: str, durable_url: str) -> Earlier:
    """A database of an earlier release, with nothing in it yet. Each release is read on one runtime."""
    made = Earlier(durable_url, VERSION_ON[anyio_backend])
    made.create()
    return made


Starting = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def starting(anyio_backend: str, durable_url: str) -> Starting:
    """Starts this server on that database, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str, **more: Any) -> AbstractAsyncContextManager[Agent]:
        given: dict[str, Any] = {"opencode_url": url, "credentials": CREDENTIALS, **more}
        return agent_at(anyio_backend, fake_opencode, Settings(task_store_database_url=durable_url, **given))

    return start


@asynccontextmanager
async def opencode(anyio_backend: str) -> AsyncGenerator[tuple[FakeOpenCode, str, list[str]]]:
    """An OpenCode with three sessions that it made for an earlier release."""
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url, client(url, None) as http:
        yield fake_opencode, url, [str((await http.post("/session", json={})).json()["id"]) for _ in range(3)]


def fill(earlier: Earlier, hers: str, his: str) -> None:
    """Alice and Bob with a session, a binding and a task each."""
    for who, context_id, session_id in (("alice", HERS, hers), ("bob", HIS, his)):
        earlier.owner(session_id, who)
        earlier.binding(who, context_id, session_id)
        earlier.task(f"task-of-{who}", context_id, who, session_id, "completed")


def named(session_id: str) -> dict[str, Any]:
    return {"shared": {"session": {"id": session_id}}}


def session_of(task: Task) -> str:
    return str((task.metadata or {})["shared"]["session"]["id"])


async def test_everybody_keeps_their_sessions_and_gets_no_others(
    anyio_backend: str, earlier: Earlier, starting: Starting
) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, his, _]):
        fill(earlier, hers, his)
        async with starting(fake_opencode, url, allow_session_claims=True) as agent:
            for own, other, bob in ((hers, his, False), (his, hers, True)):
                caller = agent.caller(bob=bob)
                methods = Methods(agent.bob if bob else agent.http, "1.0")
                reading = {"session_id": other}

                assert await methods.reason("opencode.sessions.messages.list", reading) == "SESSION_FORBIDDEN"
                refused = await caller.refused(metadata=named(other))
                assert refusal(caller.wire, refused) == wrong(caller.wire, "metadata.shared.session.id")
                listed = str(await methods.result("opencode.sessions.list", {}))
                assert (own in listed, other in listed) == (True, False)
                await methods.result("opencode.sessions.messages.list", {"session_id": own})
                assert (await caller.send("COUNT", metadata=named(own))).status.state is TaskState.COMPLETED


async def test_the_message_of_an_imported_task_is_known_when_it_is_sent_again(
    anyio_backend: str, earlier: Earlier, starting: Starting
) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, his, _]):
        fill(earlier, hers, his)
        async with starting(fake_opencode, url) as agent:
            message = {"messageId": "message-task-of-alice"}
            known = [await agent.caller().send("hi", **message, **more) for more in ({}, {"metadata": named(hers)})]
            other = await agent.caller().send("COUNT", **message)
            theirs = await agent.caller(bob=True).send("hi", **message)

            assert [task.id for task in known] == ["task-of-alice"] * 2
            assert "task-of-alice" not in (other.id, theirs.id)
            assert agent.asked("POST", "/prompt_async") == 2


async def test_a_context_goes_on_in_its_session(anyio_backend: str, earlier: Earlier, starting: Starting) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, his, _]):
        fill(earlier, hers, his)
        async with starting(fake_opencode, url) as agent:
            mine = await agent.caller().send("COUNT", contextId=HERS)
            same_name = await agent.caller(bob=True).send("COUNT", contextId=HERS)

            assert session_of(mine) == hers
            assert session_of(same_name) not in (hers, his)


async def test_a_context_goes_on_in_the_directory_of_its_session(
    anyio_backend: str, earlier: Earlier, starting: Starting, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("workspace").resolve()
    (root / "below").mkdir()
    async with opencode(anyio_backend) as (fake_opencode, url, _), client(url, None) as http:
        made = await http.post("/session", json={}, params={"directory": str(root / "below")})
        session_id = str(made.json()["id"])
        earlier.owner(session_id, "alice")
        earlier.binding("alice", HERS, session_id)
        async with starting(fake_opencode, url, workspace_root=str(root)) as agent:
            await agent.caller().send("COUNT", contextId=HERS)

        [prompt] = [one for one in fake_opencode.requests if one.path.endswith("/prompt_async")]
        assert unquote(unquote(prompt.target)).endswith(str(root / "below"))


async def test_tasks_are_their_owners(anyio_backend: str, earlier: Earlier, starting: Starting) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, his, _]):
        fill(earlier, hers, his)
        async with starting(fake_opencode, url) as agent:
            for who, other, bob in (("alice", "bob", False), ("bob", "alice", True)):
                caller = agent.caller(bob=bob)
                task = await caller.get(f"task-of-{who}")

                assert (task.status.state, text_of(task)) == (TaskState.COMPLETED, "hi")
                assert [one["id"] for one in (await caller.page())["tasks"]] == [f"task-of-{who}"]
                assert "error" in (await caller.ask("get", {"id": f"task-of-{other}"})).json()


async def test_a_task_without_a_session_is_the_only_principals(durable_url: str, starting: Starting) -> None:
    earlier = Earlier(durable_url, "0.7.1")
    earlier.create()
    earlier.owner("ses_hers", "alice")
    earlier.task("refused-at-once", "context-of-nobody", "alice", None, "failed")
    alone = CredentialSet(tuple(one for one in CREDENTIALS.credentials if one.principal == "alice"))
    fake_opencode = quick()

    async with starting(fake_opencode, "http://127.0.0.1:9", credentials=alone) as agent:
        task = await agent.caller().get("refused-at-once")

    assert task.status.state is TaskState.FAILED


async def test_an_unfinished_task_ends_with_a_reason_and_its_prompt_is_not_sent_again(
    anyio_backend: str, earlier: Earlier, starting: Starting
) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, *_]):
        earlier.owner(hers, "alice")
        earlier.binding("alice", HERS, hers)
        earlier.task("working", HERS, "alice", hers, "working")
        earlier.task("asking", HERS, "alice", hers, "input-required")
        earlier.interrupt("per_1", "permission", "asking", time.time() + 600)
        async with starting(fake_opencode, url) as agent:
            tasks = [await agent.caller().get(task_id) for task_id in ("working", "asking")]

            assert [task.status.state for task in tasks] == [TaskState.FAILED] * 2
            assert "upgraded" in str(tasks[0].status.message)
            assert "permission per_1" in str(tasks[1].status.message)
            assert agent.asked("POST", "/prompt_async") == 0


async def test_a_claim_that_is_still_good_is_kept(anyio_backend: str, earlier: Earlier, starting: Starting) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [one, other, _]):
        earlier.claim(one, "alice", time.time() + 600)
        earlier.claim(other, "alice", time.time() - 1)
        async with starting(fake_opencode, url, allow_session_claims=True) as agent:
            caller = agent.caller(bob=True)

            refused = await caller.refused(metadata=named(one))
            assert refusal(caller.wire, refused) == wrong(caller.wire, "metadata.shared.session.id")
            assert (await caller.send("hi", metadata=named(other))).status.state is TaskState.COMPLETED
            assert (await agent.caller().send("hi", metadata=named(one))).status.state is TaskState.COMPLETED


async def test_it_is_imported_once_and_again_after_a_rollback(
    anyio_backend: str, earlier: Earlier, starting: Starting, caplog: pytest.LogCaptureFixture
) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, his, third]):
        fill(earlier, hers, his)
        logs: list[list[str]] = []
        for step in range(3):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                async with starting(fake_opencode, url) as agent:
                    await agent.caller().get("task-of-alice")
                    if step == 2:
                        methods = Methods(agent.bob, "1.0")
                        reason = await methods.reason("opencode.sessions.get", {"session_id": third})
                        assert reason == "SESSION_FORBIDDEN"
            logs.append([one.getMessage() for one in caplog.records if "imported" in one.getMessage()])
            if step == 1:
                earlier.owner(third, "alice")  # by the earlier release, started once more

    assert [len(lines) for lines in logs] == [1, 0, 1]
    assert "2 owners, 2 bindings, 2 tasks" in logs[0][0]
    assert ": 1 owners" in logs[2][0]


# --- what is not clear stops the start --------------------------------------------------------------------


async def refused_to_start(url: str, **more: Any) -> str:
    settings = Settings(rate_limit_enabled=False, task_store_database_url=url, **{"credentials": CREDENTIALS, **more})
    with pytest.raises(SchemaError) as caught:
        async with application(settings):
            pass
    return str(caught.value)


async def test_an_owner_whom_no_credential_names_stops_it_until_somebody_says_who_that_is(
    anyio_backend: str, earlier: Earlier, starting: Starting
) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, his, _]):
        fill(earlier, hers, his)
        earlier.owner("ses_of_dora", "dora")
        said = await refused_to_start(earlier.url)

        assert "'dora'" in said
        assert "A2A_IMPORT_PRINCIPALS" in said
        async with starting(fake_opencode, url, import_principals={"dora": "bob"}) as agent:
            alice = Methods(agent.http, "1.0")
            assert await alice.reason("opencode.sessions.get", {"session_id": "ses_of_dora"}) == "SESSION_FORBIDDEN"


async def test_the_name_that_releases_before_0_7_gave_a_token_is_known(
    anyio_backend: str, earlier: Earlier, starting: Starting
) -> None:
    # the first twelve digits of the token's SHA-256
    identity = "bearer:cae7591194de"
    credentials = CredentialSet(
        (Credential.bearer("the-old-token", principal="alice"), Credential.bearer(BOB, principal="bob"))
    )
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, *_]):
        earlier.owner(hers, identity)
        async with starting(fake_opencode, url, credentials=credentials) as agent:
            agent.http.headers["authorization"] = "Bearer the-old-token"
            assert (await agent.caller().send("hi", metadata=named(hers))).status.state is TaskState.COMPLETED


async def test_a_session_of_two_principals_stops_it(earlier: Earlier) -> None:
    earlier.binding("alice", HERS, "ses_1")
    earlier.binding("bob", HIS, "ses_1")

    said = await refused_to_start(earlier.url)

    assert "ses_1" in said
    assert "DELETE FROM a2a_session_bindings" in said


async def test_a_session_that_somebody_else_owns_by_now_stops_it(
    anyio_backend: str, earlier: Earlier, starting: Starting
) -> None:
    async with opencode(anyio_backend) as (fake_opencode, url, [hers, *_]):
        async with starting(fake_opencode, url, allow_session_claims=True) as agent:
            await agent.caller(bob=True).send("hi", metadata=named(hers))
        earlier.owner(hers, "alice")

        said = await refused_to_start(earlier.url)

    assert hers in said
    assert "'alice'" in said
    assert "'bob'" in said


async def test_tables_that_are_not_understood_stop_it_and_nothing_is_written(earlier: Earlier) -> None:
    earlier.execute([("ALTER TABLE a2a_session_owners RENAME COLUMN identity TO somebody", {})])

    assert "a2a_session_owners" in await refused_to_start(earlier.url)
    assert "a2a_session_owners" in await refused_to_start(earlier.url)


async def test_a_table_of_somebody_elses_tasks_is_left_alone(durable_url: str) -> None:
    other = Earlier(durable_url, "0.7.1")
    other.execute([("CREATE TABLE tasks (id INTEGER, what VARCHAR)", {}), ("INSERT INTO tasks VALUES (1, 'x')", {})])

    with anyio.fail_after(DEADLINE):
        async with application(Settings(task_store_database_url=durable_url, credentials=CREDENTIALS)):
            pass


async def test_a_generated_token_is_not_taken_for_the_owner(earlier: Earlier) -> None:
    earlier.owner("ses_1", "alice")

    assert "'alice'" in await refused_to_start(
        earlier.url, credentials=CredentialSet((Credential.bearer(ALICE, principal="local"),))
    )
