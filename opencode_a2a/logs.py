"""The program's log: one line a record, written by a thread of its own: a slow reader of the log holds up nobody.

Only our own loggers follow the level that is set. Other libraries log secrets below WARNING: `hpack` the values of
`authorization`, `httpcore` a receiver's cookies. They stay at WARNING. Knows nothing of what is logged.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final, TextIO

from opencode_a2a.log_format import NO_FIELDS, JsonFormatter, LineFormatter, plain

__all__ = ["LIFECYCLE", "OURS", "WriterHandler", "log_event", "logging_to", "plain"]

OURS: Final = ("opencode_a2a", "runtime_asyncio", "runtime_http", "runtime_trio")
"""The loggers that follow the level that is set."""

LIFECYCLE: Final = "opencode_a2a.lifecycle"
"""The logger of the few records that show an operator that the server lives. The default level has them too."""

MOST_WAITING = 10_000  # records; more are counted and dropped
MOST_BODIES_WAITING = 500  # records that wait, beyond which none with a body is taken
_GATHERING = 0.05  # seconds: to wake the writer for each record costs more than the record
LAST_WORDS = 1.0  # seconds for which the end of the program waits for the writer
_LONGEST_VALUE = 200  # characters of a field's value


def log_event(
    logger: logging.Logger,
    level: int,
    message: str,
    fields: Mapping[str, object],
    in_message: Mapping[str, object] | None = None,
    *,
    body: str | None = None,
) -> None:
    """Log a record with fields. `in_message`: more fields, whose values a reader of text has in the message already.
    `body`: a longer text, at the end; the caller has cut it.

    A field whose value is None is left out.
    """
    if not logger.isEnabledFor(level):
        return
    # made here, since `Logger.log` looks for its caller's line, which nobody reads, for half of its time
    record = logging.LogRecord(logger.name, level, "", 0, message, None, None)
    record.fields = _cut(fields)
    record.in_message = _cut(in_message or {})
    if body is not None:
        record.body = body
    logger.handle(record)


def _cut(fields: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value[:_LONGEST_VALUE] + "…" if isinstance(value, str) and len(value) > _LONGEST_VALUE else value
        for name, value in fields.items()
        if value is not None
    }


def _as_it_is(text: str) -> str:
    return text


class WriterHandler(logging.Handler):
    """Hands records to a thread that formats and writes them; what comes together is written together."""

    def __init__(
        self, stream: TextIO, others: int = logging.WARNING, formatter: logging.Formatter | None = None
    ) -> None:
        """`others`: the lowest level of other libraries' records that is written, whatever levels they set."""
        super().__init__()
        self._others = others
        self.setFormatter(formatter or LineFormatter(_as_it_is))
        self._stream = stream
        self._waiting: deque[logging.LogRecord] = deque()
        self._wake = threading.Event()
        self._dropped = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record. There is no lock to wait for: only the writer's thread takes from the queue."""
        if record.levelno < self._others and not record.name.startswith(OURS):
            return False
        if len(self._waiting) >= (MOST_BODIES_WAITING if hasattr(record, "body") else MOST_WAITING):
            self._dropped += 1
            return False
        self._waiting.append(record)
        if not self._wake.is_set():
            self._wake.set()
        return True

    def close(self) -> None:
        """Write what is left, within a second."""
        self._closing.set()
        self._wake.set()
        self._thread.join(LAST_WORDS)
        super().close()

    def _write(self) -> None:
        while not (self._closing.is_set() and not self._waiting):
            self._wake.wait()
            self._closing.wait(_GATHERING)
            self._wake.clear()
            try:
                self._stream.write(self._lines())
                self._stream.flush()
            except (OSError, ValueError):
                pass  # nobody reads it any more; the server works on

    def _lines(self) -> str:
        lines: list[str] = []
        while self._waiting:
            lines.append(self._line(self._waiting.popleft()))
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lines.append(self._line(_own("lines dropped for want of a fast reader: %s", dropped)))
        return "".join(f"{line}\n" for line in lines)

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as exc:  # a record that cannot be written must not end the log
            return self.format(_own("a record of %s cannot be formatted (%s)", record.name, type(exc).__name__))


def _own(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, arguments, None)


@contextmanager
def logging_to(
    stream: TextIO,
    level: str,
    *,
    json: bool = False,
    redact: Callable[[str], str] = _as_it_is,
    lifecycle: bool = False,
    fields: Mapping[str, object] = NO_FIELDS,
    forks: bool = False,
) -> Generator[None]:
    """Log to `stream` while it is entered. `level`: the lowest level of our own records that is written.

    `json`: a record is a JSON object. `redact`: takes out of a text what no log may hold. `lifecycle`: the level
    WARNING has the records of `LIFECYCLE` too. `fields`: those of every record. `forks`: no thread is started, since
    the process forks others.
    """
    root = logging.getLogger()
    others = max(logging.WARNING, logging.getLevelNamesMapping()[level])
    formatter = JsonFormatter(redact, fields) if json else LineFormatter(redact, fields)
    handler: logging.Handler = logging.StreamHandler(stream) if forks else WriterHandler(stream, others)
    handler.setFormatter(formatter)
    before = [(logger, logger.level) for logger in (root, *map(logging.getLogger, (*OURS, LIFECYCLE)))]
    root.addHandler(handler)
    root.setLevel(others)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    if lifecycle and level == "WARNING":
        logging.getLogger(LIFECYCLE).setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, was in before:
            logger.setLevel(was)
        handler.close()
