"""Targets of the protocol side: envelopes, routes, versions, events, both codecs, the log and its journal."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import orjson
from attrs import asdict
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzz import samples
from fuzz.target import LARGEST_ERROR, Target, require
from sansio.a2a.bindings.jsonrpc import RpcRequestError, parse_request, render_error, render_result
from sansio.a2a.bindings.rest import Route, params_of, route
from sansio.a2a.bindings.sse import SseDecoder, SseEvent, encode
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.errors import ErrorKind, LocalError, ProtocolError, http_error, jsonrpc_error
from sansio.a2a.tasks.task_log import TaskLog, fold
from sansio.a2a.tasks.task_log_codec import decode_events, encode_events
from sansio.a2a.versions import VERSIONS, negotiate
from sansio.a2a.websocket.session import Begun, Left, Refused, Session, SessionLimits
from tests import strategies


def _check_rendered(error: ProtocolError) -> None:
    """An error can be rendered in every shape there is, and is small in each."""
    for version in VERSIONS:
        rendered = orjson.dumps([jsonrpc_error(error, version), http_error(error, version)])
        require(len(rendered) < LARGEST_ERROR, "a large error")


def check_jsonrpc(data: bytes) -> None:
    """A body is a request whose id comes back, or a fault of code -32700 or -32600 that can be answered."""
    try:
        request = parse_request(data)
    except RpcRequestError as fault:
        for version in VERSIONS:
            answer = orjson.loads(render_error(fault.request_id, fault, version))
            require(answer["error"]["code"] in (-32700, -32600), "a fault of another code")
        _check_rendered(fault)
        return
    answer = orjson.loads(render_result(request.id, None))
    require(answer["id"] == request.id, "another id comes back")
    require(bool(request.method), "a request without a method")


def _path_of(found: Route, root: str, template: str) -> str:
    return root + template.replace("{id}", found.id or "").replace("{config_id}", found.config_id or "")


def _paths_of(found: Route) -> list[str]:
    """The paths of the operation on the line that the route hints at."""
    below = "/v1" if found.hint == "0.3" else f"/{found.tenant}" if found.tenant else ""
    rows = [row for row in found.operation.row.routes if found.hint in row.versions]
    return [_path_of(found, below if row.prefixed else "", row.path) for row in rows]


def _check_params(found: Route) -> None:
    """Who needs no body has parameters without one, in which the path's ids are found again."""
    named = {value for value in (found.id, found.config_id, found.tenant) if value is not None}
    for version in VERSIONS:
        try:
            params = params_of(found, version, {"id": "query"}, b"")
        except ProtocolError as error:
            require(error.kind is ErrorKind.PARSE_ERROR and found.operation.row.sends_body, "another error")
            continue
        require(isinstance(params, dict) and named <= set(params.values()), f"{params} lacks an id of the path")


def check_rest(data: bytes) -> None:
    """A method and path are not found, or not allowed, or a route that its own path leads to, ids and all."""
    method, _, path = data.decode("utf-8", "replace").partition(" ")
    try:
        found = route(method, path)
    except ProtocolError as error:
        require(error.kind in (ErrorKind.NOT_FOUND, ErrorKind.METHOD_NOT_ALLOWED), "another error")
        _check_rendered(error)
        return
    again = [other for path in _paths_of(found) if (other := _route_or_none(method, path)) is not None]
    require(found in again, f"{found} leads to {again}")
    _check_params(found)


def _route_or_none(method: str, path: str) -> Route | None:
    """The route; None for a path that has it under another method."""
    try:
        return route(method, path)
    except ProtocolError:
        return None


def check_versions(data: bytes) -> None:
    """A version text is one of the lines, which negotiates to itself, or refused with those on offer."""
    try:
        version = negotiate(data.decode("utf-8", "replace"), hint=None)
    except ProtocolError as error:
        require(error.kind is ErrorKind.VERSION_NOT_SUPPORTED, "another error")
        _check_rendered(error)
        return
    require(version in VERSIONS and negotiate(version, hint=None) == version, "a line that is none")


