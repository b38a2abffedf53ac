"""Judges the certificate that a server shows: for how long it is good, and whether callers reach it by its names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from sansio.certificate import Certificate
from sansio.doctor.finding import Finding, fail, ok, warn

TLS: Final = "TLS"
_REPLACE: Final = "put a new certificate in A2A_TLS_CERT_FILE and its key in A2A_TLS_KEY_FILE; SIGHUP loads them"


@frozen(kw_only=True)
class CertificateFacts:
    """Observations of a certificate. `host`: the public URL's. `has_proxy`: callers may see another certificate."""

    certificate: Certificate
    host: str
    has_proxy: bool = False


def judge_certificate(facts: CertificateFacts, now: float) -> Finding:
    """Make the row of a certificate that its key belongs to. `now`: epoch seconds."""
    certificate, end = facts.certificate, day(facts.certificate.ends)
    if certificate.ends <= now:
        return fail(TLS, f"the certificate expired on {end}: callers refuse it", _REPLACE)
    if certificate.begins > now:
        return fail(TLS, f"the certificate is not good before {day(certificate.begins)}", "see the clock, or wait")
    if not certificate.is_for(facts.host):
        names = ", ".join(certificate.names[:5]) or "no host name"
        detail = f"the certificate is for {names}, and the public URL's host is {facts.host}"
        remedy = "set A2A_PUBLIC_URL to a name of the certificate, or get one for that name"
        return warn(TLS, detail, remedy) if facts.has_proxy else fail(TLS, detail, remedy)
    if certificate.ends_soon(now):
        return warn(TLS, f"the certificate expires on {end}, {days(certificate, now)}", _REPLACE)
    return ok(TLS, f"the certificate and its key belong together, and it is good until {end}")


def day(moment: float) -> str:
    """Return the day of a moment, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def days(certificate: Certificate, now: float) -> str:
    """Say how many days a certificate has left."""
    left = int((certificate.ends - now) // 86_400)
    return "in less than a day" if left < 1 else f"in {left} day{'' if left == 1 else 's'}"
