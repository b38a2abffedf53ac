"""The header `X-Forwarded-Client-Cert` of Envoy: the certificates that proxies have verified. Pure.

    XFCC    = element *( "," element )      one for each proxy; the nearest one adds its own at the right end
    element = pair *( ";" pair )
    pair    = key "=" ( quoted / plain )    a quote inside of a quoted value is written with a backslash before it

The whole header is read from the left, and refused where any part of it is malformed: what a client put further left
cannot open a quote that the proxy's own element closes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

LONGEST: Final = 32 * 1024
"""Characters of the header; a chain of certificates in it has some thousands."""

MOST_ELEMENTS: Final = 32
MOST_PAIRS: Final = 128
"""Pairs of all elements together."""

NAMES: Final = ("uri", "dns", "subject", "hash")
"""Keys that name a certificate, the best name first."""

_REPEATABLE: Final = frozenset({"by", "uri", "dns"})
_PAIR: Final = re.compile(r'[ \t]*([A-Za-z]{1,32})=(?:"((?:[^"\\]|\\.)*)"|([^",;\\]*))([,;]|\Z)')
_HASH: Final = re.compile(r"[0-9A-Fa-f]{64}")

Element = Mapping[str, Sequence[str]]
"""The values of one element by their keys in lower case; only some keys have several."""


def parse_elements(text: str) -> tuple[Element, ...] | None:
    """Return the elements, the nearest proxy's last; `None` for a malformed header, and for one beyond a bound."""
    if len(text) > LONGEST:
        return None
    elements: list[dict[str, list[str]]] = [{}]
    place, end = 0, ";"
    for _ in range(MOST_PAIRS):
        found = _PAIR.match(text, place)
        if found is None:
            return None
        key, place, end = found[1].lower(), found.end(), found[4]
        values = elements[-1].setdefault(key, [])
        if values and key not in _REPEATABLE:
            return None
        values.append(found[3] if found[2] is None else found[2].replace('\\"', '"'))
        if not end:
            return tuple(elements)
        if end == ",":
            elements.append({})
            if len(elements) > MOST_ELEMENTS:
                return None
    return None


def nearest_name(text: str) -> str | None:
    """Return the name of the certificate that the nearest proxy has verified, such as `uri:spiffe://example.org/a`.

    That is its URI, or else its first DNS name, its subject, or its hash. `None` where the header names none, or is
    malformed. A certificate of several URIs is refused: SPIFFE allows one, and which of them counts is not known.
    """
    elements = parse_elements(text)
    if elements is None:
        return None
    nearest = elements[-1]
    for key in NAMES:
        values = [value for value in nearest.get(key, ()) if value]
        if values:
            is_good = len(values) == 1 if key == "uri" else key != "hash" or _HASH.fullmatch(values[0])
            return f"{key}:{values[0].lower() if key == 'hash' else values[0]}" if is_good else None
    return None
