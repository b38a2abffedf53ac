"""The settings of calling other agents: by a command, or by a model inside a turn.

Knows no agent and no connection.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.settings_declared import Declared
from opencode_a2a.config.settings_rows import row
from sansio.outbound import AllowedHosts, parse_allowed_hosts
from sansio.redact import Secret

_CLIENT: Final = "Calling other agents"
_TOOL: Final = "The model's tool `a2a_call`"


@frozen(kw_only=True, init=False, repr=False, eq=False)
class PeerSettings(Declared):
    """The rows of calling other agents."""

    client_bearer_token: Secret | None = row(
        _CLIENT,
        "A2A_CLIENT_BEARER_TOKEN",
        values.header_token,
        None,
        "the token to present to the other agent, before any login: text without white space",
        secret=True,
    )
    client_basic_auth: Secret | None = row(
        _CLIENT,
        "A2A_CLIENT_BASIC_AUTH",
        values.login,
        None,
        "the login to present to the other agent: user:password, plain or in base64",
        secret=True,
    )
    client_timeout_seconds: float = row(
        _CLIENT,
        "A2A_CLIENT_TIMEOUT_SECONDS",
        values.seconds(zero=False),
        30.0,
        "how long the other agent may take to answer, or stay silent in a stream: seconds, more than 0",
    )
    client_card_fetch_timeout_seconds: float = row(
        _CLIENT,
        "A2A_CLIENT_CARD_FETCH_TIMEOUT_SECONDS",
        values.seconds(zero=False),
        5.0,
        "how long the other agent may take to send its card: seconds, more than 0",
    )
    client_protocol_version: str | None = row(
        _CLIENT,
        "A2A_CLIENT_PROTOCOL_VERSION",
        values.version,
        None,
        "the protocol version to use, such as 1.0",
        default_text="the newest that both have",
    )
    client_supported_transports: tuple[str, ...] | None = row(
        _CLIENT,
        "A2A_CLIENT_SUPPORTED_TRANSPORTS",
        values.bindings,
        None,
        "the bindings that may be used, the preferred one first: a comma-separated list of JSONRPC, HTTP+JSON, "
        "WEBSOCKET and GRPC, which needs the extra grpc",
        default_text="all, as the card prefers; WEBSOCKET and then GRPC where it has no other",
    )
    client_use_client_preference: bool | None = row(
        _CLIENT,
        "A2A_CLIENT_USE_CLIENT_PREFERENCE",
        values.flag,
        None,
        "whether the order of A2A_CLIENT_SUPPORTED_TRANSPORTS goes before the order of the card: true or false",
        default_text="true where A2A_CLIENT_SUPPORTED_TRANSPORTS is set",
    )
    client_polling_fallback_enabled: bool = row(
        _CLIENT,
        "A2A_CLIENT_POLLING_FALLBACK_ENABLED",
        values.flag,
        True,
        "whether a task is read now and then where the other agent has no stream of it: true or false",
    )
    client_polling_fallback_initial_interval_seconds: float = row(
        _CLIENT,
        "A2A_CLIENT_POLLING_FALLBACK_INITIAL_INTERVAL_SECONDS",
        values.seconds(zero=False),
        0.5,
        "the pause before the first of these reads: seconds, more than 0",
    )
    client_polling_fallback_max_interval_seconds: float = row(
        _CLIENT,
        "A2A_CLIENT_POLLING_FALLBACK_MAX_INTERVAL_SECONDS",
        values.seconds(zero=False),
        2.0,
        "the longest pause between two of them: seconds, more than 0",
    )
    client_polling_fallback_backoff_multiplier: float = row(
        _CLIENT,
        "A2A_CLIENT_POLLING_FALLBACK_BACKOFF_MULTIPLIER",
        values.factor,
        2.0,
        "by how much each pause is longer than the one before: a number, at least 1",
    )
    client_polling_fallback_timeout_seconds: float | None = row(
        _CLIENT,
        "A2A_CLIENT_POLLING_FALLBACK_TIMEOUT_SECONDS",
        values.seconds(zero=False),
        None,
        "how long a task is read without a change of it before it is given up: seconds, more than 0",
        default_text="3600, or `--timeout`",
    )
    client_card_signatures: str = row(
        _CLIENT,
        "A2A_CLIENT_CARD_SIGNATURES",
        values.one_of("ignore", "check", "require"),
        "ignore",
        "what becomes of an agent whose card is not signed as it should be (docs/signed-cards.md): ignore, check "
        "(a wrong signature is refused) or require (a valid one must be there)",
    )
    client_card_keys_file: str | None = row(
        _CLIENT,
        "A2A_CLIENT_CARD_KEYS_FILE",
        str,
        None,
        "a JSON file with the key set (JWKS) of the only keys that count for signatures of cards: a path",
        default_text="the key set at the card's own origin",
    )
    client_cache_ttl_seconds: float = row(
        _CLIENT,
        "A2A_CLIENT_CACHE_TTL_SECONDS",
        values.seconds(zero=True),
        900.0,
        "how long a card and the connections to its agent are kept for the next call: seconds; 0 keeps none",
    )
    client_cache_maxsize: int = row(
        _CLIENT,
        "A2A_CLIENT_CACHE_MAXSIZE",
        values.whole(0),
        256,
        "to how many agents connections are kept: a whole number; 0 keeps none",
    )
    client_allowed_hosts: AllowedHosts = row(
        _CLIENT,
        "A2A_CLIENT_ALLOWED_HOSTS",
        parse_allowed_hosts,
        AllowedHosts(),
        "the only hosts that the model may call, and the only ones that get credentials from it: a comma-separated "
        "list of names, `*.` with the end of names, addresses, and networks such as 10.1.0.0/16",
        default_text="every public host, without credentials",
    )
    client_allow_private_hosts: bool = row(
        _CLIENT,
        "A2A_CLIENT_ALLOW_PRIVATE_HOSTS",
        values.flag,
        False,
        "whether the model may call addresses that are not public (private, loopback, shared, link-local, reserved): "
        "true or false",
    )
    peers_file: str | None = row(
        _CLIENT,
        "A2A_PEERS_FILE",
        str,
        None,
        "a JSON file, or a directory of them, with the agents that are known by a name (docs/peers.md): a path",
    )
    tool_enabled: bool = row(
        _TOOL,
        "A2A_TOOL_ENABLED",
        values.flag,
        True,
        "whether the model can call other agents with the tool: true or false",
    )
    tool_url: str | None = row(
        _TOOL,
        "A2A_TOOL_URL",
        values.public_url,
        None,
        "the URL at which OpenCode reaches this server, where it runs on another machine: an http(s) URL",
        default_text="this server's own address",
    )