def _events(data: bytes, size: int, limit: int) -> list[SseEvent] | None:
    decoder = SseDecoder(limit)
    try:
        return [event for i in range(0, len(data), size) for event in decoder.feed(data[i : i + size])]
    except ProtocolError as error:
        require(error.kind is ErrorKind.PAYLOAD_TOO_LARGE, "another error")
        return None


def check_sse(data: bytes) -> None:
    """Bytes in any chunking give the same events or the same refusal, and events encoded are decoded again."""
    for limit in (16, 1 << 20):
        whole = _events(data, max(1, len(data)), limit)
        for size in (1, 2, 7):
            require(_events(data, size, limit) == whole, f"chunks of {size} give other events")
    for event in _events(data, max(1, len(data)), 1 << 20) or ():
        frame = encode(event.data, id=event.id, event=event.event or None)
        require(SseDecoder().feed(frame) == [event], "an event does not survive its encoding")


def _check_codec(codec: ModuleType, data: bytes) -> None:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    pairs: tuple[tuple[Callable[[object], Any], Callable[[Any], Any]], ...] = (
        (codec.parse_send, codec.render_send),
        (codec.parse_item, codec.render_item),
        (codec.parse_task, codec.render_task),
        (codec.parse_push_config_request, codec.render_push_config_result),
    )
    for parse, render in pairs:
        try:
            parsed = parse(value)
        except ProtocolError as error:
            require(bool(error.violations), "a refusal that names no field")
            _check_rendered(error)
            continue
        again = parse(orjson.loads(orjson.dumps(render(parsed))))
        require(again == parsed, f"{parsed} is read again as {again}")
    for parse in (
        codec.parse_get_task,
        codec.parse_list_tasks,
        codec.parse_task_id,
        codec.parse_push_config_id,
        codec.parse_list_push_configs,
    ):
        try:
            orjson.dumps(asdict(parse(value)))
        except ProtocolError as error:
            require(bool(error.violations), "a refusal that names no field")
            _check_rendered(error)


def check_v0_3(data: bytes) -> None:
    """JSON is no 0.3 document and the wrong fields are named, or what it says survives being written and read."""
    _check_codec(v0_3, data)


def check_v1_0(data: bytes) -> None:
    """JSON is no 1.0 document and the wrong fields are named, or what it says survives being written and read."""
    _check_codec(v1_0, data)


def check_journal(data: bytes) -> None:
    """Bytes are no events, which is our own fault, or they are written down again as the same events."""
    try:
        events = decode_events(data)
    except LocalError:
        return
    require(decode_events(encode_events(events)) == events, "other events are read again")


def check_log(data: bytes) -> None:
    """Any events make a log that can be resumed anywhere, numbered without gaps, its first end being its last."""
    try:
        events = decode_events(data)
    except LocalError:
        return
    log = TaskLog("t", "c")
    for event in events:
        ended = log.state.terminal
        entry = log.append(event)
        require(not (ended and entry), "an event after the end")
    task = log.task()
    require(fold("t", "c", events) == task, "the fold is another task")
    require([entry.number for entry in log.since(0)] == list(range(1, log.last + 1)), "numbers with gaps")
    for cut in range(0, len(events), 3):
        begun = TaskLog("t", "c")
        for event in events[:cut]:
            begun.append(event)
        resumed = TaskLog.resume(begun.task(), begun.last, events[cut:])
        require((resumed.task(), resumed.last) == (task, log.last), f"resumed at {cut} it is another task")


def _json(values: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    return values.map(orjson.dumps)


def _documents_of(codec: ModuleType, version: str) -> SearchStrategy[bytes]:
    return _json(
        strategies.items(version).map(codec.render_item)
        | strategies.tasks(version).map(codec.render_task)
        | strategies.send_requests(version).map(codec.render_send)
        | strategies.kept_push_configs().map(codec.render_push_config_result)
        | strategies.json_values
    )


_envelopes = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(("2.0", "1.0", 2)),
        "id": strategies.json_values,
        "method": strategies.json_values | st.just("GetTask"),
        "params": strategies.json_values,
    },
)
_logs = st.lists(strategies.log_events(), max_size=8).map(encode_events)


