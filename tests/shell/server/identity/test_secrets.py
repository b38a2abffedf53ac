"""No way out of a server shows a secret, also one that was loaded again or that an issuer signed.

The secrets stand where somebody's mistake would put them: in a path, in a query, in a header, in a body.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from opencode_a2a.agent.extension_methods import Methods
from opencode_a2a.logs import logging_to
from opencode_a2a.server.identity import credentials_file
from sansio.a2a.bindings.http_messages import Request
from sansio.access import Credential, CredentialSet, PasswordHash
from tests.shell.harness import ALICE, DEADLINE, Agent, client
from tests.shell.server.identity.openid_provider import provider
from tests.shell.tracing.collector import Collector
from tests.shell.tracing.conftest import Traced, came
from tests.shell.tracing.conftest import collector as collector
from tests.shell.tracing.conftest import traced as traced

pytestmark = pytest.mark.anyio

BEARER, KEY, PASSWORD = "bearer-3fd01c7ab2", "key-90aa1fce", 'pass"2f/é word'
HASHED, HASHED_KEY, HASHED_PASSWORD = "hashed-7b11e09cc4f2a6", "hashed-key-51ce0d77", "only-scrypt-4f"
ENDS = ("-new", "-old")
"""Of the secrets in the file after it was replaced, and before."""


def entries(suffix: str) -> list[dict[str, Any]]:
    """Every kind of credential in a file."""

    def digest(text: str) -> str:
        return hashlib.sha256((text + suffix).encode()).hexdigest()

    password = PasswordHash.of((HASHED_PASSWORD + suffix).encode(), b"0123456789abcdef").text
    return [
        {"scheme": "bearer", "token": BEARER + suffix, "principal": "dora"},
        {"scheme": "api_key", "key": KEY + suffix, "principal": "erik"},
        {"scheme": "basic", "username": "fay", "password": PASSWORD + suffix},
        {"scheme": "bearer", "token_sha256": digest(HASHED), "principal": "gus"},
        {"scheme": "api_key", "key_sha256": digest(HASHED_KEY), "principal": "hal"},
        {"scheme": "basic", "username": "ivy", "password_scrypt": password},
    ]


def secrets_of(suffix: str) -> list[str]:
    plain = [secret + suffix for secret in (BEARER, KEY, PASSWORD, HASHED, HASHED_KEY)]
    return [*plain, login("fay", PASSWORD + suffix), login("ivy", HASHED_PASSWORD + suffix)]


def login(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def is_known(secret: str) -> bool:
    """Whether the server has the secret itself, and not only a hash of it."""
    return not (secret.startswith("hashed-") or secret in (login("ivy", HASHED_PASSWORD + end) for end in ENDS))


async def fail(_methods: Methods, name: str, params: object, identity: object, version: str) -> bytes:
    """Fail with what the caller sent in the error, as a library might."""
    raise RuntimeError(f"cannot do {name} with {params!r} and {json.dumps(params)}")


async def make_mistakes(agent: Agent, secret: str) -> None:
    """Send a secret wherever it does not belong."""
    async with client(agent.url) as http:
        escaped = quote(secret, safe="")
        header = [(name, secret.encode()) for name in (b"authorization", b"x-api-key", b"user-agent")]
        paths = [f"/tasks/{escaped}", f"/tasks?token={escaped}&pageToken={escaped}"]
        if is_known(secret):  # what is known by a hash alone, or by its scheme, is not found within a word
            paths.append(f"/{'x' * 190}{escaped}")
        for path in paths:
            await http.get(path, headers={"a2a-version": "1.0"})
            await http.get(path, headers=header)
        for method in ("GetTask", secret, "opencode.sessions.list"):
            params = {"id": secret, "token": secret, secret: secret, "url": f"https://me:{escaped}@host/{escaped}"}
            body = {"jsonrpc": "2.0", "id": secret, "method": method, "params": params}
            await http.post("/", json=body, headers={"a2a-version": "1.0", "host": "127.0.0.1"})


def shown(text: str, secret: str) -> list[str]:
    """The forms of a secret that a text shows, also the beginning of one that was cut."""
    bare = secret.removeprefix("Basic ")
    forms = {bare, json.dumps(bare)[1:-1], repr(bare)[1:-1], quote(bare, safe=""), quote(bare)}
    return sorted(form for form in forms if form in text or f"{form[:10]}…" in text)


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_way_out_shows_a_secret_after_the_credentials_were_loaded_again(
    traced: Traced,
    collector: Collector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    anyio_backend: str,
    form: str,
) -> None:
    monkeypatch.setattr(credentials_file, "LOOK_EVERY", 60.0)
    monkeypatch.setattr(Methods, "run", fail)
    file, stream = tmp_path / "credentials.json", io.StringIO()
    file.write_text(json.dumps(entries("-old")))
    file.chmod(0o600)
    log = logging_to(stream, "DEBUG", json=form == "json")
    async with provider(anyio_backend) as issuer:
        settings: dict[str, Any] = {
            **issuer.settings,
            "credentials_file": str(file),
            "log_payloads": True,
            "rate_limit_enabled": False,
            "metrics_enabled": True,
            "credentials": CredentialSet((Credential.bearer(ALICE, principal="alice", capabilities=("metrics",)),)),
        }
        with log:
            async with traced(**settings) as agent:
                file.write_text(json.dumps(entries("-new")))
                for reload in agent.running.reloads:
                    await reload()
                async with client(agent.url, BEARER + "-new") as dora:
                    assert (await dora.get("/health")).status_code == 200
                secrets = [*(secret for end in ENDS for secret in secrets_of(end)), issuer.token()]
                with anyio.fail_after(6 * DEADLINE):
                    for secret in secrets:
                        await make_mistakes(agent, secret)
                metrics = (await agent.http.get("/metrics")).text
                request = Request(
                    method="GET", path="/", query_string=secrets[0].encode(), headers={"authorization": secrets[0]}
                )
                authenticator = agent.running.a2a.authenticator
                objects = repr([request, authenticator, vars(authenticator), agent.running.a2a, agent.running])
                await came(collector, lambda: len(collector.spans) > 6 * len(secrets))
    spans = repr(collector.spans)
    written = stream.getvalue()

    assert "Traceback" in written
    assert "cannot do" in written
    assert "a2a_http_requests_total" in metrics
    ways_out = {"log": written, "metrics": metrics, "spans": spans, "reprs": objects}
    found = {(way, one) for way, text in ways_out.items() for secret in secrets for one in shown(text, secret)}
    assert sorted(found) == []
