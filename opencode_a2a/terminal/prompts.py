"""Answers for `opencode-a2a call` to what a task asks: by a rule, or from the person at the terminal.

Knows neither the network nor what becomes of an answer.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, Protocol, TextIO, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
from attrs import define, field, frozen

from opencode_a2a.terminal.output import Printer, on_one_line
from opencode_a2a.terminal.permission_rules import ASK
from sansio.a2a.client.input_requests import (
    PERMISSION_REPLIES,
    InputRequest,
    Permission,
    Question,
    Reply,
    UnclearAnswer,
    permission_answer,
    question_answer,
    question_reply,
)
from sansio.a2a.client.transcript import UNNAMED

if sys.platform != "win32":
    import termios
    import tty

__all__ = ["Answers", "Lines", "Terminal"]

PROMPT: Final = "answer> "

_Answer = TypeVar("_Answer")


class Lines(Protocol):
    """Where a person types."""

    def asking(self) -> AbstractContextManager[None]:
        """Let a person see what they type from now on. What was typed before is dropped."""

    async def line(self) -> str | None:
        """The next line, without its end; None where there will be none."""


@define(eq=False)
class Terminal:
    """A terminal as lines. A wait for one can be cancelled without losing what is typed later."""

    stdin: TextIO
    _typed: bytes = field(default=b"", init=False)
    _silent: bool = field(default=False, init=False)  # what is typed is shown only while something is asked
    _questions: int = field(default=0, init=False)  # that are asked now
    _waiting: anyio.CancelScope | None = field(default=None, init=False)
    _aside: anyio.Event | None = field(default=None, init=False)  # set when the command's own question is answered

    @classmethod
    def between(cls, stdin: TextIO, err: TextIO) -> Terminal | None:
        """The terminal, if there is a person both to ask and to answer."""
        return cls(stdin) if stdin.isatty() and err.isatty() else None

    @contextmanager
    def asking(self) -> Iterator[None]:
        self._typed = b""
        if sys.platform != "win32":
            with contextlib.suppress(termios.error):
                termios.tcflush(self.stdin.fileno(), termios.TCIFLUSH)
        self._questions += 1
        self._echo(True)
        try:
            yield
        finally:
            self._questions -= 1
            self._echo(bool(self._questions))

    async def line(self) -> str | None:
        while True:
            while self._aside is not None:  # another may follow at once
                await self._aside.wait()
            with anyio.CancelScope() as self._waiting:
                try:
                    return await self._read()
                finally:
                    self._waiting = None

    async def aside(self) -> str | None:
        """The next line, for a question of the command's own; whoever else waits for one waits on."""
        self._aside = anyio.Event()
        try:
            if self._waiting is not None:
                self._waiting.cancel()
            while self._waiting is not None:
                await anyio.lowlevel.checkpoint()
            return await self._read()
        finally:
            self._aside.set()
            self._aside = None

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Show what is typed only while something is asked: it would end up in what is drawn."""
        if sys.platform == "win32":
            yield
            return
        try:
            before = termios.tcgetattr(self.stdin.fileno())
        except termios.error:  # the terminal is gone
            yield
            return
        self._silent = bool(before[tty.LFLAG] & termios.ECHO)
        self._echo(False)
        try:
            yield
        finally:
            self._echo(True)
            self._silent = False

    def _echo(self, shown: bool) -> None:
        if sys.platform == "win32" or not self._silent:
            return
        with contextlib.suppress(termios.error):
            attributes = termios.tcgetattr(self.stdin.fileno())
            attributes[tty.LFLAG] = (
                attributes[tty.LFLAG] | termios.ECHO if shown else attributes[tty.LFLAG] & ~termios.ECHO
            )
            termios.tcsetattr(self.stdin.fileno(), termios.TCSANOW, attributes)

    async def _read(self) -> str | None:
        if sys.platform == "win32":  # consoles cannot be waited for
            return await anyio.to_thread.run_sync(self.stdin.readline, abandon_on_cancel=True) or None
        while b"\n" not in self._typed:
            await anyio.wait_readable(self.stdin.fileno())
            try:
                data = os.read(self.stdin.fileno(), 4096)
            except OSError:
                return None  # the terminal is gone
            if not data:
                return None
            self._typed += data
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(self.stdin.encoding or "utf-8", "replace")


@frozen
class Answers:
    """The source of answers to a task. `permissions`: one of `RULES`; `lines` None: nobody can be asked."""

    permissions: str = ASK
    lines: Lines | None = None

    def has(self, asked: InputRequest) -> bool:
        """Whether there is anything, or anybody, to answer this."""
        return self.lines is not None or self.by_rule(asked) is not None

    def asks(self, asked: InputRequest) -> bool:
        """Whether the person at the terminal is asked this."""
        return self.lines is not None and self.by_rule(asked) is None

    def by_rule(self, asked: InputRequest) -> str | None:
        """The answer that needs no asking."""
        if asked.kind != "permission" or self.permissions == ASK:
            return None
        return self.permissions

    async def to(self, asked: InputRequest, printer: Printer) -> Reply | None:
        """The answer; None: there is none, and the task is to be left as it is."""
        rule = self.by_rule(asked)
        if rule is not None:
            printer.note(f"answering by --on-permission: {rule}")
            return Reply(text=rule)
        if self.lines is None:
            return None
        with self.lines.asking():
            if asked.permission is not None:
                return await self._permission(asked, asked.permission, printer)
            if asked.questions:
                return await self._questions(asked, printer)
            line = await self._typed(printer, asked.text or UNNAMED, PROMPT, self.lines, _as_it_is)
            return None if line is None else Reply(text=line)

    async def _permission(self, asked: InputRequest, permission: Permission, printer: Printer) -> Reply | None:
        assert self.lines is not None
        text = permission_text(asked, permission)
        reply = await self._typed(printer, text, PROMPT, self.lines, permission_answer)
        return None if reply is None else Reply(text=reply)

    async def _questions(self, asked: InputRequest, printer: Printer) -> Reply | None:
        assert self.lines is not None
        picked: list[tuple[str, ...]] = []
        count = len(asked.questions)
        for number, question in enumerate(asked.questions, 1):
            prompt = PROMPT if count == 1 else f"answer {number} of {count}> "
            matched = partial(question_answer, question)
            answer = await self._typed(printer, question_text(question), prompt, self.lines, matched)
            if answer is None:
                return None
            picked.append(answer)
        return question_reply(asked, picked)

    async def _typed(
        self, printer: Printer, text: str, prompt: str, lines: Lines, match: Callable[[str], _Answer | UnclearAnswer]
    ) -> _Answer | None:
        """Ask until a typed line is an answer; None: there will be none."""
        printer.ask(text, prompt)
        while True:
            line = await lines.line()
            if line is None:
                return None
            printer.asked()
            answer = match(line)
            if not isinstance(answer, UnclearAnswer):
                return answer
            printer.note(answer.hint)
            printer.ask("", prompt)


def _as_it_is(line: str) -> str | UnclearAnswer:
    return line.strip() or UnclearAnswer("type an answer")


def permission_text(asked: InputRequest, permission: Permission) -> str:
    """Lay out a permission for a person: what it is about, and the replies by number."""
    if not permission.action:
        return "\n".join((asked.text or UNNAMED, *_numbered(PERMISSION_REPLIES.items())))
    meanings = dict(PERMISSION_REPLIES)
    if permission.always:
        meanings["always"] += f": {_cut(', '.join(permission.always))}"
    subjects = [f"    {line}" for subject in permission.subjects for line in _cut(subject, 1000).splitlines()]
    return "\n".join((f"permission: {on_one_line(permission.action)}", *subjects, *_numbered(meanings.items())))


def question_text(question: Question) -> str:
    """Lay out a question for a person, with its options by number."""
    options = [(option.label, option.description) for option in question.options]
    if options and not question.multiple:
        label, description = options[0]
        options[0] = (label, f"{description} (Enter)" if description else "(Enter)")
    several = " (several, with commas between them)" if question.multiple else ""
    other = " An answer in words is taken too." if options and question.free_text else ""
    return "\n".join((f"{_set_in(question.text or UNNAMED)}{several}{other}", *_numbered(options)))


def _numbered(choices: Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = [(on_one_line(label), on_one_line(meaning)) for label, meaning in choices]
    width = min(max((len(label) for label, _ in rows), default=0), 24)
    for number, (label, meaning) in enumerate(rows, 1):
        yield f"  {number}. {label:<{width}}  {meaning}".rstrip()


def _set_in(text: str) -> str:
    """Indent all lines but the first: no line of the agent's can pass for an option."""
    return text.rstrip().replace("\n", "\n      ")


def _cut(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
