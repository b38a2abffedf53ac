"""The sessions that OpenCode is asked to make at this moment, and whose owner is not in the store yet.

An OpenCode that keeps no metadata with a session does not say whom it is made for. Until the owner is durable, a
session that may be one of these must be shown to nobody, and be claimed by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sansio.a2a.model import JsonObject
from sansio.opencode.session_marks import created_at

_INEXACT_MS = 2000  # two clocks whose difference is smaller count as one


class Creations:
    """`clock`: OpenCode's time as far as it is known here, in epoch milliseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._begun: dict[object, int] = {}

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Enter before the request goes out; leave once the owner is durable, or the attempt has failed."""
        mine = object()
        self._begun[mine] = self._clock()
        try:
            yield
        finally:
            del self._begun[mine]

    def may_have_made(self, session: JsonObject) -> bool:
        """Whether one of those under way may have made this session. `session`: as OpenCode's REST API has it."""
        if not self._begun or session.get("parentID") is not None:  # those have none
            return False
        created = created_at(session)
        return created is None or created >= min(self._begun.values()) - _INEXACT_MS
