"""Checks what stands on this machine: settings, files they name, libraries, and where the server may connect to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from opencode_a2a.client.known_peers import KnownPeers, PeerCredentialError
from opencode_a2a.config.risks import risks
from opencode_a2a.config.settings import (
    Settings,
    SettingsError,
    check_bindings,
    check_exposure,
    check_workers,
    load_settings,
    read_dotenv,
)
from opencode_a2a.distribution import how_to_install, is_installed
from opencode_a2a.outbound.peer_policy import peer_policy
from opencode_a2a.server.certificates import ServedCertificate
from opencode_a2a.server.http.card_signing import load_card_key
from opencode_a2a.tracing.opentelemetry_switch import ENDPOINTS, asks_for_traces
from sansio.doctor.certificate import TLS, CertificateFacts, judge_certificate
from sansio.doctor.finding import Finding, fail, ok, skipped, warn
from sansio.doctor.server import judge_settings
from sansio.outbound import AllowedHosts, OutboundPolicy

PEERS, KEY, EXTRAS, OUTBOUND = "known peers", "signing key", "extras", "outbound"
_ROUNDS: Final = 3
_TRACING: Final = ("opentelemetry.sdk",)


@frozen
class LoadedSettings:
    """The settings that could be read, and all that is wrong with the others, which have their defaults."""

    settings: Settings
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    environ: Mapping[str, str] = {}


def load_what_can_be(environ: Mapping[str, str], dotenv: Path | None) -> LoadedSettings:
    """Load settings; a wrong one is taken for unset, so that the other checks can go on."""
    problems: list[str] = []
    given = dict(environ)
    for _ in range(_ROUNDS):
        try:
            settings, warnings = load_settings(given, dotenv=dotenv)
            check_exposure(settings)
            check_bindings(settings)
            check_workers(settings)
        except SettingsError as error:
            problems += error.problems
            wrong = {problem.partition(":")[0] for problem in error.problems}
            if str(dotenv) in wrong:
                dotenv = None
            if "A2A_STATIC_AUTH_CREDENTIALS" in wrong:
                wrong.add("A2A_HOST")  # which must not be served without them
            # A blank in the environment goes before what the file says.
            given = {name: text for name, text in given.items() if name.upper() not in wrong}
            given |= dict.fromkeys(wrong, "")
        else:
            return LoadedSettings(settings, tuple(problems), tuple(warnings), {**read_dotenv(dotenv), **environ})
    return LoadedSettings(Settings(), tuple(problems), ())


def check_settings(loaded: LoadedSettings) -> list[Finding]:
    """Make the rows of settings."""
    return list(judge_settings(loaded.problems, loaded.warnings, [str(risk) for risk in risks(loaded.settings)]))


def check_files(settings: Settings, environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Check the files of known peers, of the signing key and of TLS, and the libraries that settings need. Blocks.

    `environ`: variables of other libraries, which are no settings.
    """
    return [
        *_peers(settings),
        _key(settings),
        _certificate(settings),
        *_extras(settings, environ or {}),
        *check_outbound(settings),
    ]


def _peers(settings: Settings) -> list[Finding]:
    if settings.peers_file is None:
        return [skipped(PEERS, "A2A_PEERS_FILE is not set")]
    try:
        peers = KnownPeers.of(settings)
    except SettingsError as error:
        return [fail(PEERS, problem, "mend the file (docs/peers.md)") for problem in error.problems]
    findings = []
    for peer in peers:
        try:
            peers.credential(peer)
        except PeerCredentialError as error:
            findings.append(warn(PEERS, str(error), f"set {peer.bearer_env or peer.basic_env}"))
    return findings or [ok(PEERS, f"{len(peers)} known, with their credentials")]


def _key(settings: Settings) -> Finding:
    try:
        key = load_card_key(settings.card_signing_key_file, settings.card_signing_key_id)
    except SettingsError as error:
        return fail(KEY, str(error), "set A2A_CARD_SIGNING_KEY_FILE to a private key in PEM (docs/signed-cards.md)")
    if key is None:
        return skipped(KEY, "A2A_CARD_SIGNING_KEY_FILE is not set; cards are not signed")
    return ok(KEY, f"signs with {key.alg}")


def _certificate(settings: Settings) -> Finding:
    try:
        certificate = ServedCertificate.of(settings)
    except SettingsError as error:
        return fail(TLS, str(error), "name a PEM certificate and its key (docs/configuration.md)")
    if certificate is None:
        return skipped(TLS, "A2A_TLS_CERT_FILE is not set; the server speaks http")
    if certificate.claims is None:
        return ok(TLS, "the certificate and its key belong together")
    host = urlsplit(settings.public_url).hostname or ""
    facts = CertificateFacts(certificate=certificate.claims, host=host, has_proxy=bool(settings.trusted_proxies))
    return judge_certificate(facts, time.time())


def _extras(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Check the libraries that not everybody needs, for what is switched on."""
    needed: dict[str, tuple[str, ...]] = {
        "postgresql": ("psycopg",) if settings.shares_store else (),
        "signing": ("cryptography", "rfc8785") if settings.card_signing_key_file is not None else (),
        "metrics": ("prometheus_client",) if settings.metrics_enabled else (),
        "oidc": ("joserfc", "cryptography") if settings.oidc_issuer is not None else (),
    }
    missing = {
        extra: [library for library in libraries if not is_installed(library)] for extra, libraries in needed.items()
    }
    findings = [
        fail(EXTRAS, f"{', '.join(libraries)} is not installed, and settings need it", how_to_install(extra))
        for extra, libraries in missing.items()
        if libraries
    ]
    if asks_for_traces(environ):
        needed["otel"] = _TRACING
        if lacking := [library for library in _TRACING if not is_installed(library)]:
            detail = f"{', '.join(lacking)} is not installed: {ENDPOINTS[1]} asks for traces, and none are recorded"
            findings.append(warn(EXTRAS, detail, how_to_install("otel")))
    used = ", ".join(extra for extra, libraries in needed.items() if libraries) or "none"
    return findings or [ok(EXTRAS, f"all that settings need are installed ({used})")]


def check_outbound(settings: Settings) -> list[Finding]:
    """Say where push notifications and the model's tool may go."""
    push = OutboundPolicy(allow_private=settings.push_allow_private_hosts, allowed=settings.push_allowed_hosts)
    rows = [_reach("push notifications", push, "A2A_PUSH_ALLOW_PRIVATE_HOSTS=false, with A2A_PUSH_ALLOWED_HOSTS")]
    if settings.tool_enabled:
        remedy = "A2A_CLIENT_ALLOW_PRIVATE_HOSTS=false, with A2A_CLIENT_ALLOWED_HOSTS"
        rows.append(_reach("the tool a2a_call", peer_policy(settings), remedy))
    else:
        rows.append(skipped(OUTBOUND, "the tool a2a_call is off"))
    return rows


def _reach(who: str, policy: OutboundPolicy, remedy: str) -> Finding:
    named = policy.allowed != AllowedHosts()
    listed = ", with those that are named" if named else ""
    if policy.allow_private and not named:
        return warn(OUTBOUND, f"{who} may reach every address of this machine and its networks", remedy)
    if policy.allow_private:
        return ok(OUTBOUND, f"{who} may reach public and private hosts{listed}")
    return ok(OUTBOUND, f"{who} may reach public hosts{listed}, and no private address")
