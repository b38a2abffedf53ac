"""Checks the signatures of another agent's card (specification 1.0, section 8.4; RFC 7515).

A signature covers one form of the card. What is outside that form is not to be used, so the outcome holds the covered
members. Which key counts is for the caller to say: keys that it trusts, or the key set at the card's own origin.
Holds no cryptography and fetches nothing: what verifies, and where keys come from, are arguments.
"""

from __future__ import annotations

import base64
import enum
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import orjson
from attrs import field, frozen

from sansio.a2a.cards.parse import JSONRPC, Origin, at_origin
from sansio.a2a.cards.signatures import cleaned, view_0_3, view_1_0
from sansio.a2a.codecs.json_values import member, text_at
from sansio.a2a.model import JsonObject

MOST_SIGNATURES: Final = 16
MOST_KEYS: Final = 64
LARGEST_KEY_SET: Final = 256 * 1024
"""Bytes."""

_LONGEST_HEADER: Final = 8192  # characters of a protected header
_LONGEST_SIGNATURE: Final = 2048  # characters: a signature of RSA with 8192 bits has 1366
_LONGEST_NUMBER: Final = 1400  # characters of a member of a key: the modulus of RSA with 8192 bits has 1366
_LONGEST_NAME: Final = 256  # characters of a key id
_DEEPEST: Final = 100  # arrays and objects in each other
_MOST_FITTING: Final = 4  # keys that one signature is held against

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*\Z")
_KEY_NUMBERS: Final = ("n", "e", "x", "y")
_OLD_VERSION: Final = "0.3.0"  # what version 0.3's models take where a card names none


class SignatureCheck(enum.Enum):
    """Importance of a card's signatures to a client."""

    IGNORE = "ignore"
    CHECK = "check"
    """A card whose signature is wrong is refused."""

    REQUIRE = "require"
    """A card without a valid signature is refused."""


class Verdict(enum.Enum):
    """Result of checking a card's signatures."""

    UNSIGNED = "unsigned"
    VALID = "valid"
    UNKNOWN_KEY = "unknown key"
    """There is a signature, and no key to hold it against."""

    WRONG = "wrong"
    """There is a key, and the signature does not fit the card."""

    MALFORMED = "malformed"


class Verifier(Protocol):
    """Cryptography. `canonical`: RFC 8785; raises `ValueError`.

    `verifies`: whether a signature as JWS has it for `alg` (RFC 7518) fits; raises `ValueError` where the JWK cannot
    be used, in words that can be shown.
    """

    def canonical(self, value: JsonObject) -> bytes: ...

    def verifies(self, alg: str, key: JsonObject, message: bytes, signature: bytes) -> bool: ...


@frozen
class _Algorithm:
    """A row: the kind of key that an algorithm takes, and the bytes of a signature where they are always as many."""

    kty: str
    crv: str | None = None
    size: int | None = None


# Asymmetric ones alone: a public key is no secret that a signature could be made with.
_ALGORITHMS: Final = {
    "ES256": _Algorithm("EC", "P-256", 64),
    "ES384": _Algorithm("EC", "P-384", 96),
    "EdDSA": _Algorithm("OKP", "Ed25519", 64),
    "RS256": _Algorithm("RSA"),
    "PS256": _Algorithm("RSA"),
}
ALGORITHMS: Final = tuple(_ALGORITHMS)
"""The algorithms that are checked (RFC 7518, section 3.1; RFC 8037)."""

_PROVE_NOTHING: Final = re.compile(r"none\Z|HS[0-9]+\Z", re.IGNORECASE)


@frozen(kw_only=True)
class CardSignature:
    """A signature of a card. `jku`: the URL of the key set that it names."""

    alg: str
    kid: str
    jku: str | None
    protected: str = field(repr=False)
    value: bytes = field(repr=False)


