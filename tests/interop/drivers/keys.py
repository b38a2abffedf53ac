"""Finds the key a signature names, as any application that verifies cards has to; the SDKs leave that to it.

Runs in the environments of both Python clients, so it knows only what they both bring.
"""

# The clients are installed in environments of their own, never in the one that checks types.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from jwt import PyJWK

from tests.interop.drivers.dialogue import Json

ALGORITHMS = ["ES256", "ES384", "EdDSA", "RS256"]
"""What these tests accept; the SDKs want a list, so that a card cannot choose."""


def key_provider(command: Json) -> Callable[[str | None, str | None], Any]:
    """Looks in the key set a signature points to, or in the one the command brings."""

    def find(kid: str | None, jku: str | None) -> Any:
        keys = command.get("keys") or httpx.get(jku or "", trust_env=False).raise_for_status().json()
        return PyJWK(next(key for key in keys["keys"] if key["kid"] == kid))

    return find
