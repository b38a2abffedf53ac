"""Answers for `opencode-a2a call` to what a task asks: by a rule, or from the person at the terminal.

Knows neither the network nor what becomes of an answer.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Final, Protocol, TextIO

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from opencode_a2a.terminal.output import Printer
from sansio.a2a.client.transcript import UNNAMED, InputRequest

if sys.platform != "win32":
    import termios

__all__ = ["ASK", "RULES", "Answers", "Lines", "Terminal"]

ASK: Final = "ask"
RULES: Final = ("once", "always", "reject", ASK)
"""The rules for permissions; the last one is to ask."""


class Lines(Protocol):
    """Where a person types."""

    def forget(self) -> None:
        """Drop what was typed before it was known what is asked."""

    async def line(self) -> str | None:
        """The next line, without its end; None where there will be none."""


@define(eq=False)
class Terminal:
    """A terminal as lines. A wait for one can be cancelled without losing what is typed later."""

    stdin: TextIO
    _typed: bytes = field(default=b"", init=False)

    @classmethod
    def between(cls, stdin: TextIO, err: TextIO) -> Terminal | None:
        """The terminal, if there is a person both to ask and to answer."""
        return cls(stdin) if stdin.isatty() and err.isatty() else None

    def forget(self) -> None:
        self._typed = b""
        if sys.platform != "win32":
            with contextlib.suppress(termios.error):
                termios.tcflush(self.stdin.fileno(), termios.TCIFLUSH)

    async def line(self) -> str | None:
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

    async def to(self, asked: InputRequest, printer: Printer) -> str | None:
        """The answer; None: there is none, and the task is to be left as it is."""
        rule = self.by_rule(asked)
        if rule is not None:
            printer.note(f"answering by --on-permission: {rule}")
            return rule
        if self.lines is None:
            return None
        self.lines.forget()
        typed: list[str] = []
        while len(typed) < asked.answers:
            count = f" {len(typed) + 1} of {asked.answers}" if asked.answers > 1 else ""
            printer.ask("" if typed else asked.text or UNNAMED, f"answer{count}> ")
            line = await self.lines.line()
            if line is None:
                return None
            printer.asked()
            if line.strip():
                typed.append(line.strip())
            elif typed:
                break
        return "\n".join(typed)
