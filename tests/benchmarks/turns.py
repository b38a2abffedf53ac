"""What one benchmarked turn says, as OpenCode's event bus tells it: byte templates with holes for the ids.

Shared by whoever plays OpenCode, whoever checks an answer, and the bare baseline. Knows no sockets, no clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import attrs

Holes = Mapping[bytes, bytes]
Event = dict[str, Any]

# While an event is still a Python value, a hole is a name between at signs; a number's hole loses its quotes.
_NUMBER_HOLE = re.compile(rb'"@(NOW)@"')
_TEXT_HOLE = re.compile(rb"@([A-Z]+)@")

_NO_TOKENS = {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}
# What OpenCode writes down, and therefore says twice on the global stream.
_DURABLE = frozenset({"session.created", "session.updated", "message.updated", "message.part.updated"})


def token_text(index: int) -> str:
    """The text of one delta. No token ends in white space, which some servers strip from a final answer."""
    return f"word{index}" if index == 0 else f" word{index}"


def answer_text(tokens: int) -> str:
    """The whole text of a turn: what a complete answer must hold."""
    return "".join(token_text(index) for index in range(tokens))


@attrs.frozen(kw_only=True)
class Script:
    """A turn's events in order, in one wire form: before the first token, each token, after the last."""

    opening: tuple[bytes, ...]
    deltas: tuple[bytes, ...]
    closing: tuple[bytes, ...]


@attrs.frozen(kw_only=True)
class Form:
    """One wire form of the bus, every template ready to be filled with `template % holes`.

    Holes: SESSION, TURN (20 characters, unique to the turn), USER (the user's message id), TEXT and DIRECTORY
    (JSON-escaped), NOW (epoch ms).
    """

    connected: bytes
    heartbeat: bytes
    created: tuple[bytes, ...]
    turn: Script
    aborted: tuple[bytes, ...]


def sse_chunk(event: bytes) -> bytes:
    """One event as OpenCode puts it on the wire: an SSE frame in an HTTP chunk of its own."""
    frame = b"data: " + event + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(frame), frame)


def directory_form(tokens: int, *, chatter: bool) -> Form:
    """What `GET /event` carries."""
    return _form(tokens, chatter=chatter, wrap=lambda event: [event], connection=lambda event: event)


def global_form(tokens: int, *, chatter: bool) -> Form:
    """What `GET /global/event` carries: wrapped, and each durable event a second time as `sync`."""
    return _form(tokens, chatter=chatter, wrap=_wrap_global, connection=lambda event: {"payload": event})


def session_info() -> bytes:
    """Template of the answer to `POST /session` and `GET /session/{id}`."""
    return _template(_session())


def messages() -> bytes:
    """Template of one finished turn's two messages, without the brackets around the list."""
    return _template({"info": _user(), "parts": [_user_part()]}) + b","


def answer(tokens: int) -> bytes:
    """Template of the answer to `POST /session/{id}/message`: the assistant's entry among the messages."""
    return _template({"info": _assistant(tokens, completed=True), "parts": _answer_parts(tokens)})


def _form(
    tokens: int, *, chatter: bool, wrap: Callable[[Event], list[Event]], connection: Callable[[Event], Event]
) -> Form:
    numbers = count()

    def render(*events: Event) -> tuple[bytes, ...]:
        numbered = [{"id": f"evt_@TURN@{next(numbers):06d}", **event} for event in events]
        return tuple(_template(wrapped) for event in numbered for wrapped in wrap(event))

    def render_turn(events: list[Event | None]) -> tuple[bytes, ...]:
        return render(*(event for event in events if event is not None))

    def aside(event: Event) -> Event | None:
        return event if chatter else None

    return Form(
        connected=_template(connection({"id": "evt_0", "type": "server.connected", "properties": {}})),
        heartbeat=_template(connection({"id": "evt_1", "type": "server.heartbeat", "properties": {}})),
        created=render(_event("session.created", info=_session())),
        turn=Script(
            opening=render_turn(_opening(aside)),
            deltas=render(*(_delta(index) for index in range(tokens))),
            closing=render_turn(_closing(tokens, aside)),
        ),
        aborted=render(
            _event("session.error", error={"name": "MessageAbortedError", "data": {"message": "Aborted"}}),
            _status("idle"),
            _event("session.idle"),
        ),
    )


