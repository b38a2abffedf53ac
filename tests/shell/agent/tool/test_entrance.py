"""OpenCode reaches the tool by its URL, whatever hosts are served; nobody reaches it without its secret."""

from __future__ import annotations

import httpx
import orjson
import pytest

from opencode_a2a.fake_opencode.scripts import HELLO
from opencode_a2a.tool.mcp_endpoint import TOOL_PATH
from sansio.guards.hosts import ServedHosts
from sansio.guards.proxies import parse_networks
from tests.shell.agent.tool.conftest import Start
from tests.shell.harness import Agent

HOSTS = ServedHosts.of(["agent.example"])
PING = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})


async def asked(agent: Agent, text: str) -> str:
    """Let the model run, asked by a caller that names a host of the deployment."""
    agent.http.headers["host"] = "agent.example"
    return (await agent.caller().stream(text)).text


@pytest.mark.parametrize("proxies", [[], ["127.0.0.1"]], ids=["direct", "loopback proxy trusted"])
async def test_the_tool_works_where_no_loopback_host_is_served(node: Start, proxies: list[str]) -> None:
    networks = parse_networks(proxies)
    async with node() as peer, node(allowed_hosts=HOSTS, trusted_proxies=networks) as agent:
        answer = await asked(agent, f"PEER {peer.url} hi")

    assert answer.endswith(f"The agent's own words:\n{HELLO}")


async def test_the_tool_works_at_a_url_of_its_own(node: Start) -> None:
    async with node() as peer, node(allowed_hosts=HOSTS, tool_url="http://tool.invalid") as agent:
        assert agent.running.tool is not None
        assert agent.running.tool.registrations[0].url == f"http://tool.invalid{TOOL_PATH}"
        secret = agent.running.tool.endpoint.secret.reveal()
        async with httpx.AsyncClient(base_url=agent.url, headers={"host": "tool.invalid"}) as http:
            response = await http.get(TOOL_PATH, headers={"authorization": f"Bearer {secret}"})
        assert peer.url

    assert response.status_code == 405  # the endpoint's own answer: it offers no stream of pushes


@pytest.mark.parametrize("host", ["rebound.example", "127.0.0.1", "localhost", "agent.example"])
async def test_a_name_that_leads_here_does_not_open_the_endpoint(node: Start, host: str) -> None:
    async with node(allowed_hosts=HOSTS) as agent:
        assert agent.running.tool is not None
        secret = agent.running.tool.endpoint.secret.reveal()
        guesses = [{}, {"authorization": "Bearer guess"}]
        of_a_page = {"authorization": f"Bearer {secret}", "origin": f"http://{host}"}
        async with httpx.AsyncClient(base_url=agent.url, headers={"host": host}) as http:
            answers = [
                await http.post(TOOL_PATH, content=PING, headers={"content-type": "application/json", **headers})
                for headers in (*guesses, of_a_page)
            ]
            elsewhere = [
                await http.post("/unknown", content=PING, headers={"content-type": "application/json", **headers})
                for headers in (*guesses, of_a_page)
            ]

    assert [answer.status_code for answer in answers] == [answer.status_code for answer in elsewhere]
    assert not {answer.status_code for answer in answers} - {400, 401, 403}
