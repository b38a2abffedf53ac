"""The settings of 0.2.0, 0.7.1 and 1.4.0: every one is a setting today, read as one, or answered with what to use."""

from __future__ import annotations

import pytest

from opencode_a2a.config.settings import VARIABLES, Settings, SettingsError, load_settings
from opencode_a2a.config.settings_earlier import EARLIER, EarlierVariable, Fate
from sansio.access import Credential, CredentialSet

TODAY = frozenset(variable.name for variable in VARIABLES)
ROWS = {row.name: row for row in EARLIER if row.name not in TODAY}

_SHARED = """
OPENCODE_BASE_URL OPENCODE_AGENT OPENCODE_SYSTEM OPENCODE_VARIANT OPENCODE_TIMEOUT OPENCODE_TIMEOUT_STREAM
A2A_PUBLIC_URL A2A_PROJECT A2A_TITLE A2A_DESCRIPTION A2A_VERSION A2A_LOG_LEVEL A2A_LOG_PAYLOADS A2A_LOG_BODY_LIMIT
A2A_MAX_REQUEST_BODY_BYTES A2A_DOCUMENTATION_URL A2A_ALLOW_DIRECTORY_OVERRIDE A2A_ENABLE_SESSION_SHELL A2A_HOST
A2A_PORT A2A_CANCEL_ABORT_TIMEOUT_SECONDS
"""
_LATER = """
OPENCODE_WORKSPACE_ROOT OPENCODE_MAX_CONCURRENT_REQUESTS OPENCODE_MAX_CONCURRENT_STREAMS A2A_HTTP_GZIP_MINIMUM_SIZE
A2A_ENABLE_WORKSPACE_MUTATIONS A2A_SANDBOX_MODE A2A_SANDBOX_FILESYSTEM_SCOPE A2A_SANDBOX_WRITABLE_ROOTS
A2A_NETWORK_ACCESS A2A_NETWORK_ALLOWED_DOMAINS A2A_APPROVAL_POLICY A2A_APPROVAL_ESCALATION_BEHAVIOR
A2A_WRITE_ACCESS_SCOPE A2A_WRITE_ACCESS_OUTSIDE_WORKSPACE A2A_STATIC_AUTH_CREDENTIALS
A2A_PENDING_SESSION_CLAIM_TTL_SECONDS A2A_INTERRUPT_REQUEST_TTL_SECONDS A2A_INTERRUPT_REQUEST_TOMBSTONE_TTL_SECONDS
A2A_CLIENT_TIMEOUT_SECONDS A2A_CLIENT_CARD_FETCH_TIMEOUT_SECONDS A2A_CLIENT_USE_CLIENT_PREFERENCE
A2A_CLIENT_BEARER_TOKEN A2A_CLIENT_BASIC_AUTH A2A_CLIENT_CACHE_TTL_SECONDS A2A_CLIENT_CACHE_MAXSIZE
A2A_CLIENT_SUPPORTED_TRANSPORTS A2A_TASK_STORE_BACKEND A2A_TASK_STORE_DATABASE_URL
"""
NAMES = {
    "0.2.0": _SHARED
    + """
OPENCODE_DIRECTORY OPENCODE_PROVIDER_ID OPENCODE_MODEL_ID A2A_PROTOCOL_VERSION A2A_STREAMING A2A_BEARER_TOKEN
A2A_OAUTH_AUTHORIZATION_URL A2A_OAUTH_TOKEN_URL A2A_OAUTH_METADATA_URL A2A_OAUTH_SCOPES A2A_SESSION_CACHE_TTL_SECONDS
A2A_SESSION_CACHE_MAXSIZE
""",
    "0.7.1": f"{_SHARED}{_LATER} A2A_PROTOCOL_VERSION A2A_SUPPORTED_PROTOCOL_VERSIONS A2A_CLIENT_PROTOCOL_VERSION",
    "1.4.0": f"{_SHARED}{_LATER}"
    + """
OPENCODE_AUTH_USERNAME OPENCODE_AUTH_PASSWORD A2A_ALLOWED_ORIGINS A2A_ALLOWED_HOSTS A2A_METRICS_ENABLED
A2A_RATE_LIMIT_ENABLED A2A_RATE_LIMIT_WINDOW_SECONDS A2A_RATE_LIMIT_MAX_REQUESTS A2A_STREAM_MAX_BYTES
A2A_STREAM_MAX_DURATION_SECONDS A2A_STREAM_IDLE_TIMEOUT_SECONDS A2A_EXPOSE_WORKSPACE_ROOT_IN_CARD
A2A_CLIENT_ALLOWED_HOSTS A2A_CLIENT_ALLOW_PRIVATE_HOSTS
""",
}
MAPPED = [
    (
        "A2A_BEARER_TOKEN",
        "s3cret",
        Settings(credentials=CredentialSet((Credential.bearer("s3cret", principal="automation"),))),
    ),
    ("OPENCODE_DIRECTORY", "/srv/work", Settings(workspace_root="/srv/work")),
    ("OPENCODE_AUTH_PASSWORD", "s3cret", load_settings({"OPENCODE_SERVER_PASSWORD": "s3cret"})[0]),
    ("OPENCODE_AUTH_USERNAME", "ada", Settings(opencode_username="ada")),
]


