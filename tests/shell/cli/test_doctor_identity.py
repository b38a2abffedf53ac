"""`opencode-a2a doctor` on who can call: the file of credentials, the issuer of tokens, certificates, and extras."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
import trustme

from opencode_a2a.cli.operator import local_checks
from opencode_a2a.cli.operator.doctor import examine
from opencode_a2a.cli.operator.identity_checks import check_credentials, check_issuer
from opencode_a2a.cli.operator.local_checks import EXTRAS, LoadedSettings, check_files
from opencode_a2a.config.settings import Settings
from opencode_a2a.distribution import is_installed
from sansio.doctor.certificate import TLS
from sansio.doctor.finding import Finding, Outcome
from sansio.doctor.identity import CREDENTIALS, ISSUER
from tests.shell.harness import DEADLINE
from tests.shell.ports import free_port
from tests.shell.server.identity.openid_provider import AUDIENCE, Provider, provider

pytestmark = pytest.mark.anyio

ENTRY = {"scheme": "bearer", "token": "secret-of-ada-77f1", "principal": "ada"}


def written(folder: Path, content: object, mode: int = 0o600) -> Settings:
    path = folder / "credentials.json"
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    path.chmod(mode)
    return Settings(credentials_file=str(path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"\xff", "it is not UTF-8"),
        (b"{", "JSON"),
        ([{**ENTRY, "scheme": "magic"}], "entry 1"),
        ([ENTRY, {**ENTRY, "principal": ""}], "entry 2"),
        ([], "nobody can call"),
        ([{**ENTRY, "enabled": False}], "nobody can call"),
    ],
    ids=["empty", "bytes", "cut", "scheme", "principal", "no entry", "disabled"],
)
def test_a_file_of_credentials_that_lets_nobody_in_fails(content: object, says: str, tmp_path: Path) -> None:
    found = check_credentials(written(tmp_path, content))

    assert {one.outcome for one in found} == {Outcome.FAIL}
    assert says in str(found)
    assert all(one.remedy for one in found)
    assert "secret-of-ada" not in str(found)


def test_a_file_of_credentials_that_is_not_there_or_no_file_fails(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none.json", "No such file"), (tmp_path, "directory")):
        [found] = check_credentials(Settings(credentials_file=str(path)))
        assert (found.outcome, says in found.detail) == (Outcome.FAIL, True), found


def test_a_file_of_credentials_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    warned, fine = check_credentials(written(tmp_path, [ENTRY], 0o644))

    assert (warned.outcome, warned.remedy) == (Outcome.WARN, f"chmod 600 {tmp_path}/credentials.json")
    assert fine.outcome is Outcome.OK


def test_an_empty_list_is_right_where_an_issuer_lets_callers_in(tmp_path: Path) -> None:
    settings = written(tmp_path, [])
    [found] = check_credentials(Settings(credentials_file=settings.credentials_file, oidc_issuer="https://a.example"))

    assert found.outcome is Outcome.OK
    [unset] = check_credentials(Settings())
    assert (unset.check, unset.outcome) == (CREDENTIALS, Outcome.SKIPPED)


async def issuer_of(settings: dict[str, Any]) -> list[Finding]:
    with anyio.fail_after(DEADLINE):
        return await check_issuer(Settings(**settings))


async def test_an_issuer_that_answers_is_right(anyio_backend: str) -> None:
    async with provider(anyio_backend) as running:
        [found] = await issuer_of(running.settings)
        [lacking] = await issuer_of({**running.settings, "oidc_audience": ()})

    assert (found.outcome, "keys that can be used" in found.detail) == (Outcome.OK, True), found
    assert (lacking.outcome, "A2A_OIDC_AUDIENCE" in lacking.detail) == (Outcome.FAIL, True), lacking


async def test_an_issuer_that_is_away_fails(anyio_backend: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    [found] = await issuer_of({"oidc_issuer": url, "oidc_audience": (AUDIENCE,)})
    async with provider(anyio_backend) as running:
        running.is_down = True
        [down] = await issuer_of(running.settings)

    assert (found.check, found.outcome) == (ISSUER, Outcome.FAIL)
    assert "cannot be asked" in found.detail
    assert "answered with HTTP 503" in down.detail


async def test_an_issuer_that_calls_itself_otherwise_fails(anyio_backend: str) -> None:
    async with provider(anyio_backend) as running:
        [found] = await issuer_of({**running.settings, "oidc_issuer": f"{running.url}/"})

    assert found.outcome is Outcome.FAIL
    assert "of another issuer" in found.detail
    assert "to the letter" in str(found.remedy)


def break_keys(running: Provider, how: str) -> None:
    if how == "none":
        running.keys = []
    elif how == "encryption":
        running.keys = [{**key, "use": "enc"} for key in running.keys]
    else:
        running.body = how.encode()


@pytest.mark.parametrize("how", ["none", "encryption", "{", '{"keys": 1}'])
async def test_an_issuer_without_usable_keys_fails(anyio_backend: str, how: str) -> None:
    async with provider(anyio_backend) as running:
        break_keys(running, how)
        [found] = await issuer_of(running.settings)

    assert (found.outcome, found.remedy is None) == (Outcome.FAIL, False), found


async def test_the_rows_are_among_those_of_the_command(anyio_backend: str, tmp_path: Path) -> None:
    settings = Settings(
        opencode_url=f"http://127.0.0.1:{free_port()}",
        port=free_port(),
        task_store_database_url=f"sqlite:///{tmp_path}/tasks.db",
        credentials_file=str(tmp_path / "none.json"),
        oidc_issuer=f"http://127.0.0.1:{free_port()}",
    )
    with anyio.fail_after(DEADLINE):
        findings = await examine(LoadedSettings(settings, (), ()))

    outcomes = {one.check: one.outcome for one in findings}
    assert (outcomes[CREDENTIALS], outcomes[ISSUER]) == (Outcome.FAIL, Outcome.FAIL)


def certificate(folder: Path, days: float, *names: str, public_url: str = "https://agent.example") -> Finding:
    end = datetime.now(UTC) + timedelta(days=days)
    leaf = trustme.CA().issue_cert(*names, not_before=end - timedelta(days=90), not_after=end)
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    (folder / "both.pem").chmod(0o600)
    settings = Settings(tls_cert_file=str(folder / "both.pem"), public_url_override=public_url)
    [found] = [one for one in check_files(settings) if one.check == TLS]
    return found


def test_certificates_that_expire_or_are_for_others_are_found(tmp_path: Path) -> None:
    assert certificate(tmp_path, 60, "agent.example").outcome is Outcome.OK
    soon = certificate(tmp_path, 5.5, "agent.example")
    assert (soon.outcome, "in 5 days" in soon.detail) == (Outcome.WARN, True), soon
    expired = certificate(tmp_path, -2, "agent.example")
    assert (expired.outcome, "expired on" in expired.detail) == (Outcome.FAIL, True), expired
    other = certificate(tmp_path, 60, "other.example")
    assert (other.outcome, "is for other.example" in other.detail) == (Outcome.FAIL, True), other
    address = certificate(tmp_path, 60, "127.0.0.1", public_url="https://127.0.0.1:8000")
    assert address.outcome is Outcome.OK, time.time()


@pytest.mark.parametrize(
    ("extra", "library", "given", "environ", "outcome"),
    [
        ("oidc", "joserfc", {"oidc_issuer": "https://a.example"}, {}, Outcome.FAIL),
        ("metrics", "prometheus_client", {"metrics_enabled": True}, {}, Outcome.FAIL),
        ("postgresql", "psycopg", {"task_store_database_url": "postgresql://u@h/d"}, {}, Outcome.FAIL),
        ("otel", "opentelemetry.sdk", {}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, Outcome.WARN),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    extra: str,
    library: str,
    given: dict[str, Any],
    environ: dict[str, str],
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_checks, "is_installed", lambda name: name != library and is_installed(name))

    [found] = [one for one in check_files(Settings(**given), environ) if one.check == EXTRAS and one.remedy]

    assert (found.outcome, library in found.detail) == (outcome, True), found
    assert f"[{extra}]" in str(found.remedy)
    monkeypatch.undo()
    [fine] = [one for one in check_files(Settings(**given), environ) if one.check == EXTRAS]
    assert (fine.outcome, extra in fine.detail) == (Outcome.OK, True)
