"""Judges who can call: the file of credentials, and the issuer of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from sansio.doctor.finding import Finding, fail, ok, skipped, warn

CREDENTIALS, ISSUER = "credentials file", "OIDC issuer"
_FILE: Final = "A2A_STATIC_AUTH_CREDENTIALS_FILE"


@frozen(kw_only=True)
class CredentialsFacts:
    """Observations of the file of credentials. `problems`: why it cannot be used, without a secret.

    `enabled`: how many credentials count, with those of the setting beside it. `others`: callers can also come by an
    issuer or a proxy's certificates. `open_to_others`: not its owner alone may read it.
    """

    path: str | None
    problems: Sequence[str] = ()
    enabled: int = 0
    others: bool = False
    open_to_others: bool = False


def judge_credentials(facts: CredentialsFacts) -> Iterator[Finding]:
    """Yield the rows of the file of credentials."""
    if facts.path is None:
        yield skipped(CREDENTIALS, f"{_FILE} is not set")
        return
    for problem in facts.problems:
        remedy = f"mend the file that {_FILE} names; `opencode-a2a token` makes entries (docs/authentication.md)"
        yield fail(CREDENTIALS, f"{facts.path}: {problem}", remedy)
    if facts.problems:
        return
    if facts.open_to_others:
        yield warn(CREDENTIALS, f"{facts.path} can be read by others than its owner", f"chmod 600 {facts.path}")
    if facts.enabled:
        yield ok(CREDENTIALS, f"{facts.path} can be used; enabled with those beside it: {facts.enabled}")
    elif facts.others:
        yield ok(CREDENTIALS, f"{facts.path} has no enabled entry; callers come by other ways")
    else:
        remedy = "opencode-a2a token --principal NAME, and put the entry into the file"
        yield fail(CREDENTIALS, f"{facts.path} has no enabled entry: nobody can call", remedy)


@frozen(kw_only=True)
class IssuerFacts:
    """Observations of an issuer. `missing`: libraries; `unreachable`: why a document could not be had.

    `discovery`, `key_set`: what is wrong with the document. `keys`: how many it has; `usable`: those for the
    algorithms that are allowed.
    """

    issuer: str | None
    has_audience: bool = True
    unreachable: str | None = None
    discovery: str | None = None
    key_set: str | None = None
    keys: int = 0
    usable: int = 0


def judge_issuer(facts: IssuerFacts) -> Iterator[Finding]:
    """Yield the rows of the issuer of tokens."""
    if facts.issuer is None:
        yield skipped(ISSUER, "A2A_OIDC_ISSUER is not set")
        return
    if not facts.has_audience:
        yield fail(
            ISSUER,
            "A2A_OIDC_AUDIENCE is not set, and a token has to be for this server: it does not start",
            "set A2A_OIDC_AUDIENCE to what the provider writes into `aud` of the tokens for this server",
        )
    if facts.unreachable is not None:
        remedy = "see that the provider answers this machine, or set A2A_OIDC_ISSUER to its URL"
        yield fail(ISSUER, f"{facts.issuer}: {facts.unreachable}", remedy)
    elif facts.discovery is not None:
        remedy = "set A2A_OIDC_ISSUER to what `issuer` says in the provider's discovery document, to the letter"
        yield fail(ISSUER, f"{facts.issuer}: {facts.discovery}", remedy)
    elif facts.key_set is not None or not facts.usable:
        detail = facts.key_set or f"none of its {facts.keys} keys is for an algorithm that is allowed"
        yield fail(ISSUER, f"{facts.issuer}: {detail}", "set A2A_OIDC_ALGORITHMS to what the provider signs with")
    elif facts.has_audience:
        yield ok(ISSUER, f"{facts.issuer} answers, with {facts.usable} keys that can be used")
