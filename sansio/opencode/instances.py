"""Chooses the OpenCode that a context is bound to, where a server works with several.

The rules, the first that applies:

1. a context or session that has one stays there, whether or not it is away now;
2. the one that `metadata.opencode.instance` names;
3. of those that serve the requested directory, or of all where none does, the least busy that is connected;
4. where none of these is connected, the least busy: the task waits or fails as with one OpenCode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from sansio.a2a.errors import invalid

LONGEST_NAME: Final = 64
INSTANCE: Final = ("metadata", "opencode", "instance")


@frozen(kw_only=True)
class Candidate:
    """An instance as it is now. `running`: turns at work; `chosen`: contexts that it was given so far.

    `serves`: the requested directory is one of its workspace; True where none is requested.
    """

    name: str
    connected: bool
    running: int = 0
    chosen: int = 0
    serves: bool = True


def choose(candidates: Sequence[Candidate], *, asked: str | None = None, bound: str | None = None) -> str:
    """Return the name of the instance for a message. `candidates`: at least one, the default first.

    `asked`: as the metadata has it. `bound`: where the context or session is, one of the candidates; None: nowhere
    yet. Raises `ProtocolError` naming the field.
    """
    names = [one.name for one in candidates]
    if asked is not None and asked not in names:
        raise invalid(INSTANCE, f"names no OpenCode that this server works with: there is {', '.join(names)}")
    if bound is not None:
        if asked not in (None, bound):
            raise invalid(INSTANCE, "is not where this conversation works: choose it in a new context")
        return bound
    if asked is not None:
        return asked
    serving = [one for one in candidates if one.serves] or candidates
    usable = [one for one in serving if one.connected] or serving
    # contexts that come at the same moment are spread: no turn runs yet
    return min(usable, key=lambda one: (one.running, one.chosen)).name
