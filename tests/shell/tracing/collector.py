"""A collector: takes spans by OTLP over HTTP on loopback, in a thread of its own, and decodes them."""

from __future__ import annotations

import gzip
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread

from attrs import define, field, frozen
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

DEADLINE = 15.0
_UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
Value = str | int | float | bool


@frozen(kw_only=True)
class Received:
    """One span. `seconds`: how long it took; `started`: epoch nanoseconds."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Value]
    failed: bool
    started: int
    seconds: float
    resource: dict[str, Value] = field(repr=False)


@define(eq=False)
class Collector:
    """The spans that came, and the headers of the requests. `answers`: the statuses of the next ones.

    `location`: where an answer points to. `requests`: how many there were, with those that were refused.
    """

    port: int = 0
    scheme: str = "http"
    spans: list[Received] = field(factory=list)
    headers: list[dict[str, str]] = field(factory=list)
    answers: list[int] = field(factory=list)
    location: str = ""
    requests: int = 0
    delay: float = 0.0
    _changed: Condition = field(factory=Condition)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        found = [
            _received(span, {one.key: _value(one.value) for one in resource.resource.attributes})
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._changed:
            self.spans += found
            self.headers.append(headers)
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object], seconds: float = DEADLINE) -> None:
        """Wait, in a thread, until what came makes it true."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"only this came: {self.tree()}"

    def named(self, start: str) -> list[Received]:
        """The spans whose names begin like that, oldest first."""
        found = [span for span in self.spans if span.name.startswith(start)]
        return sorted(found, key=lambda span: span.started)

    def tree(self) -> str:
        """The spans as text, each trace as a tree, with milliseconds."""
        known = {span.span_id for span in self.spans}
        roots = [span for span in self.spans if span.parent_id not in known]
        return "\n".join(line for root in sorted(roots, key=_start) for line in self._lines(root, 0))

    def _lines(self, span: Received, depth: int) -> Iterator[str]:
        name = f"{'  ' * depth}{span.name}{' (failed)' if span.failed else ''}"
        yield f"{name:<64} {span.kind:<8} {span.seconds * 1000:9.2f} ms"
        children = [one for one in self.spans if one.parent_id == span.span_id]
        for child in sorted(children, key=_start):
            yield from self._lines(child, depth + 1)


def _start(span: Received) -> int:
    return span.started


def _received(span: ProtoSpan, resource: dict[str, Value]) -> Received:
    return Received(
        name=span.name,
        kind=ProtoSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes={one.key: _value(one.value) for one in span.attributes},
        failed=span.status.code == 2,
        started=span.start_time_unix_nano,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        resource=resource,
    )


def _value(value: object) -> Value:
    kind = value.WhichOneof("value")  # type: ignore[attr-defined]
    found: Value = getattr(value, kind)
    return found


@contextmanager
def collecting(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """A collector that listens on loopback. `port` 0: a free one."""
    collector = Collector(scheme="http" if tls is None else "https")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            time.sleep(collector.delay)
            collector.requests += 1
            status = collector.answers.pop(0) if collector.answers else 200
            if self.path != "/v1/traces":
                self.send_response(404)
            else:
                self.send_response(status)
                unpack = _UNPACK.get(self.headers.get("content-encoding", ""), bytes)
                if status == 200:
                    collector.take(unpack(body), {name.lower(): value for name, value in self.headers.items()})
                elif collector.location:
                    self.send_header("location", collector.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    collector.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
