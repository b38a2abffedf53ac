"""Collects errors about fields, so that one error names every field that is wrong.

For readers that raise at the first fault of a field. Readers of whole documents note violations in `codecs.fields`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from attrs import define, field

from sansio.a2a.errors import AND_MORE, MOST_VIOLATIONS, ErrorKind, ProtocolError

P = ParamSpec("P")
T = TypeVar("T")


@define
class Refusals:
    """Errors of the fields of one request."""

    _errors: list[ProtocolError] = field(factory=list)

    def attempt(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call `read` and return its result. Keep an error about fields, and return None."""
        try:
            return read(*args, **kwargs)
        except ProtocolError as error:
            self.add(error)
            return None

    def add(self, error: ProtocolError) -> None:
        """Keep an error about fields. Raise any other one, and all that is kept once an error lists no more."""
        if error.kind is not ErrorKind.INVALID_PARAMS or not error.violations:
            raise error
        self._errors.append(error)
        if len(self._errors) > MOST_VIOLATIONS:
            self.done()

    def done(self) -> None:
        """Raise what was kept, if anything, as one error. One alone is raised as it is.

        `data`, which version 0.3's clients of methods look at, is that of the first one. `fields` in it names all.
        """
        if not self._errors:
            return
        first = self._errors[0]
        violations = list(dict.fromkeys(one for error in self._errors for one in error.violations))
        if len(violations) == len(first.violations):
            raise first
        if len(violations) > MOST_VIOLATIONS:
            violations[MOST_VIOLATIONS:] = [AND_MORE]
        data = first.data
        if isinstance(data, dict):
            data = {**data, "fields": [one.field for one in violations if one is not AND_MORE]}
        message = "; ".join(dict.fromkeys(error.message for error in self._errors))
        raise ProtocolError(ErrorKind.INVALID_PARAMS, message, violations=violations, data=data)
