"""The span of one HTTP request to another server, and the headers by which that server continues the trace."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from attrs import define

from opencode_a2a.tracing.spans import Span

_ERROR: Final = 400


@define(eq=False)
class ExchangeSpan:
    """One request and its answer; use it in a `with`. Without a span it has no headers, and records nothing.

    An exception ends it as failed: by its type, unless `failed` has named another, and by `cancelled` where it is a
    cancellation.
    """

    _span: Span | None = None
    _error: str = ""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The trace headers of the request."""
        return () if self._span is None else self._span.context.headers

    def answered(self, status: int) -> None:
        """Note the status of the answer."""
        if self._span is not None:
            self._span.set({"http.response.status_code": status})
            if status >= _ERROR:
                self._error = str(status)

    def failed(self, kind: str, status: int | None = None) -> None:
        """Note the type of an error, and the status of the answer that is one."""
        if status is not None:
            self.answered(status)
        self._error = kind

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._error:
            self._error = kind.__name__ if issubclass(kind, Exception) else "cancelled"
        if self._span is not None:
            self._span.end(self._error)
