"""Sessions that messages name: who gets one that is nobody's, who is refused, and what outlives a restart."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.agent.application import application
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode, Say
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import each_value, one_codec
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import (
    BOB,
    CLAIMS,
    CREDENTIALS,
    DEADLINE,
    RPC_10,
    Agent,
    Serving,
    Wire,
    client,
    quick,
    served,
)
from tests.shell.refusals import refusal, wrong

pytestmark = pytest.mark.anyio

FIELD = "metadata.shared.session.id"


class Clock:
    """The time, and what a test adds to it."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


Starting = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays, with a clock of the test's."""

    @asynccontextmanager
    async def start(
        fake_opencode: FakeOpenCode, url: str, clock: Clock | None = None, **more: Any
    ) -> AsyncGenerator[Agent]:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        given = {"opencode_url": url, "credentials": CREDENTIALS, "task_store_database_url": store}
        settings = Settings(**{**given, **CLAIMS, **more})
        async with (
            application(settings, wall=clock or Clock()) as running,
            served(anyio_backend, running.asgi) as served_at,
            client(served_at) as http,
            client(served_at, BOB) as bob,
            client(url, None) as opencode,
        ):
            yield Agent(served_at, fake_opencode, running, http, bob, opencode)

    return start


def named(session_id: str) -> dict[str, Any]:
    return {"shared": {"session": {"id": session_id}}}


def session_of(task: Task) -> str:
    return str((task.metadata or {})["shared"]["session"]["id"])


async def made_in_opencode(agent: Agent, **params: str) -> str:
    """A session that nobody made through the agent."""
    return str((await agent.opencode.post("/session", json={}, params=params)).json()["id"])


# --- sessions that are nobody's ---------------------------------------------------------------------------


