"""The table of risky settings: what is wrong with a value, and what to set instead.

Knows no secret's value but by its length, and repeats none.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from opencode_a2a.config.settings import Settings
from opencode_a2a.config.settings_values import is_loopback
from sansio.a2a.counted import counted
from sansio.access import Credential
from sansio.access.credentials import SHORTEST_SECRET
from sansio.guards.origins import ANY

_WIDE: Final = {4: 8, 6: 16}
"""Bits of a network, by IP version; one with fewer holds more than anybody's own proxies."""


_EXAMPLES: Final = tuple(map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")))
"""Networks for documentation (RFC 5737, RFC 3849): what the manifest for Kubernetes has until it is edited."""


@frozen(kw_only=True)
class Risk:
    """One risky setting. As text: a line that names the variable, the problem and what to do."""

    variable: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.problem}; {self.remedy}"


@frozen(kw_only=True)
class _Row:
    """A row: `problem` returns it in words, or None. `exposed`: loopback alone does not have it."""

    variable: str
    problem: Callable[[Settings], str | None]
    remedy: str
    exposed: bool = True


def risks(settings: Settings) -> list[Risk]:
    """Return the risks of these settings, in the order of the table; none for a plain server on loopback."""
    exposed = is_exposed(settings)
    return [
        Risk(variable=row.variable, problem=problem, remedy=row.remedy)
        for row in _ROWS
        if (exposed or not row.exposed) and (problem := row.problem(settings)) is not None
    ]


def is_exposed(settings: Settings) -> bool:
    """Return whether other machines can reach the server: where it listens, or by its public URL."""
    return not settings.is_local or not is_loopback(urlsplit(settings.public_url).hostname or "")


def _where(condition: Callable[[Settings], bool], problem: str) -> Callable[[Settings], str | None]:
    return lambda settings: problem if condition(settings) else None


def _plain_http(settings: Settings) -> str | None:
    if urlsplit(settings.public_url).scheme == "https":
        return None
    return "callers use http, so their credentials can be read on the way"


def _unknown_proxy(settings: Settings) -> str | None:
    if settings.trusted_proxies:
        return None
    if settings.is_local:
        return "all callers of the proxy in front seem to be on this machine, so no limit keeps them from guessing"
    if settings.uses_tls:
        return None
    if settings.public_url.startswith("https:"):
        return (
            "all callers seem to have the address of the proxy in front: they share its limits, or on loopback have "
            "none"
        )
    return "behind a proxy or a container's bridge, all callers have its address and share its limits"


def _example_proxies(settings: Settings) -> str | None:
    examples = [
        one
        for one in settings.trusted_proxies.networks
        if any(one[0] in example and one[-1] in example for example in _EXAMPLES)
    ]
    if not examples:
        return None
    return f"{examples[0]} is an address for examples and no proxy's, so the proxy in front is not named"


def _wide_proxies(settings: Settings) -> str | None:
    wide = [one for one in settings.trusted_proxies.networks if one.prefixlen < _WIDE[one.version]]
    if not wide:
        return None
    return f"{wide[0]} is more than your proxies: whoever is in it can claim to be any client"


def _short_secrets(settings: Settings) -> str | None:
    short = [one for one in settings.credentials.credentials if one.enabled and _is_short(one)]
    if not short:
        return None
    number = counted(len(short), "credential")
    return f"{number} with a token, key or password of fewer than {SHORTEST_SECRET} characters can be guessed"


def _is_short(credential: Credential) -> bool:
    """Return whether the secret is short. Of a hashed one, nobody knows."""
    secret = credential.token or credential.password
    return secret is not None and len(secret.reveal()) < SHORTEST_SECRET


def _shell(settings: Settings) -> str | None:
    if not settings.enable_session_shell:
        return None
    if settings.has_other_callers:  # whose capabilities are not in the settings
        return "callers with the capability session_shell can run any shell command where OpenCode runs"
    enabled = [one for one in settings.credentials.credentials if one.enabled]
    allowed = [one for one in enabled if "session_shell" in one.capabilities]
    return f"{counted(len(allowed), 'credential')} can run any shell command where OpenCode runs" if allowed else None


_ROWS: Final = (
    _Row(
        variable="A2A_PUBLIC_URL",
        problem=_plain_http,
        remedy="set A2A_TLS_CERT_FILE, or put a proxy that adds TLS in front and name its https URL here",
    ),
    _Row(
        variable="A2A_STATIC_AUTH_CREDENTIALS",
        problem=_short_secrets,
        remedy="use long random ones, such as `openssl rand -base64 24` prints",
    ),
    _Row(
        variable="A2A_ALLOWED_HOSTS",
        problem=_where(
            lambda settings: not settings.allowed_hosts.entries,
            "any host name is answered, also one that somebody else points at this address",
        ),
        remedy="list the names under which callers reach the server",
    ),
    _Row(
        variable="A2A_ALLOWED_ORIGINS",
        problem=_where(lambda settings: ANY in settings.allowed_origins.names, "any page in a browser may call"),
        remedy="list the origins of your own pages",
        exposed=False,
    ),
    _Row(
        variable="A2A_RATE_LIMIT_ENABLED",
        problem=_where(
            lambda settings: not settings.rate_limit_enabled,
            "credentials can be guessed, and requests sent, without limit",
        ),
        remedy="set it to true, unless a proxy in front limits rates",
    ),
    _Row(
        variable="A2A_TRUSTED_PROXIES",
        problem=_unknown_proxy,
        remedy="name the proxy's address",
    ),
    _Row(
        variable="A2A_TRUSTED_PROXIES",
        problem=_example_proxies,
        remedy="name the addresses of your proxies",
        exposed=False,
    ),
    _Row(
        variable="A2A_TRUSTED_PROXIES",
        problem=_wide_proxies,
        remedy="name the addresses of your proxies alone",
        exposed=False,
    ),
    _Row(
        variable="A2A_MAX_REQUEST_BODY_BYTES",
        problem=_where(
            lambda settings: settings.max_request_body_bytes == 0, "one request can take all of the memory"
        ),
        remedy="set a number of bytes",
    ),
    _Row(
        variable="A2A_MAX_CONNECTIONS_PER_ADDRESS",
        problem=_where(
            lambda settings: settings.max_connections_per_address == 0, "one address can take all connections"
        ),
        remedy="set a number",
    ),
    _Row(
        variable="A2A_ENABLE_SESSION_SHELL",
        problem=_shell,
        remedy="turn it off, or take the capability session_shell from credentials that do not need it",
    ),
    _Row(
        variable="A2A_CLIENT_ALLOW_PRIVATE_HOSTS",
        problem=_where(
            lambda settings: settings.client_allow_private_hosts and settings.tool_enabled,
            "callers can make the model send requests to every address of your network",
        ),
        remedy="turn it off, and list the hosts that are meant in A2A_CLIENT_ALLOWED_HOSTS",
    ),
    _Row(
        variable="A2A_PUSH_ALLOW_PRIVATE_HOSTS",
        problem=_where(
            lambda settings: settings.push_allow_private_hosts,
            "callers can make the server send requests to every address of your network",
        ),
        remedy="turn it off, and list the receivers in A2A_PUSH_ALLOWED_HOSTS",
    ),
)
