"""Listens to what the other servers on a PostgreSQL database notify of, in a thread with a connection of its own.

A connection that was lost is made again after growing pauses. What was notified meanwhile is lost, so everything
counts as changed then. Notifications come in the order of their commits.
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from threading import Event, Thread
from typing import Any, Final

import anyio
from sqlalchemy import Engine

from opencode_a2a.server.store.database.engine import make_engine
from opencode_a2a.server.store.database.faults import store_fault
from opencode_a2a.server.store.database.urls import Database
from sansio.a2a.backoff import Backoff

_log = logging.getLogger(__name__)

_PAUSES: Final = Backoff.growing(0.05, 5.0)
_SILENCE: Final = 10.0  # seconds after which the database is asked whether it is there
_ANSWERING: Final = 5.0  # seconds that it has to answer: while it hangs, no notification comes, and no end
_ENDING: Final = 15.0  # seconds that the thread has for its end: it may be about to connect
# Of the database's end: whoever does not read what is sent to him is cut off, before the queue of all notifications
# fills up with what he has not got.
_UNREAD_MS: Final = 60_000


class Listener:
    """Receives from some channels. `receive` is called in the thread, and nothing more is received until it returns.

    It gets pairs of a channel and a text; None after each connection: anything may have been notified before. Raises
    `anyio.RunFinishedError` where the event loop has ended, and so the thread has to.
    """

    def __init__(
        self, database: Database, channels: Sequence[str], receive: Callable[[Sequence[tuple[str, str]] | None], None]
    ) -> None:
        self._database = database
        self._channels = channels
        self._receive = receive
        self._ending = Event()
        self._failures = 0
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._wake, self._woken = socket.socketpair()
        self._thread = Thread(target=self._run, name="store listener", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the thread and its connection. Blocks; never on the event loop, which the thread may be waiting for."""
        self._ending.set()
        if self._thread is not None:
            with suppress(OSError):
                self._wake.send(b"\0")
            self._thread.join(_ENDING)

    # --- in the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        engine = make_engine(self._database, patience=_ANSWERING)
        with closing(self._wake), closing(self._woken), suppress(anyio.RunFinishedError):
            while not self._ending.is_set():
                try:
                    self._connect(engine)
                except anyio.RunFinishedError:
                    raise
                except Exception as error:
                    self._failed(error)
                    self._pause()

    def _connect(self, engine: Engine) -> None:
        """Receive over one connection, until the end or until it breaks."""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            try:
                self._listen(connection.connection.driver_connection)
            except BaseException:
                connection.invalidate()  # the pool would log that it cannot be rolled back
                raise

    def _failed(self, error: Exception) -> None:
        if not self._failures:
            reason = store_fault(error, "notify", self._database)
            _log.warning("no notifications of other servers until the connection is there again: %s", reason)
        self._failures += 1

    def _pause(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.select(_PAUSES.pause(self._failures - 1))

    def _listen(self, raw: Any) -> None:
        """Receive until the end, or until the connection breaks. `raw`: a connection of psycopg's."""
        received: list[tuple[str, str]] = []
        # While a statement is executed, the driver itself takes what comes.
        raw.add_notify_handler(lambda one: received.append((one.channel, one.payload)))
        raw.execute(f"SET tcp_user_timeout = {_UNREAD_MS}")
        for channel in self._channels:
            raw.execute(f"LISTEN {channel}")
        if self._failures:
            _log.warning("notifications of other servers arrive again")
        self._failures = 0
        self._receive(None)
        with selectors.DefaultSelector() as selector:
            selector.register(raw.pgconn.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._ending.is_set():
                if received:
                    self._receive(received)
                    received.clear()
                if selector.select(_SILENCE):
                    raw.pgconn.consume_input()
                    while (one := raw.pgconn.notifies()) is not None:
                        received.append((one.relname.decode(), one.extra.decode("utf-8", "replace")))
                else:
                    raw.execute("SELECT 1")
