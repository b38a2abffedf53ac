"""The key that signs Agent Cards: loaded from the file the settings name, used for signatures, published.

Knows no cryptography: that is for `card_keys`, which needs the extra `signing` and is imported where a key is set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import field, frozen

from opencode_a2a.config.settings import SettingsError
from opencode_a2a.distribution import how_to_install
from opencode_a2a.regular_files import read_regular
from sansio.a2a.model import JsonObject

KEY_FILE: Final = "A2A_CARD_SIGNING_KEY_FILE"
KEY_ID: Final = "A2A_CARD_SIGNING_KEY_ID"

LARGEST_FILE: Final = 65_536
"""Bytes. No key is as large; a file that is must be another one, perhaps one that never ends."""

_LIBRARIES: Final = ("cryptography", "rfc8785")


@frozen(kw_only=True)
class CardKey:
    """A private key in use. Nothing of it can be read back or shown but what is public."""

    alg: str
    kid: str
    public: JsonObject = field(repr=False)
    _sign: Callable[[bytes], bytes] = field(repr=False)
    _canonical: Callable[[JsonObject], bytes] = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """The signature as JWS has it for `alg` (RFC 7518, section 3; RFC 8037)."""
        return self._sign(message)

    def canonical(self, value: JsonObject) -> bytes:
        """RFC 8785."""
        return self._canonical(value)

    def jwks(self) -> JsonObject:
        """The key set with the public key (RFC 7517)."""
        return {"keys": [{**self.public, "kid": self.kid, "alg": self.alg, "use": "sig"}]}


def load_card_key(path: str | None, key_id: str | None = None) -> CardKey | None:
    """The key in a PEM file, or None where none is named. Blocks while it reads.

    `key_id`: how signatures name the key; None: by its thumbprint (RFC 7638). Raises `SettingsError`.
    """
    if path is None:
        return None
    if key_id is not None and not key_id.isprintable():
        raise SettingsError([f"{KEY_ID}: takes printable text"])
    pem = _content(path)
    try:
        from opencode_a2a.server.http.card_keys import KeyRefusedError, canonical, private_key
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _LIBRARIES:
            raise
        raise _refused(f"needs {missing}: {how_to_install('signing')}") from None
    try:
        key = private_key(pem)
    except KeyRefusedError as refused:
        problem = str(refused)
    else:
        return CardKey(
            alg=key.alg, kid=key_id or key.thumbprint, public=key.public, sign=key.sign, canonical=canonical
        )
    # Raised out here so that no error of a parser, which may hold what it failed on, travels along.
    raise _refused(problem)


def _content(path: str) -> bytes:
    try:
        content, _ = read_regular(path, LARGEST_FILE + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    else:
        if len(content) <= LARGEST_FILE:
            return content
        reason = "it is too large for a key"
    raise _refused(f"the file cannot be used: {reason}")


def _refused(problem: str) -> SettingsError:
    return SettingsError([f"{KEY_FILE}: {problem}"])
