"""Rate limits: how many requests pass, which are refused, and that no key gains by what others do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.http_messages import refusal
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Identity
from sansio.guards.rate_limits import MOST_KNOWN, Guess, Quota, RateLimiter, RatePolicy, RequestRates

POLICY = RatePolicy(name="credential", requests=4, window=60)
ADA = Identity(principal="ada", credential_id="a", capabilities=frozenset())
GROUP, TOKEN = "203.0.113.7", "Bearer tok-5f0c"


def limiter(most_keys: int = 100) -> RateLimiter:
    return RateLimiter(POLICY, most_keys)


def rates() -> RequestRates:
    return RequestRates.of(requests=4, public=2, window=60)


def fail(limits: RequestRates, group: str | None = GROUP, now: float = 0) -> Quota | None:
    """Make a guess that is wrong."""
    return limits.failed(limits.guess(group, "Bearer wrong", now), now)


def test_a_quota_may_be_used_at_once_and_refills_evenly() -> None:
    limits = limiter()

    assert [limits.take("a", 0).allowed for _ in range(6)] == [True] * 4 + [False] * 2
    assert [limits.take("a", now).allowed for now in (14, 15, 16, 30, 90)] == [False, True, False, True, True]


def test_a_quota_says_what_is_left_and_when_there_is_more() -> None:
    limits = limiter()
    quotas = [limits.take("a", 0) for _ in range(5)]

    assert [quota.remaining for quota in quotas] == [3, 2, 1, 0, 0]
    assert [quota.wait for quota in quotas] == [0, 0, 0, 15, 15]
    assert [quota.full_in for quota in quotas] == [15, 30, 45, 60, 60]


def test_the_header_fields_of_an_answer() -> None:
    assert limiter().take("a", 0).headers == (
        ("ratelimit-policy", '"credential";q=4;w=60'),
        ("ratelimit", '"credential";r=3;t=15'),
    )
    odd = RateLimiter(RatePolicy(name="public", requests=2, window=0.5)).take("a", 0)
    assert odd.headers == (("ratelimit-policy", '"public";q=2'), ("ratelimit", '"public";r=1;t=1'))


@pytest.mark.parametrize("version", ["0.3", "1.0"])
def test_a_refusal_says_for_how_long_to_wait(version: str) -> None:
    limits = limiter()
    for _ in range(4):
        limits.take("a", 0).check()

    with pytest.raises(ProtocolError) as caught:
        limits.take("a", 0.5).check()
    answer = refusal(caught.value, version)

    assert caught.value.kind is ErrorKind.RATE_LIMITED
    assert answer.status == 429
    assert ("retry-after", "15") in answer.headers
    assert b"RATE_LIMITED" in answer.body


def test_keys_have_quotas_of_their_own_and_a_look_takes_nothing() -> None:
    limits = limiter()
    for _ in range(4):
        limits.take("a", 0)

    assert not limits.look("a", 0).allowed
    assert [limits.look("b", 0).remaining for _ in range(3)] == [3, 3, 3]
    assert len(limits) == 1


def test_a_new_key_makes_room_by_forgetting_those_whose_quota_is_full() -> None:
    limits = limiter(most_keys=2)
    limits.take("a", 0)
    limits.take("b", 1)
    limits.take("c", 15)

    assert len(limits) == 2
    assert limits.look("b", 15).remaining == 2


def test_where_there_is_no_room_new_keys_share_one_quota() -> None:
    limits = limiter(most_keys=2)
    for _ in range(4):
        limits.take("a", 0)
        limits.take("b", 0)

    assert [limits.take(f"new {number}", 0).allowed for number in range(6)] == [True] * 4 + [False] * 2
    assert not limits.take("a", 0).allowed


def test_what_a_shared_quota_gave_is_given_back_to_all_who_share_it() -> None:
    limits = limiter(most_keys=1)
    limits.take("a", 0)
    taken = [limits.take(f"new {number}", 0) for number in range(5)]

    for number, quota in enumerate(taken):  # of which the last was refused, and took nothing
        limits.give_back(f"new {number}", quota, 0)

    assert [quota.is_shared for quota in taken] == [True] * 5
    assert [limits.take(f"newer {number}", 0).allowed for number in range(5)] == [True] * 4 + [False]


def test_what_is_given_back_after_its_quota_was_full_again_changes_nothing() -> None:
    limits = limiter(most_keys=1)
    taken = limits.take("a", 0)
    limits.take("b", 61)

    limits.give_back("a", taken, 61)

    assert "a" not in limits
    assert limits.look("b", 61).remaining == 2


def test_the_key_that_took_last_is_the_last_to_be_forgotten() -> None:
    limits = limiter(most_keys=10)
    for key in range(10):
        limits.take(key, 0)
    limits.take(0, 1)
    limits.take("new", 15)

    assert limits.look(0, 15).remaining == 2


moments = st.lists(st.integers(0, 40), max_size=60).map(lambda gaps: [sum(gaps[:end]) for end in range(len(gaps))])


@given(moments)
def test_a_key_gets_no_more_than_its_quota_and_its_refill_and_no_less_than_a_window_holds(times: list[int]) -> None:
    limits = limiter()
    allowed: list[int] = []
    for now in times:
        within = sum(now - 60 < moment for moment in allowed)
        quota = limits.take("a", now)
        assert quota.allowed or within >= POLICY.requests
        if quota.allowed:
            allowed.append(now)
        else:
            assert limits.look("a", now + quota.wait).allowed
            assert not limits.look("a", now + quota.wait - 0.01).allowed
    for start in allowed:
        for end in allowed[allowed.index(start) :]:
            taken = sum(start <= moment <= end for moment in allowed)
            assert taken <= POLICY.requests + (end - start) / POLICY.each + 1e-6


@given(moments, st.lists(st.integers(0, 30), max_size=120), st.integers(1, 5))
def test_no_flood_of_other_keys_gives_a_key_more(times: list[int], others: list[int], most_keys: int) -> None:
    alone, among = limiter(), limiter(most_keys)
    first = times[0] if times else 0
    assert among.take("a", first).allowed
    assert alone.take("a", first).allowed
    for number, now in enumerate(times):
        for other in others[number::5]:
            among.take(other, now)
            assert len(among) <= most_keys
        expected = alone.take("a", now)
        quota = among.take("a", now)
        if "a" not in among and most_keys <= len(among):
            return  # its quota was full, so it was forgotten, and shares one now
        assert quota.allowed == expected.allowed
        assert quota.remaining == expected.remaining


# --- the limits of a server --------------------------------------------------------------------------------


def test_each_credential_has_a_quota_wherever_it_comes_from() -> None:
    limits = rates()
    other = Identity(principal="ada", credential_id="b", capabilities=frozenset())
    for number in range(4):
        assert limits.proved(Guess(f"203.0.113.{number}"), TOKEN, ADA, 0).allowed

    assert not limits.proved(Guess(None), TOKEN, ADA, 0).allowed
    assert limits.proved(Guess(GROUP), TOKEN, other, 0).allowed


def test_public_documents_and_failures_have_quotas_of_their_own() -> None:
    limits = rates()
    for _ in range(3):
        read, failed = limits.read(GROUP, 0), fail(limits)

    assert [quota.allowed for quota in (read, failed) if quota] == [False, False]
    assert allowed(limits.read("203.0.113.8", 0))
    assert limits.proved(Guess(GROUP), TOKEN, ADA, 0).allowed


def test_an_address_that_failed_too_often_gets_no_guess_but_its_known_callers_pass() -> None:
    limits = rates()
    limits.proved(Guess(GROUP), TOKEN, ADA, 0)
    for _ in range(2):
        assert allowed(fail(limits))

    assert not allowed(limits.guess(GROUP, "Bearer other", 0).quota)
    assert not allowed(limits.guess(GROUP, None, 0).quota)
    assert allowed(limits.guess(GROUP, TOKEN, 0).quota)
    assert allowed(limits.guess("203.0.113.8", "Bearer other", 0).quota)
    assert allowed(limits.guess(GROUP, "Bearer other", 30).quota)


def test_of_the_callers_that_are_known_the_latest_are_remembered() -> None:
    limits = rates()
    for number in range(MOST_KNOWN + 1):
        limits.proved(Guess(GROUP), f"Bearer {number}", ADA, number)
    for _ in range(2):
        fail(limits)

    known = [allowed(limits.guess(GROUP, f"Bearer {number}", 0).quota) for number in (0, 1, MOST_KNOWN)]

    assert known == [False, True, True]


def test_guesses_that_are_checked_at_once_do_not_exceed_the_quota_of_failures() -> None:
    limits = rates()
    guesses = [limits.guess(GROUP, f"Bearer guess-{number}", 0) for number in range(50)]

    assert [allowed(guess.quota) for guess in guesses] == [True] * 2 + [False] * 48


def test_a_guess_that_proves_somebody_or_nothing_is_given_back() -> None:
    limits = rates()
    for number in range(5):
        assert limits.proved(limits.guess(GROUP, f"Bearer {number}", number), None, ADA, 20 * number).allowed
        limits.forget(limits.guess(GROUP, "Bearer unknown", number), number)

    assert GROUP not in limits.failures
    assert [allowed(fail(limits, now=90)) for _ in range(3)] == [True, True, False]


def test_what_was_refused_or_is_full_again_gives_nothing_back() -> None:
    limits = limiter(most_keys=1)
    first = limits.take("a", 0)
    taken = [limits.take("a", 0) for _ in range(4)]
    limits.give_back("a", taken[-1], 0)

    assert not taken[-1].allowed
    assert not limits.take("a", 0).allowed
    assert limits.take("b", 90).allowed  # which takes the place of the other
    limits.give_back("a", first, 90)
    assert "a" not in limits
    assert limits.look("b", 90).remaining == 2


def test_who_has_no_quota_of_their_own_may_still_prove_who_they_are() -> None:
    limits = rates()
    limits.failures.most_keys = 0
    for number in range(3):
        fail(limits, f"203.0.113.{number}")
    guess = limits.guess(GROUP, "Bearer right", 0)

    assert allowed(guess.quota)
    assert limits.proved(guess, "Bearer right", ADA, 0).allowed
    assert not allowed(limits.failed(limits.guess(GROUP, "Bearer wrong", 0), 0))


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["wrong", "right", "unknown"])), max_size=60))
def test_guesses_that_are_given_back_change_nothing_for_those_that_fail(steps: list[tuple[int, str]]) -> None:
    mixed, plain = rates(), rates()
    now = 0
    for gap, outcome in steps:
        now += gap
        guess = mixed.guess(GROUP, "Bearer guess", now)
        if not allowed(guess.quota):
            assert not allowed(plain.guess(GROUP, "Bearer guess", now).quota)
        elif outcome == "wrong":
            assert mixed.failed(guess, now) == fail(plain, now=now)
        elif outcome == "right":
            mixed.proved(guess, None, ADA, now)
        else:
            mixed.forget(guess, now)


def test_signed_tokens_have_a_second_quota_which_takes_nothing_of_the_first() -> None:
    limits = rates()
    for _ in range(2):
        fail(limits)
    refused = limits.guess(GROUP, "Bearer signed", 0)
    signed = [limits.signed(refused, 0) for _ in range(3)]

    assert [allowed(guess.quota) for guess in signed] == [True, True, False]
    assert limits.proved(signed[0], "Bearer signed", ADA, 0).allowed
    assert allowed(limits.guess(GROUP, "Bearer signed", 0).quota)  # known from now on
    assert not allowed(limits.failed(signed[1], 0))
    assert not allowed(limits.guess(GROUP, "Bearer wrong", 0).quota)


def test_who_cannot_have_guessed_has_the_quota_of_the_credential() -> None:
    limits = rates()

    assert [limits.passed(ADA, 0).allowed for _ in range(5)] == [True] * 4 + [False]
    assert not limits.proved(Guess(GROUP), TOKEN, ADA, 0).allowed


def test_loopback_has_no_limit_of_addresses() -> None:
    limits = rates()

    assert [limits.read(None, 0) for _ in range(5)] == [None] * 5
    assert [fail(limits, None) for _ in range(5)] == [None] * 5
    assert limits.guess(None, "Bearer guess", 0) == Guess(None)


def test_no_authorization_shows() -> None:
    limits = rates()
    limits.proved(Guess(GROUP), TOKEN, ADA, 0)

    assert TOKEN not in repr(limits)


def allowed(quota: Quota | None) -> bool:
    return quota is None or quota.allowed
