"""Lists of sessions of several OpenCodes: each item names its instance, and the lists become one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import merge
from typing import Any, TypeAlias

from attrs import evolve

from sansio.a2a.codecs.json_values import object_at
from sansio.a2a.model import JsonObject, Task

Item: TypeAlias = Task | JsonObject
"""A session, as a task or as a summary."""


def id_of(item: Item) -> str:
    """Return the session's id."""
    if isinstance(item, Task):
        return item.id
    session_id: str = item["session_id"]
    return session_id


def of_instance(item: Item, name: str) -> Item:
    """Return an item of a list with the name of its instance: a task in its metadata, a summary as a member."""
    if not isinstance(item, Task):
        return {**item, "instance": name}
    return evolve(item, metadata={**(item.metadata or {}), "opencode": {"instance": name}})


def last_used(sessions: Mapping[str, JsonObject]) -> dict[str, int]:
    """Return when each session was last used, in epoch milliseconds, of those for which OpenCode has that."""
    times = {session_id: object_at(session.get("time")).get("updated") for session_id, session in sessions.items()}
    return {session_id: time for session_id, time in times.items() if isinstance(time, int)}


def merged(lists: Sequence[Sequence[Item]], times: Mapping[str, int]) -> list[Item]:
    """Merge lists, what was used last first. The order within each list is kept.

    `times`: as of `last_used`; where there is none, that of the item before it counts. Of two items with one id, the
    first stays: instances that share their storage list the same sessions.
    """
    found: dict[str, Item] = {}
    for _, _, _, item in merge(*(_ranked(items, number, times) for number, items in enumerate(lists))):
        found.setdefault(id_of(item), item)
    return list(found.values())


def _ranked(items: Sequence[Any], number: int, times: Mapping[str, int]) -> list[tuple[int, int, int, Any]]:
    """Rank each item by its age, which never falls, so that no list is put in another order."""
    ranked: list[tuple[int, int, int, Any]] = []
    age: int | None = None
    for place, item in enumerate(items):
        time = times.get(id_of(item))
        if time is not None:
            age = -time if age is None else max(age, -time)
        ranked.append((age or 0, number, place, item))
    return ranked
