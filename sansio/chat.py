"""A conversation that is typed: which line is a message and which a command, what Ctrl-C does, where it goes on.

Ctrl-C, by what happens meanwhile and whether it comes again at once:

    | meanwhile          | first           | again |
    | ------------------ | --------------- | ----- |
    | a task is at work  | cancel the task | leave |
    | an empty line      | explain         | leave |
    | a line with text   | drop the line   | drop  |

Knows neither a terminal nor an agent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, TypeAlias

from attrs import define, evolve, frozen

from sansio.a2a.model import TaskState

LINE_LIMIT: Final = 262_144
"""Characters of a line or a pasted text that are taken as one message."""


@frozen
class ChatCommand:
    """A command of a conversation. `takes`: its argument, in brackets where it may be left out."""

    name: str
    takes: str
    about: str


COMMANDS: Final = (
    ChatCommand("help", "", "list the commands and keys"),
    ChatCommand("new", "", "begin a new conversation, in a context of its own"),
    ChatCommand("context", "[ID]", "show the context, or go on with another one"),
    ChatCommand("file", "[PATH|URL]", "attach a file to the next message; without a name, attach none"),
    ChatCommand("model", "[PROVIDER/MODEL]", "show or choose the model; `default` leaves it to the agent"),
    ChatCommand("tasks", "", "list the tasks of this conversation"),
    ChatCommand("cancel", "", "cancel the task that waits for an answer"),
    ChatCommand("quit", "", "leave; so does Ctrl-D"),
)

KEYS: Final = (
    ("Enter", "send"),
    ("Alt-Enter", "begin another line; a pasted text keeps its lines"),
    ("Ctrl-C", "cancel the task at work; twice: leave"),
    ("Up, Ctrl-R", "earlier messages; search them"),
    ("//text", "send a text that begins with a slash"),
)
"""Keys and what they do."""

_COMMAND = re.compile(r"/([a-z]+)(?:[ \t]+(\S.*?))?[ \t]*")
_BY_NAME = {command.name: command for command in COMMANDS}


@frozen
class Say:
    """A message to the agent."""

    text: str


@frozen
class Run:
    """A command. `argument` is empty where there is none."""

    name: str
    argument: str = ""


@frozen
class Mistake:
    """A line that looks like a command and is none. `reason` is for the user."""

    reason: str


Line: TypeAlias = Say | Run | Mistake


def parse_line(text: str) -> Line | None:
    """Return the meaning of what was typed; `None` for white space.

    A command is one line that begins with a slash and a word. A path like `/etc/hosts` is a message.
    """
    if not text.strip():
        return None
    if len(text) > LINE_LIMIT:
        return Mistake(f"a message holds at most {LINE_LIMIT} characters; /file attaches a longer text")
    if text.startswith("//"):
        return Say(text[1:])
    found = _COMMAND.fullmatch(text)
    if found is None:
        return Say(text)
    name, argument = found[1], found[2] or ""
    command = _BY_NAME.get(name)
    if command is None:
        return Mistake(f"there is no command /{name}; /help lists them, and //{name} is sent as /{name}")
    if argument and not command.takes:
        return Mistake(f"/{name} takes nothing")
    return Run(name, argument)


def complete(text: str) -> Iterator[ChatCommand]:
    """Yield the commands that the beginning of a line may become."""
    if text.startswith("/"):
        yield from (command for command in COMMANDS if command.name.startswith(text[1:]))


def help_lines() -> Iterator[str]:
    """Yield the commands and keys, a line each."""
    rows = [(f"/{one.name} {one.takes}".rstrip(), one.about) for one in COMMANDS]
    for name, about in (*rows, *KEYS):
        yield f"  {name:<24}{about}"


@frozen(kw_only=True)
class ChatState:
    """The place where the next message goes. `task_id`: a task that waits for its user, and gets it."""

    context_id: str | None = None
    task_id: str | None = None

    def after(self, *, context_id: str | None, task_id: str | None, state: TaskState | None) -> ChatState:
        """Return the place after a message, whose task is known to be in `state`. `None` where nothing is known."""
        waits = state is not None and state.interrupted
        return evolve(self, context_id=context_id or self.context_id, task_id=task_id if waits else None)

    def refused(self) -> ChatState:
        """Return the place after a message that was not taken: the next one is for the context alone."""
        return evolve(self, task_id=None)


class Interruption(Enum):
    """Effect of Ctrl-C."""

    CANCEL = "cancel the task"
    EXPLAIN = "explain"
    DROP = "drop the line"
    LEAVE = "leave"


@define
class Interruptions:
    """Counts Ctrl-C; the docstring of the module has the table."""

    _again: bool = False

    def reset(self) -> None:
        """Forget the last one: something else was done meanwhile."""
        self._again = False

    def while_running(self) -> Interruption:
        """Return the effect while a task is at work."""
        return self._first(Interruption.CANCEL)

    def while_typing(self, text: str) -> Interruption:
        """Return the effect while a line is typed."""
        if text:
            self._again = False
            return Interruption.DROP
        return self._first(Interruption.EXPLAIN)

    def _first(self, effect: Interruption) -> Interruption:
        again, self._again = self._again, True
        return Interruption.LEAVE if again else effect
