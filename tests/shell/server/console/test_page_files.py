"""The files of the console's page: who may read them, and with which headers."""

from __future__ import annotations

import pytest

from sansio.guards.console import FILE_HEADERS, POLICY
from tests.shell.harness import Serving, client

pytestmark = pytest.mark.anyio


async def test_everybody_may_read_the_page_and_it_may_load_nothing_else(serving: Serving) -> None:
    async with serving(console=True) as agent, client(agent.url, None) as http:
        answer = await http.get("/console", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == POLICY
        assert dict(FILE_HEADERS).items() <= dict(answer.headers).items()
        assert "set-cookie" not in answer.headers


async def test_a_browser_that_has_it_gets_it_once(serving: Serving) -> None:
    async with serving(console=True) as agent, client(agent.url, None) as http:
        first = await http.get("/console")
        again = await http.get("/console", headers={"if-none-match": first.headers["etag"]})
        head = await http.head("/console")

        assert (again.status_code, again.content) == (304, b"")
        assert (head.status_code, head.content) == (200, b"")
        assert again.headers["content-security-policy"] == POLICY


@pytest.mark.parametrize("path", ["/console/none.js", "/console/index.html", "/console/", "/console/..%2fx.js"])
async def test_what_is_no_file_of_the_page_is_not_there(serving: Serving, path: str) -> None:
    async with serving(console=True) as agent:
        assert (await agent.http.get(path)).status_code == 404


async def test_methods_are_those_of_the_path(serving: Serving) -> None:
    async with serving(console=True) as agent, client(agent.url, None) as http:
        assert (await http.post("/console")).status_code == 405
        assert (await http.options("/console")).headers["allow"] == "GET, HEAD, OPTIONS"
        assert (await http.options("/console/session")).headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST"
        page = {"x-a2a-console": "1"}
        assert (await http.put("/console/session", headers=page)).status_code == 405
