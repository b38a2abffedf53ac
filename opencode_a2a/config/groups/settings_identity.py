"""The settings of how callers prove who they are, beside the list of credentials in the environment.

Knows no request and no issuer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.groups import identity_values
from opencode_a2a.config.settings_guards import GuardSettings
from opencode_a2a.config.settings_rows import row
from sansio.access.oidc import ALGORITHMS, DEFAULT_ALGORITHMS

_IDENTITY: Final = "How callers prove who they are"
_CONSOLE: Final = "The console"


@frozen(kw_only=True, init=False, repr=False, eq=False)
class IdentitySettings(GuardSettings):
    """The rows of authentication."""

    credentials_file: str | None = row(
        _IDENTITY,
        "A2A_STATIC_AUTH_CREDENTIALS_FILE",
        str,
        None,
        "a JSON file with more credentials, read again when it changes and on SIGHUP "
        "(docs/authentication.md): a path",
    )
    api_key_header: str = row(
        _IDENTITY,
        "A2A_API_KEY_HEADER",
        values.header_name,
        "X-API-Key",
        "the header that API keys are read from: the name of a header",
    )

    client_cert_header: str | None = row(
        _IDENTITY,
        "A2A_CLIENT_CERT_HEADER",
        values.header_name,
        None,
        "the header by which a proxy of A2A_TRUSTED_PROXIES names the client's certificate, once it has verified it: "
        "the name of a header; X-Forwarded-Client-Cert is read in Envoy's form",
        default_text="none: no certificate counts",
    )
    oidc_issuer: str | None = row(
        _IDENTITY,
        "A2A_OIDC_ISSUER",
        identity_values.issuer,
        None,
        "the OpenID provider whose tokens count (docs/authentication.md): its URL as it writes it in them, https "
        "unless it is on this machine; needs the extra oidc",
        default_text="none: no tokens of a provider count",
    )
    oidc_audience: tuple[str, ...] = row(
        _IDENTITY,
        "A2A_OIDC_AUDIENCE",
        values.words,
        (),
        "the audiences that its tokens may be for, one of which each has to name: a comma-separated list",
        default_text="none; needed with an issuer",
    )
    oidc_principal_claim: str = row(
        _IDENTITY,
        "A2A_OIDC_PRINCIPAL_CLAIM",
        str,
        "sub",
        "the claim that names the principal, which is then `oidc:` and its text: the name of a claim",
    )
    oidc_capabilities_claim: str | None = row(
        _IDENTITY,
        "A2A_OIDC_CAPABILITIES_CLAIM",
        str,
        None,
        "the claim that lists capabilities: the name of a claim",
        default_text="none: no claim grants any",
    )
    oidc_scope_capabilities: Mapping[str, frozenset[str]] = row(
        _IDENTITY,
        "A2A_OIDC_SCOPE_CAPABILITIES",
        identity_values.scope_capabilities,
        {},
        'capabilities by scope: a JSON object of lists, such as {"a2a.shell": ["session_shell"]}',
        default_text="none: no scope grants any",
    )
    oidc_algorithms: tuple[str, ...] = row(
        _IDENTITY,
        "A2A_OIDC_ALGORITHMS",
        identity_values.algorithms,
        DEFAULT_ALGORITHMS,
        f"the algorithms that its tokens may be signed with: a comma-separated list of {', '.join(ALGORITHMS)}",
    )

    console: bool = row(
        _CONSOLE,
        "A2A_CONSOLE",
        values.flag,
        False,
        "whether /console is a page for the person in the loop (docs/console.md): true or false",
    )
    console_session_seconds: float = row(
        _CONSOLE,
        "A2A_CONSOLE_SESSION_SECONDS",
        values.seconds(zero=False),
        43_200.0,
        "how long a login to the console lasts: seconds",
    )

    @property
    def has_other_callers(self) -> bool:
        """Whether callers can come from elsewhere than the list of credentials in the environment."""
        return any((self.credentials_file, self.oidc_issuer, self.client_cert_header))
