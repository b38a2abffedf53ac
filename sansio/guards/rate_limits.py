"""Rate limits: how many requests a caller may make, and which one is too many. Pure: time is an argument.

Every key has a quota of `requests`, which is full at first and refills evenly, all of it in `window` seconds (the
generic cell rate algorithm, GCRA). One number a key is enough: the time at which its quota will be full again.

    full_at <= now                       full: the key may be forgotten
    full_at + window/requests > now + window      empty: the request is refused, and takes nothing

A table of keys has a bound. A new key makes room by removing keys whose quota is full, which changes nothing for
them. Where there are none, new keys share one quota. So no number of keys resets or takes the quota of another one.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice
from typing import Final

from attrs import define, evolve, field, frozen

from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Identity

Headers = tuple[tuple[str, str], ...]

MOST_KEYS: Final = 20_000
_LOOKED_AT: Final = 8  # keys that a new one looks at for room
MOST_KNOWN: Final = 4096  # authorizations
_SLACK: Final = 1e-6  # of the time for one request: for sums of floats


@frozen(kw_only=True)
class RatePolicy:
    """A quota of `requests` that refills in `window` seconds. `name`: what the answers call it."""

    name: str
    requests: int
    window: float

    @property
    def each(self) -> float:
        """Seconds in which the quota of one request refills."""
        return self.window / self.requests


@frozen(kw_only=True)
class Quota:
    """The quota of a key after a request.

    `allowed`: whether the request may be answered. `remaining`: further requests that may come at once. `wait`:
    seconds until the next one may come; `full_in`: seconds until the quota is full again. `is_shared`: the quota is
    that of the keys for which the table has no room.
    """

    policy: RatePolicy
    allowed: bool
    remaining: int
    wait: float
    full_in: float
    is_shared: bool = False

    @property
    def headers(self) -> Headers:
        """The header fields of an answer (draft-ietf-httpapi-ratelimit-headers-10)."""
        policy = self.policy
        window = f";w={policy.window:.0f}" if policy.window == int(policy.window) else ""
        return (
            ("ratelimit-policy", f'"{policy.name}";q={policy.requests}{window}'),
            ("ratelimit", f'"{policy.name}";r={self.remaining};t={math.ceil(self.full_in)}'),
        )

    def check(self) -> None:
        """Raise `ProtocolError` (RATE_LIMITED) for a request that is not allowed."""
        if self.allowed:
            return
        seconds = max(1, math.ceil(self.wait))
        raise ProtocolError(
            ErrorKind.RATE_LIMITED,
            f"Too many requests; try again in {seconds} s",
            data={"type": "RATE_LIMITED", "retry_after_seconds": seconds},
            metadata={"retryAfterSeconds": str(seconds)},
        )


@define
class RateLimiter:
    """The quotas of many keys under one policy. `most_keys`: keys that have one of their own."""

    policy: RatePolicy
    most_keys: int = MOST_KEYS
    _full_at: OrderedDict[Hashable, float] = field(factory=OrderedDict)  # the key that took longest ago comes first
    _shared_full_at: float = -math.inf

    def __len__(self) -> int:
        return len(self._full_at)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._full_at

    def look(self, key: Hashable, now: float) -> Quota:
        """Return the quota of a key, as if it made a request at `now`; nothing is counted."""
        return self._decide(self._full_at.get(key, -math.inf), now)[0]

    def take(self, key: Hashable, now: float) -> Quota:
        """Count a request of the key, unless it is refused. `now`: seconds of a clock that never goes back."""
        if key not in self._full_at and not self._has_room(now):
            quota, self._shared_full_at = self._decide(self._shared_full_at, now)
            return evolve(quota, is_shared=True)
        quota, full_at = self._decide(self._full_at.get(key, -math.inf), now)
        if quota.allowed:
            self._full_at[key] = full_at
            self._full_at.move_to_end(key)
        return quota

    def give_back(self, key: Hashable, taken: Quota, now: float) -> None:
        """Count a request no more: the quota of the key is as if it had not been `taken`."""
        if not taken.allowed:
            return
        if taken.is_shared:
            self._shared_full_at -= self.policy.each
        elif key in self._full_at:  # one that is not was full again, and is forgotten
            self._full_at[key] -= self.policy.each
            if self._full_at[key] <= now:
                del self._full_at[key]

    def _has_room(self, now: float) -> bool:
        """Forget some keys whose quota is full. Returns whether there is room for one more."""
        for key in list(islice(self._full_at, _LOOKED_AT)):
            if self._full_at[key] <= now:
                del self._full_at[key]
        return len(self._full_at) < self.most_keys

    def _decide(self, full_at: float, now: float) -> tuple[Quota, float]:
        """Return the quota after a request, and the time at which it is full then."""
        policy, each = self.policy, self.policy.each
        full_at = max(full_at, now)
        taken = full_at + each
        wait = taken - now - policy.window
        if wait > each * _SLACK:
            return Quota(policy=policy, allowed=False, remaining=0, wait=wait, full_in=full_at - now), full_at
        left = (now + policy.window - taken) / each
        remaining = math.floor(left + _SLACK)
        next_wait = 0.0 if remaining else max(0.0, taken + each - now - policy.window)
        return Quota(policy=policy, allowed=True, remaining=remaining, wait=next_wait, full_in=taken - now), taken


@frozen
class Guess:
    """A request that tries to prove somebody. `group`: whom it is counted with; None: nobody.

    `quota`: that for failures, of which the request has taken its part already; None: it took none.
    """

    group: str | None
    quota: Quota | None = None


@define
class RequestRates:
    """The rate limits of a server: of each credential, and of each group of addresses without one.

    `public`: requests for what everybody may read. `failures`: requests that prove nobody. Groups are those of
    `rate_group`; None is not limited. An address without quota for failures gets no further guess. Behind one address
    may be many callers, so an `Authorization` header that proved somebody before is no guess, and passes. So does
    what cannot have been guessed. `signatures`: of tokens that are checked all the same.

    A guess counts as a failure from its beginning, since to check it may take long: so no number of guesses that
    are checked at once exceeds the quota. One that proves somebody is given back.
    """

    credentials: RateLimiter
    public: RateLimiter
    failures: RateLimiter
    signatures: RateLimiter
    _known: OrderedDict[bytes, None] = field(factory=OrderedDict, repr=False)  # digests, the latest last

    @classmethod
    def of(cls, *, requests: int, public: int, window: float) -> RequestRates:
        """Make limits of so many requests in `window` seconds, each kind with quotas of its own."""
        return cls(
            RateLimiter(RatePolicy(name="credential", requests=requests, window=window)),
            RateLimiter(RatePolicy(name="public", requests=public, window=window)),
            RateLimiter(RatePolicy(name="failures", requests=public, window=window)),
            RateLimiter(RatePolicy(name="signatures", requests=public, window=window)),
        )

    def guess(self, group: str | None, authorization: str | None, now: float) -> Guess:
        """Count a request before it tries to prove somebody; `failed`, `proved` or `forget` has to follow.

        A guess whose quota does not allow it may not try.
        """
        if group is None or (authorization and _digest(authorization) in self._known):
            return Guess(group)
        quota = self.failures.take(group, now)
        # who shares a quota has not failed themselves: others' failures keep nobody from proving who they are
        return Guess(group) if quota.is_shared and not quota.allowed else Guess(group, quota)

    def signed(self, guess: Guess, now: float) -> Guess:
        """Return the guess that a signed token makes in the place of one that is not allowed.

        Nobody guesses a signature, but to check it takes time: so each group has a second quota for those.
        """
        return Guess(guess.group) if self.signatures.take(guess.group, now).allowed else guess

    def passed(self, identity: Identity, now: float) -> Quota:
        """Count a request that proved somebody by what cannot have been guessed."""
        return self.credentials.take((identity.principal, identity.credential_id), now)

    def failed(self, guess: Guess, now: float) -> Quota | None:
        """Return the quota of a guess that proved nobody; None where it has no limit."""
        if guess.quota is None and guess.group is not None:
            return self.failures.take(guess.group, now)
        return guess.quota

    def forget(self, guess: Guess, now: float) -> None:
        """Give back what a guess took which proved nothing either way."""
        if guess.quota is not None:
            self.failures.give_back(guess.group, guess.quota, now)

    def read(self, group: str | None, now: float) -> Quota | None:
        """Count a request for what everybody may read."""
        return None if group is None else self.public.take(group, now)

    def proved(self, guess: Guess, authorization: str | None, identity: Identity, now: float) -> Quota:
        """Count a request that proved somebody."""
        self.forget(guess, now)
        if guess.group is not None and authorization:
            digest = _digest(authorization)
            self._known[digest] = None
            self._known.move_to_end(digest)
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return self.passed(identity, now)


def _digest(authorization: str) -> bytes:
    return hashlib.sha256(authorization.encode("utf-8", "surrogatepass")).digest()
