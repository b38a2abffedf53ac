"""The JSON of a task's stream items, so that any number of readers costs one rendering."""

from __future__ import annotations

import orjson
from attrs import evolve

from sansio.a2a.bindings import sse
from sansio.a2a.model import StatusUpdate
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.task_log import Entry


class Renderings:
    """Rendered items by the presentation's key, then by the event's number."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, bytes]] = {}

    def json(self, entry: Entry, presentation: Presentation, *, ends: bool) -> bytes:
        """The item of an entry as JSON in one line, rendered for the first reader with this presentation.

        `ends`: the stream ends with it. A status at which the task waits for its user is final only there.
        """
        item, key = entry.item, presentation.key
        assert item is not None  # callers leave out what readers do not see
        if not ends and isinstance(item, StatusUpdate) and item.status.state.interrupted:
            item, key = evolve(item, final=False), f"{key} passed"
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = {}
        rendered = known.get(entry.number)
        if rendered is None:
            rendered = sse.json_data(orjson.dumps(presentation.item(item, entry.number)))
            # a copy, which is as long as it looks: what orjson gives keeps the 4 kB it was written into
            rendered = known[entry.number] = bytes(memoryview(rendered))
        return rendered

    def forget(self, last: int) -> None:
        """Forget the items up to event `last`, which no reader in memory will ask for."""
        for key, known in self._known.items():
            self._known[key] = {number: rendered for number, rendered in known.items() if number > last}
