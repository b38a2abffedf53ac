"""The settings of the guards of the server: proxies in front of it, and rate limits.

Knows no request.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.settings_rows import row
from opencode_a2a.config.settings_tls import TlsSettings
from sansio.guards.proxies import ProxyHeaders, TrustedProxies, parse_networks
from sansio.guards.rate_limits import RequestRates
from sansio.transport.addresses import NO_NETWORKS, Networks

_PROXIES: Final = "Behind a reverse proxy"
_RATES: Final = "Rate limits"


def _networks(text: str) -> Networks:
    """A comma-separated or JSON list of addresses and networks."""
    entries = values.words(text)
    try:
        return parse_networks(entries)
    except ValueError as error:
        problem = str(error)
    raise values.SettingRefusedError(problem)


@frozen(kw_only=True, init=False, repr=False, eq=False)
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

    rate_limit_enabled: bool = row(
        _RATES,
        "A2A_RATE_LIMIT_ENABLED",
        values.flag,
        True,
        "whether requests beyond the limits below are refused with 429 (docs/security.md): true or false",
    )
    rate_limit_max_requests: int = row(
        _RATES,
        "A2A_RATE_LIMIT_MAX_REQUESTS",
        values.whole(1),
        120,
        "how many requests a credential may make in A2A_RATE_LIMIT_WINDOW_SECONDS: a whole number, at least 1",
    )
    rate_limit_public_max_requests: int = row(
        _RATES,
        "A2A_RATE_LIMIT_PUBLIC_MAX_REQUESTS",
        values.whole(1),
        120,
        "how many requests for public documents, and how many with credentials that are wrong or missing, may come "
        "from one address in that time (IPv6: from one network of 64 bits): a whole number, at least 1. Loopback "
        "addresses have no limit",
    )
    rate_limit_window_seconds: float = row(
        _RATES,
        "A2A_RATE_LIMIT_WINDOW_SECONDS",
        values.seconds(zero=False),
        60.0,
        "the time in which an empty quota refills, evenly: seconds, more than 0",
    )

    def request_rates(self) -> RequestRates | None:
        """Make the rate limits, with full quotas; None where there are none."""
        if not self.rate_limit_enabled:
            return None
        return RequestRates.of(
            requests=self.rate_limit_max_requests,
            public=self.rate_limit_public_max_requests,
            window=self.rate_limit_window_seconds,
        )

    @property
    def proxies(self) -> TrustedProxies:
        """The proxies whose headers count, and the headers."""
        return TrustedProxies(self.trusted_proxies, self.proxy_headers)
