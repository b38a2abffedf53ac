"""The program's log: one line a record, written by a thread of its own: a slow reader of the log holds up nobody.

Only our own loggers follow the level that is set. Other libraries log secrets below WARNING: `hpack` the values of
`authorization`, `httpcore` a receiver's cookies. They stay at WARNING. Knows nothing of what is logged.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, TextIO

OURS: Final = ("opencode_a2a", "runtime_asyncio", "runtime_http", "runtime_trio")
"""The loggers that follow the level that is set."""

_LONGEST = 2000  # characters of a message; what callers sent is cut far earlier
MOST_WAITING = 10_000  # records; more are counted and dropped
_GATHERING = 0.05  # seconds: to wake the writer for each record costs more than the record
LAST_WORDS = 1.0  # seconds for which the end of the program waits for the writer
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: object, longest: int = 200) -> str:
    """Text that came from elsewhere, as a log may hold it: no control characters, no more than `longest`."""
    found = str(text)
    if len(found) > longest:
        found = found[:longest] + "…"
    return _UNSAFE.sub(_escaped, found)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


class LineFormatter(logging.Formatter):
    """Writes `TIME LEVEL LOGGER: MESSAGE`, the time in UTC to the millisecond.

    A record is one line; the lines of a traceback follow it, indented, so that none can pass for a record.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        head = f"{self._second[1]}.{int(record.msecs):03d}Z {record.levelname} {record.name}: "
        line = head + plain(record.getMessage(), _LONGEST)
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "".join(f"\n    {plain(part, _LONGEST)}" for part in trace.splitlines())
        return line


class WriterHandler(logging.Handler):
    """Hands records to a thread that formats and writes them; what comes together is written together."""

    def __init__(self, stream: TextIO, others: int = logging.WARNING) -> None:
        """`others`: the lowest level of other libraries' records that is written, whatever levels they set."""
        super().__init__()
        self._others = others
        self.setFormatter(LineFormatter())
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
        if len(self._waiting) >= MOST_WAITING:
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
            record = self._waiting.popleft()
            try:
                lines.append(self.format(record))
            except Exception as exc:  # a record that cannot be written must not end the log
                lines.append(f"{record.levelname} {record.name}: cannot be formatted ({type(exc).__name__})")
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lines.append(f"WARNING {__name__}: lines dropped for want of a fast reader: {dropped}")
        return "".join(f"{line}\n" for line in lines)


@contextmanager
def logging_to(stream: TextIO, level: str) -> Generator[None]:
    """Log to `stream` while it is entered. `level`: the lowest level of our own records that is written."""
    root = logging.getLogger()
    others = max(logging.WARNING, logging.getLevelNamesMapping()[level])
    handler = WriterHandler(stream, others)
    before = [(logger, logger.level) for logger in (root, *map(logging.getLogger, OURS))]
    root.addHandler(handler)
    root.setLevel(others)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, was in before:
            logger.setLevel(was)
        handler.close()
