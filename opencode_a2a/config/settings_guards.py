"""The settings of the guards of the server: proxies in front of it.

Knows no request.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.settings_rows import row
from opencode_a2a.config.settings_tls import TlsSettings
from sansio.guards.proxies import ProxyHeaders, TrustedProxies, parse_networks
from sansio.transport.addresses import NO_NETWORKS, Networks

_PROXIES: Final = "Behind a reverse proxy"


def _networks(text: str) -> Networks:
    """A comma-separated or JSON list of addresses and networks."""
    entries = values.words(text)
    try:
        return parse_networks(entries)
    except ValueError as error:
        problem = str(error)
    raise values.SettingRefusedError(problem)


@frozen(kw_only=True)
class GuardSettings(TlsSettings):
    """The rows of the guards."""

    trusted_proxies: Networks = row(
        _PROXIES,
        "A2A_TRUSTED_PROXIES",
        _networks,
        NO_NETWORKS,
        "the reverse proxies whose headers say who calls, and under which URL (docs/security.md): a list, "
        "comma-separated or in JSON, of addresses and networks such as 10.1.0.0/16",
        default_text="none: such headers count for nothing",
    )
    proxy_headers: ProxyHeaders = row(
        _PROXIES,
        "A2A_PROXY_HEADERS",
        ProxyHeaders,
        ProxyHeaders.X_FORWARDED,
        "the headers that these proxies write; the others are ignored: x-forwarded (`X-Forwarded-For` and the like) "
        "or forwarded (`Forwarded`, RFC 7239)",
        default_text="x-forwarded",
    )

    @property
    def proxies(self) -> TrustedProxies:
        """The proxies whose headers count, and the headers."""
        return TrustedProxies(self.trusted_proxies, self.proxy_headers)
