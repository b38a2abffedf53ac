"""Keeps what must not be read out of reprs, logs and errors: secrets as values, passwords inside URLs.

Pure, and ignorant of what its secrets open.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import field, frozen

HIDDEN: Final = "***"

_NAMED_SECRET = re.compile(
    r"(?P<name>[?&;](?:[a-z0-9_.-]*(?:password|passwd|pwd|secret|token)|api_?key)=)[^&;#]*", re.IGNORECASE
)


_SHORTEST = 4  # characters of a secret that is searched for; a shorter one is part of many words
_PROOF = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)[ \t]+)(?=[^\s\"',;]*[0-9_~+/=]|[^\s\"',;]{16})[A-Za-z0-9._~+/=-]{6,}"
    r"|(?P<slashes>//)[^/\s@?#\"']+@"
    r"|(?P<query>[?&;](?:[a-z0-9_.-]{0,40}(?:password|passwd|pwd|secret|token)|api_?key)=)[^&;#\s\"']+"
    r"|(?P<member>\"[a-z0-9_.-]{0,40}(?:password|passwd|secret|token|credentials|authorization|api_?key)[a-z0-9_]{0,10}"
    r"\"\s{0,8}:\s{0,8}\")(?:[^\"\\]|\\.)*",
    re.IGNORECASE,
)
"""Shapes of credentials, whoever wrote it; the name of the group before it stays."""
_SIGNS = (
    *("bearer", "basic", "@", "password", "passwd", "pwd", "secret", "token", "credentials", "authorization"),
    *("api_key", "apikey"),
)
"""Words of which each text with such a shape has one."""


@frozen(repr=False)
class Redactor:
    """Takes out of a text what no log may hold: known secrets, what looks like one, and known directories.

    Make it with `of`.
    """

    _secrets: tuple[str, ...]
    _directories: tuple[tuple[str, re.Pattern[str], str], ...]

    @classmethod
    def of(cls, secrets: Iterable[str], directories: Mapping[str, str] | None = None) -> Redactor:
        """Make a redactor. `directories`: absolute paths, each with the text that replaces it.

        Secrets of fewer than four characters are not searched for, nor is the root directory.
        """
        known = {secret for secret in secrets if len(secret) >= _SHORTEST}
        known |= {json.dumps(secret)[1:-1] for secret in known}
        known |= {base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode() for secret in known}
        shown = {path.rstrip("/"): shown for path, shown in (directories or {}).items()}
        paths = sorted(filter(None, shown), key=lambda text: (-len(text), text))
        return cls(
            tuple(sorted(known, key=lambda text: (-len(text), text))),
            tuple((path, re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w.-])"), shown[path]) for path in paths),
        )

    def __call__(self, text: str) -> str:
        """Return the text without them. Never raises.

        Most texts have none. To look for words first is thirty times as fast as the patterns.
        """
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        for path, pattern, shown in self._directories:
            if path in text:
                text = pattern.sub(shown, text)
        lowered = text.lower()
        for sign in _SIGNS:
            if sign in lowered:
                return _PROOF.sub(_without_proof, text)
        return text


def _without_proof(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    return f"{match[kind]}{HIDDEN}{'@' if kind == 'slashes' else ''}"


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