@frozen
class SignedCard:
    """A card without its signatures, the signatures, and what is wrong with those that are none."""

    card: JsonObject = field(repr=False)
    signatures: tuple[CardSignature, ...] = ()
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: JsonObject) -> SignedCard:
        """Read the signatures of a card. Does not raise."""
        card = {name: value for name, value in document.items() if name != "signatures"}
        entries = document.get("signatures")
        if entries is None:
            return cls(card)
        if not isinstance(entries, list):
            return cls(card, faults=("signatures: must be a list",))
        if len(entries) > MOST_SIGNATURES:
            return cls(card, faults=(f"signatures: must not be more than {MOST_SIGNATURES}",))
        found: list[CardSignature] = []
        faults: list[str] = []
        for index, entry in enumerate(entries):
            try:
                found.append(_signature(entry))
            except ValueError as error:
                faults.append(f"signatures.{index}: {error}")
        if found and _is_deep(card):
            return cls(card, faults=(f"the card is nested deeper than {_DEEPEST} levels",))
        return cls(card, tuple(found), tuple(faults))

    def without_signatures(self) -> SignatureOutcome:
        """Return the outcome where there is no signature to check."""
        if self.faults:
            return SignatureOutcome(verdict=Verdict.MALFORMED, reason=self.faults[0])
        return SignatureOutcome(verdict=Verdict.UNSIGNED)


def _signature(entry: Any) -> CardSignature:
    """Read one signature. Raises `ValueError`."""
    protected, value = text_at(entry, "protected"), text_at(entry, "signature")
    if not protected or len(protected) > _LONGEST_HEADER:
        raise ValueError(f"protected: must be a text of at most {_LONGEST_HEADER} characters")
    if value is None or len(value) > _LONGEST_SIGNATURE:
        raise ValueError(f"signature: must be a text of at most {_LONGEST_SIGNATURE} characters")
    try:
        header = orjson.loads(_decoded(protected))
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ValueError("protected: must be a JSON object in base64url")
    if "crit" in header or member(entry, "header", "crit") is not None:
        raise ValueError("crit: no such extension is known")
    if "b64" in header:
        raise ValueError("b64: the payload is always in base64url")
    alg, kid, jku = header.get("alg"), header.get("kid"), header.get("jku")
    if not isinstance(alg, str) or not 0 < len(alg) <= 32 or not alg.isprintable():
        raise ValueError("alg: must be the name of an algorithm")
    if _PROVE_NOTHING.match(alg):
        raise ValueError(f"alg: {alg} proves nothing")
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_NAME or not kid.isprintable():
        raise ValueError(f"kid: must be a text of 1 to {_LONGEST_NAME} printable characters")
    if jku is not None and not isinstance(jku, str):
        raise ValueError("jku: must be a URL")
    try:
        octets = _decoded(value)
    except ValueError:
        raise ValueError("signature: must be base64url without padding") from None
    return CardSignature(alg=alg, kid=kid, jku=jku, protected=protected, value=octets)


def key_set_url(jku: str | None, card_url: str) -> str:
    """Return the URL to fetch the key set of a signature from.

    Raises `ValueError` where that is not the origin that the card came from: any other key set proves nothing.
    `localhost` and the addresses of this machine are one host; the one that the card came from is taken.
    """
    if jku is None:
        raise ValueError("the signature names no key set (jku)")
    home = Origin.of(card_url)
    try:
        origin = Origin.of(jku)
    except ValueError as error:
        raise ValueError(f"jku: {error}") from None
    if origin == home:
        return jku
    if origin.is_other_name_of(home):
        return at_origin(jku, home)
    raise ValueError(f"its key set is at {origin}, and the card came from {home}, so it proves nothing")


