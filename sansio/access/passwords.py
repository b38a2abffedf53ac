"""Hashes of passwords: scrypt (RFC 7914), as text `$scrypt$ln=14,r=8,p=5$SALT$HASH` with base64 that has no padding.

Pure. To check a password takes a tenth of a second and 16 MiB: the caller does so beside its event loop.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final

from attrs import field, frozen

_TEXT = re.compile(
    r"\$scrypt\$ln=(?P<ln>[0-9]{1,2}),r=(?P<r>[0-9]{1,2}),p=(?P<p>[0-9]{1,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,86})\$(?P<digest>[A-Za-z0-9+/]{22,86})"
)
_LN, _R, _P = 14, 8, 5  # 16 MiB for five passes
_MOST_MEMORY: Final = 64 * 1024 * 1024  # bytes that one check may take
_MOST_WORK: Final = 8 * _P * 2**_LN * _R  # a file of another program may want more, but not minutes
SALT_BYTES: Final = 16


@frozen(kw_only=True)
class PasswordHash:
    """A salted hash. `ln`: binary logarithm of the cost; `r`: block size; `p`: number of passes."""

    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    ln: int = _LN
    r: int = _R
    p: int = _P

    @classmethod
    def of(cls, password: bytes, salt: bytes) -> PasswordHash:
        """Hash a password. `salt`: `SALT_BYTES` random bytes."""
        return cls(salt=salt, digest=_scrypt(password, salt, _LN, _R, _P, 32))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Read the text of a hash. Raises `ValueError`, also for one that would take too long to check."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError("takes $scrypt$ln=14,r=8,p=5$SALT$HASH")
        ln, r, p = (int(found[name]) for name in ("ln", "r", "p"))
        if not (ln and r and p) or ln > 20 or 128 * r * 2**ln > _MOST_MEMORY or 2**ln * r * p > _MOST_WORK:
            raise ValueError("takes no parameters of such a cost")
        try:
            salt, digest = (_from_base64(found[name]) for name in ("salt", "digest"))
        except binascii.Error:
            raise ValueError("takes base64 without padding") from None
        return cls(salt=salt, digest=digest, ln=ln, r=r, p=p)

    @property
    def text(self) -> str:
        """The text of the hash."""
        return f"$scrypt$ln={self.ln},r={self.r},p={self.p}${_to_base64(self.salt)}${_to_base64(self.digest)}"

    def matches(self, password: bytes) -> bool:
        """Return whether this is the hash of a password. It takes long."""
        return hmac.compare_digest(
            _scrypt(password, self.salt, self.ln, self.r, self.p, len(self.digest)), self.digest
        )


def _scrypt(password: bytes, salt: bytes, ln: int, r: int, p: int, length: int) -> bytes:
    memory = 128 * r * (2**ln + p + 2) + 4096
    return hashlib.scrypt(password, salt=salt, n=2**ln, r=r, p=p, dklen=length, maxmem=memory)


def _to_base64(value: bytes) -> str:
    return base64.b64encode(value).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
