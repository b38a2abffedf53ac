"""A client for the model-based test: it tells refusals from answers, and reads streams beside the program.

Knows the wires; what an answer should be is for the reference model.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

import anyio
import httpx
import orjson
from attrs import define, field, frozen

from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.errors import ErrorKind
from sansio.a2a.model import StreamItem, Task
from tests import schemas
from tests.shell.harness import REST_03, REST_10, Caller, Wire
from tests.shell.model.reference_model import Known


@frozen
class Refusal:
    kind: ErrorKind


def refusal_in(wire: Wire, status: int, body: Any) -> Refusal:
    """The error of an answer, which must be as the table of errors has it."""
    told = body["error"] if wire.binding == "rpc" or wire.version == "1.0" else body
    details = told.get("details", ()) if wire == REST_10 else ()
    reasons = {detail.get("reason") for detail in details}
    for kind in (ErrorKind.TASK_NOT_FOUND, ErrorKind.TASK_NOT_CANCELABLE, ErrorKind.UNSUPPORTED_OPERATION):
        if told["code"] == kind.row.code or kind.name in reasons:
            break
    else:
        kind = ErrorKind.INVALID_PARAMS
    expected = {"rpc": 200, "rest": kind.row.status(wire.version)}[wire.binding]
    code = expected if details else kind.row.code
    assert (status, told["code"]) == (expected, code), f"an unexpected error: {status} {body}"
    return Refusal(kind)


def read_item(wire: Wire, json: Any, *, plain: bool) -> StreamItem:
    """`plain` False: as version 0.3's HTTP+JSON tells of a task that was not made in it."""
    if wire == REST_03 and not plain:
        assert "kind" not in json
        return v0_3_gateway.parse_item(json)
    schemas.check(wire.version, schemas.STREAM_ITEM, json)
    return CODECS[wire.version].parse_item(json)


def read_task(wire: Wire, json: Any, *, plain: bool) -> Task:
    if wire == REST_03 and not plain:
        assert "kind" not in json
        return v0_3_gateway.parse_task(json)
    schemas.check(wire.version, schemas.TASK, json)
    return CODECS[wire.version].parse_task(json)


@define(eq=False)
class Watch:
    """A stream that is being read beside the program, or a blocking send that is waited for."""

    wire: Wire
    plain: bool
    after: int | None = None
    leaves: bool = False
    blocking: bool = False
    known: Known | None = None
    numbered: list[tuple[int, StreamItem]] = field(factory=list)
    refusal: Refusal | None = None
    begun: anyio.Event = field(factory=anyio.Event)
    over: anyio.Event = field(factory=anyio.Event)

    @property
    def first(self) -> Task:
        item = self.numbered[0][1]
        assert isinstance(item, Task), f"a stream begins with {item}"
        return item


class Client(Caller):
    """A caller that tells errors from answers, and reads streams to where they lead."""

    async def tell(self, operation: str, params: dict[str, Any]) -> Any:
        """The result as JSON, or a `Refusal`."""
        response = await self.ask(operation, params)
        body: Any = orjson.loads(response.content) if response.content else None
        if response.status_code >= 400 or (self.wire.binding == "rpc" and "error" in body):
            return refusal_in(self.wire, response.status_code, body)
        return body["result"] if self.wire.binding == "rpc" else body

    async def watch(self, operation: str, params: dict[str, Any], watch: Watch) -> None:
        headers = {} if watch.after is None else {"Last-Event-ID": str(watch.after)}
        response = await self.http.send(self.request(operation, params, **headers), stream=True)
        try:
            if response.headers["content-type"].startswith("text/event-stream"):
                await self._read(response, watch)
            else:
                body = orjson.loads(await response.aread())
                watch.refusal = refusal_in(self.wire, response.status_code, body)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        watch.over.set()
        watch.begun.set()

    async def _read(self, response: httpx.Response, watch: Watch) -> None:
        chunks = cast("AsyncGenerator[bytes]", response.aiter_raw())
        decoder = SseDecoder()
        try:
            async for chunk in chunks:
                for event in decoder.feed(chunk):
                    body = orjson.loads(event.data)
                    if self.wire.binding == "rpc" and "error" in body:
                        watch.refusal = refusal_in(self.wire, response.status_code, body)
                        return
                    json = body["result"] if self.wire.binding == "rpc" else body
                    watch.numbered.append((int(event.id), read_item(self.wire, json, plain=watch.plain)))
                if watch.numbered:
                    watch.begun.set()
                    if watch.leaves:
                        return
        finally:
            with anyio.CancelScope(shield=True):  # also where the program has failed meanwhile
                await chunks.aclose()
