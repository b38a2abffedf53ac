"""The Agent Card as it is served: one document for clients of both lines, and what caches are told of it."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import anyio
import pytest

from opencode_a2a.serving import serve
from opencode_a2a.settings import Settings
from tests import schemas
from tests.shell.harness import CREDENTIALS, RUNTIMES, Serving, client, until

pytestmark = pytest.mark.anyio
PATHS = ("/.well-known/agent-card.json", "/.well-known/agent.json")
REQUIRED = {
    "0.3": {"name", "description", "version", "url", "protocolVersion", "capabilities", "skills"}
    | {"defaultInputModes", "defaultOutputModes"},
    "1.0": {"name", "description", "version", "supportedInterfaces", "capabilities", "skills"}
    | {"defaultInputModes", "defaultOutputModes"},
}


async def test_the_card_is_one_document_that_needs_no_credentials(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        first, second = [await http.get(path) for path in PATHS]

    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert first.headers["content-type"] == "application/json"


LEGACY = {"url", "preferredTransport", "additionalInterfaces", "protocolVersion", "security"}
LEGACY |= {"supportsAuthenticatedExtendedCard", "securitySchemes"}  # members with 0.3's form, alone or besides


async def test_the_card_is_valid_on_both_lines(serving: Serving) -> None:
    async with serving() as agent:
        card: dict[str, Any] = (await agent.http.get(PATHS[0])).json()

    schemas.check("0.3", schemas.CARD, card)
    schemas.check("1.0", schemas.CARD, {name: value for name, value in card.items() if name not in LEGACY})


async def test_the_card_has_what_each_line_requires(serving: Serving) -> None:
    async with serving(title="T", description="D", version="7", project="P") as agent:
        card: dict[str, Any] = (await agent.http.get(PATHS[0])).json()

    for required in REQUIRED.values():
        assert required <= card.keys()
    assert (card["name"], card["version"]) == ("T", "7")
    assert card["description"].startswith("D")
    assert "P" in card["description"]
    assert card["capabilities"]["streaming"] is True
    assert card["capabilities"]["pushNotifications"] is False
    assert {"uri", "description", "required"} <= card["capabilities"]["extensions"][0].keys()
    for skill in card["skills"]:
        assert {"id", "name", "description", "tags"} <= skill.keys()


async def test_the_card_names_interfaces_and_security_in_both_forms(serving: Serving) -> None:
    async with serving(public_url_override="https://agent.example/base") as agent:
        card: dict[str, Any] = (await agent.http.get(PATHS[0])).json()

    url = "https://agent.example/base"
    assert (card["url"], card["protocolVersion"]) == (url, "0.3")
    assert {one["transport"] for one in card["additionalInterfaces"]} == {"JSONRPC", "HTTP+JSON"}
    assert card["preferredTransport"] in {"JSONRPC", "HTTP+JSON"}
    pairs = {(one["url"], one["protocolBinding"], one["protocolVersion"]) for one in card["supportedInterfaces"]}
    assert pairs == {(url, binding, line) for binding in ("JSONRPC", "HTTP+JSON") for line in ("0.3", "1.0")}
    for scheme in card["securitySchemes"].values():
        assert (scheme["type"], scheme["httpAuthSecurityScheme"]["scheme"]) == ("http", scheme["scheme"])
    names = set(card["securitySchemes"])
    assert {scheme["scheme"] for scheme in card["securitySchemes"].values()} == {"bearer", "basic"}
    assert {name for one in card["security"] for name in one} == names
    assert {name for one in card["securityRequirements"] for name in one["schemes"]} == names


async def test_caches_are_told_how_long_and_by_what_name(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        whole = await http.get(PATHS[0])
        etag = whole.headers["etag"]
        for tag, status in ((etag, 304), (f"W/{etag}", 304), (f'"x", {etag}', 304), ("*", 304), ('"x"', 200)):
            again = await http.get(PATHS[1], headers={"if-none-match": tag})
            assert again.status_code == status
            assert again.headers["etag"] == etag
            assert again.content == (b"" if status == 304 else whole.content)

    assert "max-age" in whole.headers["cache-control"]
    assert parsedate_to_datetime(whole.headers["last-modified"]).tzinfo is not None


async def test_the_card_names_the_port_that_was_found(anyio_backend: str) -> None:
    stop = anyio.Event()
    urls: list[str] = []
    settings = Settings(
        port=0, opencode_url="http://127.0.0.1:9", credentials=CREDENTIALS, task_store_backend="memory"
    )

    async def run() -> None:
        await serve(settings, RUNTIMES[anyio_backend], stop=stop.wait, ready=urls.append)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: urls)
        async with client(urls[0], None) as http:
            card = (await http.get(PATHS[0])).json()
        stop.set()

    assert card["url"] == urls[0]
    assert not urls[0].endswith(":0")
