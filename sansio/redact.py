"""Keeps what must not be read out of reprs, logs and errors: secrets as values, passwords inside URLs.

Pure, and ignorant of what its secrets open.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

HIDDEN: Final = "***"

_NAMED_SECRET = re.compile(
    r"(?P<name>[?&;](?:[a-z0-9_.-]*(?:password|passwd|pwd|secret|token)|api_?key)=)[^&;#]*", re.IGNORECASE
)


@frozen(repr=False)
class Secret:
    """A string that shows itself as `***` wherever it is printed; `reveal()` is the one way to read it."""

    _value: str = field()

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)


def redact_url(url: str) -> str:
    """Return the same URL with `***` for the password of its userinfo and for query values named like a secret.

    Takes any text and never raises: what it is given may be the very thing that failed to parse as a URL.
    """
    head, slashes, rest = url.partition("//")
    if not slashes:
        return _NAMED_SECRET.sub(rf"\g<name>{HIDDEN}", url)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and _ends_inside_password(authority):
        authority = rest
    userinfo, at, _ = authority.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if at and colon:
        rest = f"{user}:{HIDDEN}{rest[len(userinfo) :]}"
    return _NAMED_SECRET.sub(rf"\g<name>{HIDDEN}", f"{head}//{rest}")


def _ends_inside_password(authority: str) -> bool:
    """Return whether an unescaped `/`, `?` or `#` in a password cuts the authority short.

    Its sign is a "port" that is no number.
    """
    _, colon, port = authority.partition(":")
    return bool(colon) and not authority.startswith("[") and not (port.isascii() and port.isdigit())
