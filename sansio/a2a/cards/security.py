"""The security schemes of a card: what each is on version 0.3, which has OpenAPI's objects, and on version 1.0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from sansio.a2a.model import JsonObject


@frozen
class SecurityScheme:
    """One way to authenticate. `name`: what other members of the card call it.

    `openapi`: the object of version 0.3 and of OpenAPI. `member`, `body`: version 1.0's object has this one member.
    """

    name: str
    openapi: JsonObject
    member: str
    body: JsonObject

    @property
    def whole(self) -> JsonObject:
        """The object with the members of both versions."""
        return {**self.openapi, self.member: self.body}


def _http(name: str, body: JsonObject) -> SecurityScheme:
    return SecurityScheme(name, {"type": "http", **body}, "httpAuthSecurityScheme", body)


SCHEMES: Final[Mapping[str, SecurityScheme]] = {
    "bearer": _http(
        "bearerAuth",
        {"scheme": "bearer", "bearerFormat": "opaque", "description": "A bearer token of the operator's"},
    ),
    "basic": _http("basicAuth", {"scheme": "basic", "description": "A user name and password of the operator's"}),
}
"""The schemes that need no more than their name."""


def described(schemes: Sequence[str | SecurityScheme]) -> list[SecurityScheme]:
    """Return the schemes; those of `SCHEMES` may be given by their name. Raises `KeyError` for another name."""
    return [SCHEMES[scheme] if isinstance(scheme, str) else scheme for scheme in schemes]


def api_key(header: str) -> SecurityScheme:
    """Return the scheme of API keys in a request header."""
    described = {"description": "An API key of the operator's"}
    return SecurityScheme(
        "apiKeyAuth",
        {"type": "apiKey", "in": "header", "name": header, **described},
        "apiKeySecurityScheme",
        {"location": "header", "name": header, **described},
    )


def open_id_connect(url: str) -> SecurityScheme:
    """Return the scheme of tokens of an OpenID provider. `url`: of its discovery document."""
    body = {"openIdConnectUrl": url, "description": "An access token of the identity provider, as a bearer token"}
    return SecurityScheme("openIdConnect", {"type": "openIdConnect", **body}, "openIdConnectSecurityScheme", body)


def mutual_tls() -> SecurityScheme:
    """Return the scheme of client certificates."""
    body = {"description": "A client certificate that the operator's proxy accepts"}
    return SecurityScheme("mutualTls", {"type": "mutualTLS", **body}, "mtlsSecurityScheme", body)


def published(schemes: Sequence[str], *, api_key_header: str = "", discovery_url: str = "") -> list[SecurityScheme]:
    """Return the schemes by the names that the server has for them: `bearer`, `basic`, `api_key`, `oidc`, `mtls`."""
    table = {
        **SCHEMES,
        "api_key": api_key(api_key_header),
        "oidc": open_id_connect(discovery_url),
        "mtls": mutual_tls(),
    }
    return [table[scheme] for scheme in schemes]
