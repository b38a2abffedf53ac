"""Secrets that this process got to know while it runs, which its logs and its traces must not hold.

They are the process's, as its loggers are. Knows neither what is written nor where.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

Redactor: TypeAlias = Callable[[str], str]
"""Returns a text without the secrets that it knows. Never raises."""

_MOST_SOURCES: Final = 64  # more than any process has; the oldest goes
_GENERATIONS: Final = 2  # what was replaced may still be on its way into a log, or be presented


class Redaction:
    """Takes the secrets of every source out of a text."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, tuple[Redactor, ...]] = OrderedDict()
        self._redactors: tuple[Redactor, ...] = ()  # replaced as a whole: other threads read it

    def __call__(self, text: str) -> str:
        """Return the text without the secrets that are known now. Never raises."""
        for redactor in self._redactors:
            text = redactor(text)
        return text

    def know(self, source: str, redactor: Redactor) -> None:
        """Hide the secrets of a source, and those that it had before."""
        known = (redactor, *self._sources.pop(source, ()))[:_GENERATIONS]
        self._sources[source] = known
        if len(self._sources) > _MOST_SOURCES:
            self._sources.popitem(last=False)
        self._redactors = tuple(one for redactors in self._sources.values() for one in redactors)


redacted: Final = Redaction()
"""The one of this process: what is written later than the secret is known is without it."""
