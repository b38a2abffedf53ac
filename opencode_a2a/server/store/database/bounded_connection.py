"""A connection to PostgreSQL on which no statement waits for ever.

The database's own bound does not help where it hangs, or where what lies between acknowledges every packet and passes
on none. So each exchange has a bound here, too. Needs psycopg.
"""

from __future__ import annotations

from collections.abc import Generator
from time import monotonic
from typing import Any

import psycopg


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives itself up where the database does not answer within `patience` seconds."""

    patience: float = 30.0

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
        """Run one exchange with the database. Raises `psycopg.OperationalError` when its time is over."""
        return super().wait(self._bounded(gen), *arguments, **options)

    def _bounded(self, exchange: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        deadline = monotonic() + self.patience
        try:
            state = next(exchange)
            while True:
                ready = yield state
                if not ready and monotonic() >= deadline:  # nothing came for a moment
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the database did not answer within {self.patience:g} s")
                state = exchange.send(ready)
        except StopIteration as end:
            return end.value
