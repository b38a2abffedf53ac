"""Extensions that a request activates: those that it names and the agent has (specification 1.0, section 3.2.6).

Knows no extension by name; the agent's table is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

HEADER_OF = {"1.0": "a2a-extensions", "0.3": "x-a2a-extensions"}
"""Each version's header; either is understood on both."""

HEADERS = tuple(HEADER_OF.values())


@frozen
class Negotiated:
    """Extensions that a request activated: their names, and the response headers that report them."""

    names: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()

    def joined_by(self, name: str, uri: str, version: str) -> Negotiated:
        """Return these and one more, which an answer on `version` reports too, in the header that reports others."""
        if name in self.names:
            return self
        header, reported = self.headers[0] if self.headers else (HEADER_OF[version], "")
        uris = f"{reported}, {uri}" if reported else uri
        return Negotiated(self.names | {name}, ((header, uris), *self.headers[1:]))


NOTHING = Negotiated()


def negotiated(headers: Mapping[str, str], known: Mapping[str, str]) -> Negotiated:
    """Return the extensions that a request's headers activate.

    `known`: URIs to names. A URI that is not there is ignored, as section 3.2.6 demands.
    """
    names: set[str] = set()
    echoed: list[tuple[str, str]] = []
    for header in HEADERS:
        value = headers.get(header)
        if value is None:
            continue
        uris = [uri for uri in dict.fromkeys(part.strip() for part in value.split(",")) if uri in known]
        names.update(known[uri] for uri in uris)
        if uris:
            echoed.append((header, ", ".join(uris)))
    return Negotiated(frozenset(names), tuple(echoed)) if echoed else NOTHING
