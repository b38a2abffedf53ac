"""The agents of `A2A_PEERS_FILE`: loads them, finds them by name or URL, and reads their credentials.

A broken file ends the start. A credential that is missing is an error of the call that needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from opencode_a2a.config.settings import Settings, SettingsError, read_dotenv
from opencode_a2a.config.settings_values import header_token, login
from opencode_a2a.outbound.peer_policy import peer_policy
from sansio.a2a.client.client_errors import UsageError
from sansio.known_peers import LARGEST_FILE, KnownPeer, KnownPeersError, parse_known_peers
from sansio.outbound import PEER_RULES, OutboundPolicy
from sansio.redact import Secret

MARK: Final = "@"
"""The character before the name of a known peer, where it stands in place of a URL."""

_VARIABLE: Final = "A2A_PEERS_FILE"
_MOST_FILES: Final = 64


class UnknownPeerError(UsageError):
    """No known peer has the name."""


class PeerCredentialError(UsageError):
    """The environment variable with the peer's credential is not set, or holds none."""


@frozen
class PeerCredential:
    """A peer's token, or its login as `user:password`; or neither."""

    bearer: Secret | None = None
    basic: Secret | None = None


@frozen
class KnownPeers:
    """The known peers. `base`: the policy for all other agents; `environ`: where their credentials are."""

    peers: Mapping[str, KnownPeer] = field(factory=dict)
    base: OutboundPolicy = OutboundPolicy(rules=PEER_RULES)
    environ: Mapping[str, str] = field(factory=dict, repr=False)

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> KnownPeers:
        """Load the peers that the settings name; there are none without `A2A_PEERS_FILE`. Raises `SettingsError`.

        `environ`: by default the process's environment, and where it is silent the file `.env`.
        """
        base = peer_policy(settings)
        if settings.peers_file is None:
            return cls(base=base)
        if environ is None:
            environ = {**read_dotenv(Path(".env")), **os.environ}
        try:
            peers = parse_known_peers(_read(Path(settings.peers_file).expanduser()))
        except KnownPeersError as error:
            raise SettingsError(f"{_VARIABLE}: {problem}" for problem in error.problems) from None
        return cls(peers, base, environ)

    def __iter__(self) -> Iterator[KnownPeer]:
        return iter(self.peers.values())

    def __len__(self) -> int:
        return len(self.peers)

    def named(self, name: str) -> KnownPeer:
        """Return the peer of a name, with or without the `@` before it. Raises `UnknownPeerError`."""
        name = name.removeprefix(MARK)
        if name in self.peers:
            return self.peers[name]
        if not self.peers:
            raise UnknownPeerError(f"{MARK}{_shown(name)}: there are no known peers; {_VARIABLE} names their file")
        known = ", ".join(f"{MARK}{peer}" for peer in list(self.peers)[:10])
        raise UnknownPeerError(f"{MARK}{_shown(name)}: is no known peer; among those of {_VARIABLE} are {known}")

    def find(self, url: str) -> KnownPeer | None:
        """Return the peer whose agent is at a URL; of several, the one whose path fits best."""
        return max((peer for peer in self if peer.covers(url)), key=lambda peer: len(peer.base_path), default=None)

    def credential(self, peer: KnownPeer) -> PeerCredential:
        """Read the credential of a peer. Raises `PeerCredentialError`, which names the variable."""
        if peer.bearer_env is not None:
            return PeerCredential(bearer=self._secret(peer, peer.bearer_env, header_token))
        if peer.basic_env is not None:
            return PeerCredential(basic=self._secret(peer, peer.basic_env, login))
        return PeerCredential()

    def _secret(self, peer: KnownPeer, name: str, parse: Callable[[str], Secret]) -> Secret:
        text = self.environ.get(name, "").strip()
        if not text:
            raise PeerCredentialError(f"{MARK}{peer.name}: its credential is to be in {name}, which is not set")
        try:
            return parse(text)
        except ValueError as error:
            reason = str(error) or "it is not user:password, plain or in base64"
        raise PeerCredentialError(f"{MARK}{peer.name}: {name} cannot be used: {reason}")

    def policy(self, peer: KnownPeer | None = None) -> OutboundPolicy:
        """Return the policy for calling a peer, or an agent that is none of them.

        A peer's own origin is allowed whatever its address, and gets its credential; nothing else does.
        """
        if peer is None:
            return self.base
        origins = frozenset({peer.origin})
        return evolve(self.base, vouched=origins, credential_origins=origins)


def _read(path: Path) -> dict[str, bytes]:
    """Read a file, or those of a directory that end in `.json`; by path. Raises `SettingsError`."""
    try:
        if path.is_dir():
            files = sorted(
                file for file in path.iterdir() if file.suffix == ".json" and not file.name.startswith(".")
            )
        else:
            files = [path]
        if len(files) > _MOST_FILES:
            raise SettingsError([f"{_VARIABLE}: {path}: there must not be more than {_MOST_FILES} files"])
        return {str(file): _read_file(file) for file in files}
    except OSError as error:
        raise SettingsError([f"{_VARIABLE}: {error.filename or path}: {error.strerror}"]) from None


def _read_file(file: Path) -> bytes:
    if file.exists() and not file.is_file():
        raise SettingsError([f"{_VARIABLE}: {file}: is neither a file nor a directory"])
    with file.open("rb") as opened:
        return opened.read(LARGEST_FILE + 1)


def _shown(name: str) -> str:
    """A name that somebody gave, without what a terminal would act on."""
    return name[:64] if name.isprintable() else ascii(name[:64])
