"""Keeps what must not be read out of reprs, logs and errors: secrets as values, passwords inside URLs.

Pure, and ignorant of what its secrets open.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

from attrs import field, frozen

HIDDEN: Final = "***"

_NAMED_SECRET = re.compile(
    r"(?P<name>[?&;](?:[a-z0-9_.-]*(?:password|passwd|pwd|secret|token)|api[_-]?key)=)[^&;#]*", re.IGNORECASE
)

_CUT: Final = "…"  # stands where a text was cut
_SHORTEST = 4  # characters of a secret that is searched for; a shorter one is part of many words
_WORDS = (re.compile(r"[A-Za-z0-9_-]{16,}"), re.compile(r"[A-Za-z0-9_.~+/=-]{16,}"))
"""Words that may be a token of which only the hash is known."""
_PROOF = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)(?:[ \t+]|%20)+)(?=[^\s\"',;]*[0-9_~+/=]|[^\s\"',;]{16})[A-Za-z0-9._~+/=-]{6,}"
    r"|(?P<slashes>//)[^/\s@?#\"']+@"
    r"|(?P<query>[?&;](?:[a-z0-9_.-]{0,40}(?:password|passwd|pwd|secret|token)|api[_-]?key)=)[^&;#\s\"']+"
    r"|(?P<jwt>)eyJ(?:[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?|[A-Za-z0-9_-]*(?=…))"
    r"|(?P<header>\bapi-key[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\s\"',;]{4,}"
    r"|(?P<member>\"[a-z0-9_.-]{0,40}(?:password|passwd|secret|token|credentials|authorization|api[_-]?key)[a-z0-9_]{0,10}"
    r"\"\s{0,8}:\s{0,8}\")(?:[^\"\\]|\\.)*",
    re.IGNORECASE,
)
"""Shapes of credentials, whoever wrote it; the name of the group before it stays."""
_SIGNS = (
    *("bearer", "basic", "@", "password", "passwd", "pwd", "secret", "token", "credentials", "authorization"),
    *("api_key", "apikey", "api-key", "eyj"),
)
"""Words of which each text with such a shape has one."""


@frozen(repr=False)
class Redactor:
    """Takes out of a text what no log may hold: known secrets, what looks like one, and known directories.

    Make it with `of`.
    """

    _secrets: tuple[str, ...]
    _directories: tuple[tuple[str, re.Pattern[str], str], ...]
    _digests: frozenset[bytes] = frozenset()

    @classmethod
    def of(
        cls,
        secrets: Iterable[str],
        directories: Mapping[str, str] | None = None,
        digests: Collection[bytes] = (),
    ) -> Redactor:
        """Make a redactor. `directories`: absolute paths, each with the text that replaces it.

        `digests`: SHA-256 of tokens that are not known themselves; words of 16 characters and more are compared.
        Secrets of fewer than four characters are not searched for, nor is the root directory.
        """
        known = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        shown = {path.rstrip("/"): shown for path, shown in (directories or {}).items()}
        paths = sorted(filter(None, shown), key=lambda text: (-len(text), text))
        return cls(
            tuple(sorted(known, key=lambda text: (-len(text), text))),
            tuple((path, re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w.-])"), shown[path]) for path in paths),
            frozenset(digests),
        )

    def __call__(self, text: str) -> str:
        """Return the text without them. Never raises.

        Most texts have none. To look for words first is thirty times as fast as the patterns.
        """
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if _CUT in text:
            text = _CUT.join([*map(self._without_end, text.split(_CUT)[:-1]), text.rpartition(_CUT)[2]])
        if self._digests:
            for words in _WORDS:
                text = words.sub(self._unless_known, text)
        for path, pattern, shown in self._directories:
            if path in text:
                text = pattern.sub(shown, text)
        lowered = text.lower()
        for sign in _SIGNS:
            if sign in lowered:
                return _PROOF.sub(_without_proof, text)
        return text

    def _without_end(self, text: str) -> str:
        """Return a text that was cut without the beginning of a secret at its end."""
        for secret in self._secrets:
            for length in range(min(len(secret) - 1, len(text)), _SHORTEST - 1, -1):
                if text.endswith(secret[:length]):
                    return text[:-length] + HIDDEN
        return text

    def _unless_known(self, match: re.Match[str]) -> str:
        return HIDDEN if hashlib.sha256(match[0].encode()).digest() in self._digests else match[0]


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it stands in a text, in JSON, in a URL, in a repr, in a login and in a header's bytes."""
    encoded = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(encoded, safe="")
    yield quote(encoded)
    yield quote_plus(encoded)
    yield base64.b64encode(encoded).decode()
    yield base64.b64encode(encoded).decode().rstrip("=")
    yield encoded.decode("latin-1")


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