@one_codec
async def test_a_session_that_is_nobodys_belongs_to_whoever_names_it_first(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        session_id = await made_in_opencode(agent)
        alice, bob = agent.caller(wire), agent.caller(wire, bob=True)

        task = await alice.send("COUNT", metadata=named(session_id))
        refused = await bob.refused(metadata=named(session_id))
        again = await alice.send("COUNT", metadata=named(session_id))
        in_its_context = await alice.send("COUNT", contextId=task.context_id)

        assert refusal(wire, refused) == wrong(wire, FIELD)
        assert [session_of(one) for one in (task, again, in_its_context)] == [session_id] * 3
        assert text_of(in_its_context) == "You have said 3 things."
        assert agent.asked("POST", "/session") == 1
        assert (await bob.page())["tasks"] == []


@one_codec
async def test_of_two_principals_who_name_a_session_at_once_one_gets_it(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        session_id = await made_in_opencode(agent)
        outcomes: dict[str, list[bool]] = {"alice": [], "bob": []}

        async def name(who: str) -> None:
            caller = agent.caller(wire, bob=who == "bob")
            response = await caller.ask("send", caller.params("hi", {"metadata": named(session_id)}))
            outcomes[who].append(response.status_code == 200 and "error" not in response.json())

        async with anyio.create_task_group() as tasks:
            for who in ("bob", "alice") * 4:
                tasks.start_soon(name, who)

        assert sorted(outcomes.values()) == [[False] * 4, [True] * 4]
        assert agent.asked("POST", "/prompt_async") == 4
        loser = agent.caller(wire, bob=outcomes["alice"][0])
        assert (await loser.page())["tasks"] == []


@one_codec
async def test_a_claim_that_comes_to_nothing_ends_in_its_time(
    anyio_backend: str, starting: Starting, wire: Wire
) -> None:
    fake_opencode, clock = quick(), Clock()
    async with (
        served(anyio_backend, fake_opencode) as url,
        starting(fake_opencode, url, clock, pending_session_claim_ttl_seconds=600.0) as agent,
    ):
        alice, bob = agent.caller(wire), agent.caller(wire, bob=True)
        session_id = await made_in_opencode(agent)
        fake_opencode.fail_next("GET", "/session/ses", 500)  # asked before the claim
        fake_opencode.fail_next("GET", "/session/ses", 500)  # and by the turn

        lost = await alice.send("hi", metadata=named(session_id))
        clock.ahead += 590
        too_early = await bob.refused(metadata=named(session_id))
        clock.ahead += 20
        task = await bob.send("hi", metadata=named(session_id))
        too_late = await alice.refused(metadata=named(session_id))

        assert lost.status.state is TaskState.FAILED
        assert refusal(wire, too_early) == refusal(wire, too_late) == wrong(wire, FIELD)
        assert task.status.state is TaskState.COMPLETED
        assert agent.asked("POST", "/prompt_async") == 1


async def test_a_claim_outlives_a_restart_and_still_ends_in_its_time(anyio_backend: str, starting: Starting) -> None:
    fake_opencode, clock = quick(), Clock()
    ttl = {"pending_session_claim_ttl_seconds": 600.0}
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url, clock, **ttl) as agent:
            session_id = await made_in_opencode(agent)
            fake_opencode.fail_next("GET", "/session/ses", 500)  # asked before the claim
            fake_opencode.fail_next("GET", "/session/ses", 500)  # and by the turn
            await agent.caller().send("hi", metadata=named(session_id))
        async with starting(fake_opencode, url, clock, **ttl) as agent:
            bob = agent.caller(bob=True)
            refused = await bob.refused(metadata=named(session_id))
            clock.ahead += 601

            assert FIELD in str(refused)
            assert (await bob.send("hi", metadata=named(session_id))).status.state is TaskState.COMPLETED


@one_codec
async def test_whose_a_session_is_outlives_a_restart(anyio_backend: str, starting: Starting, wire: Wire) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            session_id = await made_in_opencode(agent)
            bound = await agent.caller(wire).send("COUNT", metadata=named(session_id))
            own = await agent.caller(wire).send("COUNT")
        async with starting(fake_opencode, url) as agent:
            alice, bob = agent.caller(wire), agent.caller(wire, bob=True)
            refusals = [
                refusal(wire, await bob.refused(metadata=named(one))) for one in (session_id, session_of(own))
            ]
            more = [
                await alice.send("COUNT", metadata=named(session_id)),
                await alice.send("COUNT", contextId=bound.context_id),
                await alice.send("COUNT", contextId=own.context_id),
            ]

    assert refusals == [wrong(wire, FIELD)] * 2
    assert [session_of(one) for one in more] == [session_id, session_id, session_of(own)]
    assert [text_of(one)[14] for one in more] == ["2", "3", "2"]


async def test_a_subagents_session_is_that_of_whoever_has_its_root(serving: Serving) -> None:
    async with serving() as agent:
        root = session_of(await agent.caller().send("SUBTASK"))
        [child] = [session.id for session in agent.fake_opencode.sessions.values() if "parentID" in session.info]
        prompts = agent.asked("POST", "/prompt_async")

        theirs = await agent.caller(bob=True).refused(metadata=named(child))
        assert agent.asked("POST", "/prompt_async") == prompts
        ours = await agent.caller().send("hi", metadata=named(root))

    assert FIELD in str(theirs)
    assert ours.status.state is TaskState.COMPLETED


async def test_ones_own_subagents_session_can_be_gone_on_with(serving: Serving) -> None:
    async with serving() as agent:
        await agent.caller().send("SUBTASK")
        [child] = [session.id for session in agent.fake_opencode.sessions.values() if "parentID" in session.info]

        task = await agent.caller().send("COUNT", metadata=named(child))

    assert session_of(task) == child
    assert text_of(task) == "You have said 2 things."


@each_value("session_id", ["x" * 257, "ses_\0", "", 5, "..", ".", "status", "ses/../..", "ses_x/message"], wire=True)
async def test_an_id_that_is_none_is_refused_by_name(serving: Serving, wire: Wire, session_id: Any) -> None:
    async with serving() as agent:
        error = await agent.caller(wire).refused(metadata=named(session_id))

    assert refusal(wire, error) == wrong(wire, FIELD)


# --- one session at a time --------------------------------------------------------------------------------


@one_codec
async def test_two_first_messages_of_a_context_make_one_session(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        found: list[Task] = []

        async def say() -> None:
            found.append(await caller.send("COUNT", contextId="new"))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(say)

        assert agent.asked("POST", "/session") == 1
        assert len({session_of(one) for one in found}) == 1
        assert sorted(text_of(one) for one in found) == [f"You have said {n} things." for n in (1, 2, 3, 4)]


@one_codec
async def test_turns_of_one_session_wait_in_line_whichever_context_they_come_from(
    serving: Serving, wire: Wire
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        session_id = await made_in_opencode(agent)
        agent.fake_opencode.hold(Say)
        at_once = {"configuration": wire.at_once()}
        first = await caller.send("COUNT", metadata=named(session_id), **at_once)
        with anyio.fail_after(DEADLINE):
            await agent.fake_opencode.held()
        second = await caller.send("COUNT", metadata=named(session_id), contextId="other", **at_once)
        third = await caller.send("COUNT", metadata=named(session_id), contextId="third", **at_once)

        assert [one.status.state for one in (second, third)] == [TaskState.SUBMITTED] * 2
        cancelled = await caller.cancel(second.id)
        still = await caller.get(first.id)
        agent.fake_opencode.release()
        ended = [await caller.finished(one.id) for one in (first, third)]

        assert cancelled.status.state is TaskState.CANCELED
        assert still.status.state is TaskState.WORKING
        assert [text_of(one) for one in ended] == ["You have said 1 things.", "You have said 2 things."]
        assert agent.asked("POST", "/abort") == 0
        assert agent.asked("POST", "/prompt_async") == 2


async def test_a_context_that_names_another_session_goes_on_there(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller()
        first = await caller.send("COUNT")
        session_id = await made_in_opencode(agent)

        moved = await caller.send("COUNT", contextId=first.context_id, metadata=named(session_id))
        later = await caller.send("COUNT", contextId=first.context_id)

    assert [session_of(one) for one in (moved, later)] == [session_id] * 2
    assert session_of(first) != session_id


async def test_a_claimed_turn_that_waits_longer_than_its_claim_is_not_taken_from_another(
    anyio_backend: str, starting: Starting
) -> None:
    fake_opencode, clock = quick(), Clock()
    async with (
        served(anyio_backend, fake_opencode) as url,
        starting(fake_opencode, url, clock, pending_session_claim_ttl_seconds=600.0) as agent,
    ):
        session_id = await made_in_opencode(agent)
        fake_opencode.fail_next("GET", f"/session/{session_id}", 500)  # asked before the claim
        fake_opencode.stall_next("GET", f"/session/{session_id}")
        waits = await agent.caller().send("hi", metadata=named(session_id), configuration=RPC_10.at_once())
        await agent.until(lambda: agent.asked("GET", f"/{session_id}") == 2)
        clock.ahead += 601
        queued = await agent.caller(bob=True).send("hi", metadata=named(session_id), configuration=RPC_10.at_once())
        await agent.caller().cancel(waits.id)
        theirs = await agent.caller(bob=True).finished(queued.id)

        assert theirs.status.state is TaskState.COMPLETED, reason_of(theirs)
        assert FIELD in str(await agent.caller().refused(metadata=named(session_id)))
