"""An OpenID provider on loopback: a discovery document, keys that can be exchanged, and tokens signed with them."""

from __future__ import annotations

import time
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.shell.harness import served

AUDIENCE = "https://agent.example"
RSA: RSAKey = RSAKey.generate_key(2048, parameters={"kid": "rsa-1"})
EC: ECKey = ECKey.generate_key("P-256", parameters={"kid": "ec-1"})
OTHER: ECKey = ECKey.generate_key("P-256", parameters={"kid": "ec-2"})
EDWARDS: OKPKey = OKPKey.generate_key("Ed25519", parameters={"kid": "ed-1"})


class Provider:
    """`keys`: the key set; `body`: sent in its place. `asked`: paths, in order. `is_down`: answers 503.

    `redirect`: where it sends whoever asks. `delay`: seconds before each answer.
    """

    def __init__(self) -> None:
        self.url = ""
        self.keys: list[Any] = [key.as_dict(private=False) for key in (RSA, EC, EDWARDS)]
        self.body: bytes | None = None
        self.asked: list[str] = []
        self.is_down = False
        self.redirect = ""
        self.delay = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        self.asked.append(scope["path"])
        if scope["path"].endswith("/openid-configuration"):
            body = orjson.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        else:
            body = orjson.dumps({"keys": self.keys}) if self.body is None else self.body
        await anyio.sleep(self.delay)
        status = 302 if self.redirect else 503 if self.is_down else 200
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if self.redirect:
            headers.append((b"location", self.redirect.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @property
    def key_fetches(self) -> int:
        return self.asked.count("/keys")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a server that accepts its tokens."""
        return {"oidc_issuer": self.url, "oidc_audience": (AUDIENCE,)}

    def token(
        self,
        key: RSAKey | ECKey | OKPKey | OctKey = EC,
        alg: str = "ES256",
        *,
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token; a claim or a member of the header that is None is left out."""
        now = time.time()
        body = {"iss": self.url, "aud": AUDIENCE, "sub": "gina", "iat": now, "exp": now + 600, **claims}
        head = {"alg": alg, "kid": key.kid, "typ": "at+jwt", **(header or {})}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="EdDSA is deprecated")
            return jwt.encode(
                {name: value for name, value in head.items() if value is not None},
                {name: value for name, value in body.items() if value is not None},
                key,
                algorithms=[alg],
            )


@asynccontextmanager
async def provider(backend: str) -> AsyncGenerator[Provider]:
    """A provider on a runtime."""
    found = Provider()
    async with served(backend, found) as url:
        found.url = url
        yield found
