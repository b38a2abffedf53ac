"""The signatures of cards before the client: the key set at the card's origin, trusted keys, and what is refused."""

from __future__ import annotations

import io
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from opencode_a2a.cli.card import show_card
from opencode_a2a.client import AgentCache, ClientOptions, connect
from opencode_a2a.client.options import CallTarget
from opencode_a2a.server.http.card_keys import canonical
from sansio.a2a.cards.verification import SignatureCheck
from sansio.a2a.client.client_errors import InvalidCardError
from tests.core.a2a.test_verification import KEY, card_key, signed
from tests.shell.calling import Scene
from tests.shell.scripted_agent import CARD_PATH, document

pytestmark = pytest.mark.anyio

JWKS = "/jwks.json"
REQUIRED = ClientOptions(signatures=SignatureCheck.REQUIRE)
CHECKED = ClientOptions(signatures=SignatureCheck.CHECK)


def publish(scene: Scene, *, jku: str | None = None, **changed: Any) -> None:
    card: dict[str, Any] = {
        "name": "signed",
        "supportedInterfaces": [{"url": scene.url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
    }
    signature = signed(canonical(card), jku=jku or f"{scene.url}{JWKS}")
    scene.agent.on(CARD_PATH, document({**card, **changed, "signatures": [signature]}))
    scene.agent.on(JWKS, document(KEY.jwks()))


async def test_a_signed_card_is_taken_with_the_key_of_its_own_origin(scene: Scene) -> None:
    publish(scene)

    async with connect(scene.url, REQUIRED) as agent:
        assert agent.card.name == "signed"
    assert len(scene.agent.asked(JWKS)) == 1


@pytest.mark.parametrize("options", [REQUIRED, CHECKED], ids=["require", "check"])
async def test_a_changed_card_is_refused(scene: Scene, options: ClientOptions) -> None:
    publish(scene, name="changed")

    with pytest.raises(InvalidCardError, match="is wrong"):
        async with connect(scene.url, options):
            pass


async def test_a_key_set_of_another_origin_is_not_fetched(scene: Scene) -> None:
    publish(scene, jku="http://127.0.0.1:1/jwks.json")

    with pytest.raises(InvalidCardError, match="proves nothing"):
        async with connect(scene.url, REQUIRED):
            pass


async def test_a_key_set_that_was_kept_is_fetched_again_once_for_a_new_key(scene: Scene) -> None:
    publish(scene)
    other = card_key(ec.generate_private_key(ec.SECP256R1()), "new")
    scene.agent.on(JWKS, document(other.jwks()), document(KEY.jwks()))

    async with AgentCache(ttl=60.0, size=4, options_of=lambda url: REQUIRED) as cache:
        with pytest.raises(InvalidCardError, match="no key"):
            async with cache.borrow(scene.url):
                pass
        async with cache.borrow(scene.url) as agent:
            assert agent.card.name == "signed"
    assert len(scene.agent.asked(JWKS)) == 2


async def test_the_command_shows_the_outcome_and_counts_a_wrong_one(scene: Scene) -> None:
    out, err = io.StringIO(), io.StringIO()
    publish(scene)
    await show_card(CallTarget(scene.url), out, err)
    assert "  signature     valid, ES256, key k (of the agent's own key set)\n" in out.getvalue()

    publish(scene, name="changed")
    assert await show_card(CallTarget(scene.url), out, err) == 1
    assert "The signature of the agent card is wrong" in err.getvalue()
