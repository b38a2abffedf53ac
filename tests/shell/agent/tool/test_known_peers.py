"""Known agents: named by the model, described to it in their own words, with credentials of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from opencode_a2a.client.cards import usable_interface
from opencode_a2a.client.web import Web
from opencode_a2a.fake_opencode.scripts import HELLO
from opencode_a2a.tool import called_agents
from sansio.a2a.cards.parse import Interface, PeerCard
from sansio.outbound import AllowedHosts
from tests.shell.agent.tool.conftest import Start
from tests.shell.client.hostile import Case, Outcome, Script, card, misbehaving
from tests.shell.harness import ALICE, Agent, until
from tests.shell.ports import free_port

HERE = "/workspace"


def peers_file(folder: Path, **peers: Any) -> str:
    path = folder / "peers.json"
    path.write_bytes(orjson.dumps(peers))
    return str(path)


async def asked(agent: Agent, text: str) -> str:
    return (await agent.caller().stream(text)).text


@pytest.fixture(autouse=True)
def bobs_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_BOB", ALICE)


def card_to(url: str) -> Script:
    return lambda own: (card(own, interface=f"{url}/"),)


STRICT: dict[str, Any] = {"client_allowed_hosts": AllowedHosts(), "client_bearer_token": None}
"""Nothing is allowed but what the file of known agents names."""


async def test_a_known_agent_is_called_by_its_name_with_its_own_credential(node: Start, tmp_path: Path) -> None:
    async with node() as peer:
        file = peers_file(tmp_path, bob={"url": peer.url, "bearer_env": "TOKEN_OF_BOB"})
        async with node(peers_file=file, **STRICT) as agent:
            by_name = await asked(agent, "PEER @bob hi")
            by_url = await asked(agent, f"PEER {peer.url} hi")

    assert by_name.startswith("agent: @bob\nstate: completed\n")
    assert by_name.endswith(HELLO)
    assert by_url.endswith(HELLO)


async def test_other_addresses_stay_refused(node: Start, tmp_path: Path) -> None:
    async with node() as peer:
        file = peers_file(tmp_path, bob={"url": peer.url, "bearer_env": "TOKEN_OF_BOB"})
        async with node(peers_file=file, **STRICT) as agent:
            answer = await asked(agent, f"PEER {agent.url} hi")

    assert answer.startswith("a2a_target_refused: ")


async def test_a_name_that_nobody_has_is_refused_with_those_that_there_are(node: Start, tmp_path: Path) -> None:
    file = peers_file(tmp_path, bob="http://127.0.0.1:1")
    async with node(peers_file=file) as agent:
        answer = await asked(agent, "PEER @carol hi")

    assert answer.startswith("a2a_invalid_input: ")
    assert "@bob" in answer


async def test_an_agent_that_is_for_people_is_neither_listed_nor_called(node: Start, tmp_path: Path) -> None:
    async with node() as peer:
        file = peers_file(tmp_path, bob={"url": peer.url, "tools": []}, carol={"url": peer.url + "/c"})
        async with node(peers_file=file) as agent:
            by_name = await asked(agent, "PEER @bob hi")
            by_url = await asked(agent, f"PEER {peer.url} hi")
            [tool] = agent.fake_opencode.memory.tool_servers[HERE]["a2a"].tools

    assert by_name.startswith("a2a_target_refused: ")
    assert by_url.startswith("a2a_target_refused: ")
    assert "bob" not in tool["description"]
    assert "- carol" in tool["description"]


async def test_a_credential_that_is_not_there_is_the_operators_business(node: Start, tmp_path: Path) -> None:
    file = peers_file(tmp_path, bob={"url": "http://127.0.0.1:1", "bearer_env": "TOKEN_OF_NOBODY"})
    async with node(peers_file=file) as agent:
        answer = await asked(agent, "PEER @bob hi")

    assert answer.startswith("a2a_peer_auth_failed: ")


async def test_the_tool_describes_the_agents_once_their_cards_are_read(node: Start, tmp_path: Path) -> None:
    async with node() as peer:
        file = peers_file(tmp_path, bob={"url": peer.url, "description": "our builder"})
        async with node(peers_file=file) as agent:
            tool = agent.running.tool
            assert tool is not None
            await until(lambda: "skills" in tool.agents.describe())
            await until(lambda: agent.asked("POST", "/mcp") >= 1)
            await asked(agent, "PEER @bob hi")
            [listed] = agent.fake_opencode.memory.tool_servers[HERE]["a2a"].tools

    assert '- bob: our builder: "' in listed["description"]
    assert "skills: " in listed["description"]


async def test_whatever_a_card_leads_to_the_others_are_read(
    node: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def odd(web: Web, card: PeerCard) -> Interface:
        if str(web.home) == odd_one:
            raise RuntimeError("nobody expects this")
        return usable_interface(web, card)

    monkeypatch.setattr("opencode_a2a.client.connection.usable_interface", odd)
    async with node() as other, node() as peer:
        odd_one = other.url
        file = peers_file(tmp_path, odd=other.url, bob=peer.url)
        async with node(peers_file=file) as agent:
            tool = agent.running.tool
            assert tool is not None
            await until(lambda: "skills" in tool.agents.describe() and "card of @odd" in caplog.text)
            answer = await asked(agent, "PEER @odd hi")

    assert answer.startswith("a2a_call_failed: ")


async def test_a_new_description_is_given_to_opencode(
    node: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(called_agents, "RETRY_SECONDS", 0.05)
    bind = f"127.0.0.1:{free_port()}"
    file = peers_file(tmp_path, bob={"url": f"http://{bind}"})
    async with node(peers_file=file) as agent:
        await agent.caller().send("hi")
        assert agent.asked("POST", "/mcp") == 1

        async with node(bind=bind):
            await until(lambda: agent.asked("POST", "/mcp") == 2)

        assert agent.running.tool is not None
        assert "skills" in agent.running.tool.agents.describe()


async def test_an_agent_for_people_is_not_called_by_another_spelling_or_another_card(
    node: Start, tmp_path: Path
) -> None:
    async with node() as peer, misbehaving(Case(name="", outcome=Outcome.REFUSED, card=card_to(peer.url))) as other:
        file = peers_file(tmp_path, bob={"url": peer.url, "tools": []})
        async with node(peers_file=file, client_bearer_token=None) as agent:
            spelt = await asked(agent, f"PEER {peer.url}/x/../ hi")
            by_card = await asked(agent, f"PEER {other.url} hi")

    assert spelt == by_card == "a2a_target_refused: This server does not call that address: @bob is not for models"
