"""OpenCode in terms of the A2A model: its HTTP calls, its event bus, and turns. Pure code, as in `sansio.a2a`.

A turn is one prompt's life in a session of OpenCode. Its calls are values for your HTTP client. Its events come from
the bus, or from a read of the session where the bus was lost. A turn takes them and returns events of the task's log:

    create_session, prompt -> UpstreamCall -> OpenCode -> bus -> decode -> Turn.feed -> events for TaskLog.append
                                              REST -> decode_messages -> Turn.reconcile -> events

Calls to OpenCode:

`UpstreamCall`        one HTTP request: method, target, body, how long it may take, whether it may be repeated
`Location`            the directory or workspace of a call; without either it is OpenCode's own directory
`create_session`      make a session
`prompt_parts`        convert the parts of an A2A message; it raises `ProtocolError`
`message_id`          make the id of a prompt: from a time in milliseconds, a counter and 14 random characters
`prompt`              start a turn
`abort`               stop what a session does

Events of OpenCode:

`decode`              decode one event of the bus; `None`: no turn needs it
`decode_messages`     decode the messages of a session, read over REST
`decode_statuses`     decode the statuses of all sessions; `of` picks that of one
`BusEvent`            the union of what `decode` returns
`InterruptAsked`      the event of a permission or a question that waits for an answer

Turns:

`Turn`                begin, feed, gap, reconcile, cancel, fail: each returns events for the task's log
`TaskFailure`         the reason of a turn that failed, for clients and for the log
`SendOptions`         the options that a message asks for: session, model, location, output modes
`send_options_of`     read these options from a `SendRequest`; it raises `ProtocolError`

An example, which decodes an event of the bus and gives it to a turn:

    >>> from sansio.opencode import Turn, decode, message_id, prompt
    >>> prompt_id = message_id(1767323045000, counter=1, tail="abcdefghijklmn")
    >>> prompt("ses_1", prompt_id, [{"type": "text", "text": "Say hello."}]).target
    '/session/ses_1/prompt_async'
    >>> turn = Turn(task_id="task-1", context_id="context-1", session_id="ses_1", prompt_id=prompt_id)
    >>> [event.status.state.value for event in turn.begin("2026-01-02T03:04:05Z")]
    ['working']
    >>> event = decode(b'{"payload":{"type":"session.deleted","properties":{"info":{"id":"ses_1"}}}}')
    >>> events = turn.feed(event, "2026-01-02T03:04:06Z")
    >>> turn.ended, events[-1].status.state.value
    (True, 'failed')

Each name is imported from its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio.opencode.send_options import SendOptions, send_options_of
    from sansio.opencode.turns.turn import Turn
    from sansio.opencode.upstream.events import BusEvent, InterruptAsked, decode, decode_messages, decode_statuses
    from sansio.opencode.upstream.faults import TaskFailure
    from sansio.opencode.upstream.requests import (
        Location,
        UpstreamCall,
        abort,
        create_session,
        message_id,
        prompt,
        prompt_parts,
    )

__all__ = [
    "BusEvent",
    "InterruptAsked",
    "Location",
    "SendOptions",
    "TaskFailure",
    "Turn",
    "UpstreamCall",
    "abort",
    "create_session",
    "decode",
    "decode_messages",
    "decode_statuses",
    "message_id",
    "prompt",
    "prompt_parts",
    "send_options_of",
]

_MODULES = {
    "send_options": ("SendOptions", "send_options_of"),
    "turns.turn": ("Turn",),
    "upstream.events": ("BusEvent", "InterruptAsked", "decode", "decode_messages", "decode_statuses"),
    "upstream.faults": ("TaskFailure",),
    "upstream.requests": (
        *("Location", "UpstreamCall", "abort", "create_session"),
        *("message_id", "prompt", "prompt_parts"),
    ),
}
"""The exported names by module."""

if not TYPE_CHECKING:  # a type checker would take any name for one of this package

    def __getattr__(name: str) -> object:
        for module, names in _MODULES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
