"""Parses the JSON list of credentials: a setting's value, or the content of a file.

Pure. Problems name the entry and its field, and never repeat a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from sansio.access.credentials import NEEDS, Credential, CredentialSet, Scheme

NO_CAPABILITIES: Final[Mapping[Scheme, frozenset[str]]] = {}

_REFUSES: Final[Mapping[Scheme, tuple[str, ...]]] = {
    "bearer": ("username", "password"),
    "basic": ("token", "principal"),
}
_SHOWN_TEXTS: Final = ("credential_id", "principal", "username")
_HIDDEN_TEXTS: Final = ("token", "password")
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,24}")
_FIELDS: Final = ("scheme", *_SHOWN_TEXTS, *_HIDDEN_TEXTS, "capabilities", "enabled")


class CredentialsError(ValueError):
    """The list of credentials is not usable. `problems` name entry (from 1) and field, never a secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("; ".join(self.problems))


def parse_credentials(text: str, capabilities: Mapping[Scheme, frozenset[str]] = NO_CAPABILITIES) -> CredentialSet:
    """Read the JSON list of credentials; blank text or `[]` is the empty set.

    `capabilities`: what an entry of a scheme may do when it names none.
    Strings are trimmed, and blank ones count as absent. Raises `CredentialsError` with all that is wrong.
    """
    entries = _json_list(text)
    problems: list[str] = []
    credentials: list[Credential] = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            problems.append(f"entry {number}: takes a JSON object")
            continue
        wrong = _entry_problems(entry)
        problems += [f"entry {number}, {name}: {what}" for name, what in wrong]
        if not wrong:
            credentials.append(_credential(entry, capabilities))
    if not problems:
        problems += _duplicates(credentials)
    if not problems and credentials and not any(credential.enabled for credential in credentials):
        problems.append("enabled: at least one entry has to be enabled")
    if problems:
        raise CredentialsError(problems)
    return CredentialSet(tuple(credentials))


def _json_list(text: str) -> list[object]:
    if not text.strip():
        return []
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
    else:
        if isinstance(entries, list):
            return entries
        where = ""
    # Raised out here so that no JSON error, which holds the whole text, travels along as its context.
    raise CredentialsError([f"takes a JSON list of credentials{where}"])


def _text(entry: Mapping[str, object], name: str) -> str | None:
    value = entry.get(name)
    return (value.strip() or None) if isinstance(value, str) else None


def _is_absent(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _scheme(entry: Mapping[str, object]) -> Scheme | None:
    value = entry.get("scheme")
    return next((scheme for scheme in NEEDS if scheme == value), None)


def _entry_problems(entry: Mapping[str, object]) -> list[tuple[str, str]]:
    """Yield pairs of a field's name and its problem."""
    problems = [
        # Only what looks like a name is repeated: a misplaced secret does not become readable here.
        (name if _PLAIN_NAME.fullmatch(name) else "a field", f"is not known; there are {', '.join(_FIELDS)}")
        for name in entry
        if name not in _FIELDS
    ]
    for name in (*_SHOWN_TEXTS, *_HIDDEN_TEXTS):
        problems += [(name, what) for what in _text_problems(name, entry.get(name))]
    scheme = _scheme(entry)
    if scheme is None:
        problems.append(("scheme", 'takes "bearer" or "basic"'))
    else:
        problems += [(n, f"is missing; {scheme} needs it") for n in NEEDS[scheme] if _is_absent(entry.get(n))]
        problems += [(n, f"does not go with {scheme}") for n in _REFUSES[scheme] if not _is_absent(entry.get(n))]
    capabilities = entry.get("capabilities", [])
    if not (isinstance(capabilities, list) and all(isinstance(name, str) for name in capabilities)):
        problems.append(("capabilities", "takes a list of strings"))
    if not isinstance(entry.get("enabled", True), bool):
        problems.append(("enabled", "takes true or false"))
    return problems


def _text_problems(name: str, value: object) -> list[str]:
    if _is_absent(value):
        return []
    if not isinstance(value, str):
        return ["takes a string"]
    text = value.strip()
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return ["holds half of a surrogate pair"]
    if name in _SHOWN_TEXTS and not text.isprintable():
        return ["takes printable characters only"]
    if name == "username" and ":" in text:
        return ["cannot hold a colon, which ends it in the header"]
    return []


def _credential(entry: Mapping[str, object], defaults: Mapping[Scheme, frozenset[str]]) -> Credential:
    """Make the credential of a valid entry. `defaults`: capabilities by scheme, for an entry without any."""
    scheme: Scheme = "bearer" if _scheme(entry) == "bearer" else "basic"
    raw = entry.get("capabilities", [])
    names = [str(name).strip() for name in raw] if isinstance(raw, list) else []
    capabilities = frozenset(name for name in names if name) or defaults.get(scheme, frozenset())
    credential_id = _text(entry, "credential_id")
    enabled = entry.get("enabled", True) is True
    if scheme == "bearer":
        return Credential.bearer(
            _text(entry, "token") or "",
            principal=_text(entry, "principal") or "",
            credential_id=credential_id,
            capabilities=capabilities,
            enabled=enabled,
        )
    return Credential.basic(
        _text(entry, "username") or "",
        _text(entry, "password") or "",
        credential_id=credential_id,
        capabilities=capabilities,
        enabled=enabled,
    )


def _duplicates(credentials: Iterable[Credential]) -> list[str]:
    """Return the problems of duplicates: an id is of one credential, a proof of one caller.

    Two passwords of one user are a rotation.
    """
    problems: list[str] = []
    ids: dict[str, int] = {}
    proofs: dict[bytes, int] = {}
    for number, credential in enumerate(credentials, 1):
        if credential.credential_id is not None:
            first = ids.setdefault(credential.credential_id, number)
            if first != number:
                problems.append(f"entry {number}, credential_id: is that of entry {first} too")
        first = proofs.setdefault(credential.digest, number)
        if first != number:
            secret = "token" if credential.scheme == "bearer" else "username and password"
            problems.append(f"entry {number}, {secret}: the same as in entry {first}")
    return problems
