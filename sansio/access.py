"""Static credentials: the principal behind a request's `Authorization` header, and the challenge for a refused
caller.

Pure: knows neither where the configuration comes from nor how a refusal is sent. What proves a caller is
compared as digests only, and never shown.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from attrs import Factory, field, frozen

from sansio.redact import Secret

Scheme = Literal["bearer", "basic"]

NO_CAPABILITIES: Final[Mapping[Scheme, frozenset[str]]] = {}


@frozen(kw_only=True)
class _Shape:
    """The members of an entry of one scheme."""

    needs: tuple[str, ...]
    refuses: tuple[str, ...]


_SHAPES: Final[Mapping[Scheme, _Shape]] = {
    "bearer": _Shape(needs=("token", "principal"), refuses=("username", "password")),
    "basic": _Shape(
        needs=("username", "password"),
        refuses=("token", "principal"),
    ),
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


@frozen(kw_only=True)
class Identity:
    """Identity of a caller: the principal, the credential, and its capabilities."""

    principal: str
    credential_id: str | None
    capabilities: frozenset[str]


@frozen(kw_only=True)
class Credential:
    """One way to prove who one is. Make it with `bearer` or `basic`."""

    scheme: Scheme
    principal: str
    credential_id: str | None = None
    capabilities: frozenset[str] = frozenset()
    enabled: bool = True
    token: Secret | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: Secret | None = field(default=None, repr=False)

    @classmethod
    def bearer(
        cls,
        token: str,
        *,
        principal: str,
        credential_id: str | None = None,
        capabilities: Iterable[str] = (),
        enabled: bool = True,
    ) -> Credential:
        return cls(
            scheme="bearer",
            principal=principal,
            credential_id=credential_id,
            capabilities=frozenset(capabilities),
            enabled=enabled,
            token=Secret(token),
        )

    @classmethod
    def basic(
        cls,
        username: str,
        password: str,
        *,
        credential_id: str | None = None,
        capabilities: Iterable[str] = (),
        enabled: bool = True,
    ) -> Credential:
        """Make a basic credential. Its principal is its username."""
        return cls(
            scheme="basic",
            principal=username,
            credential_id=credential_id,
            capabilities=frozenset(capabilities),
            enabled=enabled,
            username=username,
            password=Secret(password),
        )

    @property
    def identity(self) -> Identity:
        return Identity(principal=self.principal, credential_id=self.credential_id, capabilities=self.capabilities)

    @property
    def digest(self) -> bytes:
        """The digest that a header's digest must equal."""
        secret = self.token if self.scheme == "bearer" else self.password
        user = "" if self.scheme == "bearer" else f"{self.username}:"
        proof = user + (secret.reveal() if secret else "")
        return _digest(self.scheme, proof.encode("utf-8", "surrogatepass"))

    def __attrs_post_init__(self) -> None:
        secret = self.token if self.scheme == "bearer" else self.password
        if secret is None or not secret.reveal() or (self.scheme == "basic" and not self.username):
            raise ValueError(f"a {self.scheme} credential needs {' and '.join(_SHAPES[self.scheme].needs)}")


def _digest(scheme: Scheme, proof: bytes) -> bytes:
    return hashlib.sha256(scheme.encode() + b" " + proof).digest()


@frozen
class CredentialSet:
    """The credentials of a server. False when there are none at all."""

    credentials: tuple[Credential, ...] = ()
    _expected: tuple[tuple[bytes, Identity], ...] = field(
        init=False,
        repr=False,
        eq=False,
        default=Factory(
            lambda self: tuple((c.digest, c.identity) for c in self.credentials if c.enabled), takes_self=True
        ),
    )

    def __bool__(self) -> bool:
        return bool(self.credentials)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The schemes some enabled credential can be presented with, bearer first."""
        enabled = {credential.scheme for credential in self.credentials if credential.enabled}
        return tuple(scheme for scheme in _SHAPES if scheme in enabled)

    @property
    def principals(self) -> frozenset[str]:
        """The principals of all credentials, enabled or not: one that is disabled may own sessions, too."""
        return frozenset(credential.principal for credential in self.credentials)

    def authenticate(self, authorization: str | None) -> Identity | None:
        """Return the identity that an `Authorization` header proves, or `None`. Never raises.

        Every credential is compared, found or not: the time taken shows neither which one matched nor how nearly
        another did.
        """
        presented = _presented(authorization or "")
        found: Identity | None = None
        for expected, identity in self._expected:
            for digest in presented:
                if hmac.compare_digest(digest, expected):
                    found = identity
        return found

    def challenge(self, realm: str) -> str:
        """Return the value of `WWW-Authenticate`: what a refused caller may try (RFC 9110, section 11.6.1).

        `realm`: names what is protected, to a person who is asked for a password.
        """
        offers: dict[Scheme, str] = {"bearer": "Bearer", "basic": f'Basic realm="{realm}"'}
        return ", ".join(offers[scheme] for scheme in self.schemes or ("bearer",))


def _presented(authorization: str) -> tuple[bytes, ...]:
    """Return the digests a header may stand for; none for what is no credential of a scheme we know."""
    # Only what HTTP calls white space: in a header decoded as latin-1, U+00A0 can be half of a UTF-8 letter.
    word, _, value = authorization.strip(" \t").replace("\t", " ", 1).partition(" ")
    value = value.strip(" \t")
    match word.lower():
        case "bearer" if value:
            return tuple(_digest("bearer", proof) for proof in _as_bytes(value))
        case "basic":
            try:
                return (_digest("basic", base64.b64decode(value.encode("ascii"), validate=True)),)
            except (binascii.Error, UnicodeEncodeError):
                return ()
        case _:
            return ()


def _as_bytes(value: str) -> set[bytes]:
    """Return a header's bytes (latin-1, as HTTP has it), and its letters in UTF-8: clients send either."""
    readings = {value.encode("utf-8", "surrogatepass")}
    with contextlib.suppress(UnicodeEncodeError):
        readings.add(value.encode("latin-1"))
    return readings


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
    return next((scheme for scheme in _SHAPES if scheme == value), None)


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
        shape = _SHAPES[scheme]
        problems += [(n, f"is missing; {scheme} needs it") for n in shape.needs if _is_absent(entry.get(n))]
        problems += [(n, f"does not go with {scheme}") for n in shape.refuses if not _is_absent(entry.get(n))]
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
