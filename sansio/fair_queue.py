"""Fair queue for few places: principals take turns, and so do the receivers of each.

The rules: a place is given at once where one is free for somebody who waits; nobody has more than their bound, so
that a principal whose receivers hang keeps no other waiting; what waits for one receiver goes in order. Knows nothing
of what is done in a place, nor of how anybody waits.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from attrs import define, field

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@define(kw_only=True)
class FairQueue(Generic[T]):
    """Places and those who wait.

    `most`: places in all; `of_principal`: of one principal; `of_receiver`: of one receiver of one principal's.
    """

    most: int
    of_principal: int
    of_receiver: int
    _waiting: dict[str, dict[str, deque[T]]] = field(factory=dict, init=False)  # in the order of their turns
    _taken: int = field(default=0, init=False)
    _by_principal: Counter[str] = field(factory=Counter, init=False)
    _by_receiver: Counter[tuple[str, str]] = field(factory=Counter, init=False)

    def join(self, principal: str, receiver: str, item: T) -> None:
        """Let an item wait for a place."""
        self._waiting.setdefault(principal, {}).setdefault(receiver, deque()).append(item)

    def leave(self, principal: str, receiver: str, item: T) -> None:
        """Remove an item that waits. Raises `ValueError` where it does not wait."""
        waiting = self._waiting.get(principal, {}).get(receiver)
        if waiting is None:
            raise ValueError("it does not wait")
        waiting.remove(item)
        self._tidy(principal, receiver)

    def take(self) -> T | None:
        """Give a place to the next in turn; None where no place is free for anybody who waits."""
        if self._taken >= self.most:
            return None
        for principal, receivers in self._waiting.items():
            if self._by_principal[principal] >= self.of_principal:
                continue
            for receiver, waiting in receivers.items():
                if self._by_receiver[principal, receiver] >= self.of_receiver:
                    continue
                item = waiting.popleft()
                self._taken += 1
                self._by_principal[principal] += 1
                self._by_receiver[principal, receiver] += 1
                receivers[receiver] = receivers.pop(receiver)  # their next turn comes after everybody else's
                self._waiting[principal] = self._waiting.pop(principal)
                self._tidy(principal, receiver)
                return item
        return None

    def give_back(self, principal: str, receiver: str) -> None:
        """Free a place. Raises `ValueError` where none was taken."""
        if not self._by_receiver[principal, receiver]:
            raise ValueError("no such place was taken")
        self._taken -= 1
        _one_less(self._by_principal, principal)
        _one_less(self._by_receiver, (principal, receiver))

    def _tidy(self, principal: str, receiver: str) -> None:
        receivers = self._waiting[principal]
        if not receivers[receiver]:
            del receivers[receiver]
        if not receivers:
            del self._waiting[principal]


def _one_less(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
