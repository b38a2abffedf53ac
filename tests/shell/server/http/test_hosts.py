"""A server that knows its own names answers no request for another."""

from __future__ import annotations

import httpx
import pytest

from sansio.guards.hosts import ServedHosts
from tests.shell.harness import Serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/.well-known/agent-card.json", "/health", "/openapi.json", "/"])
async def test_a_request_for_another_host_is_refused_before_anything_else(serving: Serving, path: str) -> None:
    async with serving(allowed_hosts=ServedHosts.of(["127.0.0.1", "agent.example"])) as agent:
        answers: dict[str, httpx.Response] = {}
        for host in ("agent.example", "rebound.example"):
            answers[host] = await agent.http.get(path, headers={"host": host})

        assert answers["agent.example"].status_code != 400
        assert answers["rebound.example"].status_code == 400
        assert "Host" in answers["rebound.example"].text
        assert (await agent.caller().send("hi")).id
