"""Sessions of OpenCode that nobody owns: who may claim them, and what everybody else is answered."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_a2a.config.settings import Settings, with_generated_token
from sansio.a2a.model import TaskState
from sansio.access import Credential, CredentialSet
from sansio.extensions.methods.method_rows import Ownership
from sansio.extensions.methods.method_table import METHODS
from tests.shell.cases import every_codec, one_codec, one_version
from tests.shell.folding import text_of
from tests.shell.harness import ALICE, CAROL, CREDENTIALS, RPC_10, Agent, Caller, Serving, Wire
from tests.shell.method_calls import AS_CAROL, EVERYTHING_ON, Methods, world_of
from tests.shell.refusals import refusal, wrong

pytestmark = pytest.mark.anyio

OF_A_SESSION = [name for name, row in METHODS.items() if row.ownership in (Ownership.READS, Ownership.CLAIMS)]
DEFAULT: dict[str, Any] = {"allow_session_claims": None}
ONE = CredentialSet((Credential.bearer(ALICE, principal="alice"),))
DISABLED = CredentialSet((*ONE.credentials, Credential.basic(*CAROL, enabled=False)))
LOGINS = CredentialSet((*ONE.credentials, Credential.basic("alice", "her-password-4c")))


async def unowned(agent: Agent) -> str:
    """A session that nobody made through the agent."""
    return str((await agent.opencode.post("/session", json={})).json()["id"])


def named(session_id: str) -> dict[str, Any]:
    return {"shared": {"session": {"id": session_id}}}


async def reason_of(caller: Caller, **more: Any) -> str:
    """The type of a refusal on any wire."""
    error = await caller.refused(**more)
    if caller.wire.version == "0.3":
        return str(error.get("type") or error["data"]["type"])
    details = error["data" if caller.wire.binding == "rpc" else "details"]
    return str(next(one["reason"] for one in details if "reason" in one))


@pytest.mark.parametrize(
    ("credentials", "allowed", "possible"),
    [
        (CredentialSet(), None, True),
        (ONE, None, True),
        (LOGINS, None, True),
        (CREDENTIALS, None, False),
        (DISABLED, None, False),
        (CREDENTIALS, True, True),
        (ONE, False, False),
    ],
    ids=["none", "one", "one-twice", "three", "one-and-one-disabled", "allowed", "refused"],
)
def test_claims_are_possible_for_one_principal_or_where_the_operator_says_so(
    credentials: CredentialSet, allowed: bool | None, possible: bool
) -> None:
    settings = Settings(credentials=credentials, allow_session_claims=allowed)

    assert settings.claims_allowed is possible


def test_a_generated_token_is_one_principal() -> None:
    assert with_generated_token(Settings(), "a-token").claims_allowed


@one_codec
@pytest.mark.parametrize("by_context", [False, True], ids=["metadata", "context"])
async def test_a_message_cannot_claim_it_where_there_are_several_principals(
    serving: Serving, wire: Wire, by_context: bool
) -> None:
    async with serving(**DEFAULT) as agent:
        session_id = await unowned(agent)
        more = {"contextId": f"ctx:opencode-session:{session_id}"} if by_context else {"metadata": named(session_id)}

        for caller in (agent.caller(wire), agent.caller(wire, bob=True)):
            assert await reason_of(caller, **more) == "SESSION_UNOWNED"
            assert (await caller.page())["tasks"] == []
        assert agent.asked("POST", "/prompt_async") == 0


@every_codec
async def test_the_refusal_names_the_field_and_the_setting(serving: Serving, wire: Wire) -> None:
    async with serving(**DEFAULT) as agent:
        error = str(await agent.caller(wire).refused(metadata=named(await unowned(agent))))

    assert "A2A_ALLOW_SESSION_CLAIMS" in error
    assert "metadata.shared.session.id" in error


@one_version
async def test_no_method_reads_or_claims_it_and_no_list_shows_it(serving: Serving, version: str) -> None:
    async with serving(**DEFAULT, **EVERYTHING_ON) as agent, world_of(agent, version) as world:
        session_id = await unowned(agent)
        before = len(agent.fake_opencode.requests)
        for name in OF_A_SESSION:
            reason = await world.methods.reason(name, {**world.params(name), "session_id": session_id})
            assert (name, reason) == (name, "SESSION_UNOWNED")
        assert {one.method for one in agent.fake_opencode.requests[before:]} == {"GET"}

        for name in (name for name, row in METHODS.items() if row.ownership is Ownership.LISTS):
            params = {"session_id": world.session_id} if "session_id" in world.params(name) else {}
            assert session_id not in str(await world.methods.result(name, params))
        listed = str(await world.methods.result("opencode.sessions.list", {}))
        assert world.session_id in listed
        assert world.session_id not in str(await Methods(agent.bob, version).result("opencode.sessions.list", {}))


@one_codec
async def test_the_one_principal_claims_it(serving: Serving, wire: Wire) -> None:
    async with serving(**DEFAULT, credentials=LOGINS) as agent:
        session_id = await unowned(agent)
        listed = str(await Methods(agent.http, wire.version).result("opencode.sessions.list", {}))

        task = await agent.caller(wire).send("COUNT", metadata=named(session_id))

    assert session_id in listed
    assert task.status.state is TaskState.COMPLETED


async def test_ones_own_sessions_and_those_of_their_subagents_need_no_claim(serving: Serving) -> None:
    async with serving(**DEFAULT) as agent:
        caller = agent.caller()
        task = await caller.send("SUBTASK")
        root = str((task.metadata or {})["shared"]["session"]["id"])
        [child] = [session.id for session in agent.fake_opencode.sessions.values() if "parentID" in session.info]

        again = await caller.send("COUNT", metadata=named(child))
        at_root = await caller.send("hi", metadata=named(root))
        theirs = await agent.caller(bob=True).refused(metadata=named(child))

    assert text_of(again) == "You have said 2 things."
    assert at_root.status.state is TaskState.COMPLETED
    assert refusal(RPC_10, theirs) == wrong(RPC_10, "metadata.shared.session.id")


async def test_a_session_of_a_method_is_its_makers(serving: Serving) -> None:
    async with serving(**DEFAULT, **EVERYTHING_ON) as agent, world_of(agent, "1.0", AS_CAROL) as world:
        fork = await world.methods.result("opencode.sessions.fork", {"session_id": world.session_id})
        fork_id = str(fork["item"]["id"]).rpartition(":")[2]

        assert await world.methods.result("opencode.sessions.get", {"session_id": fork_id})


async def test_a_session_that_is_not_there_is_no_such_session(serving: Serving) -> None:
    async with serving(**DEFAULT) as agent:
        for session_id in ("ses_none", "..", "status"):
            error = await agent.caller().refused(metadata=named(session_id))
            assert refusal(RPC_10, error) == wrong(RPC_10, "metadata.shared.session.id")
        agent.fake_opencode.fail_next("GET", "/session/ses", 500)
        assert await reason_of(agent.caller(), metadata=named("ses_none")) == "UPSTREAM_HTTP_ERROR"
