"""Who may call an extension method: what is switched off, what needs a capability, and whose a session is."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import anyio
import pytest

from sansio.extensions.methods.method_rows import Ownership
from sansio.extensions.methods.method_table import METHODS
from tests.shell.cases import one_version
from tests.shell.harness import DEADLINE, RPC_10, Serving
from tests.shell.method_calls import AS_CAROL, EVERYTHING_ON, Methods, world_of

pytestmark = pytest.mark.anyio

SWITCHED = {name: row for name, row in METHODS.items() if row.toggle is not None}
OF_A_SESSION = [
    name for name, row in METHODS.items() if row.ownership in (Ownership.READS, Ownership.CLAIMS) and not row.toggle
]


# --- switches and capabilities ----------------------------------------------------------------------------


async def test_what_is_switched_off_is_disabled_and_names_its_switch_on_version_0_3(serving: Serving) -> None:
    async with serving() as agent:
        methods = Methods(agent.http, "0.3", AS_CAROL)
        for name, row in SWITCHED.items():
            error = await methods.error(name, {})

            assert row.toggle is not None
            assert error["code"] == -32601
            assert error["message"] == f"Unsupported method: {name}"
            data = error["data"]
            offered = data.pop("supported_methods")
            assert data == {
                "type": "METHOD_DISABLED",
                "method": name,
                "protocol_version": "0.3",
                "toggle": row.toggle.value,
            }
            assert "opencode.sessions.list" in offered
            assert name not in offered


async def test_what_is_switched_off_is_disabled_on_version_1_0(serving: Serving) -> None:
    async with serving() as agent:
        methods = Methods(agent.http, "1.0", AS_CAROL)
        for name in SWITCHED:
            error = await methods.error(name, {})

            assert error["code"] == -32601
            assert error["message"] == "Method not found"
            info, more = error["data"]
            assert info["reason"] == "METHOD_DISABLED"
            assert more["value"]["method"] == name
            assert name not in more["value"]["supportedMethods"]


@one_version
async def test_without_its_capability_a_method_is_forbidden(serving: Serving, version: str) -> None:
    async with serving(**EVERYTHING_ON) as agent:
        methods = Methods(agent.http, version)  # Alice's credential has no capability
        for name, row in SWITCHED.items():
            error = await methods.error(name, {})

            assert error["code"] == -32007
            if version == "0.3":
                assert error["data"] == {
                    "type": "AUTHORIZATION_FORBIDDEN",
                    "method": name,
                    "capability": row.capability,
                    "credential_id": "a",
                }
            else:
                [detail] = error["data"]
                assert detail["reason"] == "AUTHORIZATION_FORBIDDEN"
                assert detail["metadata"] == {
                    "method": name,
                    "capability": row.capability,
                    "credentialId": "a",
                }


@one_version
async def test_an_unknown_method_is_told_what_there_is(serving: Serving, version: str) -> None:
    async with serving(enable_session_shell=True) as agent:
        error = await Methods(agent.http, version).error("opencode.sessions.fly", {})

        data = error["data"]
        offered = data["supported_methods"] if version == "0.3" else data[1]["value"]["supportedMethods"]
        assert error["code"] == -32601
        assert ("tasks/get" if version == "0.3" else "GetTask") in offered
        assert {name for name in offered if name in METHODS} == {
            name for name, row in METHODS.items() if not row.toggle or name == "opencode.sessions.shell"
        }


# --- whose a session is -----------------------------------------------------------------------------------


@one_version
async def test_another_callers_session_is_forbidden(serving: Serving, version: str) -> None:
    async with serving() as agent, world_of(agent, version) as world:
        bob = Methods(agent.bob, version)
        for name in OF_A_SESSION:
            asked = len(agent.fake_opencode.requests)

            error = await bob.error(name, world.params(name))

            assert error["code"] == -32006
            if version == "0.3":
                assert error["data"] == {"type": "SESSION_FORBIDDEN", "session_id": world.session_id}
            assert [one.path for one in agent.fake_opencode.requests[asked:]] == []


async def test_another_callers_sessions_are_left_out_of_lists(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        bob = Methods(agent.bob, "0.3")
        own = await agent.caller(RPC_10, bob=True).send("mine")
        others = (await world.methods.result("opencode.sessions.list", {}))["items"]

        listed = (await bob.result("opencode.sessions.list", {"limit": 1}))["items"]

        assert [task["id"] for task in others] == [world.session_id]
        assert [task["id"] for task in listed] == [(own.metadata or {})["shared"]["session"]["id"]]


async def test_what_other_callers_sessions_do_is_left_out(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        agent.fake_opencode.hold()
        parts = [{"type": "text", "text": "go"}]
        await world.methods.result(
            "opencode.sessions.prompt_async", {"session_id": world.session_id, "request": {"parts": parts}}
        )
        with anyio.fail_after(DEADLINE):
            await agent.fake_opencode.held()

        mine = await world.methods.result("opencode.sessions.status", {})
        theirs = await Methods(agent.bob, "0.3").result("opencode.sessions.status", {})
        agent.fake_opencode.release()

        assert mine == {"items": [{"session_id": world.session_id, "type": "busy"}]}
        assert theirs == {"items": []}


async def test_nobodys_session_can_be_read_by_all_and_is_then_whose_it_is_changed_by(serving: Serving) -> None:
    async with serving() as agent:
        made = (await agent.opencode.post("/session", json={"title": "nobody's"})).json()["id"]
        alice, bob = Methods(agent.http, "0.3"), Methods(agent.bob, "0.3")
        asked = {"session_id": made}

        read = [(await caller.result("opencode.sessions.get", asked))["item"]["id"] for caller in (alice, bob)]
        await bob.result("opencode.sessions.share", asked)

        assert read == [made, made]
        assert await alice.reason("opencode.sessions.get", asked) == "SESSION_FORBIDDEN"
        assert await alice.reason("opencode.sessions.unshare", asked) == "SESSION_FORBIDDEN"
        assert (await bob.result("opencode.sessions.get", asked))["item"]["id"] == made


async def test_a_session_is_not_claimed_by_what_failed(serving: Serving) -> None:
    async with serving() as agent:
        made = (await agent.opencode.post("/session", json={})).json()["id"]
        alice, bob = Methods(agent.http, "0.3"), Methods(agent.bob, "0.3")
        command = {"session_id": made, "request": {"command": "no such command", "arguments": "x"}}

        assert await bob.reason("opencode.sessions.command", command) == "UPSTREAM_HTTP_ERROR"

        await alice.result("opencode.sessions.share", {"session_id": made})


async def test_a_fork_is_its_makers_and_can_be_talked_to(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        forked = (await world.methods.result("opencode.sessions.fork", {"session_id": world.session_id}))["item"][
            "id"
        ]

        assert await Methods(agent.bob, "0.3").reason("opencode.sessions.get", {"session_id": forked}) == (
            "SESSION_FORBIDDEN"
        )
        task = await agent.caller(RPC_10).send("and now", contextId=f"ctx:opencode-session:{forked}")
        assert (task.metadata or {})["shared"]["session"]["id"] == forked


async def test_a_subagents_session_is_that_of_its_root(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        wish = {"parentID": world.session_id}
        child = (await agent.opencode.post("/session", json=wish)).json()["id"]
        bob = Methods(agent.bob, "0.3")

        children = await world.methods.result("opencode.sessions.children", {"session_id": world.session_id})

        assert [task["id"] for task in children["items"]] == [child]
        assert await bob.reason("opencode.sessions.get", {"session_id": child}) == "SESSION_FORBIDDEN"
        assert (await bob.result("opencode.sessions.list", {}))["items"] == []
        assert (await world.methods.result("opencode.sessions.get", {"session_id": child}))["item"]["id"] == child


async def test_ownership_survives_a_restart(serving_on_disk: Serving) -> None:
    async with serving_on_disk() as agent:
        made = (await agent.opencode.post("/session", json={})).json()["id"]
        await Methods(agent.http, "0.3").result("opencode.sessions.share", {"session_id": made})
    async with serving_on_disk() as agent:
        assert await Methods(agent.bob, "0.3").reason("opencode.sessions.get", {"session_id": made}) == (
            "SESSION_FORBIDDEN"
        )


async def test_of_two_who_claim_a_session_at_once_one_gets_it(serving: Serving) -> None:
    async with serving() as agent:
        made = (await agent.opencode.post("/session", json={})).json()["id"]
        answers: list[dict[str, Any]] = []

        async def share(methods: Methods) -> None:
            answers.append(await methods.answer("opencode.sessions.share", {"session_id": made}))

        async with anyio.create_task_group() as tasks:
            for http in (agent.http, agent.bob):
                tasks.start_soon(share, Methods(http, "0.3"))

        [refused] = [answer["error"]["data"]["type"] for answer in answers if "error" in answer]
        assert refused == "SESSION_FORBIDDEN"
        assert agent.asked("POST", "/share") == 1


async def test_a_session_outside_the_workspace_is_forbidden(serving: Serving) -> None:
    async with serving() as agent:
        elsewhere = (await agent.opencode.post("/session?directory=/elsewhere", json={})).json()["id"]
        methods = Methods(agent.http, "0.3")

        for name in ("get", "share"):
            reason = await methods.reason(f"opencode.sessions.{name}", {"session_id": elsewhere})

            assert reason == "SESSION_FORBIDDEN"
        assert agent.asked("POST", "/share") == 0


async def test_a_session_is_worked_on_where_it_is(serving: Serving) -> None:
    async with serving() as agent:
        below = (await agent.opencode.post("/session?directory=/workspace/below", json={})).json()["id"]
        methods = Methods(agent.http, "0.3")

        for name in ("share", "unshare", "fork"):
            await methods.result(f"opencode.sessions.{name}", {"session_id": below})

        asked = [one for one in agent.fake_opencode.requests if one.path.endswith(("/share", "/fork"))]
        # OpenCode decodes the directory once more than the query itself
        assert [unquote(one.query["directory"]) for one in asked] == ["/workspace/below"] * 3
