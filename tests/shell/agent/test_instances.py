"""One agent before several OpenCodes: each context is bound to one, and lists name them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import define, evolve

from opencode_a2a.cli.operator.upstream_checks import check_upstreams
from opencode_a2a.config.groups.opencode_instances import OpenCodeInstance
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO, FakeOpenCode
from sansio.a2a.model import Task, TaskState
from sansio.doctor.finding import Outcome
from tests.shell.folding import text_of
from tests.shell.harness import CREDENTIALS, RPC_10, Agent, Caller, agent_at, served
from tests.shell.method_calls import Methods
from tests.shell.server.http.test_metrics import ON, scraped
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

UNREACHABLE = "http://127.0.0.1:9"


@define(eq=False)
class World:
    """OpenCodes by name, where they are served, and the settings of an agent before them."""

    backend: str
    opencodes: dict[str, FakeOpenCode]
    settings: Settings

    @asynccontextmanager
    async def agent(self, *names: str, **more: Any) -> AsyncGenerator[Agent]:
        """An agent before the OpenCodes of these names, or before all."""
        chosen = tuple(one for one in self.settings.opencode_instances if not names or one.name in names)
        settings = evolve(self.settings, opencode_instances=chosen, **more)
        async with agent_at(self.backend, self.opencodes["a"], settings) as agent:
            there = [one for one in agent.running.instances if one.upstream.url != UNREACHABLE]
            await agent.until(lambda: all(one.bus.connected for one in there))
            yield agent


@asynccontextmanager
async def world(
    backend: str, store: str | None, *, away: str = "", roots: dict[str, str] | None = None
) -> AsyncGenerator[World]:
    """Three OpenCodes, of which those in `away` are not served."""
    roots = roots or {}
    opencodes = {name: FakeOpenCode(pause=0, tick=0.02, directory=roots.get(name, "/workspace")) for name in "abc"}
    async with AsyncExitStack() as stack:
        instances = []
        for name, app in opencodes.items():
            url = UNREACHABLE if name in away else await stack.enter_async_context(served(backend, app))
            instances.append(OpenCodeInstance(name=name, url=url, workspace_root=roots.get(name)))
        settings = Settings(
            rate_limit_enabled=False,
            credentials=CREDENTIALS,
            opencode_url=instances[0].url,
            opencode_instances=tuple(instances),
            task_store_backend="memory" if store is None else "database",
            task_store_database_url=store or "sqlite://",
        )
        yield World(backend, opencodes, settings)


def prompts(app: FakeOpenCode) -> int:
    return sum(one.path.endswith("/prompt_async") for one in app.requests)


def counts(found: World) -> list[int]:
    return [prompts(app) for app in found.opencodes.values()]


def instance(name: str) -> dict[str, Any]:
    return {"metadata": {"opencode": {"instance": name}}}


def session_of(task: Task) -> str:
    return str((task.metadata or {})["shared"]["session"]["id"])


async def say(caller: Caller, text: str = "hi", context: str | None = None, **more: Any) -> Task:
    named = {} if context is None else {"contextId": context}
    return await caller.send(text, **named, **more)


async def test_new_contexts_are_spread_and_later_messages_follow(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None) as found, found.agent() as agent:
        caller = agent.caller(RPC_10)
        first = [await say(caller) for _ in range(3)]
        spread = counts(found)
        again = [await say(caller, "more", task.context_id) for task in first]

        assert spread == [1, 1, 1]
        assert counts(found) == [2, 2, 2]
        assert [text_of(task) for task in (*first, *again)] == [HELLO] * 6


async def test_a_busy_one_takes_no_new_context_while_another_is_free(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None) as found, found.agent("a", "b") as agent:
        caller = agent.caller(RPC_10)
        slow = await say(caller, "SLOW", configuration=RPC_10.at_once())
        for _ in range(3):
            await say(caller)
        await caller.cancel(slow.id)

        assert sorted(counts(found)) == [0, 1, 3]


async def test_a_binding_outlives_a_restart(anyio_backend_name: str, tmp_path: Path) -> None:
    async with world(anyio_backend_name, f"sqlite:///{tmp_path / 'tasks.db'}") as found:
        async with found.agent() as agent:
            first = [await say(agent.caller(RPC_10), **instance(name)) for name in "cb"]
        before = counts(found)
        async with found.agent() as agent:
            for task in first:
                await say(agent.caller(RPC_10), "more", task.context_id)
            refused = await agent.caller(RPC_10).refused("send", "hi", contextId=first[0].context_id, **instance("a"))

    assert before == [0, 1, 1]
    assert counts(found) == [0, 2, 2]
    assert "metadata.opencode.instance" in str(refused)


async def test_one_that_is_away_takes_no_new_contexts(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None, away="a") as found, found.agent() as agent:
        for _ in range(3):
            await say(agent.caller(RPC_10))
        ready = await agent.http.get("/readyz")

        assert sorted(counts(found)) == [0, 1, 2]
        assert counts(found)[0] == 0
        assert ready.status_code == 200


async def test_a_name_that_no_opencode_has_is_refused(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None) as found, found.agent() as agent:
        refused = await agent.caller(RPC_10).refused("send", "hi", **instance("z"))
        methods = await Methods(agent.http, "1.0").error("opencode.providers.list", instance("z"))

    assert "metadata.opencode.instance" in str(refused)
    assert "metadata.opencode.instance" in str(methods)


async def test_the_directory_that_one_serves_chooses_it(anyio_backend_name: str, tmp_path: Path) -> None:
    roots = {name: str(tmp_path / name) for name in "abc"}
    for root in roots.values():
        os.makedirs(f"{root}/deep")
    async with world(anyio_backend_name, None, roots=roots) as found, found.agent() as agent:
        metadata: dict[str, Any] = {"metadata": {"opencode": {"directory": f"{roots['c']}/deep"}}}
        for _ in range(2):
            await say(agent.caller(RPC_10), **metadata)
        outside = {"metadata": {"opencode": {"directory": "/nowhere"}}}
        refused = await agent.caller(RPC_10).refused("send", "hi", **outside)

        assert counts(found) == [0, 0, 2]
        assert "metadata.opencode.directory" in str(refused)


async def test_lists_and_methods_work_across_all(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None) as found, found.agent() as agent:
        caller, methods = agent.caller(RPC_10), Methods(agent.http, "1.0")
        tasks = [await say(caller) for _ in range(6)]
        listed = (await methods.result("opencode.sessions.list", {}))["items"]
        some = (await methods.result("opencode.sessions.list", {"limit": 4}))["items"]
        of_b = (await methods.result("opencode.sessions.list", instance("b")))["items"]
        messages = [
            (await methods.result("opencode.sessions.messages.list", {"session_id": one["id"]}))["items"]
            for one in listed
        ]
        wrong = await methods.error("opencode.sessions.get", {"session_id": of_b[0]["id"], **instance("a")})
        others = (await Methods(agent.bob, "1.0").result("opencode.sessions.list", {}))["items"]

        named = [one["metadata"]["opencode"]["instance"] for one in listed]
        assert sorted(named) == ["a", "a", "b", "b", "c", "c"]
        assert {one["id"] for one in listed} == {session_of(task) for task in tasks}
        assert [one["id"] for one in some] == [one["id"] for one in listed[:4]]
        assert {one["metadata"]["opencode"]["instance"] for one in of_b} == {"b"}
        assert len(of_b) == 2
        assert [len(one) for one in messages] == [2] * 6
        assert "metadata.opencode.instance" in str(wrong)
        assert others == []


async def test_a_permission_is_answered_wherever_it_is_asked(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None) as found, found.agent() as agent:
        caller, methods = agent.caller(RPC_10), Methods(agent.http, "1.0")
        waiting = [await say(caller, "PERMISSION", **instance(name)) for name in "cb"]
        listed = (await methods.result("opencode.permissions.list", {}))["items"]
        request_id = next(one["request_id"] for one in listed if one["task_id"] == waiting[0].id)
        await methods.result("a2a.interrupt.permission.reply", {"request_id": request_id, "reply": "once"})
        answered = await say(caller, "once", waiting[1].context_id)
        ended = [await caller.finished(task.id) for task in waiting]

        assert [task.status.state for task in waiting] == [TaskState.INPUT_REQUIRED] * 2
        assert len(listed) == 2
        assert answered.id == waiting[1].id
        assert [task.status.state for task in ended] == [TaskState.COMPLETED] * 2


async def test_servers_with_different_opencodes_keep_to_their_own(anyio_backend_name: str, postgresql: str) -> None:
    async with world(anyio_backend_name, postgresql) as found:
        async with found.agent("b", "c") as other:
            async with found.agent("a") as agent:
                mine = agent.caller(RPC_10)
                task = await say(mine, "SLOW", configuration=RPC_10.at_once())
                await agent.until(lambda: counts(found)[0])
                # work in its context elsewhere: the message is given to the server that has it
                elsewhere = await say(other.caller(RPC_10), "hi", task.context_id, configuration=RPC_10.at_once())
                await agent.running.tasks.drain(0)
            left = await other.running.tasks.store.ownership.adopt(10)
            refused = await other.caller(RPC_10).refused("send", "hi", contextId=task.context_id)
            async with found.agent("a") as again:
                await again.caller(RPC_10).cancel(task.id)
                ended = await again.caller(RPC_10).finished(elsewhere.id)

        assert left == []
        assert "does not work with the OpenCode of this conversation (a); try again" in str(refused)
        assert ended.status.state is TaskState.COMPLETED
        assert counts(found) == [2, 0, 0]


async def test_health_and_metrics_have_a_row_for_each(anyio_backend_name: str) -> None:
    async with (
        world(anyio_backend_name, None, away="b") as found,
        found.agent("a", "b", **ON) as agent,
    ):
        await agent.until(lambda: [*agent.running.instances][1].readiness.reasons())
        health = (await agent.http.get("/health")).json()
        found_metrics = await scraped(agent)

    assert health["status"] == "degraded"
    assert [(one["type"], one["instance"]) for one in health["reasons"]] == [("UPSTREAM_UNREACHABLE", "b")]
    assert health["upstream"] == {
        "event_stream": "connected",
        "instances": [
            {"name": "a", "event_stream": "connected", "turns": 0},
            {"name": "b", "event_stream": "disconnected", "turns": 0},
        ],
    }
    assert [found_metrics["a2a_upstream_instance_connected", (name,)] for name in "ab"] == [1, 0]
    assert found_metrics["a2a_upstream_connected", ()] == 0


async def test_a_server_is_not_ready_while_all_are_away(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None, away="abc") as found, found.agent() as agent:
        ready = await agent.http.get("/readyz")

    assert ready.status_code == 503


async def test_the_doctor_names_the_opencode_of_each_finding(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None, away="bc") as found:
        a, b, _ = found.settings.opencode_instances
        findings = await check_upstreams(evolve(found.settings, opencode_instances=(a, b)))

    outcomes = {one.check: one.outcome for one in findings}
    assert (outcomes["a: OpenCode"], outcomes["b: OpenCode"]) == (Outcome.OK, Outcome.FAIL)


async def test_a_session_that_is_not_known_yet_is_found_where_it_is(anyio_backend_name: str) -> None:
    claims = {"allow_session_claims": True}
    async with world(anyio_backend_name, None) as found, found.agent(**claims) as agent:
        async with httpx.AsyncClient(base_url=found.settings.opencode_instances[2].url) as opencode:
            made = [(await opencode.post("/session", json={})).json()["id"] for _ in range(2)]
        task = await say(agent.caller(RPC_10), metadata={"shared": {"session": {"id": made[0]}}})
        item = (await Methods(agent.http, "1.0").result("opencode.sessions.get", {"session_id": made[1]}))["item"]

        assert session_of(task) == made[0]
        assert item["id"] == made[1]
        assert counts(found) == [0, 0, 1]


async def test_a_fork_is_where_its_session_is(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None) as found, found.agent() as agent:
        task = await say(agent.caller(RPC_10), **instance("b"))
        methods = Methods(agent.http, "1.0")
        fork = await methods.result("opencode.sessions.fork", {"session_id": session_of(task)})
        listed = (await methods.result("opencode.sessions.list", {}))["items"]

    assert {one["id"]: one["metadata"]["opencode"]["instance"] for one in listed} == {
        session_of(task): "b",
        fork["item"]["id"]: "b",
    }


async def test_a_task_whose_opencode_is_configured_no_more_fails(anyio_backend_name: str, tmp_path: Path) -> None:
    async with world(anyio_backend_name, f"sqlite:///{tmp_path / 'tasks.db'}") as found:
        async with found.agent() as agent:
            task = await say(agent.caller(RPC_10), "SLOW", configuration=RPC_10.at_once(), **instance("c"))
            await agent.until(lambda: counts(found)[2])
            await agent.running.tasks.drain(0)
        async with found.agent("a", "b") as agent:
            ended = await agent.caller(RPC_10).finished(task.id)
            refused = await agent.caller(RPC_10).refused("send", "hi", contextId=task.context_id)

    assert ended.status.state is TaskState.FAILED
    assert "(c)" in str(refused)


async def test_a_task_is_tried_again_only_where_its_opencode_is(anyio_backend_name: str, tmp_path: Path) -> None:
    async with world(anyio_backend_name, f"sqlite:///{tmp_path / 'tasks.db'}") as found:
        async with found.agent() as agent:
            task = await say(agent.caller(RPC_10), "FAIL401", **instance("c"))
        async with found.agent("a", "b") as agent:
            refused = await agent.caller(RPC_10).refused("send", "hi", taskId=task.id)
            canceled = await agent.caller(RPC_10).cancel(task.id)

    assert task.status.state is TaskState.AUTH_REQUIRED
    assert "(c)" in str(refused)
    assert canceled.status.state is TaskState.CANCELED


async def test_the_only_opencode_has_the_name_of_its_address(anyio_backend_name: str) -> None:
    async with world(anyio_backend_name, None) as found:
        only = evolve(found.settings, opencode_instances=())
        async with agent_at(anyio_backend_name, found.opencodes["a"], only) as agent:
            address = only.opencode_url.removeprefix("http://")
            first = await say(agent.caller(RPC_10), **instance(address))
            await say(agent.caller(RPC_10), "more", first.context_id, **instance(address))
            refused = await agent.caller(RPC_10).refused("send", "hi", **instance("b"))
            listed = (await Methods(agent.http, "1.0").result("opencode.sessions.list", {}))["items"]
            kept = await agent.running.tasks.store.task(first.id)

    assert counts(found) == [2, 0, 0]
    assert "metadata.opencode.instance" in str(refused)
    assert ["opencode" in one["metadata"] for one in listed] == [False]
    assert kept is not None
    assert kept.row.affinity == ""


async def test_a_server_with_one_unnamed_opencode_leaves_the_conversations_of_others_alone(
    anyio_backend_name: str, postgresql: str
) -> None:
    async with world(anyio_backend_name, postgresql) as found:
        unnamed = evolve(found.settings, opencode_instances=())
        async with (
            found.agent("b", "c") as other,
            agent_at(anyio_backend_name, found.opencodes["a"], unnamed) as agent,
        ):
            await agent.until(lambda: agent.running.instances.first.bus.connected)
            theirs = await say(other.caller(RPC_10), **instance("b"))
            refused = await agent.caller(RPC_10).refused("send", "more", contextId=theirs.context_id)
            session = session_of(theirs)
            method = await Methods(agent.http, "1.0").error("opencode.sessions.get", {"session_id": session})
            stranger = await Methods(agent.bob, "1.0").error("opencode.sessions.get", {"session_id": session})
            mine = await say(agent.caller(RPC_10))
            await say(agent.caller(RPC_10), "more", mine.context_id)

    assert "does not work with the OpenCode of this conversation" in str(refused)
    assert "does not work with the OpenCode of this conversation (b); try again" in str(method)
    assert stranger
    assert counts(found) == [2, 1, 0]
