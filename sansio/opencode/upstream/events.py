"""Decoder of OpenCode's event bus: the bytes of one event to one typed value, or `None` for what no turn needs.

Covers `GET /global/event` (each event wrapped with its directory) and `GET /event` (bare). The `sync` copies of the
global stream hold nothing new and are skipped. Garbage raises `ProtocolError` (INVALID_AGENT_RESPONSE).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import orjson
from attrs import evolve, frozen

from sansio.a2a.codecs.json_values import integer_at, number_at, object_at, text_at, texts_at
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject, value_class


@frozen(kw_only=True)
class UpstreamFault:
    """An error as OpenCode reports it. `status`: HTTP status of the model provider, if it came from there."""

    name: str
    message: str
    status: int | None = None


@frozen(kw_only=True)
class MessageInfo:
    """A message without its parts. `parent_id`: the user message that an assistant's message answers.

    `model`: the `providerID` and `modelID` that write it; None where OpenCode does not name both.
    """

    id: str
    session_id: str
    role: str
    parent_id: str | None = None
    completed: bool = False
    finish: str | None = None
    summary: bool = False
    tokens: JsonObject | None = None
    cost: float | None = None
    model: JsonObject | None = None
    error: UpstreamFault | None = None


@frozen(kw_only=True)
class PartSeen:
    """A part as it is now, whole (`message.part.updated`, or read over REST)."""

    session_id: str
    message_id: str
    part_id: str
    type: str
    body: JsonObject


@value_class(kw_only=True)
class PartDelta:
    """A piece of a part's field."""

    session_id: str
    message_id: str
    part_id: str
    field: str
    delta: str


@frozen(kw_only=True)
class MessageSeen:
    """A message as it is now (`message.updated`, or read over REST)."""

    session_id: str
    info: MessageInfo


@frozen(kw_only=True)
class SessionStatus:
    """`busy`, `idle` or `retry`; the last with attempt, reason and the time of the next (epoch ms)."""

    session_id: str
    type: str
    attempt: int | None = None
    message: str | None = None
    next: int | None = None


@frozen(kw_only=True)
class SessionFailed:
    """`session.error`. Without a session it concerns the whole instance."""

    session_id: str | None
    fault: UpstreamFault


@frozen(kw_only=True)
class SessionSeen:
    """A session was made or changed. `parent_id`: the session whose subagent it is."""

    session_id: str
    parent_id: str | None = None


@frozen(kw_only=True)
class SessionDeleted:
    """A session is gone, and what it was at work on with it."""

    session_id: str


@frozen
class InstanceDisposed:
    """OpenCode has let go of a directory's instance, or of all: what was added to it at run time is gone."""

    session_id: None = None


RESOLVERS = ("client", "opencode", "timeout", "end")
"""Who ended a request: a client of this server; another program or a rule in OpenCode; nobody in time; its turn."""
BY_CLIENT, BY_OPENCODE, BY_TIMEOUT, BY_END = RESOLVERS
REPLIES = ("once", "always", "reject")
"""The replies to a permission."""


def answers_as_text(answers: Sequence[Any]) -> str:
    """Render the answers to questions, a list of texts for each. Anything else among them is passed over."""
    return "; ".join(", ".join(texts_at(answer)) or "nothing" for answer in answers)


@frozen(kw_only=True)
class InterruptAsked:
    """OpenCode waits for an answer. `kind`: `permission` or `question`; `body` as OpenCode sent it."""

    session_id: str
    kind: str
    request_id: str
    body: JsonObject

    def ended(
        self, resolution: str, *, by: str | None = None, reply: str | None = None, answer: str | None = None
    ) -> InterruptEnded:
        """Build the end of this request, from the fields of `InterruptEnded`."""
        return InterruptEnded(
            session_id=self.session_id,
            kind=self.kind,
            request_id=self.request_id,
            resolution=resolution,
            by=by,
            reply=reply,
            answer=answer,
        )


@frozen(kw_only=True)
class InterruptEnded:
    """An answer was given, by whomever. `resolution`: `replied` or `rejected`.

    `by`: one of `RESOLVERS`. `reply`: `once`, `always` or `reject`, of a permission. `answer`: the reason of a
    rejection, or the answers to the questions, as text. `None` where it is not known.
    """

    session_id: str
    kind: str
    request_id: str
    resolution: str
    by: str | None = None
    reply: str | None = None
    answer: str | None = None


BusEvent: TypeAlias = (
    PartSeen
    | PartDelta
    | MessageSeen
    | SessionStatus
    | SessionFailed
    | SessionSeen
    | SessionDeleted
    | InstanceDisposed
    | InterruptAsked
    | InterruptEnded
)


def _broken(what: str) -> ProtocolError:
    return ProtocolError(ErrorKind.INVALID_AGENT_RESPONSE, f"OpenCode's event is not as expected: {what}")


def _required_text(source: JsonObject, name: str) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not value:
        raise _broken(f"{name} must be a string")
    return value


