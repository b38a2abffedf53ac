"""The Agent Card as it is served: one document for clients of both versions, and what caches are told of it."""

from __future__ import annotations

import base64
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from opencode_a2a.agent.application import application
from opencode_a2a.cli.serve import serve
from opencode_a2a.config.settings import Settings, SettingsError
from sansio.a2a.cards.parse import WEBSOCKET_URI
from sansio.a2a.cards.signatures import JWKS_PATH
from sansio.a2a.dialects import DIALECTS
from tests import schemas
from tests.shell.harness import CREDENTIALS, RUNTIMES, Serving, client, until

pytestmark = [
    pytest.mark.anyio,
    # one runtime: no event loop has a part in a document
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]
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


LEGACY = DIALECTS["0.3"].card_members | {"securitySchemes"}  # members with 0.3's form, alone or besides


@pytest.fixture
def key(tmp_path: Path) -> ed25519.Ed25519PrivateKey:
    """A key that lies in `tmp_path / "key.pem"`."""
    made = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


@pytest.mark.parametrize("is_signed", [False, True])
async def test_the_card_is_valid_on_both_versions(
    is_signed: bool, serving: Serving, key: ed25519.Ed25519PrivateKey, tmp_path: Path
) -> None:
    file = str(tmp_path / "key.pem") if is_signed else None
    async with serving(card_signing_key_file=file) as agent:
        card: dict[str, Any] = (await agent.http.get(PATHS[0])).json()

    assert ("signatures" in card) is is_signed

    schemas.check("0.3", schemas.CARD, card)
    schemas.check("1.0", schemas.CARD, {name: value for name, value in card.items() if name not in LEGACY})


async def test_the_card_has_what_each_version_requires(serving: Serving) -> None:
    async with serving(title="T", description="D", version="7", project="P") as agent:
        card: dict[str, Any] = (await agent.http.get(PATHS[0])).json()

    for required in REQUIRED.values():
        assert required <= card.keys()
    assert (card["name"], card["version"]) == ("T", "7")
    assert card["description"].startswith("D")
    assert "P" in card["description"]
    assert card["capabilities"]["streaming"] is True
    assert card["capabilities"]["pushNotifications"] is True
    assert card["capabilities"]["extendedAgentCard"] is True
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
    assert pairs == {(url, binding, version) for binding in ("JSONRPC", "HTTP+JSON") for version in ("0.3", "1.0")}
    for scheme in card["securitySchemes"].values():
        assert (scheme["type"], scheme["httpAuthSecurityScheme"]["scheme"]) == ("http", scheme["scheme"])
    names = set(card["securitySchemes"])
    assert {scheme["scheme"] for scheme in card["securitySchemes"].values()} == {"bearer", "basic"}
    assert {name for one in card["security"] for name in one} == names
    assert {name for one in card["securityRequirements"] for name in one["schemes"]} == names


async def test_the_card_lists_the_bindings_in_the_order_of_the_setting(serving: Serving) -> None:
    names = {"WEBSOCKET": WEBSOCKET_URI}
    for bindings in (("HTTP+JSON", "JSONRPC"), ("WEBSOCKET", "JSONRPC"), ("JSONRPC", "GRPC", "HTTP+JSON")):
        async with serving(bindings=bindings) as agent:
            card: dict[str, Any] = (await agent.http.get(PATHS[0])).json()
        in_order = [names.get(binding, binding) for binding in bindings]
        assert card["preferredTransport"] == in_order[0]
        assert [one["transport"] for one in card["additionalInterfaces"]] == in_order
        versions = [(one["protocolVersion"], one["protocolBinding"]) for one in card["supportedInterfaces"]]
        assert versions == [(version, binding) for version in ("1.0", "0.3") for binding in in_order]


