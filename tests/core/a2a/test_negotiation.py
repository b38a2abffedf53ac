"""Which extensions a request activates, and what the client is told of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.extension_headers import HEADERS, NOTHING, Negotiated, negotiated

NEW, OLD = HEADERS
KNOWN = {"urn:a": "a", "https://example.org/a": "a", "urn:b": "b"}


def test_both_versions_have_their_header() -> None:
    assert (NEW, OLD) == ("a2a-extensions", "x-a2a-extensions")


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    ("value", "names", "echoed"),
    [
        ("urn:a", "a", "urn:a"),
        ("urn:b, urn:a", "ab", "urn:b, urn:a"),
        ("urn:b,urn:a", "ab", "urn:b, urn:a"),
        (" urn:a\t, ,urn:b,", "ab", "urn:a, urn:b"),
        ("urn:a, urn:a", "a", "urn:a"),
        ("urn:a, https://example.org/a", "a", "urn:a, https://example.org/a"),
        ("urn:x, urn:b, URN:A, urn:a#y", "b", "urn:b"),
    ],
)
def test_what_is_known_is_activated_and_told(header: str, value: str, names: str, echoed: str) -> None:
    assert negotiated({header: value, "other": "urn:b"}, KNOWN) == Negotiated(frozenset(names), ((header, echoed),))


@pytest.mark.parametrize(
    "headers", [{}, {NEW: ""}, {NEW: " , "}, {NEW: "urn:x", OLD: "URN:A"}, {"extensions": "urn:a"}]
)
def test_nothing_is_activated_where_nothing_known_is_asked_for(headers: dict[str, str]) -> None:
    assert negotiated(headers, KNOWN) == NOTHING == Negotiated(frozenset(), ())


def test_each_header_is_answered_for_itself() -> None:
    found = negotiated({OLD: "urn:b, urn:x", NEW: "urn:a"}, KNOWN)

    assert found == Negotiated(frozenset("ab"), ((NEW, "urn:a"), (OLD, "urn:b")))
    assert negotiated({OLD: "urn:b", NEW: "urn:x"}, KNOWN) == Negotiated(frozenset("b"), ((OLD, "urn:b"),))


@pytest.mark.parametrize(
    ("given_headers", "version", "headers"),
    [
        ({}, "1.0", ((NEW, "urn:c"),)),
        ({}, "0.3", ((OLD, "urn:c"),)),
        ({OLD: "urn:b"}, "1.0", ((OLD, "urn:b, urn:c"),)),
        ({NEW: "urn:a", OLD: "urn:b"}, "0.3", ((NEW, "urn:a, urn:c"), (OLD, "urn:b"))),
    ],
)
def test_one_more_is_reported_beside_those_that_were_asked_for(
    given_headers: dict[str, str], version: str, headers: tuple[tuple[str, str], ...]
) -> None:
    before = negotiated(given_headers, KNOWN)

    found = before.joined_by("c", "urn:c", version)

    assert found == Negotiated(before.names | {"c"}, headers)
    assert found.joined_by("c", "urn:c", version) is found


uris = st.sampled_from([*KNOWN, "urn:x", ""]) | st.text(max_size=6).filter(lambda text: "," not in text)


@given(st.dictionaries(st.sampled_from([*HEADERS, "accept"]), st.lists(uris).map(",".join)))
def test_what_is_told_activates_the_same_and_nothing_that_was_not_asked_for(headers: dict[str, str]) -> None:
    found = negotiated(headers, KNOWN)

    assert negotiated(dict(found.headers), KNOWN) == found
    assert found.names <= set(KNOWN.values())
    for header, value in found.headers:
        told = value.split(", ")
        assert len(set(told)) == len(told)
        assert set(told) <= {uri.strip() for uri in headers[header].split(",")} & KNOWN.keys()
