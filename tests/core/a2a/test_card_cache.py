"""Cards that are kept: for how long, and what is asked afterwards."""

from __future__ import annotations

import pytest

from sansio.a2a.client.card_cache import CardCache

URL = "http://a"


@pytest.mark.parametrize(
    ("headers", "fresh"),
    [
        ({}, 100.0),
        ({"cache-control": "max-age=7"}, 7.0),
        ({"cache-control": 'public, Max-Age="7", must-revalidate'}, 7.0),
        ({"cache-control": "max-age=1000"}, 100.0),
        ({"cache-control": "max-age=x"}, 100.0),
        ({"cache-control": "private, no-cache"}, 0.0),
        ({"cache-control": "max-age=0"}, 0.0),
    ],
)
def test_a_card_is_fresh_for_as_long_as_both_sides_want(headers: dict[str, str], fresh: float) -> None:
    cards = CardCache(size=2, ttl=100.0)
    cards.keep(URL, URL, b"{}", headers, 10.0)

    found = cards.find(URL)

    assert found is not None
    assert found.fresh_until == 10.0 + fresh


def test_a_card_that_must_not_be_stored_is_not() -> None:
    cards = CardCache(size=2, ttl=100.0)

    assert cards.keep(URL, URL, b"{}", {"cache-control": "no-store"}, 0.0).body == b"{}"
    assert cards.find(URL) is None


def test_the_least_used_card_goes_first() -> None:
    cards = CardCache(size=2, ttl=100.0)
    cards.keep("a", "a", b"1", {}, 0.0)
    cards.keep("b", "b", b"2", {}, 0.0)
    cards.find("a")
    cards.keep("c", "c", b"3", {}, 0.0)

    assert [cards.find(name) is not None for name in "abc"] == [True, False, True]


def test_nothing_is_kept_without_room() -> None:
    cards = CardCache(size=0, ttl=100.0)
    cards.keep(URL, URL, b"{}", {}, 0.0)

    assert cards.find(URL) is None


def test_a_card_is_asked_for_again_by_its_validators_and_kept_if_it_still_holds() -> None:
    cards = CardCache(size=1, ttl=100.0)
    kept = cards.keep(URL, f"{URL}/card", b"{}", {"etag": '"1"', "last-modified": "Thu, 26 Nov 2026"}, 0.0)
    assert kept.conditions == {"if-none-match": '"1"', "if-modified-since": "Thu, 26 Nov 2026"}

    renewed = cards.renew(URL, {"cache-control": "max-age=5"}, 200.0)

    assert (renewed.url, renewed.body, renewed.etag, renewed.fresh_until) == (f"{URL}/card", b"{}", '"1"', 205.0)
    cards.forget(URL)
    assert cards.find(URL) is None


@pytest.mark.parametrize("etag", ["a\nb: c", "\x00", "é"])
def test_a_validator_that_no_header_can_hold_is_not_sent_back(etag: str) -> None:
    assert CardCache(size=1, ttl=1.0).keep(URL, URL, b"{}", {"etag": etag}, 0.0).conditions == {}