@frozen
class KeySet:
    """Public keys, as JWKs (RFC 7517). `trusted`: the caller has them from elsewhere than the card's origin."""

    keys: tuple[JsonObject, ...] = field(repr=False)
    trusted: bool = False

    @classmethod
    def of(cls, body: bytes, *, trusted: bool = False) -> KeySet:
        """Read a key set; keys of other kinds are left out. Raises `ValueError`."""
        if len(body) > LARGEST_KEY_SET:
            raise ValueError(f"the key set is larger than {LARGEST_KEY_SET} bytes")
        try:
            keys = member(orjson.loads(body), "keys")
        except orjson.JSONDecodeError:
            raise ValueError("the key set is not JSON") from None
        if not isinstance(keys, list):
            raise ValueError("the key set must be a JSON object with a list `keys`")
        if len(keys) > MOST_KEYS:
            raise ValueError(f"the key set has more than {MOST_KEYS} keys")
        return cls(tuple(key for key in keys if _is_public_key(key)), trusted)

    def find(self, signature: CardSignature) -> tuple[JsonObject, ...]:
        """Return the keys that a signature may be by: of its key id, and of the kind that its algorithm takes."""
        wanted = _ALGORITHMS.get(signature.alg)
        if wanted is None:
            return ()
        return tuple(
            key
            for key in self.keys
            if key.get("kid") == signature.kid
            and key.get("kty") == wanted.kty
            and (wanted.crv is None or key.get("crv") == wanted.crv)
            and key.get("alg", signature.alg) == signature.alg
            and key.get("use", "sig") == "sig"
            and ("key_ops" not in key or "verify" in key["key_ops"])
        )[:_MOST_FITTING]


def _is_public_key(key: Any) -> bool:
    """Whether the value can be a key. No key of our algorithms has a member that is longer."""
    if not isinstance(key, dict) or not isinstance(key.get("key_ops", []), list):
        return False
    numbers = [key[name] for name in _KEY_NUMBERS if name in key]
    return all(
        isinstance(number, str) and len(number) <= _LONGEST_NUMBER and _BASE64URL.match(number) for number in numbers
    )


@frozen(kw_only=True)
class SignatureOutcome:
    """Outcome of a check. `alg`, `kid`, `trusted`: of the signature that is valid, and of its key.

    `covered`: the members of the card that the signature covers, where it is valid; `whole`: those are all.
    """

    verdict: Verdict
    reason: str = ""
    alg: str = ""
    kid: str = ""
    trusted: bool = False
    whole: bool = False
    covered: JsonObject | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.verdict is not Verdict.VALID:
            return f"{self.verdict.value}: {self.reason}" if self.reason else self.verdict.value
        proof = "a trusted key" if self.trusted else "of the agent's own key set"
        return f"valid, {self.alg}, key {self.kid} ({proof})"

    def refusal(self, check: SignatureCheck) -> str | None:
        """Return why the card is refused, for the user; None where it is taken."""
        if self.verdict not in _REFUSED[check]:
            return None
        if self.verdict is Verdict.UNSIGNED:
            return "The agent card is not signed, and a signature is required"
        words = "cannot be checked" if self.verdict is Verdict.UNKNOWN_KEY else f"is {self.verdict.value}"
        return f"The signature of the agent card {words}: {self.reason}"


_REFUSED: Final = {
    SignatureCheck.IGNORE: frozenset[Verdict](),
    SignatureCheck.CHECK: frozenset({Verdict.WRONG, Verdict.MALFORMED}),
    SignatureCheck.REQUIRE: frozenset(Verdict) - {Verdict.VALID},
}