def check_websocket(data: bytes) -> None:
    """Each message of a connection begins a request, leaves one that runs, is refused with an error that can be sent,
    or has no effect; and no id runs twice.
    """
    session = Session(SessionLimits(requests=4), 0.0)
    running: dict[object, Begun] = {}
    for number, line in enumerate(data.split(b"\n")):
        match session.receive(line):
            case Begun() as begun:
                request = begun.message.request
                require(request.notification or request.id not in running, "an id runs twice")
                running[begun if request.notification else request.id] = begun
            case Left(begun):
                require(running.get(begun.message.request.id) is begun, "a stream is left that does not run")
            case Refused(error):
                answer = orjson.loads(render_error(error.request_id, error, "1.0"))
                require(error.request_id not in running, f"{answer} looks like the answer of a request that runs")
                _check_rendered(error)
        if running and number % 3 == 2:
            session.ended(running.pop(next(iter(running))), float(number))
        require(len(session) == len(running) <= 4, "a request is not counted")


_websocket_ids = st.one_of(st.integers(0, 3), st.sampled_from(["a", "b", 1.0, None, True]))
_websocket_messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0")},
    optional={
        "id": _websocket_ids,
        "method": st.sampled_from(["GetTask", "SendStreamingMessage"]),
        "cancelStream": st.sampled_from([True, False, 1]),
        "serviceParams": st.dictionaries(
            st.sampled_from(["a2a-version", "A2A-Version", "x"]), strategies.json_values
        ),
    },
)

TARGETS = (
    Target(
        name="websocket",
        check=check_websocket,
        documents=(
            b'{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage","params":{},"serviceParams":{"a2a-version":"1.0"}}'
            b'\n{"jsonrpc":"2.0","id":1,"cancelStream":true}\n{"jsonrpc":"2.0","method":"GetTask"}',
            *samples.ENVELOPES,
        ),
        strategy=st.lists(_websocket_messages, max_size=12).map(lambda found: b"\n".join(map(orjson.dumps, found))),
    ),
    Target(
        name="jsonrpc",
        check=check_jsonrpc,
        documents=samples.ENVELOPES,
        strategy=_json(_envelopes | strategies.json_values) | st.binary(max_size=30),
    ),
    Target(
        name="rest",
        check=check_rest,
        documents=samples.PATHS,
        strategy=st.text(max_size=30).map(lambda path: f"GET /{path}".encode())
        | st.lists(st.sampled_from(("v1", "tasks", "message:send", "a", "", ":")), max_size=5).map(
            lambda path: f"POST /{'/'.join(path)}".encode()
        ),
    ),
    Target(
        name="versions",
        check=check_versions,
        documents=(b"0.3", b"1.0", b"1.0.7", b" 0.3.0 ", b"2.0"),
        strategy=st.text(max_size=12).map(str.encode) | st.from_regex(r"\s*\d+\.\d+(\.\d+)?").map(str.encode),
    ),
    Target(name="sse", check=check_sse, documents=samples.STREAMS, strategy=strategies.sse_bytes),
    Target(
        name="v0_3",
        check=check_v0_3,
        documents=samples.documents_of(v0_3),
        strategy=_documents_of(v0_3, "0.3"),
    ),
    Target(
        name="v1_0",
        check=check_v1_0,
        documents=samples.documents_of(v1_0),
        strategy=_documents_of(v1_0, "1.0"),
    ),
    Target(name="log", check=check_log, documents=samples.JOURNALS, strategy=_logs),
    Target(
        name="journal",
        check=check_journal,
        documents=samples.JOURNALS,
        strategy=_logs | _json(st.lists(strategies.json_objects, max_size=3)),
    ),
)