def _required_object(source: JsonObject, name: str) -> JsonObject:
    value = source.get(name)
    if not isinstance(value, dict):
        raise _broken(f"{name} must be an object")
    return value


def fault_of(error: JsonObject) -> UpstreamFault:
    """Read OpenCode's error, `{name, data: {message, statusCode}}`."""
    data = object_at(error, "data")
    name = text_at(error, "name") or "UnknownError"
    return UpstreamFault(
        name=name,
        message=text_at(data, "message") or name,
        status=integer_at(data, "statusCode"),
    )


def message_info(info: JsonObject) -> MessageInfo:
    """Return a message's `info`; raises `ProtocolError`."""
    error, tokens = info.get("error"), info.get("tokens")
    provider_id, model_id = text_at(info, "providerID"), text_at(info, "modelID")
    return MessageInfo(
        id=_required_text(info, "id"),
        session_id=_required_text(info, "sessionID"),
        role=_required_text(info, "role"),
        parent_id=text_at(info, "parentID"),
        completed=number_at(info, "time", "completed") is not None,
        finish=text_at(info, "finish"),
        summary=info.get("summary") is True,
        tokens=tokens if isinstance(tokens, dict) else None,
        cost=number_at(info, "cost"),
        model={"providerID": provider_id, "modelID": model_id} if provider_id and model_id else None,
        error=fault_of(error) if isinstance(error, dict) else None,
    )


def part_seen(part: JsonObject) -> PartSeen:
    """Return a part; raises `ProtocolError`."""
    return PartSeen(
        session_id=_required_text(part, "sessionID"),
        message_id=_required_text(part, "messageID"),
        part_id=_required_text(part, "id"),
        type=_required_text(part, "type"),
        body=part,
    )


def session_status(session_id: str, status: JsonObject) -> SessionStatus:
    """Return a session's status; raises `ProtocolError`."""
    return SessionStatus(
        session_id=session_id,
        type=_required_text(status, "type"),
        attempt=integer_at(status, "attempt"),
        message=text_at(status, "message"),
        next=integer_at(status, "next"),
    )


def _delta(p: JsonObject) -> PartDelta:
    delta = p.get("delta")
    if not isinstance(delta, str):
        raise _broken("delta must be a string")
    return PartDelta(
        session_id=_required_text(p, "sessionID"),
        message_id=_required_text(p, "messageID"),
        part_id=_required_text(p, "partID"),
        field=_required_text(p, "field"),
        delta=delta,
    )


def _message(p: JsonObject) -> MessageSeen:
    info = message_info(_required_object(p, "info"))
    return MessageSeen(session_id=info.session_id, info=info)


def _failed(p: JsonObject) -> SessionFailed:
    return SessionFailed(session_id=text_at(p, "sessionID"), fault=fault_of(_required_object(p, "error")))


def session_seen(info: JsonObject) -> SessionSeen:
    """Return a session's `info`; raises `ProtocolError`."""
    return SessionSeen(
        session_id=_required_text(info, "id"),
        parent_id=text_at(info, "parentID"),
    )


def interrupt_asked(kind: str, body: JsonObject) -> InterruptAsked:
    """Return a pending permission or question; raises `ProtocolError`."""
    return InterruptAsked(
        session_id=_required_text(body, "sessionID"), kind=kind, request_id=_required_text(body, "id"), body=body
    )


def _ended(kind: str, resolution: str) -> Callable[[JsonObject], InterruptEnded]:
    def decode(p: JsonObject) -> InterruptEnded:
        return InterruptEnded(
            session_id=_required_text(p, "sessionID"),
            kind=kind,
            request_id=_required_text(p, "requestID"),
            resolution="rejected" if p.get("reply") == "reject" else resolution,
            by=BY_OPENCODE,
            reply=p["reply"] if p.get("reply") in REPLIES else None,
            answer=answers_as_text(p["answers"]) if isinstance(p.get("answers"), list) else None,
        )

    return decode


_DECODERS: dict[str, Callable[[JsonObject], BusEvent]] = {
    "message.part.delta": _delta,
    "message.part.updated": lambda p: part_seen(_required_object(p, "part")),
    "message.updated": _message,
    "session.status": lambda p: session_status(_required_text(p, "sessionID"), _required_object(p, "status")),
    "session.idle": lambda p: SessionStatus(session_id=_required_text(p, "sessionID"), type="idle"),
    "session.error": _failed,
    "session.created": lambda p: session_seen(_required_object(p, "info")),
    "session.updated": lambda p: session_seen(_required_object(p, "info")),
    "session.deleted": lambda p: SessionDeleted(session_id=session_seen(_required_object(p, "info")).session_id),
    "server.instance.disposed": lambda p: InstanceDisposed(),
    "global.disposed": lambda p: InstanceDisposed(),
    "permission.asked": lambda p: interrupt_asked("permission", p),
    "question.asked": lambda p: interrupt_asked("question", p),
    "permission.replied": _ended("permission", "replied"),
    "question.replied": _ended("question", "replied"),
    "question.rejected": _ended("question", "rejected"),
}
"""Event types a turn can need; all others are OpenCode's own business."""