def check_signatures(
    signed: SignedCard, keys_of: Callable[[CardSignature], KeySet], verifier: Verifier
) -> SignatureOutcome:
    """Hold each signature against each form of the card; one that fits is enough, and one of the whole card is best.

    `keys_of`: the keys that count for a signature; raises `ValueError` with the reason where there are none.
    """
    wrong: list[str] = []
    unknown: list[str] = []
    valid: SignatureOutcome | None = None
    forms = _Forms(signed.card, verifier)
    for signature in signed.signatures:
        try:
            keys = keys_of(signature)
            form = _fitting(signature, keys, forms, verifier)
        except ValueError as error:
            unknown.append(str(error))
            continue
        if form is None:
            wrong.append(f"it was not made with the key {signature.kid} over this card ({signature.alg})")
            continue
        if valid is None or form.whole:
            valid = SignatureOutcome(
                verdict=Verdict.VALID,
                alg=signature.alg,
                kid=signature.kid,
                trusted=keys.trusted,
                whole=form.whole,
                covered=form.covered,
            )
        if form.whole:
            break
    if valid is not None:
        return valid
    if wrong:
        return SignatureOutcome(verdict=Verdict.WRONG, reason=wrong[0])
    if unknown:
        return SignatureOutcome(verdict=Verdict.UNKNOWN_KEY, reason=unknown[0])
    return signed.without_signatures()


@frozen
class _Form:
    """A form of the card: the bytes in base64url, and what they cover."""

    covered: JsonObject
    payload: bytes
    whole: bool = False


class _Forms:
    """The forms of a card, each made when it is first looked at, those that cover most of the card before others."""

    def __init__(self, card: JsonObject, verifier: Verifier) -> None:
        self._made: list[_Form] = []
        self._more = _forms(card, verifier.canonical)

    def __iter__(self) -> Iterator[_Form]:
        yield from self._made
        for form in self._more:
            self._made.append(form)
            yield form


def _forms(card: JsonObject, canonical: Callable[[JsonObject], bytes]) -> Iterator[_Form]:
    new, old = cleaned(view_1_0(card)), cleaned(view_0_3(card))
    defaults = {name for name, value in _DEFAULTS_0_3.items() if old.get(name) == value}
    rows = (
        (card, card, canonical, True),
        (view_1_0(card), None, canonical, False),
        (new, None, canonical, False),
        (cleaned(card), None, canonical, False),
        # earlier official SDKs of version 1.0, and all of version 0.3, write JSON in ASCII
        (new, None, _ascii, False),
        (old, {name: value for name, value in old.items() if name not in defaults}, _ascii, False),
        (old, None, _ascii, False),
    )
    seen: set[bytes] = set()
    for covered, content, written, whole in rows:
        try:
            payload = written(covered if content is None else content)
        except (ValueError, OverflowError):
            # a number that has no canonical form; another form may leave it out
            continue
        if payload not in seen:
            seen.add(payload)
            yield _Form(covered, _base64url(payload), whole)


_DEFAULTS_0_3: Final = {"preferredTransport": JSONRPC, "protocolVersion": _OLD_VERSION}
"""Members that the official SDK of that version leaves out before it signs. Absent, they mean the same."""


def _fitting(signature: CardSignature, keys: KeySet, forms: _Forms, verifier: Verifier) -> _Form | None:
    """Return the form that the signature was made over; None for none. Raises `ValueError` where there is no key."""
    wanted = _ALGORITHMS.get(signature.alg)
    if wanted is None:
        raise ValueError(f"the algorithm {signature.alg} is not checked here; it takes {', '.join(ALGORITHMS)}")
    found = keys.find(signature)
    if not found:
        holder = "the trusted key set" if keys.trusted else "the agent's key set"
        raise ValueError(f"{holder} has no key {signature.kid} for {signature.alg}")
    if wanted.size is not None and len(signature.value) != wanted.size:
        return None
    start = signature.protected.encode() + b"."
    for form in forms:
        message = start + form.payload
        for key in found:
            if verifier.verifies(signature.alg, key, message, signature.value):
                return form
    return None


def _ascii(value: JsonObject) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _is_deep(card: JsonObject) -> bool:
    level: list[Any] = [card]
    for _ in range(_DEEPEST):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _base64url(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def _decoded(text: str) -> bytes:
    """Decode base64url without padding. Raises `ValueError`."""
    if not _BASE64URL.match(text):
        raise ValueError("is not base64url without padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
