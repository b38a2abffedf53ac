"""The table of settings: one row per environment variable, from which everything else about settings is made.

Knows neither where the texts come from nor who reads the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
from attrs import frozen

from opencode_a2a import __version__
from opencode_a2a.config import settings_values as values
from opencode_a2a.config.groups.opencode_instances import OpenCodeInstance, default_name, setting_of_instances
from opencode_a2a.config.groups.settings_identity import IdentitySettings
from opencode_a2a.config.groups.settings_replicas import ReplicaSettings
from opencode_a2a.config.groups.settings_retention import RetentionSettings
from opencode_a2a.config.settings_declared import Declared
from opencode_a2a.config.settings_guards import GuardSettings
from opencode_a2a.config.settings_peers import PeerSettings
from opencode_a2a.config.settings_rows import Variable, row
from opencode_a2a.config.settings_telemetry import TelemetrySettings
from opencode_a2a.config.settings_tls import TlsSettings
from sansio.a2a.cards.parse import GRPC, HTTP_JSON, JSONRPC
from sansio.a2a.versions import VERSIONS
from sansio.access import CredentialSet
from sansio.guards.hosts import ServedHosts
from sansio.guards.origins import AllowedOrigins, parse_allowed_origins
from sansio.outbound import AllowedHosts, parse_allowed_hosts
from sansio.redact import Secret

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


_SERVER, _CARD, _ACCESS, _OPENCODE, _TASKS, _PUSH = (
    "The server",
    "The Agent Card",
    "Who may call",
    "OpenCode",
    "Tasks",
    "Push notifications",
)


@frozen(kw_only=True)
class Settings(ReplicaSettings):
    """Everything that can be set, checked. The table of variables is this class: a row per attribute."""

    host: str = row(
        _SERVER,
        "A2A_HOST",
        values.host,
        "127.0.0.1",
        "the address to listen on: a host name or an IP address, without scheme or port",
    )
    port: int = row(
        _SERVER,
        "A2A_PORT",
        values.whole(0, 65535),
        8000,
        "the port to listen on: a whole number from 0 to 65535; 0 takes any free one",
    )
    runtime: str = row(
        _SERVER,
        "A2A_RUNTIME",
        values.runtime,
        "asyncio",
        "the event loop to run on: asyncio, trio, or another runtime that is installed",
    )
    log_level: str = row(
        _SERVER,
        "A2A_LOG_LEVEL",
        values.one_of(*LOG_LEVELS, fold=str.upper),
        "WARNING",
        f"how much is logged: one of {', '.join(LOG_LEVELS)}",
    )
    max_request_body_bytes: int = row(
        _SERVER,
        "A2A_MAX_REQUEST_BODY_BYTES",
        values.whole(0),
        1_048_576,
        "the largest request body accepted, and the largest that `call` makes of files: a whole number of bytes; "
        "0 sets no limit",
    )
    http_gzip_minimum_size: int = row(
        _SERVER,
        "A2A_HTTP_GZIP_MINIMUM_SIZE",
        values.whole(0),
        8192,
        "the size from which answers are compressed, for callers who accept gzip: a whole number of bytes; 0: never",
    )
    max_connections: int = row(
        _SERVER,
        "A2A_MAX_CONNECTIONS",
        values.whole(0),
        0,
        "how many connections may be open: a whole number; 0: as many as the process may have file descriptors for, "
        "less a reserve",
    )
    max_connections_per_address: int = row(
        _SERVER,
        "A2A_MAX_CONNECTIONS_PER_ADDRESS",
        values.whole(0),
        256,
        "how many of them may come from one address (IPv6: from one network of 64 bits): a whole number; 0 sets no "
        "limit. Loopback addresses have none",
    )
    http2: bool = row(
        _SERVER,
        "A2A_HTTP2",
        values.flag,
        False,
        "whether clients may speak HTTP/2, by ALPN with TLS, or from the first byte on: true or false",
    )
    bindings: tuple[str, ...] = row(
        _SERVER,
        "A2A_BINDINGS",
        values.served_bindings,
        (HTTP_JSON, JSONRPC),
        "the bindings on offer, the preferred one first: a comma-separated list of HTTP+JSON, JSONRPC, GRPC and "
        "WEBSOCKET; GRPC turns HTTP/2 on, and needs the extra grpc",
    )
    max_websockets_per_principal: int = row(
        _SERVER,
        "A2A_MAX_WEBSOCKETS_PER_PRINCIPAL",
        values.whole(0),
        64,
        "how many WebSocket connections a principal may have at once: a whole number; 0 sets no limit",
    )
    shutdown_grace_seconds: float = row(
        _SERVER,
        "A2A_SHUTDOWN_GRACE_SECONDS",
        values.seconds(zero=True),
        10.0,
        "how long running requests may go on once the server is stopped: seconds, 0 or more",
    )
    protocol_version: str = row(
        _SERVER,
        "A2A_PROTOCOL_VERSION",
        values.version,
        "0.3",
        "the protocol version of a request that does not name one: 0.3 or 1.0, and one of the supported",
    )
    supported_protocol_versions: tuple[str, ...] = row(
        _SERVER,
        "A2A_SUPPORTED_PROTOCOL_VERSIONS",
        values.versions,
        VERSIONS,
        "the protocol versions on offer: a list, comma-separated or in JSON, of 0.3 and 1.0",
    )
    public_url_override: str | None = row(
        _CARD,
        "A2A_PUBLIC_URL",
        values.public_url,
        None,
        "the URL under which callers reach the server, as cards name it: http or https, with a path prefix at most, "
        "which proxies may strip or pass on",
        default_text="made from host and port",
    )
    title: str = row(_CARD, "A2A_TITLE", str, "OpenCode A2A", "the agent's name: any text")
    description: str = row(_CARD, "A2A_DESCRIPTION", str, "OpenCode A2A runtime", "what the agent is for: any text")
    version: str = row(
        _CARD,
        "A2A_VERSION",
        str,
        __version__,
        "the agent's version: any text",
        default_text="that of this package",
    )
    documentation_url: str | None = row(
        _CARD,
        "A2A_DOCUMENTATION_URL",
        values.url,
        None,
        "where the agent is described: an http or https URL",
        default_text="the server's own `/openapi.json`",
    )
    project: str | None = row(
        _CARD, "A2A_PROJECT", str, None, "the name of the project this agent works on: any text"
    )
    expose_workspace_root_in_card: bool = row(
        _CARD,
        "A2A_EXPOSE_WORKSPACE_ROOT_IN_CARD",
        values.flag,
        False,
        "whether callers who have proved who they are may know OPENCODE_WORKSPACE_ROOT, from the extended card and "
        "`/health`: true or false",
    )
    card_signing_key_file: str | None = row(
        _CARD,
        "A2A_CARD_SIGNING_KEY_FILE",
        str,
        None,
        "the private key that signs the cards: a PEM file with an EC (P-256, P-384), Ed25519 or RSA key; "
        "needs the extra signing",
        default_text="cards are not signed",
    )
    card_signing_key_id: str | None = row(
        _CARD,
        "A2A_CARD_SIGNING_KEY_ID",
        str,
        None,
        "the name signatures give that key: printable text",
        default_text="its thumbprint (RFC 7638)",
    )
    credentials: CredentialSet = row(
        _ACCESS,
        "A2A_STATIC_AUTH_CREDENTIALS",
        values.credentials,
        CredentialSet(),
        "who may call: a JSON list of bearer, basic and API key credentials, at least one of them enabled",
        default_text="none: one token is made at start, on loopback only",
        secret=True,
    )
    allowed_origins: AllowedOrigins = row(
        _ACCESS,
        "A2A_ALLOWED_ORIGINS",
        parse_allowed_origins,
        AllowedOrigins(),
        "whose pages may call from a browser: a comma-separated list of origins such as https://example.org, `null`, "
        "or `*` for all, which have to bring a token of their own",
        default_text="none but the server's own",
    )
    allowed_hosts: ServedHosts = row(
        _ACCESS,
        "A2A_ALLOWED_HOSTS",
        values.served_hosts,
        ServedHosts(),
        "the hosts that a request may name in its `Host` header: a list, comma-separated or in JSON, of names and "
        "addresses, each alone or with a port; `*.` with the end of names. Probes, and OpenCode's calls of the "
        "model's tool, may name any",
        default_text="every host",
    )
    opencode_url: str = row(
        _OPENCODE,
        "OPENCODE_BASE_URL",
        setting_of_instances,
        "http://127.0.0.1:4096",
        "where OpenCode is served: an http or https URL, with a path prefix at most and no login in it. For several, "
        "such URLs with commas between them, each with or without `NAME=` before it, or the path of a .toml file "
        "(docs/several-opencodes.md)",
    )
    opencode_instances: tuple[OpenCodeInstance, ...] = ()
    opencode_username: str = row(
        _OPENCODE,
        "OPENCODE_SERVER_USERNAME",
        values.user_name,
        "opencode",
        "the user name OpenCode expects together with the password: printable text without a colon",
        verbatim=True,
    )
    opencode_password: Secret | None = row(
        _OPENCODE,
        "OPENCODE_SERVER_PASSWORD",
        Secret,
        None,
        "the password OpenCode expects (basic authentication): any text",
        secret=True,
        verbatim=True,
    )
    opencode_password_file: str | None = row(
        _OPENCODE,
        "OPENCODE_SERVER_PASSWORD_FILE",
        str,
        None,
        "a file whose first line is that password, instead of OPENCODE_SERVER_PASSWORD: a path",
        default_text="none",
    )
    workspace_root: str | None = row(
        _OPENCODE,
        "OPENCODE_WORKSPACE_ROOT",
        str,
        None,
        "the directory to work in, as OpenCode sees it: a path",
        default_text="the one OpenCode was started in",
    )
    allow_directory_override: bool = row(
        _OPENCODE,
        "A2A_ALLOW_DIRECTORY_OVERRIDE",
        values.flag,
        True,
        "whether a message may choose a directory below that one to work in: true or false",
    )
    enable_session_shell: bool = row(
        _OPENCODE,
        "A2A_ENABLE_SESSION_SHELL",
        values.flag,
        False,
        "whether callers whose credential has the capability session_shell may run shell commands "
        "(opencode.sessions.shell): true or false",
    )
    enable_workspace_mutations: bool = row(
        _OPENCODE,
        "A2A_ENABLE_WORKSPACE_MUTATIONS",
        values.flag,
        False,
        "whether callers whose credential has the capability workspace_mutation may make and remove workspaces and "
        "worktrees: true or false",
    )
    agent: str | None = row(
        _OPENCODE,
        "OPENCODE_AGENT",
        str,
        None,
        "the OpenCode agent to ask: its name",
        default_text="OpenCode's own choice",
    )
    system: str | None = row(
        _OPENCODE,
        "OPENCODE_SYSTEM",
        str,
        None,
        "a system prompt to send with every message: any text",
        verbatim=True,
    )
    variant: str | None = row(
        _OPENCODE,
        "OPENCODE_VARIANT",
        str,
        None,
        "the variant of the model to ask for: its name",
        default_text="OpenCode's own choice",
    )
    opencode_timeout: float = row(
        _OPENCODE,
        "OPENCODE_TIMEOUT",
        values.seconds(zero=False),
        120.0,
        "how long OpenCode may take to answer a request: seconds, more than 0",
    )
    opencode_stream_timeout: float | None = row(
        _OPENCODE,
        "OPENCODE_TIMEOUT_STREAM",
        values.seconds(zero=False),
        None,
        "how long OpenCode's event stream may stay silent: seconds, more than 0",
        default_text="without limit",
    )
    max_concurrent_requests: int = row(
        _OPENCODE,
        "OPENCODE_MAX_CONCURRENT_REQUESTS",
        values.whole(0),
        0,
        "how many requests OpenCode gets at once before more are refused: a whole number; 0 sets no limit",
    )
    max_concurrent_streams: int = row(
        _OPENCODE,
        "OPENCODE_MAX_CONCURRENT_STREAMS",
        values.whole(0),
        0,
        "how many streams run at once before more are refused: a whole number; 0 sets no limit",
    )
    stream_max_bytes: int = row(
        _TASKS,
        "A2A_STREAM_MAX_BYTES",
        values.whole(0),
        0,
        "how much of a task one stream sends before it ends: a whole number of bytes; 0 sets no limit",
    )
    stream_max_duration_seconds: float = row(
        _TASKS,
        "A2A_STREAM_MAX_DURATION_SECONDS",
        values.seconds(zero=True),
        0.0,
        "how long one stream lasts before it ends: seconds; 0 sets no limit",
    )
    stream_idle_timeout_seconds: float = row(
        _TASKS,
        "A2A_STREAM_IDLE_TIMEOUT_SECONDS",
        values.seconds(zero=True),
        0.0,
        "how long one stream has nothing to tell before it ends: seconds; 0 sets no limit",
    )
    stream_stays_open_on_interrupt: bool = row(
        _TASKS,
        "A2A_STREAM_STAYS_OPEN_ON_INTERRUPT",
        values.flag,
        False,
        "streams stay open while their task asks its user, as those of 0.7.1 do: true or false",
    )
    task_store_backend: str = row(
        _TASKS,
        "A2A_TASK_STORE_BACKEND",
        values.one_of("database", "memory"),
        "database",
        "where tasks are kept: database, or memory (gone with the process)",
    )
    task_store_database_url: str = row(
        _TASKS,
        "A2A_TASK_STORE_DATABASE_URL",
        values.database_url,
        "sqlite+aiosqlite:///./opencode-a2a.db",
        "the database of tasks: a database URL such as sqlite:///./tasks.db or postgresql://user@host/name",
        secret=True,
    )
    import_principals: Mapping[str, str] = row(
        _TASKS,
        "A2A_IMPORT_PRINCIPALS",
        values.names,
        attrs.Factory(dict),
        "who the owners in the tables of an earlier release are now, where their names differ: a JSON object from "
        "earlier names to principals",
        default_text="they have the same names",
    )
    task_event_retention_seconds: float = row(
        _TASKS,
        "A2A_TASK_EVENT_RETENTION_SECONDS",
        values.seconds(zero=True),
        3600.0,
        "how long the events of a task are kept after its end, for streams to be resumed: seconds, 0 or more",
    )
    pending_session_claim_ttl_seconds: float = row(
        _TASKS,
        "A2A_PENDING_SESSION_CLAIM_TTL_SECONDS",
        values.seconds(zero=False),
        30.0,
        "how long a session that nobody owns is kept for the caller who named it first: seconds, more than 0",
    )
    allow_session_claims: bool | None = row(
        _TASKS,
        "A2A_ALLOW_SESSION_CLAIMS",
        values.flag,
        None,
        "whether a caller may claim an OpenCode session that nobody owns, by naming it: true or false. Where it is "
        "false, such a session is refused and listed to nobody",
        default_text="true where one principal is configured, or none; else false",
    )
    interrupt_request_ttl_seconds: float = row(
        _TASKS,
        "A2A_INTERRUPT_REQUEST_TTL_SECONDS",
        values.seconds(zero=False),
        10800.0,
        "how long a permission or a question waits for its answer before it is rejected: seconds, more than 0",
    )
    interrupt_request_tombstone_ttl_seconds: float = row(
        _TASKS,
        "A2A_INTERRUPT_REQUEST_TOMBSTONE_TTL_SECONDS",
        values.seconds(zero=True),
        600.0,
        "how long after that an answer is refused as too late: seconds, 0 or more",
    )
    cancel_abort_timeout_seconds: float = row(
        _TASKS,
        "A2A_CANCEL_ABORT_TIMEOUT_SECONDS",
        values.seconds(zero=True),
        2.0,
        "how long a cancelled task waits for OpenCode to stop: seconds, 0 or more",
    )
    push_timeout_seconds: float = row(
        _PUSH,
        "A2A_PUSH_TIMEOUT_SECONDS",
        values.seconds(zero=False),
        10.0,
        "how long one attempt at a notification may take, from the look-up of the name on: seconds, more than 0",
    )
    push_max_attempts: int = row(
        _PUSH,
        "A2A_PUSH_MAX_ATTEMPTS",
        values.whole(1),
        8,
        "how often a notification is sent before its configuration is given up: a whole number, at least 1",
    )
    push_allow_private_hosts: bool = row(
        _PUSH,
        "A2A_PUSH_ALLOW_PRIVATE_HOSTS",
        values.flag,
        False,
        "whether private and loopback addresses may be notified, over http too: true or false",
    )
    push_allowed_hosts: AllowedHosts = row(
        _PUSH,
        "A2A_PUSH_ALLOWED_HOSTS",
        parse_allowed_hosts,
        AllowedHosts(),
        "hosts that may be notified wherever they are, over http too: a comma-separated list of names, "
        "`*.` with the end of names, addresses, and networks such as 10.1.0.0/16",
        default_text="none",
    )

    @property
    def public_url(self) -> str:
        """The URL callers use, without a slash at its end."""
        return self.public_url_override or values.url_of(self.host, self.port, tls=self.uses_tls)

    @property
    def speaks_http2(self) -> bool:
        """Whether clients may speak HTTP/2, which gRPC is made of."""
        return self.http2 or GRPC in self.bindings

    @property
    def instances(self) -> tuple[OpenCodeInstance, ...]:
        """The OpenCodes to work with, one at least. The first is the default."""
        only = OpenCodeInstance(name=default_name(self.opencode_url), url=self.opencode_url, named=False)
        return self.opencode_instances or (only,)

    def completed(self, instance: OpenCodeInstance) -> OpenCodeInstance:
        """The instance with what it leaves open as the settings of all have it."""
        return attrs.evolve(
            instance,
            username=instance.username or self.opencode_username,
            password=instance.password or self.opencode_password,
            workspace_root=instance.workspace_root or self.workspace_root,
        )

    @property
    def store_url(self) -> str | None:
        """The database's URL, or None where tasks live in memory."""
        return None if self.task_store_backend == "memory" else self.task_store_database_url

    @property
    def shares_store(self) -> bool:
        """Whether other servers may have the database of tasks open, too: PostgreSQL."""
        return (self.store_url or "").startswith("postgres")

    @property
    def claims_allowed(self) -> bool:
        """Whether a session that nobody owns can be claimed."""
        if self.allow_session_claims is not None:
            return self.allow_session_claims
        return not self.has_other_callers and len(self.credentials.principals) <= 1

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return values.is_loopback(self.host)


_attributes: Final[tuple[Any, ...]] = attrs.fields(Settings)
_bases: Final = [
    {attribute.name for attribute in attrs.fields(base)}
    for base in (
        Declared,
        PeerSettings,
        TelemetrySettings,
        TlsSettings,
        GuardSettings,
        IdentitySettings,
        RetentionSettings,
        ReplicaSettings,
    )
]
VARIABLES: Final[tuple[Variable, ...]] = tuple(
    attrs.evolve(attribute.metadata[Variable], attribute=attribute.name)
    for attribute in sorted(_attributes, key=lambda attribute: sum(attribute.name in names for names in _bases))
    if Variable in attribute.metadata
)
