"""The header `WWW-Authenticate`: what a refused caller may try (RFC 9110, section 11.6.1)."""

from __future__ import annotations

from collections.abc import Collection

ERROR = 'error="invalid_token"'
"""Says that a bearer token was presented, and is not accepted (RFC 6750, section 3.1)."""


def challenge(schemes: Collection[str], realm: str, *, api_key_header: str = "", refused_token: bool = False) -> str:
    """Return the header's value for the schemes that are on; `Bearer` where there is none.

    `schemes`: of `bearer`, `oidc`, `basic`, `api_key` and `mtls`; a certificate has no challenge. `realm`: names what
    is protected, to a person who is asked for a password. `refused_token`: a bearer token was presented.
    """
    offers = {
        "bearer": f"Bearer {ERROR}" if refused_token else "Bearer",
        "basic": f'Basic realm="{realm}"',
        # No standard names this one. It is there because a refusal has to name something.
        "api_key": f'ApiKey realm="{realm}", header="{api_key_header}"',
    }
    named = {"bearer" if scheme == "oidc" else scheme for scheme in schemes}
    return ", ".join(text for scheme, text in offers.items() if scheme in named) or offers["bearer"]
