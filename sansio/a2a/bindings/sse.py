"""Server-sent events (WHATWG HTML, section 9.2): an encoder and an incremental decoder.

The decoder takes bytes in any chunking and gives whole events; it looks at every byte once. It never waits and
never raises on odd input but for the size limit: the format has no syntax errors.
"""

from __future__ import annotations

from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import value_class

COMMENT = b":\n"
"""A keep-alive: a comment and nothing else. No empty line ends it, which some clients would take for an event without
data wherever there was an id before."""


@value_class
class SseEvent:
    """One event. `id` is the last id seen so far; `event` is empty for the default type."""

    data: bytes
    event: str = ""
    id: str = ""


def encode(data: bytes, *, id: str | None = None, event: str | None = None, retry: int | None = None) -> bytes:
    """Encode one event. `data` may hold line breaks; `id` and `event` may not; `retry` in milliseconds."""
    head = b""
    if retry is not None:
        head += b"retry: %d\n" % retry
    if event is not None:
        head += b"event: " + event.encode() + b"\n"
    if id is not None:
        head += b"id: " + id.encode() + b"\n"
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return head + b"data: " + data + b"\n\n"


def json_data(json: bytes) -> bytes:
    """Escape JSON for the data of an event, so that no client takes a part of it for a line break.

    Some split lines where Unicode does (U+0085, U+2028, U+2029), though the format does not: escaped, they cannot.
    """
    if json.isascii():  # as most is; to look for each of them takes twenty times as long
        return json
    if b"\xe2\x80" in json:
        json = json.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return json.replace(b"\xc2\x85", b"\\u0085") if b"\xc2\x85" in json else json


class SseDecoder:
    """Bytes in, events out. `retry` is the last reconnection time asked for, in milliseconds.

    `limit` bounds one line and one event's data, in bytes: beyond it `feed` raises `ProtocolError`
    (PAYLOAD_TOO_LARGE), and the decoder is of no further use.
    """

    def __init__(self, limit: int = 16 * 1024 * 1024) -> None:
        self.limit = limit
        self.retry: int | None = None
        self.last_id: str = ""  # of the last event that came whole: where to resume
        self._pending: list[bytes] = []  # pieces of a line whose end has not come
        self._pending_size = 0
        self._after_cr = False
        self._first = True
        self._data: list[bytes] = []
        self._data_size = 0
        self._event = ""
        self._id = ""

    @property
    def held(self) -> int:
        """Bytes of an event whose end has not come."""
        return self._pending_size + self._data_size

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Decode a chunk; returns the events it completed, in order."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        if not chunk:
            return []
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        events: list[SseEvent] = []
        last = lines.pop()
        if lines and self._pending:
            self._pending.append(lines[0])
            lines[0] = b"".join(self._pending)
            self._pending.clear()
            self._pending_size = 0
        for line in lines:
            if line:
                if line.startswith(b"data: ") and len(line) <= self.limit and not (self._first or self._data):
                    self._data_size = len(line) - 5
                    self._data = [line[6:]]
                else:
                    self._field(line)
                continue
            self._first = False
            self.last_id = self._id
            if self._data:
                events.append(self._dispatch())
            else:
                self._event = ""
        if last:
            self._pending.append(last)
            self._pending_size += len(last)
            if self._pending_size > self.limit:
                raise self._too_large()
        return events

    def _dispatch(self) -> SseEvent:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        event = SseEvent(data, self._event, self.last_id)
        self._data = []
        self._data_size = 0
        self._event = ""
        return event

    def _field(self, line: bytes) -> None:
        if len(line) > self.limit:
            raise self._too_large()
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            self._data_size += len(value) + 1
            if self._data_size > self.limit:
                raise self._too_large()
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value)

    def _too_large(self) -> ProtocolError:
        return ProtocolError(ErrorKind.PAYLOAD_TOO_LARGE, f"A server-sent event is larger than {self.limit} bytes")