def rows(fate: Fate) -> list[EarlierVariable]:
    return [row for row in ROWS.values() if row.fate is fate]


def problems(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return str(caught.value)


@pytest.mark.parametrize("release", NAMES)
def test_every_setting_of_a_release_is_one_today_or_has_a_row(release: str) -> None:
    names = set(NAMES[release].split()) - set(TODAY)

    assert [name for name in sorted(names) if name not in ROWS or release not in ROWS[name].releases] == []


@pytest.mark.parametrize(("name", "text", "settings"), MAPPED)
def test_a_setting_that_has_another_name_today_is_read(name: str, text: str, settings: Settings) -> None:
    read, warnings = load_settings({name: text})

    assert read == settings
    assert str(ROWS[name].target) in warnings[0]
    assert "s3cret" not in str(warnings)


def test_all_that_are_read_as_others_are_tested() -> None:
    assert {name for name, _, _ in MAPPED} == {row.name for row in rows(Fate.MAPPED)}


def test_the_name_of_today_goes_before_the_earlier_one() -> None:
    settings, warnings = load_settings({"OPENCODE_DIRECTORY": "/old", "OPENCODE_WORKSPACE_ROOT": "/new"})

    assert settings.workspace_root == "/new"
    assert warnings == ["OPENCODE_DIRECTORY has no effect beside OPENCODE_WORKSPACE_ROOT"]


@pytest.mark.parametrize("row", rows(Fate.NO_EFFECT), ids=lambda row: row.name)
def test_a_setting_without_effect_is_warned_about(row: EarlierVariable) -> None:
    settings, warnings = load_settings({row.name: "s3cret"})

    assert settings == Settings()
    [warning] = warnings
    assert warning.startswith(f"{row.name} is a setting of {row.releases} without effect here: ")
    assert "s3cret" not in warning


@pytest.mark.parametrize("row", rows(Fate.REFUSED), ids=lambda row: row.name)
def test_a_setting_that_cannot_vanish_stops_the_start(row: EarlierVariable) -> None:
    said = problems(**{row.name: "s3cret"})

    assert said.startswith(f"{row.name}: is a setting of {row.releases} that is not offered; ")
    assert "s3cret" not in said


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.harmless], ids=lambda row: row.name)
def test_a_value_that_asks_for_what_is_the_case_passes(row: EarlierVariable) -> None:
    assert load_settings({row.name: row.harmless[0]}) == (Settings(), [])


def test_a_blank_one_is_unset() -> None:
    assert [name for name in ROWS if load_settings({name: "  "}) != (Settings(), [])] == []


def test_all_that_stop_the_start_are_told_at_once() -> None:
    said = problems(A2A_OAUTH_SCOPES="x", OPENCODE_MODEL_ID="y")

    assert [line.partition(":")[0] for line in said.splitlines()] == ["A2A_OAUTH_SCOPES", "OPENCODE_MODEL_ID"]
