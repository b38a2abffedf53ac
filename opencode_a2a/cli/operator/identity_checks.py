"""Checks who can call: reads the file of credentials, and asks the issuer of tokens for its keys."""

from __future__ import annotations

from typing import Any

import orjson
from attrs import evolve

from opencode_a2a.config.settings import Settings
from opencode_a2a.config.settings_values import credentials_of_file
from opencode_a2a.server.identity.credentials_file import CredentialsFile
from opencode_a2a.server.identity.issuer_client import IssuerClient, IssuerUnavailableError
from opencode_a2a.server.identity.opening import oidc_policy
from sansio.access import CredentialsError
from sansio.access.oidc import OidcPolicy, TokenHeader, read_discovery, read_keys, suitable_keys
from sansio.doctor.finding import Finding
from sansio.doctor.identity import CredentialsFacts, IssuerFacts, judge_credentials, judge_issuer


def check_credentials(settings: Settings) -> list[Finding]:
    """Check the file of credentials. Blocks."""
    path = settings.credentials_file
    facts = CredentialsFacts(path=path, others=settings.oidc_issuer is not None or bool(settings.client_cert_header))
    if path is not None:
        try:
            loaded = CredentialsFile(path, credentials_of_file, settings.credentials).read()
        except CredentialsError as error:
            facts = evolve(facts, problems=tuple(error.problems))
        else:
            enabled = sum(one.enabled for one in loaded.credentials.credentials)
            facts = evolve(facts, enabled=enabled, open_to_others=loaded.open_to_others)
    return list(judge_credentials(facts))


async def check_issuer(settings: Settings) -> list[Finding]:
    """Check the issuer of tokens, as the server asks it."""
    if settings.oidc_issuer is None:
        return list(judge_issuer(IssuerFacts(issuer=None)))
    # Without an audience there are no rules, and the rest can be looked at all the same.
    policy = oidc_policy(evolve(settings, oidc_audience=settings.oidc_audience or ("none",)))
    assert policy is not None
    facts = IssuerFacts(issuer=policy.issuer, has_audience=bool(settings.oidc_audience))
    async with IssuerClient(policy.issuer) as client:
        try:
            document = await client.get(policy.discovery_url)
        except IssuerUnavailableError as error:
            return list(judge_issuer(evolve(facts, unreachable=str(error))))
        try:
            url = read_discovery(document, policy)
        except ValueError as error:
            return list(judge_issuer(evolve(facts, discovery=_readable(error))))
        try:
            keys = read_keys(await client.get(url))
        except IssuerUnavailableError as error:
            return list(judge_issuer(evolve(facts, unreachable=str(error))))
        except ValueError as error:
            return list(judge_issuer(evolve(facts, key_set=_readable(error))))
    return list(judge_issuer(evolve(facts, keys=len(keys), usable=_usable(keys, policy))))


def _usable(keys: Any, policy: OidcPolicy) -> int:
    fitting = [suitable_keys(keys, TokenHeader(alg, None)) for alg in policy.algorithms]
    return sum(any(key in found for found in fitting) for key in keys)


def _readable(error: ValueError) -> str:
    """Say what is wrong with a document, in our words where it is no JSON."""
    return (
        "its answer is no JSON document"
        if isinstance(error, UnicodeDecodeError | orjson.JSONDecodeError)
        else str(error)
    )
