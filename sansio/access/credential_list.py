"""Parses the JSON list of credentials: a setting's value, or the content of a file.

Pure. Problems name the entry and its field, and never repeat a secret.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from attrs import frozen

from sansio.access.credentials import Credential, CredentialSet, Scheme
from sansio.access.passwords import PasswordHash

NO_CAPABILITIES: Final[Mapping[Scheme, frozenset[str]]] = {}


@frozen(kw_only=True)
class _Shape:
    """The members of an entry of one scheme: texts that it needs, its secret, and a hash in the secret's place."""

    needs: tuple[str, ...]
    secret: str
    hash: str

    @property
    def members(self) -> tuple[str, ...]:
        """All that only some schemes have."""
        return (*self.needs, self.secret, self.hash)


_SHAPES: Final[Mapping[Scheme, _Shape]] = {
    "bearer": _Shape(needs=("principal",), secret="token", hash="token_sha256"),
    "basic": _Shape(needs=("username",), secret="password", hash="password_scrypt"),
    "api_key": _Shape(needs=("principal",), secret="key", hash="key_sha256"),
}
_SHOWN_TEXTS: Final = ("credential_id", "principal", "username")
_SECRETS: Final = tuple(shape.secret for shape in _SHAPES.values())
_HASHES: Final = tuple(shape.hash for shape in _SHAPES.values())
_TEXTS: Final = (*_SHOWN_TEXTS, *_SECRETS, *_HASHES)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,23}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NOTHING_HASHED: Final = hashlib.sha256(b"").hexdigest()
_FIELDS: Final = ("scheme", *_TEXTS, "capabilities", "enabled")


class CredentialsError(ValueError):
    """The list of credentials is not usable. `problems` name entry (from 1) and field, never a secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("; ".join(self.problems))


def parse_credentials(
    text: str, capabilities: Mapping[Scheme, frozenset[str]] = NO_CAPABILITIES, *, none_enabled: bool = False
) -> CredentialSet:
    """Read the JSON list of credentials; blank text or `[]` is the empty set.

    `capabilities`: what an entry of a scheme may do when it names none. `none_enabled`: all of them may be disabled.
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
    if (
        not problems
        and not none_enabled
        and credentials
        and not any(credential.enabled for credential in credentials)
    ):
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
    return next((scheme for scheme in _SHAPES if scheme == value), None)


def _entry_problems(entry: Mapping[str, object]) -> list[tuple[str, str]]:
    """Yield pairs of a field's name and its problem."""
    problems = [
        # Only what looks like a name is repeated: a misplaced secret does not become readable here.
        (name if _PLAIN_NAME.fullmatch(name) else "a field", f"is not known; there are {', '.join(_FIELDS)}")
        for name in entry
        if name not in _FIELDS
    ]
    for name in _TEXTS:
        problems += [(name, what) for what in _text_problems(name, entry.get(name))]
    scheme = _scheme(entry)
    if scheme is None:
        problems.append(("scheme", 'takes "bearer", "basic" or "api_key"'))
    else:
        problems += _shape_problems(scheme, {name for name in _TEXTS if not _is_absent(entry.get(name))})
    capabilities = entry.get("capabilities", [])
    if not (isinstance(capabilities, list) and all(isinstance(name, str) for name in capabilities)):
        problems.append(("capabilities", "takes a list of strings"))
    if not isinstance(entry.get("enabled", True), bool):
        problems.append(("enabled", "takes true or false"))
    return problems


def _shape_problems(scheme: Scheme, present: Collection[str]) -> list[tuple[str, str]]:
    """Return what is missing in an entry of a scheme, and what does not belong there."""
    shape = _SHAPES[scheme]
    missing = [name for name in shape.needs if name not in present]
    if shape.secret not in present and shape.hash not in present:
        missing.append(shape.secret)
    others = {name for other in _SHAPES.values() for name in other.members} - {*shape.members}
    problems = [(name, f"is missing; {scheme} needs it") for name in missing]
    problems += [(name, f"does not go with {scheme}") for name in _TEXTS if name in others and name in present]
    if shape.secret in present and shape.hash in present:
        problems.append((shape.hash, f"does not go with {shape.secret}: one of the two is enough"))
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
    return _hash_problems(name, text) if name in _HASHES else []


def _hash_problems(name: str, text: str) -> list[str]:
    if name == _SHAPES["basic"].hash:
        try:
            PasswordHash.parse(text)
        except ValueError as error:
            return [str(error)]
    elif not _SHA256.fullmatch(text) or text.lower() == _NOTHING_HASHED:
        return ["takes the 64 hexadecimal digits of a SHA-256"]
    return []


def _credential(entry: Mapping[str, object], defaults: Mapping[Scheme, frozenset[str]]) -> Credential:
    """Make the credential of a valid entry. `defaults`: capabilities by scheme, for an entry without any."""
    scheme = _scheme(entry) or "bearer"
    raw = entry.get("capabilities", [])
    names = [str(name).strip() for name in raw] if isinstance(raw, list) else []
    capabilities = frozenset(name for name in names if name) or defaults.get(scheme, frozenset())
    credential_id = _text(entry, "credential_id")
    enabled = entry.get("enabled", True) is True
    shape = _SHAPES[scheme]
    secret, hashed = _text(entry, shape.secret), _text(entry, shape.hash) or ""
    if scheme == "basic":
        return Credential.basic(
            _text(entry, "username") or "",
            PasswordHash.parse(hashed) if secret is None else secret,
            credential_id=credential_id,
            capabilities=capabilities,
            enabled=enabled,
        )
    make = Credential.bearer if scheme == "bearer" else Credential.api_key
    return make(
        bytes.fromhex(hashed) if secret is None else secret,
        principal=_text(entry, "principal") or "",
        credential_id=credential_id,
        capabilities=capabilities,
        enabled=enabled,
    )


def joined(first: CredentialSet, second: CredentialSet) -> CredentialSet:
    """Return the credentials of two lists. Raises `CredentialsError` where one is in both."""
    problems = _duplicates((*first.credentials, *second.credentials))
    if problems:
        problems = [f"{problem} (counted over both lists)" for problem in problems]
        raise CredentialsError(problems)
    return CredentialSet((*first.credentials, *second.credentials))


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
            secret = "username and password" if credential.scheme == "basic" else _SHAPES[credential.scheme].secret
            problems.append(f"entry {number}, {secret}: the same as in entry {first}")
    return problems