async def test_caches_are_told_how_long_and_by_what_name(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        http.headers["accept-encoding"] = "identity"  # what is compressed has a weak tag
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


# --- the extended card ------------------------------------------------------------------------------------

EXTENDED = {
    "0.3 rpc": ("POST", "/", "agent/getAuthenticatedExtendedCard"),
    "0.3 rest": ("GET", "/v1/card", None),
    "0.3 path": ("GET", "/agent/authenticatedExtendedCard", None),
    "1.0 rpc": ("POST", "/", "GetExtendedAgentCard"),
    "1.0 rest": ("GET", "/extendedAgentCard", None),
}


async def extended(http: httpx.AsyncClient, way: str) -> dict[str, Any]:
    method, path, call = EXTENDED[way]
    body = None if call is None else {"jsonrpc": "2.0", "id": 7, "method": call, "params": {}}
    answer = await http.request(method, path, json=body, headers={"A2A-Version": way.partition(" ")[0]})
    assert answer.status_code == 200, answer.text
    card: dict[str, Any] = answer.json() if call is None else answer.json()["result"]
    return card


def caller_of(card: dict[str, Any]) -> dict[str, Any]:
    [caller] = {orjson.dumps(one["params"]["caller"]) for one in card["capabilities"]["extensions"] if told(one)}
    found: dict[str, Any] = orjson.loads(caller)
    return found


def told(extension: dict[str, Any]) -> bool:
    return "caller" in extension["params"]


@pytest.mark.parametrize("way", EXTENDED)
async def test_each_caller_gets_the_extended_card_made_for_them(way: str, serving: Serving) -> None:
    async with serving() as agent:
        alice, bob = await extended(agent.http, way), await extended(agent.bob, way)

    assert caller_of(alice) == {"principal": "alice", "credential_id": "a", "capabilities": []}
    assert caller_of(bob) == {"principal": "bob", "credential_id": "b", "capabilities": []}
    if way.startswith("1.0"):
        schemas.check("1.0", schemas.CARD, alice)
        says_it_alone(alice, "1.0")
    else:
        schemas.check("0.3", schemas.CARD, alice)
        schemas.check("1.0", schemas.CARD, {name: value for name, value in alice.items() if name not in LEGACY})


def says_it_alone(card: dict[str, Any], version: str) -> None:
    """The card has the members of one version, and none of the other's."""
    old = version == "0.3"
    assert not DIALECTS["1.0" if old else "0.3"].card_members & card.keys()
    assert ("extendedAgentCard" in card["capabilities"]) is not old
    for scheme in card["securitySchemes"].values():
        assert ("type" in scheme, "httpAuthSecurityScheme" in scheme) == (old, not old)


@pytest.mark.parametrize("version", ["0.3", "1.0"])
async def test_where_one_version_is_served_the_public_card_says_it_alone(serving: Serving, version: str) -> None:
    async with serving(supported_protocol_versions=(version,), protocol_version=version) as agent:
        card = (await agent.http.get(PATHS[0])).json()

    schemas.check(version, schemas.CARD, card)
    says_it_alone(card, version)


async def test_nobody_else_gets_an_extended_card(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        for method, path, call in EXTENDED.values():
            body = None if call is None else {"jsonrpc": "2.0", "id": 7, "method": call}
            assert (await http.request(method, path, json=body)).status_code == 401


# --- signatures -------------------------------------------------------------------------------------------


async def test_cards_are_signed_and_the_key_is_published(
    serving: Serving, key: ed25519.Ed25519PrivateKey, tmp_path: Path
) -> None:
    async with serving(card_signing_key_file=str(tmp_path / "key.pem"), card_signing_key_id="k1") as agent:
        async with client(agent.url, None) as http:
            served, public = await http.get(JWKS_PATH), (await http.get(PATHS[0])).json()
        cards = [public, *[await extended(agent.http, way) for way in EXTENDED]]

    [jwk] = served.json()["keys"]
    assert served.headers["content-type"].startswith("application/")
    assert octets(jwk["x"]) == key.public_key().public_bytes_raw()
    for card in cards:
        signatures = card.pop("signatures")
        header = orjson.loads(octets(signatures[-1]["protected"]))
        assert header == {"alg": "EdDSA", "typ": "JOSE", "kid": "k1", "jku": public["url"] + JWKS_PATH}
        # the last signature is over the document as it is
        payload = base64.urlsafe_b64encode(rfc8785.dumps(card)).rstrip(b"=")
        message = signatures[-1]["protected"].encode() + b"." + payload
        key.public_key().verify(octets(signatures[-1]["signature"]), message)


def octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_without_a_key_there_are_no_signatures_and_no_key_set(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        assert "signatures" not in (await http.get(PATHS[0])).json()
        assert (await http.get(JWKS_PATH)).status_code == 404


async def test_a_key_that_cannot_be_used_keeps_the_server_from_starting(tmp_path: Path) -> None:
    settings = Settings(card_signing_key_file=str(tmp_path / "none.pem"), task_store_backend="memory")

    with pytest.raises(SettingsError, match=r"^A2A_CARD_SIGNING_KEY_FILE: the file cannot be used"):
        async with application(settings):
            pass


async def test_the_card_links_the_description_of_the_surface_where_no_other_document_is_set(serving: Serving) -> None:
    async with serving(public_url_override="https://agent.example/prefix") as agent:
        card = (await agent.http.get("/.well-known/agent-card.json")).json()
        description = await agent.http.get("/openapi.json")
    async with serving(documentation_url="https://docs.example/agent") as agent:
        other = (await agent.http.get("/.well-known/agent-card.json")).json()

    assert card["documentationUrl"] == "https://agent.example/prefix/openapi.json"
    assert description.json()["openapi"].startswith("3.")
    assert other["documentationUrl"] == "https://docs.example/agent"
