"""What a fuzz target is: a check with an invariant, documents to mutate, and a strategy that makes new ones.

Knows nothing of what is checked, nor of how inputs are found.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from hypothesis.strategies import SearchStrategy

LARGEST_ERROR = 65536
"""Bytes of all shapes of one error together, whatever it is about."""


@frozen(kw_only=True)
class Target:
    """One parser or state machine. `check` raises when the input breaks the invariant its docstring states."""

    name: str
    check: Callable[[bytes], None]
    documents: tuple[bytes, ...]
    strategy: SearchStrategy[bytes]

    @property
    def invariant(self) -> str:
        """The sentence that must hold for every input."""
        return " ".join((self.check.__doc__ or "").split())


def require(holds: bool, what: str) -> None:
    """Fail the check; unlike `assert`, under `python -O` too."""
    if not holds:
        raise AssertionError(what)
