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
_PROOF = (
    r"(?P<scheme>\b(?:bearer|basic)[ \t]+)(?=[^\s\"',;]*[0-9_~+/=]|[^\s\"',;]{16})[A-Za-z0-9._~+/=-]{6,}",
    r"(?P<slashes>//)[^/\s@?#\"']+@",
    r"(?P<query>[?&;](?:[a-z0-9_.-]{0,40}(?:password|passwd|pwd|secret|token)|api_?key)=)[^&;#\s\"']+",
    r"(?P<member>\"[a-z0-9_.-]{0,40}(?:password|passwd|secret|token|credentials|authorization|api_?key)[a-z0-9_]{0,10}"
    r"\"\s{0,8}:\s{0,8}\")(?:[^\"\\]|\\.)*",
)
"""Shapes of credentials, whoever wrote it; the name of the group before it stays."""


@frozen(repr=False)
class Redactor:
    """Takes out of a text what no log may hold: known secrets, what looks like one, and known directories.

    Make it with `of`.
    """

    _pattern: re.Pattern[str]
    _replacements: Mapping[str, str]

    @classmethod
    def of(cls, secrets: Iterable[str], directories: Mapping[str, str] | None = None) -> Redactor:
        """Make a redactor. `directories`: absolute paths, each with the text that replaces it.

        Secrets of fewer than four characters are not searched for, nor is the root directory.
        """
        replacements = {path.rstrip("/"): shown for path, shown in (directories or {}).items() if path.rstrip("/")}
        known = {secret for secret in secrets if len(secret) >= _SHORTEST}
        known |= {json.dumps(secret)[1:-1] for secret in known}
        known |= {base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode() for secret in known}
        longest_first = sorted(known, key=lambda text: (-len(text), text))
        paths = sorted(replacements, key=lambda text: (-len(text), text))
        alternatives = [re.escape(secret) for secret in longest_first]
        literal = f"(?P<known>{'|'.join(alternatives)})" if alternatives else None
        places = rf"(?P<path>(?<![\w.-])(?:{'|'.join(map(re.escape, paths))})(?![\w.-]))" if paths else None
        # a secret may differ from a word in its case alone, so only what has a shape is found in any case
        shapes = f"(?i:{'|'.join(_PROOF)})"
        return cls(re.compile("|".join(filter(None, (literal, shapes, places)))), replacements)

    def __call__(self, text: str) -> str:
        """Return the text without them. Never raises."""
        return self._pattern.sub(self._shown, text)

    def _shown(self, match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind == "path":
            return self._replacements[match[0]]
        if kind == "known" or kind is None:
            return HIDDEN
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
