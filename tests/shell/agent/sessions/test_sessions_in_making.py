"""A session that the server makes belongs to its caller from before the request goes out: nobody else gets it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO
from sansio.a2a.model import Task, TaskState
from tests.shell.folding import text_of
from tests.shell.harness import CREDENTIALS, Agent, Serving, agent_at, quick, served, until
from tests.shell.method_calls import Methods

pytestmark = pytest.mark.anyio

PARTS = [{"type": "text", "text": "What did they say?"}]


def named(session_id: str) -> dict[str, Any]:
    return {"shared": {"session": {"id": session_id}}}


def session_of(task: Task) -> str:
    return str((task.metadata or {})["shared"]["session"]["id"])


async def attempts(agent: Agent, session_id: str, *, bob: bool) -> dict[str, bool]:
    """Which ways to a session are open to a caller."""
    methods = Methods(agent.bob if bob else agent.http, "1.0")
    listed = (await methods.result("opencode.sessions.list", {}))["items"]
    read = await methods.answer("opencode.sessions.messages.list", {"session_id": session_id})
    prompt = {"session_id": session_id, "request": {"parts": PARTS}}
    prompted = await methods.answer("opencode.sessions.prompt_async", prompt)
    caller = agent.caller(bob=bob)
    sent = (await caller.ask("send", caller.params("hi", {"metadata": named(session_id)}))).json()
    return {
        "listed": any(session_id in str(item) for item in listed),
        "read": "result" in read,
        "prompted": "result" in prompted,
        "sent": "result" in sent and sent["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED",
    }


NOTHING = {"listed": False, "read": False, "prompted": False, "sent": False}
EVERYTHING = dict.fromkeys(NOTHING, True)


@asynccontextmanager
async def sending(agent: Agent) -> AsyncGenerator[tuple[str, list[Task]]]:
    """While it is entered, OpenCode has made a session for Alice's message and has not answered yet."""
    answered = agent.fake_opencode.answer_late("POST", "/session")
    sent: list[Task] = []

    async def send() -> None:
        sent.append(await agent.caller().send("hi"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await until(lambda: agent.fake_opencode.sessions)
        [session_id] = agent.fake_opencode.sessions
        try:
            yield session_id, sent
        finally:
            answered.set()


@pytest.mark.parametrize("forgets", [False, True], ids=["keeps metadata", "keeps no metadata"])
async def test_a_session_that_is_being_made_is_nobody_elses(serving: Serving, forgets: bool) -> None:
    async with serving(allow_session_claims=True) as agent:
        async with sending(agent) as (session_id, sent):
            if forgets:
                del agent.fake_opencode.sessions[session_id].info["metadata"]
            of_bob = await attempts(agent, session_id, bob=True)
        of_bob_later = await attempts(agent, session_id, bob=True)
        of_alice = await attempts(agent, session_id, bob=False)

    assert of_bob == of_bob_later == NOTHING
    assert of_alice == EVERYTHING
    assert [(text_of(task), session_of(task)) for task in sent] == [(HELLO, session_id)]


async def test_an_older_session_of_nobody_can_be_claimed_meanwhile(serving: Serving) -> None:
    async with serving(allow_session_claims=True) as agent:
        made = (await agent.opencode.post("/session", json={})).json()["id"]
        agent.fake_opencode.sessions[made].info["time"]["created"] -= 60_000
        answered = agent.fake_opencode.answer_late("POST", "/session")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.caller().send, "hi")
            await until(lambda: len(agent.fake_opencode.sessions) == 2)
            of_bob = await attempts(agent, made, bob=True)
            answered.set()

    assert of_bob == EVERYTHING


@pytest.mark.parametrize("claims", [False, True], ids=["without claims", "with claims"])
async def test_a_session_whose_making_was_not_answered_is_its_callers(serving: Serving, claims: bool) -> None:
    async with serving(opencode_timeout=0.5, allow_session_claims=claims) as agent:
        agent.fake_opencode.stall_next("POST", "/session", late=True)
        failed = await agent.caller().send("hi")
        [session_id] = agent.fake_opencode.sessions
        of_bob = await attempts(agent, session_id, bob=True)
        of_alice = await attempts(agent, session_id, bob=False)

    assert failed.status.state is TaskState.FAILED
    assert (of_bob, of_alice) == (NOTHING, EVERYTHING)


@pytest.mark.parametrize("claims", [False, True], ids=["without claims", "with claims"])
async def test_a_session_that_was_being_made_at_a_crash_is_its_callers(
    anyio_backend: str, tmp_path: Path, claims: bool
) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store, allow_session_claims=claims
        )
        async with agent_at(anyio_backend, fake_opencode, settings) as agent:
            fake_opencode.answer_late("POST", "/session")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(agent.caller().ask, "send", agent.caller().params("hi", {}))
                await until(lambda: fake_opencode.sessions)
                tasks.cancel_scope.cancel()
            [session_id] = fake_opencode.sessions
        async with agent_at(anyio_backend, fake_opencode, settings) as agent:
            of_bob = await attempts(agent, session_id, bob=True)
            of_alice = await attempts(agent, session_id, bob=False)

    assert (of_bob, of_alice) == (NOTHING, EVERYTHING)


@pytest.mark.parametrize("forgets", [False, True], ids=["keeps metadata", "keeps no metadata"])
async def test_a_fork_that_is_being_made_is_nobody_elses(serving: Serving, forgets: bool) -> None:
    async with serving(allow_session_claims=True) as agent:
        source = session_of(await agent.caller().send("hi"))
        answered = agent.fake_opencode.answer_late("POST", f"/session/{source}/fork")
        forked: list[Any] = []

        async def fork() -> None:
            asked = {"session_id": source, "request": {}}
            forked.append(await Methods(agent.http, "1.0").result("opencode.sessions.fork", asked))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fork)
            await until(lambda: len(agent.fake_opencode.sessions) == 2)
            [made] = set(agent.fake_opencode.sessions) - {source}
            if forgets:
                del agent.fake_opencode.sessions[made].info["metadata"]
            of_bob = await attempts(agent, made, bob=True)
            answered.set()
        of_bob_later = await attempts(agent, made, bob=True)
        of_alice = await attempts(agent, made, bob=False)

    assert made in str(forked)
    assert (of_bob, of_bob_later, of_alice) == (NOTHING, NOTHING, EVERYTHING)


async def test_nobody_can_claim_a_subagents_session_away_from_its_owner(serving: Serving) -> None:
    async with serving(allow_session_claims=True) as agent:
        parent = session_of(await agent.caller().send("hi"))
        child = (await agent.opencode.post("/session", json={"parentID": parent})).json()["id"]
        refused = await agent.caller(bob=True).refused(metadata=named(child))
        async with sending_more(agent):
            of_alice = await attempts(agent, child, bob=False)

    assert "is not a session that this caller can use" in str(refused)
    assert of_alice == EVERYTHING | {"listed": of_alice["listed"]}


@asynccontextmanager
async def sending_more(agent: Agent) -> AsyncGenerator[None]:
    """While it is entered, some session is being made."""
    answered = agent.fake_opencode.answer_late("POST", "/session")
    count = len(agent.fake_opencode.sessions)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(agent.caller().send, "hi")
        await until(lambda: len(agent.fake_opencode.sessions) > count)
        try:
            yield
        finally:
            answered.set()