def _opening(aside: Callable[[Event], Event | None]) -> list[Event | None]:
    return [
        aside(_event("session.updated", info=_session())),
        _event("message.updated", info=_user()),
        _part_event(_user_part()),
        aside(_event("session.updated", info=_session())),
        _status("busy"),
        _event("message.updated", info=_assistant(0)),
        aside(_event("session.updated", info=_session())),
        aside(_event("session.diff", diff=[])),
        aside(_event("message.updated", info=_user())),
        aside(_status("busy")),
        _part_event(_part("00", type="step-start", snapshot="0" * 40)),
        _part_event(_part("01", type="text", text="", time={"start": "@NOW@"})),
    ]


def _closing(tokens: int, aside: Callable[[Event], Event | None]) -> list[Event | None]:
    text, finish = _answer_parts(tokens)[1:]
    return [
        _part_event(text),
        _part_event(finish),
        _event("message.updated", info=_assistant(tokens)),
        _event("message.updated", info=_assistant(tokens, completed=True)),
        aside(_status("busy")),
        _status("idle"),
        _event("session.idle"),
        aside(_event("session.updated", info=_session())),
        aside(_event("session.diff", diff=[])),
        aside(_event("message.updated", info=_user())),
    ]


def _event(kind: str, **properties: Any) -> Event:
    return {"type": kind, "properties": {"sessionID": "@SESSION@", **properties}}


def _status(kind: str) -> Event:
    return _event("session.status", status={"type": kind})


def _part_event(part: Event) -> Event:
    return _event("message.part.updated", part=part, time="@NOW@")


def _delta(index: int) -> Event:
    return _event(
        "message.part.delta",
        messageID="msg_@TURN@000000",
        partID="prt_@TURN@000001",
        field="text",
        delta=token_text(index),
    )


def _session() -> Event:
    return {
        "id": "@SESSION@",
        "slug": "clever-star",
        "version": "1.18.33",
        "projectID": "global",
        "directory": "@DIRECTORY@",
        "path": "",
        "title": "New session",
        "cost": 0,
        "tokens": _NO_TOKENS,
        "time": {"created": "@NOW@", "updated": "@NOW@"},
    }


def _user() -> Event:
    return {
        "id": "@USER@",
        "role": "user",
        "sessionID": "@SESSION@",
        "time": {"created": "@NOW@"},
        "agent": "build",
        "model": {"providerID": "fake", "modelID": "fake-1"},
    }


def _user_part() -> Event:
    return {**_part("02", type="text", text="@TEXT@"), "messageID": "@USER@"}


def _assistant(tokens: int, *, completed: bool = False) -> Event:
    return {
        "id": "msg_@TURN@000000",
        "parentID": "@USER@",
        "role": "assistant",
        "mode": "build",
        "agent": "build",
        "path": {"cwd": "@DIRECTORY@", "root": "@DIRECTORY@"},
        "cost": 0,
        "tokens": _tokens(tokens),
        "modelID": "fake-1",
        "providerID": "fake",
        "time": {"created": "@NOW@", **({"completed": "@NOW@"} if completed else {})},
        "sessionID": "@SESSION@",
        **({"finish": "stop"} if tokens else {}),
    }


def _answer_parts(tokens: int) -> list[Event]:
    return [
        _part("00", type="step-start", snapshot="0" * 40),
        _part("01", type="text", text=answer_text(tokens), time={"start": "@NOW@", "end": "@NOW@"}),
        _part("03", type="step-finish", reason="stop", snapshot="0" * 40, tokens=_tokens(tokens), cost=0),
    ]


def _part(number: str, **rest: Any) -> Event:
    identity = {"id": f"prt_@TURN@0000{number}", "messageID": "msg_@TURN@000000", "sessionID": "@SESSION@"}
    return {**identity, **rest}


def _tokens(count: int) -> Event:
    return {**_NO_TOKENS, "total": 11 + count, "input": 11, "output": count} if count else _NO_TOKENS


def _wrap_global(event: Event) -> list[Event]:
    where = {"directory": "@DIRECTORY@", "project": "global"}
    said = [{**where, "payload": event}]
    if event["type"] in _DURABLE:
        durable = {
            "id": event["id"],
            "type": f"{event['type']}.1",
            "seq": 1,
            "aggregateID": "@SESSION@",
            "data": event["properties"],
        }
        said.append({**where, "payload": {"type": "sync", "syncEvent": durable, "id": event["id"]}})
    return said


def _template(value: Event) -> bytes:
    rendered = json.dumps(value, separators=(",", ":")).encode()
    return _TEXT_HOLE.sub(rb"%(\1)b", _NUMBER_HOLE.sub(rb"%(\1)b", rendered))