_LONE_SURROGATE = re.compile(
    rb"\\\\|(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F])"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
"""Half a character, as JavaScript leaves it where it cuts a string: alone, not as one of a pair."""


def _loads(data: bytes) -> Any:
    """Decode JSON; half characters, which no UTF-8 can hold, become U+FFFD. Raises `ProtocolError`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        whole = _LONE_SURROGATE.sub(lambda m: b"\\ufffd" if m[1] or m[2] else m[0], data)
    try:
        return orjson.loads(whole)
    except orjson.JSONDecodeError as exc:
        raise _broken(str(exc)) from None


_PAYLOAD = b'"payload":{'
_SYNC = _PAYLOAD + b'"type":"sync"'
"""The beginning of a copy. Inside a string the quotes would be escaped, so the first match is the member itself."""


def decode(data: bytes) -> BusEvent | None:
    """Decode one bus event; `None`: no turn needs it. Raises `ProtocolError` for what is not OpenCode's form."""
    payload_at = data.find(_PAYLOAD)
    if payload_at >= 0 and data.startswith(_SYNC, payload_at):
        return None
    event = _loads(data)
    if not isinstance(event, dict):
        raise _broken("must be an object")
    payload = event.get("payload", event)
    if not isinstance(payload, dict):
        raise _broken("payload must be an object")
    kind = payload.get("type")
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    if decoder is None:
        return None
    return decoder(_required_object(payload, "properties"))


_JOINED = 8192  # characters after which a delta grows no further


def join_deltas(events: Iterable[BusEvent]) -> list[BusEvent]:
    """Return events in their order, with deltas of one part that follow each other as one.

    One that has 8,192 characters or more grows no further.
    """
    joined: list[BusEvent] = []
    run: list[PartDelta] = []
    size = 0
    for event in events:
        if isinstance(event, PartDelta):
            if run and (size >= _JOINED or not _continues(run[0], event)):
                joined.append(_as_one(run))
                run, size = [], 0
            run.append(event)
            size += len(event.delta)
            continue
        if run:
            joined.append(_as_one(run))
            run, size = [], 0
        joined.append(event)
    if run:
        joined.append(_as_one(run))
    return joined


def _continues(delta: PartDelta, following: PartDelta) -> bool:
    of = delta.session_id, delta.part_id, delta.field
    return of == (following.session_id, following.part_id, following.field)


def _as_one(run: Sequence[PartDelta]) -> PartDelta:
    return run[0] if len(run) == 1 else evolve(run[0], delta="".join([delta.delta for delta in run]))


def event_id(data: bytes) -> str:
    """Return the id of a bus event, from which the time of OpenCode's clock can be read; empty for none."""
    return text_at(_payload(data), "id") or ""


def is_bus_event(data: bytes) -> bool:
    """Return whether this has the shape of every event of the bus, known or not: another server's stream has not."""
    return isinstance(_payload(data).get("type"), str)


def _payload(data: bytes) -> JsonObject:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return object_at(event.get("payload", event) if isinstance(event, dict) else None)


@frozen(kw_only=True)
class MessageRecord:
    """A message with its parts, as `GET /session/{id}/message` returns it."""

    info: MessageInfo
    parts: tuple[PartSeen, ...]


def decode_messages(body: bytes) -> list[MessageRecord]:
    """Parse the answer of `GET /session/{id}/message`; raises `ProtocolError`."""
    value = _loads(body)
    if not isinstance(value, list):
        raise _broken("messages must be a list")
    records = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("parts"), list):
            raise _broken("a message must be an object with parts")
        info = message_info(_required_object(item, "info"))
        parts = tuple(part_seen(part) for part in item["parts"] if isinstance(part, dict))
        records.append(MessageRecord(info=info, parts=parts))
    return records


def decode_sessions(body: bytes) -> list[SessionSeen]:
    """Parse the answer of `GET /session/{id}/children`; raises `ProtocolError`."""
    value = _loads(body)
    if not isinstance(value, list):
        raise _broken("sessions must be a list")
    return [session_seen(item) for item in value if isinstance(item, dict)]


def decode_asked(kind: str, body: bytes) -> list[InterruptAsked]:
    """Parse the answer of `GET /permission` or `GET /question`; raises `ProtocolError`."""
    value = _loads(body)
    if not isinstance(value, list):
        raise _broken(f"pending {kind}s must be a list")
    return [interrupt_asked(kind, item) for item in value if isinstance(item, dict)]


@frozen
class Statuses:
    """The statuses of the sessions of an instance. `busy`: those that OpenCode names, by their ids."""

    busy: JsonObject

    def of(self, session_id: str) -> SessionStatus:
        """Return the status of a session; raises `ProtocolError`. A session that is not named is idle."""
        status = self.busy.get(session_id)
        return session_status(session_id, status if isinstance(status, dict) else {"type": "idle"})


def decode_statuses(body: bytes) -> Statuses:
    """Parse the answer of `GET /session/status`; raises `ProtocolError` where it is no JSON."""
    return Statuses(object_at(_loads(body)))
