"""A task's stream items as they are encoded, so that any number of readers costs one rendering."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from sansio.a2a.model import ArtifactUpdate, StatusUpdate, StreamItem
from sansio.a2a.server import Call
from sansio.a2a.tasks.chunk_templates import ChunkTemplates
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.task_log import Entry

_NEWEST: Final = 64
"""Renderings of a kind that are kept: those for readers who keep up. One takes as much as the event itself."""


class Renderings:
    """Rendered items by the keys of presentation and encoding, then by the event's number: the newest ones."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[int, bytes]] = {}
        self._templates: dict[str, ChunkTemplates] = {}

    def encoded(self, entry: Entry, presentation: Presentation, call: Call, *, ends: bool) -> bytes:
        """The item of an entry as a call encodes it, rendered for the first reader with this presentation.

        `ends`: the stream ends with it. A status at which the task waits for its user is final only there.
        """
        item, key = entry.item, presentation.key
        assert item is not None  # callers leave out what readers do not see
        if not ends and isinstance(item, StatusUpdate) and item.status.state.interrupted:
            item, key = evolve(item, final=False), f"{key} passed"
        known = self._known.get((key, call.encoding))
        if known is None:
            known = self._known[key, call.encoding] = {}
        rendered = known.get(entry.number)
        if rendered is None:
            rendered = self._made(item, entry.number, presentation, call)
            if entry.number > next(reversed(known), 0):
                known[entry.number] = rendered
                if len(known) > _NEWEST:
                    del known[next(iter(known))]
        return rendered

    def _made(self, item: StreamItem, number: int, presentation: Presentation, call: Call) -> bytes:
        if call.encoding == "json" and isinstance(item, ArtifactUpdate):
            templates = self._templates.get(presentation.key)
            if templates is None:
                templates = self._templates[presentation.key] = ChunkTemplates(presentation)
            if (made := templates.render(item)) is not None:
                return made
        return call.encode(item, number, presentation)

    def forget(self, last: int) -> None:
        """Forget the items up to event `last`, which no reader in memory will ask for."""
        for key, known in self._known.items():
            self._known[key] = {number: rendered for number, rendered in known.items() if number > last}
