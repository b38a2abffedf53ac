"""Options of calling an agent: credentials, limits of time, and which of its interfaces to use."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from opencode_a2a.client.known_peers import MARK, KnownPeers
from opencode_a2a.config.settings import Settings, SettingsError
from sansio.a2a.backoff import PATIENCE, Backoff
from sansio.a2a.cards.verification import LARGEST_KEY_SET, KeySet, SignatureCheck
from sansio.redact import Secret

POLLING: Final = Backoff.growing(0.5, 2.0)
"""Pauses between reads of a task whose agent has no stream of it."""

_KEYS_FILE: Final = "A2A_CLIENT_CARD_KEYS_FILE"


@frozen(kw_only=True)
class ClientOptions:
    """Options of calling agents.

    `version`: the protocol version to insist on. `bindings`: those that may be used, the preferred one first; None:
    all, as the card prefers, with WebSocket and gRPC last. `own_order`: False puts the card's order before that of
    `bindings`. `bearer` goes before `basic`, which is `user:password`; both go to the origin of the
    agent's URL alone. `extensions`: the URIs of those to activate where the card offers them. `stay_open`: the URIs
    of those by which an agent's streams stay open where a task waits. `trace_id`: 32 hex digits of the trace that
    all requests belong to; by default each connection begins one.

    In seconds: `timeout` of silence of a connection, `card_timeout` for a card, `patience` with a task that does not
    change. `polling`: the pauses between reads of a task that has no stream; None: it is not read.

    `signatures`: how much the signatures of an agent's card matter. `card_keys`: the only keys that count for them;
    None: those of the agent's own key set, which prove no more than that card and keys come from one place.
    """

    version: str | None = None
    bindings: Sequence[str] | None = None
    own_order: bool | None = None
    bearer: Secret | None = field(default=None, repr=False)
    basic: Secret | None = field(default=None, repr=False)
    timeout: float = 30.0
    card_timeout: float = 5.0
    patience: float = PATIENCE
    polling: Backoff | None = POLLING
    extensions: Collection[str] = ()
    stay_open: Collection[str] = ()
    trace_id: str | None = None
    signatures: SignatureCheck = SignatureCheck.IGNORE
    card_keys: KeySet | None = None

    @classmethod
    def of(cls, settings: Settings) -> ClientOptions:
        """Return the options that the settings `A2A_CLIENT_…` ask for. Raises `SettingsError`.

        Blocks while it reads the file of trusted keys, where one is named.
        """
        longest = settings.client_polling_fallback_max_interval_seconds
        first = min(settings.client_polling_fallback_initial_interval_seconds, longest)
        factor = settings.client_polling_fallback_backoff_multiplier
        pauses = Backoff((first,)) if factor == 1 else Backoff.growing(first, longest, factor=factor)
        return cls(
            version=settings.client_protocol_version,
            bindings=settings.client_supported_transports,
            own_order=settings.client_use_client_preference,
            bearer=settings.client_bearer_token,
            basic=settings.client_basic_auth,
            timeout=settings.client_timeout_seconds,
            card_timeout=settings.client_card_fetch_timeout_seconds,
            patience=settings.client_polling_fallback_timeout_seconds or PATIENCE,
            polling=pauses if settings.client_polling_fallback_enabled else None,
            signatures=SignatureCheck(settings.client_card_signatures),
            card_keys=_key_set(settings.client_card_keys_file),
        )

    @property
    def has_credentials(self) -> bool:
        """Whether there is anything to present."""
        return self.bearer is not None or self.basic is not None

    def without_credentials(self) -> ClientOptions:
        """Return the same without credentials."""
        return evolve(self, bearer=None, basic=None)

    def authorization(self) -> bytes | None:
        """Return the value of the `Authorization` header."""
        if self.bearer is not None:
            return b"Bearer " + self.bearer.reveal().encode()
        if self.basic is not None:
            return b"Basic " + base64.b64encode(self.basic.reveal().encode())
        return None


def _key_set(path: str | None) -> KeySet | None:
    """Load the trusted keys of a file; None where none is named. Raises `SettingsError`."""
    if path is None:
        return None
    try:
        with Path(path).expanduser().open("rb") as file:
            return KeySet.of(file.read(LARGEST_KEY_SET + 1), trusted=True)
    except OSError as error:
        reason = f"the file cannot be used: {error.strerror}"
    except ValueError as error:
        reason = str(error)
    raise SettingsError([f"{_KEYS_FILE}: {reason}"])


@frozen
class CallTarget:
    """An agent's URL, and how to call it. `name`: of a known peer, where it was called by that."""

    url: str
    options: ClientOptions = ClientOptions()
    name: str | None = None

    @property
    def credential_hint(self) -> str:
        """The sentence that says where a credential for this agent is set."""
        if self.name is None:
            return "Set A2A_CLIENT_BEARER_TOKEN or A2A_CLIENT_BASIC_AUTH"
        return f"Name the variable that has its credential in A2A_PEERS_FILE: {self.name}.bearer_env or basic_env"

    @classmethod
    def of(
        cls,
        url: str,
        settings: Settings,
        *,
        version: str | None = None,
        binding: str | None = None,
        timeout: float | None = None,
    ) -> CallTarget:
        """Return the agent at `url` with the options of the settings, and those that a command line has changed.

        `@NAME` stands for the URL and the credential of a known peer. Raises `UsageError`, `SettingsError`.
        """
        options = ClientOptions.of(settings)
        name = None
        if url.startswith(MARK):
            peers = KnownPeers.of(settings)
            peer = peers.named(url)
            credential = peers.credential(peer)
            url, name = peer.url, peer.name
            options = evolve(options, bearer=credential.bearer, basic=credential.basic)
        if version is not None:
            options = evolve(options, version=version)
        if binding is not None:
            options = evolve(options, bindings=(binding,))
        if timeout is not None:
            options = evolve(options, timeout=timeout, card_timeout=timeout, patience=timeout)
        return cls(url, options, name)
