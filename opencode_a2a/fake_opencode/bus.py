"""The event bus: encodes each event once and hands it to every open stream.

Must know nothing of what the events mean. Publishing never waits: a stream that is not read fills up alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import orjson
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import frozen

from opencode_a2a.fake_opencode.ids import Ids
from opencode_a2a.fake_opencode.json_values import JsonObject
from sansio.a2a.bindings.sse import encode

PROJECT = "global"


@frozen(eq=False)
class _Listener:
    """One open stream. `directory` None: the global stream, which wraps every directory's events."""

    directory: str | None
    frames: MemoryObjectSendStream[bytes]


class Bus:
    """The listeners, and the events they get."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._listeners: list[_Listener] = []
        self._muted = 0

    @property
    def open_streams(self) -> int:
        return len(self._listeners)

    @contextmanager
    def listen(self, directory: str | None) -> Iterator[MemoryObjectReceiveStream[bytes]]:
        """Frames from now on, the greeting first; the stream ends when `drop` cuts it."""
        send, receive = anyio.create_memory_object_stream[bytes](math.inf)
        listener = _Listener(directory, send)
        self._listeners.append(listener)
        send.send_nowait(self.own_frame("server.connected", wrapped=directory is None))
        try:
            yield receive
        finally:
            if listener in self._listeners:
                self._listeners.remove(listener)
            send.close()
            receive.close()

    def own_frame(self, type: str, *, wrapped: bool) -> bytes:
        """A frame the server sends on its own account: no directory, no properties."""
        event = {"id": self._ids.ascending("evt"), "type": type, "properties": {}}
        return encode(orjson.dumps({"payload": event} if wrapped else event))

    def publish(
        self, directory: str, type: str, properties: JsonObject, durable: tuple[str, int] | None = None
    ) -> None:
        """Tells everybody. `durable`: the aggregate and the number of an event that is also sent as `sync`."""
        if self._muted or not self._listeners:
            return
        event = {"id": self._ids.ascending("evt"), "type": type, "properties": properties}
        plain = encode(orjson.dumps(event))
        location = {"directory": directory, "project": PROJECT}
        wrapped = encode(orjson.dumps({**location, "payload": event}))
        if durable is not None:
            wrapped += encode(orjson.dumps({**location, "payload": _sync(event, *durable)}))
        for listener in self._listeners:
            if listener.directory is None:
                listener.frames.send_nowait(wrapped)
            elif listener.directory == directory:
                listener.frames.send_nowait(plain)

    def drop(self) -> None:
        """Cuts every open stream."""
        for listener in self._listeners:
            listener.frames.close()
        self._listeners.clear()

    @contextmanager
    def mute(self) -> Iterator[None]:
        """No listener gets the events of this time, now or later."""
        self._muted += 1
        try:
            yield
        finally:
            self._muted -= 1


def _sync(event: JsonObject, aggregate: str, number: int) -> JsonObject:
    durable = {
        "id": event["id"],
        "type": f"{event['type']}.1",
        "seq": number,
        "aggregateID": aggregate,
        "data": event["properties"],
    }
    return {"type": "sync", "syncEvent": durable, "id": event["id"]}
