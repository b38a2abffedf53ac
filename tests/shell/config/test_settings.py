"""Settings: what the environment may say, what is said back when it is wrong, and that the documents agree."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_a2a.config.settings import (
    VARIABLES,
    Settings,
    SettingsError,
    check_exposure,
    check_workers,
    help_text,
    load_settings,
    with_generated_token,
)
from opencode_a2a.config.settings_names import widens
from sansio.access import CredentialSet
from sansio.guards.hosts import ServedHosts
from sansio.guards.origins import NO_ORIGINS, AllowedOrigins
from sansio.guards.proxies import ProxyHeaders
from sansio.outbound import AllowedHosts
from sansio.redact import Secret
from sansio.transport.addresses import NO_NETWORKS

CREDENTIALS = json.dumps([{"scheme": "bearer", "token": "tok-s3cret", "principal": "ci"}])


def loaded(**environ: str) -> Settings:
    settings, warnings = load_settings(environ)
    assert warnings == []
    return settings


def refused(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------ loading


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = loaded()

    assert settings == Settings()
    assert attrs.asdict(settings, recurse=False) == {
        "host": "127.0.0.1",
        "port": 8000,
        "runtime": "asyncio",
        "log_level": "WARNING",
        "log_format": "text",
        "log_payloads": False,
        "log_body_limit": 0,
        "metrics_enabled": False,
        "metrics_port": None,
        "metrics_host": "127.0.0.1",
        "allow_session_claims": None,
        "stream_stays_open_on_interrupt": False,
        "max_connections": 0,
        "max_connections_per_address": 256,
        "http2": False,
        "bindings": ("HTTP+JSON", "JSONRPC"),
        "max_websockets_per_principal": 64,
        "tls_cert_file": None,
        "tls_key_file": None,
        "tls_key_password_file": None,
        "allowed_origins": NO_ORIGINS,
        "max_request_body_bytes": 1_048_576,
        "http_gzip_minimum_size": 8192,
        "shutdown_grace_seconds": 10.0,
        "protocol_version": "0.3",
        "supported_protocol_versions": ("0.3", "1.0"),
        "public_url_override": None,
        "title": "OpenCode A2A",
        "description": "OpenCode A2A runtime",
        "version": Settings().version,
        "documentation_url": None,
        "project": None,
        "credentials": CredentialSet(),
        "opencode_url": "http://127.0.0.1:4096",
        "opencode_instances": (),
        "opencode_username": "opencode",
        "opencode_password": None,
        "opencode_password_file": None,
        "workspace_root": None,
        "allow_directory_override": True,
        "enable_session_shell": False,
        "enable_workspace_mutations": False,
        "expose_workspace_root_in_card": False,
        "sandbox_mode": "unknown",
        "sandbox_filesystem_scope": "unknown",
        "sandbox_writable_roots": (),
        "network_access": "unknown",
        "network_allowed_domains": (),
        "approval_policy": "unknown",
        "approval_escalation_behavior": "unknown",
        "write_access_scope": "unknown",
        "write_access_outside_workspace": "unknown",
        "agent": None,
        "system": None,
        "variant": None,
        "opencode_timeout": 120.0,
        "opencode_stream_timeout": None,
        "max_concurrent_requests": 0,
        "max_concurrent_streams": 0,
        "stream_max_bytes": 0,
        "stream_max_duration_seconds": 0.0,
        "stream_idle_timeout_seconds": 0.0,
        "task_store_backend": "database",
        "task_store_database_url": "sqlite+aiosqlite:///./opencode-a2a.db",
        "task_event_retention_seconds": 3600.0,
        "pending_session_claim_ttl_seconds": 30.0,
        "interrupt_request_ttl_seconds": 10800.0,
        "interrupt_request_tombstone_ttl_seconds": 600.0,
        "cancel_abort_timeout_seconds": 2.0,
        "allowed_hosts": ServedHosts(),
        "import_principals": {},
        "push_timeout_seconds": 10.0,
        "push_max_attempts": 8,
        "push_allow_private_hosts": False,
        "push_allowed_hosts": AllowedHosts(),
        "card_signing_key_file": None,
        "card_signing_key_id": None,
        "client_bearer_token": None,
        "client_basic_auth": None,
        "client_timeout_seconds": 30.0,
        "client_card_fetch_timeout_seconds": 5.0,
        "client_protocol_version": None,
        "client_supported_transports": None,
        "client_use_client_preference": None,
        "client_polling_fallback_enabled": True,
        "client_polling_fallback_initial_interval_seconds": 0.5,
        "client_polling_fallback_max_interval_seconds": 2.0,
        "client_polling_fallback_backoff_multiplier": 2.0,
        "client_polling_fallback_timeout_seconds": None,
        "client_cache_ttl_seconds": 900.0,
        "client_cache_maxsize": 256,
        "client_allowed_hosts": AllowedHosts(),
        "client_allow_private_hosts": False,
        "peers_file": None,
        "credentials_file": None,
        "task_retention_seconds": 0.0,
        "max_tasks_per_principal": 0,
        "workers": 1,
        "replica_lease_seconds": 10.0,
        "replica_name": None,
        "listen_database_url": None,
        "api_key_header": "X-API-Key",
        "client_cert_header": None,
        "oidc_issuer": None,
        "oidc_audience": (),
        "oidc_principal_claim": "sub",
        "oidc_capabilities_claim": None,
        "oidc_scope_capabilities": {},
        "oidc_algorithms": ("RS256", "PS256", "ES256", "Ed25519", "EdDSA"),
        "console": False,
        "console_session_seconds": 43200.0,
        "client_card_signatures": "ignore",
        "client_card_keys_file": None,
        "tool_enabled": True,
        "tool_url": None,
        "trusted_proxies": NO_NETWORKS,
        "proxy_headers": ProxyHeaders.X_FORWARDED,
        "rate_limit_enabled": True,
        "rate_limit_max_requests": 120,
        "rate_limit_public_max_requests": 120,
        "rate_limit_window_seconds": 60.0,
    }


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("A2A_HOST", "::1", "host", "::1"),
        ("A2A_HOST", "[::1]", "host", "::1"),
        ("A2A_HOST", "my_box.internal", "host", "my_box.internal"),
        ("A2A_PORT", " 0 ", "port", 0),
        ("A2A_RUNTIME", "trio", "runtime", "trio"),
        ("A2A_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("A2A_MAX_REQUEST_BODY_BYTES", "0", "max_request_body_bytes", 0),
        ("A2A_SHUTDOWN_GRACE_SECONDS", "0", "shutdown_grace_seconds", 0.0),
        ("A2A_PROTOCOL_VERSION", "1.0.0", "protocol_version", "1.0"),
        ("A2A_SUPPORTED_PROTOCOL_VERSIONS", "1.0, 0.3.2,1.0", "supported_protocol_versions", ("1.0", "0.3")),
        ("A2A_SUPPORTED_PROTOCOL_VERSIONS", '["0.3"]', "supported_protocol_versions", ("0.3",)),
        ("A2A_SANDBOX_MODE", "Workspace-Write", "sandbox_mode", "workspace-write"),
        ("A2A_SANDBOX_WRITABLE_ROOTS", " /srv/a ,,/srv/b", "sandbox_writable_roots", ("/srv/a", "/srv/b")),
        ("A2A_NETWORK_ALLOWED_DOMAINS", '["a.example"]', "network_allowed_domains", ("a.example",)),
        ("A2A_PUBLIC_URL", "https://agents.test/code/", "public_url_override", "https://agents.test/code/"),
        ("A2A_PUBLIC_URL", "https://agents.test/", "public_url_override", "https://agents.test"),
        ("A2A_ALLOWED_ORIGINS", "null, *", "allowed_origins", AllowedOrigins(frozenset({"null", "*"}))),
        ("A2A_DOCUMENTATION_URL", "https://docs.test/?a=b", "documentation_url", "https://docs.test/?a=b"),
        ("A2A_TASK_STORE_BACKEND", "memory", "task_store_backend", "memory"),
        ("OPENCODE_BASE_URL", "HTTPS://box:4096/", "opencode_url", "https://box:4096"),
        ("OPENCODE_BASE_URL", "http://[::1]:4096/open/code", "opencode_url", "http://[::1]:4096/open/code"),
        ("OPENCODE_SERVER_PASSWORD", " pw ", "opencode_password", Secret(" pw ")),
        ("OPENCODE_SYSTEM", "Be brief.\n", "system", "Be brief.\n"),
        ("OPENCODE_TIMEOUT", "0.5", "opencode_timeout", 0.5),
        ("OPENCODE_TIMEOUT_STREAM", "60", "opencode_stream_timeout", 60.0),
        ("A2A_PUSH_MAX_ATTEMPTS", "1", "push_max_attempts", 1),
        ("A2A_PUSH_ALLOW_PRIVATE_HOSTS", "Yes", "push_allow_private_hosts", True),
        (
            "A2A_PUSH_ALLOWED_HOSTS",
            "Hooks.internal, *.corp.example,10.1.0.0/16",
            "push_allowed_hosts",
            AllowedHosts(frozenset({"hooks.internal"}), (".corp.example",), (ip_network("10.1.0.0/16"),)),
        ),
        ("A2A_CLIENT_BEARER_TOKEN", " tok ", "client_bearer_token", Secret("tok")),
        ("A2A_CLIENT_SUPPORTED_TRANSPORTS", "json-rpc", "client_supported_transports", ("JSONRPC",)),
        (
            "A2A_CLIENT_SUPPORTED_TRANSPORTS",
            "http_json, JSONRPC,HTTP+JSON",
            "client_supported_transports",
            ("HTTP+JSON", "JSONRPC"),
        ),
        ("A2A_CLIENT_PROTOCOL_VERSION", "1.0.1", "client_protocol_version", "1.0"),
        (
            "A2A_CLIENT_POLLING_FALLBACK_BACKOFF_MULTIPLIER",
            "1.5",
            "client_polling_fallback_backoff_multiplier",
            1.5,
        ),
        ("A2A_CLIENT_BASIC_AUTH", "ada:p:w", "client_basic_auth", Secret("ada:p:w")),
        ("A2A_CLIENT_BASIC_AUTH", "YWRhOnB3", "client_basic_auth", Secret("ada:pw")),
        ("A2A_CLIENT_BASIC_AUTH", "YWRhOnB3dw", "client_basic_auth", Secret("ada:pww")),
    ],
)
def test_a_variable_sets_its_attribute(name: str, text: str, attribute: str, value: object) -> None:
    assert getattr(loaded(**{name: text}), attribute) == value


def test_credentials_are_read_into_a_set_that_knows_its_callers() -> None:
    identity = loaded(A2A_STATIC_AUTH_CREDENTIALS=CREDENTIALS).credentials.authenticate("Bearer tok-s3cret")

    assert identity is not None
    assert identity.principal == "ci"


def test_a_blank_variable_is_an_unset_one() -> None:
    assert [one.name for one in VARIABLES if loaded(**{one.name: " \n"}) != Settings()] == []


def test_names_count_in_any_case_and_the_upper_case_one_goes_first() -> None:
    assert loaded(a2a_port="1").port == 1
    assert loaded(a2a_port="1", A2A_PORT="2", A2a_Port="3").port == 2


# -------------------------------------------------------------------------------------------------- .env


def test_a_dotenv_file_fills_in_what_the_environment_does_not_say(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("A2A_PORT=1\nexport A2A_TITLE='from the file'\nA2A_PROJECT=x\nA2A_FLAG_ONLY\nOTHER=1\n")

    settings, warnings = load_settings({"A2A_PORT": "2", "A2A_PROJECT": ""}, dotenv=dotenv)

    assert (settings.port, settings.title, settings.project) == (2, "from the file", None)
    assert warnings == []


def test_a_dotenv_file_need_not_be_there(tmp_path: Path) -> None:
    assert load_settings({}, dotenv=tmp_path / ".env") == (Settings(), [])


def test_a_dotenv_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(b"A2A_TITLE=\xff\xfe\n")

    with pytest.raises(SettingsError, match="cannot be read: it is not UTF-8"):
        load_settings({}, dotenv=dotenv)


# -------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("A2A_HOST", "http://box"),
        ("A2A_HOST", "127.0.0.1:8000"),
        ("A2A_HOST", "a b"),
        ("A2A_PORT", "-1"),
        ("A2A_PORT", "65536"),
        ("A2A_PORT", "8000.0"),
        ("A2A_RUNTIME", "curio"),
        ("A2A_LOG_LEVEL", "loud"),
        ("A2A_MAX_REQUEST_BODY_BYTES", "1MB"),
        ("A2A_SHUTDOWN_GRACE_SECONDS", "-0.1"),
        ("A2A_PROTOCOL_VERSION", "2.0"),
        ("A2A_PROTOCOL_VERSION", "1"),
        ("A2A_SUPPORTED_PROTOCOL_VERSIONS", "0.3,2.0"),
        ("A2A_SUPPORTED_PROTOCOL_VERSIONS", ","),
        ("A2A_SUPPORTED_PROTOCOL_VERSIONS", '["0.3"'),
        ("A2A_NETWORK_ALLOWED_DOMAINS", "[1]"),
        ("A2A_WRITE_ACCESS_SCOPE", "everywhere"),
        ("A2A_PUBLIC_URL", "agents.test"),
        ("A2A_ALLOWED_ORIGINS", "page.example"),
        ("A2A_DOCUMENTATION_URL", "ftp://docs.test"),
        ("A2A_DOCUMENTATION_URL", "https://docs.test:port"),
        ("A2A_TASK_STORE_BACKEND", "redis"),
        ("A2A_TASK_STORE_DATABASE_URL", "opencode-a2a.db"),
        ("A2A_LISTEN_DATABASE_URL", "opencode-a2a.db"),
        ("A2A_REPLICA_LEASE_SECONDS", "0.9"),
        ("A2A_REPLICA_LEASE_SECONDS", "301"),
        ("A2A_CANCEL_ABORT_TIMEOUT_SECONDS", "nan"),
        ("A2A_PUSH_TIMEOUT_SECONDS", "0"),
        ("A2A_PUSH_MAX_ATTEMPTS", "0"),
        ("A2A_CLIENT_SUPPORTED_TRANSPORTS", "SOAP"),
        ("A2A_CLIENT_PROTOCOL_VERSION", "2.0"),
        ("A2A_CLIENT_POLLING_FALLBACK_BACKOFF_MULTIPLIER", "0.5"),
        ("A2A_CLIENT_POLLING_FALLBACK_BACKOFF_MULTIPLIER", "nan"),
        ("A2A_CLIENT_CACHE_MAXSIZE", "-1"),
        ("A2A_TOOL_URL", "example.org"),
        ("A2A_PUSH_ALLOW_PRIVATE_HOSTS", "perhaps"),
        ("A2A_PUSH_ALLOWED_HOSTS", "10.1.0.1/16"),
        ("OPENCODE_BASE_URL", "http://"),
        ("OPENCODE_BASE_URL", "http://[::1"),
        ("OPENCODE_BASE_URL", "http://box:0"),
        ("OPENCODE_SERVER_USERNAME", "a:b"),
        ("OPENCODE_TIMEOUT", "0"),
        ("OPENCODE_TIMEOUT_STREAM", "inf"),
        ("OPENCODE_MAX_CONCURRENT_REQUESTS", "-1"),
        ("OPENCODE_MAX_CONCURRENT_STREAMS", "many"),
        ("A2A_ALLOWED_HOSTS", "http://a.example"),
        ("A2A_ALLOWED_HOSTS", "*"),
        ("A2A_TRUSTED_PROXIES", "*"),
        ("A2A_TRUSTED_PROXIES", "proxy.example"),
        ("A2A_PROXY_HEADERS", "via"),
        ("A2A_CLIENT_BASIC_AUTH", "no login"),
        ("A2A_CLIENT_BASIC_AUTH", "YWRh"),
        ("A2A_CLIENT_TIMEOUT_SECONDS", "soon"),
    ],
)
def test_a_wrong_value_is_told_with_the_variable_and_what_it_takes(name: str, text: str) -> None:
    takes = next(variable.takes for variable in VARIABLES if variable.name == name)

    message = refused(**{name: text})

    assert message.startswith(f"{name}: ")
    assert message.endswith(takes)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://ada@box", "OPENCODE_SERVER_USERNAME and OPENCODE_SERVER_PASSWORD"),
        ("http://ada:pw@box", "OPENCODE_SERVER_USERNAME and OPENCODE_SERVER_PASSWORD"),
        ("http://box/?x=1", "it has a query"),
        ("http://box/#x", "it has a fragment"),
        ("http://box/a/../b", "its path is not a plain one"),
        ("http://box/a/%2e%2E/b", "its path is not a plain one"),
        ("http://box//evil", "its path is not a plain one"),
        ("http://box/a%2fb", "its path is not a plain one"),
        ("http://box\\evil", "a character no URL has"),
        ("http://box/a\r\nb", "a character no URL has"),
    ],
)
def test_the_url_of_opencode_is_an_origin_with_a_plain_prefix(url: str, reason: str) -> None:
    assert reason in refused(OPENCODE_BASE_URL=url)


def test_all_wrong_variables_are_told_a_line_each() -> None:
    message = refused(A2A_PORT="x", OPENCODE_TIMEOUT="y", A2A_STATIC_AUTH_CREDENTIALS="[3]")

    assert message.splitlines() == [
        "A2A_PORT: 'x' is not accepted. It sets the port to listen on: a whole number from 0 to 65535; "
        "0 takes any free one",
        "A2A_STATIC_AUTH_CREDENTIALS: entry 1: takes a JSON object. It sets who may call: a JSON list of "
        "bearer, basic and API key credentials, at least one of them enabled",
        "OPENCODE_TIMEOUT: 'y' is not accepted. It sets how long OpenCode may take to answer a request: "
        "seconds, more than 0",
    ]


def test_the_protocol_version_has_to_be_among_the_supported_ones() -> None:
    message = refused(A2A_SUPPORTED_PROTOCOL_VERSIONS="1.0")

    assert message == "A2A_PROTOCOL_VERSION: 0.3 is not among A2A_SUPPORTED_PROTOCOL_VERSIONS (1.0)"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("A2A_STATIC_AUTH_CREDENTIALS", '[{"scheme": "bearer", "token": "s3cret"}]'),
        ("A2A_STATIC_AUTH_CREDENTIALS", '[{"scheme": "basic", "username": "a", "password": "s3cret"'),
        ("A2A_CLIENT_BEARER_TOKEN", "s3cret with space"),
        ("A2A_CLIENT_BASIC_AUTH", "s3cret"),
        ("A2A_TASK_STORE_DATABASE_URL", "ada:s3cret@box/db"),
        ("A2A_LISTEN_DATABASE_URL", "ada:s3cret@box/db"),
        ("OPENCODE_BASE_URL", "http://ada:s3cret@box"),
        ("OPENCODE_BASE_URL", "ftp://ada:s3cret@box"),
        ("A2A_PUBLIC_URL", "https://ada:s3cret@box"),
        ("A2A_DOCUMENTATION_URL", "ftp://s3cret@box"),
        ("A2A_HOST", "https://s3cret@box"),
    ],
)
def test_an_error_never_repeats_a_secret(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: text})

    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


@given(st.dictionaries(st.sampled_from([variable.name for variable in VARIABLES]), st.text(max_size=20)))
def test_any_values_are_settings_or_refused_by_the_names_of_variables(environ: dict[str, str]) -> None:
    try:
        load_settings(environ)
    except SettingsError as error:
        problems = error.problems
    else:
        problems = ()

    assert all(problem.split(":")[0] in {*environ, "A2A_PROTOCOL_VERSION"} for problem in problems)


# ------------------------------------------------------------------------------------------------ warnings


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("A2A_PROT", "A2A_PROT is not a known variable; did you mean A2A_PORT?"),
        ("a2a_titel", "A2A_TITEL is not a known variable; did you mean A2A_TITLE?"),
        ("A2A_LOG_LEVL", "A2A_LOG_LEVL is not a known variable; did you mean A2A_LOG_LEVEL?"),
        ("A2A_PUSH_ALLOWED_HOST", "A2A_PUSH_ALLOWED_HOST is not a known variable"),
        ("A2A_ENABLE_SESSION_SHEL", "A2A_ENABLE_SESSION_SHEL is not a known variable"),
        ("A2A_BASIC_AUTH", "A2A_BASIC_AUTH is not a known variable"),
        ("A2A_TIMEOUT_SECONDS", "A2A_TIMEOUT_SECONDS is not a known variable"),
        ("OPENCODE_QQQQ", "OPENCODE_QQQQ is not a known variable"),
        ("A2A_QQQQ", "A2A_QQQQ is not a known variable"),
        (
            "OPENCODE_BASEURL",
            "OPENCODE_BASEURL is not a known variable; did you mean OPENCODE_BASE_URL?",
        ),
        (
            "OPENCODE_SERVER_PASWORD",
            "OPENCODE_SERVER_PASWORD is not a known variable; did you mean OPENCODE_SERVER_PASSWORD?",
        ),
    ],
)
def test_an_unknown_name_is_warned_about_with_the_nearest_known_one(name: str, warning: str) -> None:
    assert load_settings({name: "x"})[1] == [warning]


@given(
    st.text("ABDEHLNOPSTUW_", min_size=3, max_size=16), st.sampled_from(["A2A_", "A2A_ALLOW", "A2A_PUSH_", "A2A_H"])
)
def test_no_name_is_answered_with_a_setting_that_widens_access(rest: str, start: str) -> None:
    _, warnings = load_settings({f"{start}{rest}": ""})

    proposed = [line.partition("did you mean ")[2].rstrip("?") for line in warnings]
    assert not any(name and widens(name) for name in proposed)


def test_every_setting_that_widens_access_is_known_to_be_one() -> None:
    assert {variable.name for variable in VARIABLES if widens(variable.name)} >= {
        "A2A_HOST",
        "A2A_ALLOW_DIRECTORY_OVERRIDE",
        "A2A_ALLOW_SESSION_CLAIMS",
        "A2A_ENABLE_SESSION_SHELL",
        "A2A_ENABLE_WORKSPACE_MUTATIONS",
        "A2A_EXPOSE_WORKSPACE_ROOT_IN_CARD",
        "A2A_IMPORT_PRINCIPALS",
        "A2A_PUSH_ALLOW_PRIVATE_HOSTS",
        "A2A_PUSH_ALLOWED_HOSTS",
    }


@pytest.mark.parametrize(
    "name",
    [
        "OPENCODE",
        "OPENCODE_API_KEY",
        "OPENCODE_AUTO_SHARE",
        "OPENCODE_CLIENT",
        "OPENCODE_CONFIG",
        "OPENCODE_CONFIG_CONTENT",
        "OPENCODE_CONFIG_DIR",
        "OPENCODE_DISABLE_AUTOUPDATE",
        "OPENCODE_EDITOR_SSE_PORT",
        "OPENCODE_EXPERIMENTAL_BASH_DEFAULT_TIMEOUT_MS",
        "OPENCODE_EXPERIMENTAL_OUTPUT_TOKEN_MAX",
        "OPENCODE_LOG_LEVEL",
        "OPENCODE_MODELS_URL",
        "OPENCODE_PERMISSION",
        "OPENCODE_PID",
        "OPENCODE_REPO_CLONE_GITHUB_BASE_URL",
        "OPENCODE_TERMINAL",
        "OPENCODE_WORKSPACE_ID",
        "HOME",
        "A2AXYZ",
        "TEST_REAL",
        "TEST_INTEROP",
        "TEST_POSTGRESQL",
    ],
)
def test_the_names_of_others_are_left_alone(name: str) -> None:
    assert load_settings({name: "x"})[1] == []


def test_a_user_name_without_a_password_is_warned_about() -> None:
    _, warnings = load_settings({"OPENCODE_SERVER_USERNAME": "ada"})

    assert warnings == ["OPENCODE_SERVER_USERNAME has no effect without OPENCODE_SERVER_PASSWORD"]


# ----------------------------------------------------------------------------------------- what follows


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"A2A_HOST": "box", "A2A_PORT": "81"}, "http://box:81"),
        ({"A2A_HOST": "0.0.0.0"}, "http://127.0.0.1:8000"),
        ({"A2A_HOST": "::"}, "http://[::1]:8000"),
        ({"A2A_HOST": "fe80::1%eth0"}, "http://[fe80::1%25eth0]:8000"),
        ({"A2A_HOST": "0.0.0.0", "A2A_PUBLIC_URL": "https://a.test/"}, "https://a.test"),
    ],
)
def test_the_public_url_is_made_from_host_and_port_unless_given(environ: dict[str, str], url: str) -> None:
    assert loaded(**environ).public_url == url


def test_the_store_has_no_url_in_memory() -> None:
    assert loaded().store_url == "sqlite+aiosqlite:///./opencode-a2a.db"
    assert loaded(A2A_TASK_STORE_BACKEND="memory").store_url is None


@pytest.mark.parametrize(
    ("environ", "shared"),
    [
        ({}, False),
        ({"A2A_TASK_STORE_DATABASE_URL": "postgresql://box/tasks"}, True),
        ({"A2A_TASK_STORE_DATABASE_URL": "postgres+asyncpg://box/tasks"}, True),
        ({"A2A_TASK_STORE_DATABASE_URL": "postgresql://box/tasks", "A2A_TASK_STORE_BACKEND": "memory"}, False),
    ],
)
def test_a_postgresql_database_is_shared_and_a_url_to_listen_has_no_use_without(
    environ: dict[str, str], shared: bool
) -> None:
    settings, warnings = load_settings({"A2A_LISTEN_DATABASE_URL": "postgresql://box/tasks", **environ})

    assert settings.shares_store == shared
    unused = "A2A_LISTEN_DATABASE_URL has no effect: A2A_TASK_STORE_DATABASE_URL names no PostgreSQL database"
    assert (unused in warnings) == (not shared)


def test_settings_show_no_secret() -> None:
    settings = loaded(
        A2A_STATIC_AUTH_CREDENTIALS=CREDENTIALS,
        OPENCODE_SERVER_PASSWORD="pw-s3cret",
        A2A_TASK_STORE_DATABASE_URL="postgresql://ada:db-s3cret@box/tasks",
        A2A_LISTEN_DATABASE_URL="postgresql://ada:listen-s3cret@box/tasks",
        A2A_CLIENT_BEARER_TOKEN="client-s3cret",
        A2A_CLIENT_BASIC_AUTH="ada:login-s3cret",
    )

    shown = f"{settings} {settings!r}"

    assert "s3cret" not in shown
    assert "postgresql://ada:***@box/tasks" in shown


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_a_local_server_may_do_without_credentials(host: str) -> None:
    settings = loaded(A2A_HOST=host)

    assert settings.is_local
    check_exposure(settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "box", "localhost.example"])
def test_a_server_that_others_can_reach_needs_credentials(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^A2A_STATIC_AUTH_CREDENTIALS: .* A2A_HOST"):
        check_exposure(loaded(A2A_HOST=host))

    check_exposure(loaded(A2A_HOST=host, A2A_STATIC_AUTH_CREDENTIALS=CREDENTIALS))


def test_a_generated_token_becomes_the_one_credential() -> None:
    settings = with_generated_token(loaded(), "made-up")

    identity = settings.credentials.authenticate("Bearer made-up")

    assert identity is not None
    assert (identity.principal, identity.credential_id) == ("local", "generated")
    with pytest.raises(ValueError, match="credentials are set already"):
        with_generated_token(settings, "another")


# ------------------------------------------------------------------------------------------- the documents


def test_every_row_has_a_name_of_its_own() -> None:
    names = [variable.name for variable in VARIABLES]

    assert len(set(names)) == len(names)


def test_the_help_names_every_variable_with_its_default_and_keeps_to_the_width() -> None:
    text = help_text(90)

    assert all(f"\n  {variable.name}\n" in text for variable in VARIABLES)
    assert "[default: http://127.0.0.1:4096]" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 90


def refused_workers(**variables: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        check_workers(loaded(A2A_WORKERS="3", **variables))
    return refused.value.problems


def test_several_workers_need_a_store_that_processes_can_share() -> None:
    [problem] = refused_workers()
    assert problem == (
        "A2A_WORKERS: 3 processes cannot share tasks in a SQLite file: name a PostgreSQL database "
        "(A2A_TASK_STORE_DATABASE_URL=postgresql://…), or set A2A_WORKERS to 1"
    )
    assert "in memory" in refused_workers(A2A_TASK_STORE_BACKEND="memory")[0]
    assert "in what A2A_TASK" in refused_workers(A2A_TASK_STORE_DATABASE_URL="mysql://me@db/tasks")[0]
    check_workers(loaded(A2A_WORKERS="3", A2A_TASK_STORE_DATABASE_URL="postgresql://me@db/tasks"))
    check_workers(loaded(A2A_WORKERS="1"))


def test_metrics_of_several_workers_need_as_many_ports() -> None:
    shared = {"A2A_TASK_STORE_DATABASE_URL": "postgresql://me@db/tasks", "A2A_METRICS_ENABLED": "true"}

    assert "set the first of 3 ports" in refused_workers(**shared)[0]
    assert "do not fit above 65534" in refused_workers(**shared, A2A_METRICS_PORT="65534")[0]
    check_workers(loaded(A2A_WORKERS="3", **shared, A2A_METRICS_PORT="65533"))


def test_several_workers_need_a_platform_that_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.fork")

    [problem] = refused_workers(A2A_TASK_STORE_DATABASE_URL="postgresql://me@db/tasks")
    assert problem == "A2A_WORKERS: this platform cannot fork processes: set it to 1"
