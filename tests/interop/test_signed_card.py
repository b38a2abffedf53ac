"""Signed cards, held against the verifiers of the official clients: all that have one, on both cards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from opencode_a2a.server.http.card_signing import load_card_key
from tests.interop.agent import WAYS, Agent, Way, has
from tests.interop.driver import ClientError, Driver
from tests.interop.server import EVERY_BINDING
from tests.real.adapter import Adapter, running_adapter

pytestmark = [pytest.mark.interop, pytest.mark.operation("verify")]

TITLE = "Kärtchen 🂡"
"""So that escapes count."""

VERIFYING = [way for way in WAYS if has(way, "verify")]

NEW_KEY: dict[str, Callable[[], Any]] = {
    "EC": lambda: ec.generate_private_key(ec.SECP256R1()),
    "OKP": ed25519.Ed25519PrivateKey.generate,
}
"""By the name JOSE has for the kind of key."""


def key_file(folder: Path, key: Any) -> Path:
    path = folder / "card-key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture(scope="module", params=[("asyncio", "EC"), ("trio", "OKP")], ids="-".join)
def signing_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    """A server that signs its cards; nobody asks what is behind it."""
    runtime, kind = request.param
    folder = tmp_path_factory.mktemp(f"signing-{runtime}")
    more = {
        "A2A_CARD_SIGNING_KEY_FILE": str(key_file(folder, NEW_KEY[kind]())),
        "A2A_TITLE": TITLE,
        "A2A_BINDINGS": EVERY_BINDING,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with running_adapter(runtime, folder, "http://127.0.0.1:9", more) as adapter:
        yield adapter


@pytest.fixture(params=VERIFYING, ids=str)
def verifier(request: pytest.FixtureRequest, signing_server: Adapter, driver_of: Callable[[str], Driver]) -> Agent:
    way = request.param
    assert isinstance(way, Way)
    return Agent(way=way, driver=driver_of(way.client), server=signing_server)


@pytest.mark.parametrize("card", ["public", "extended"])
def test_a_card_is_verified_with_the_key_its_signatures_point_to(verifier: Agent, card: str) -> None:
    found = verifier.begin("verify", card=card).one()

    assert found["name"] == TITLE


@pytest.mark.parametrize("card", ["public", "extended"])
def test_a_card_is_not_verified_with_another_key_of_the_same_name(verifier: Agent, card: str, tmp_path: Path) -> None:
    [served] = httpx.get(f"{verifier.server.url}/.well-known/jwks.json", trust_env=False).json()["keys"]
    other = load_card_key(str(key_file(tmp_path, NEW_KEY[served["kty"]]())), served["kid"])
    assert other is not None

    with pytest.raises(ClientError) as raised:
        verifier.begin("verify", card=card, keys=other.jwks()).one()

    assert "signature" in str(raised.value).lower()
