"""A program at a pseudo-terminal, and the screen that it draws."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import pyte
from attrs import define, field

from tests.shell.harness import DEADLINE

ENTER, CTRL_C, CTRL_D, CTRL_R, ALT_ENTER, TAB, UP = "\r", "\x03", "\x04", "\x12", "\x1b\r", "\t", "\x1b[A"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"


class _Answering(pyte.HistoryScreen):
    """A screen that answers where the program asks for the cursor's position."""

    keyboard = -1

    def write_process_input(self, data: str) -> None:
        os.write(self.keyboard, data.encode())


@define(eq=False)
class TypedScreen:
    """The keyboard and the screen of a program."""

    keyboard: int
    process: anyio.abc.Process
    screen: _Answering
    stream: pyte.ByteStream
    _seen: str = field(default="", init=False)

    def types(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    @property
    def lines(self) -> list[str]:
        """All lines that the screen shows or has scrolled away, without the blanks at their ends."""
        width = range(self.screen.columns)
        above = ["".join(line[column].data for column in width).rstrip() for line in self.screen.history.top]
        return [line for line in (*above, *(line.rstrip() for line in self.screen.display)) if line]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def until(self, text: str, count: int = 1) -> None:
        """Wait until the screen has a text so many times."""
        with anyio.fail_after(2 * DEADLINE):
            while self.text.count(text) < count:
                await anyio.wait_readable(self.keyboard)
                if not self._read():
                    break
        assert self.text.count(text) >= count, self.text

    async def until_typing(self, keys: str, text: str) -> None:
        """Type keys now and then until the screen has a text."""
        with anyio.fail_after(2 * DEADLINE):
            while text not in self.text:
                self.types(keys)
                with anyio.move_on_after(0.2):
                    await anyio.wait_readable(self.keyboard)
                    self._read()

    async def until_prompt(self, prompt: str = ">") -> None:
        """Wait until the last line is an empty prompt."""
        with anyio.fail_after(2 * DEADLINE):
            while not self.lines or self.lines[-1] != prompt:
                await anyio.wait_readable(self.keyboard)
                assert self._read(), self.text

    async def ended(self) -> int:
        """Wait for the program's end; return its exit code."""
        code = -1
        with anyio.fail_after(2 * DEADLINE):
            async with anyio.create_task_group() as group:
                group.start_soon(self._read_on)
                code = await self.process.wait()
                group.cancel_scope.cancel()
        while select.select([self.keyboard], [], [], 0)[0] and self._read():
            pass
        return code

    async def _read_on(self) -> None:
        while True:
            await anyio.wait_readable(self.keyboard)
            self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self.keyboard, 65536)
        except OSError:  # Linux: the program has closed its end
            return False
        self.stream.feed(data)
        return bool(data)


@asynccontextmanager
async def at_terminal(
    command: Sequence[str], env: Mapping[str, str], *, lines: int = 40, columns: int = 180
) -> AsyncGenerator[TypedScreen]:
    """Start a program at a pseudo-terminal; it is killed at the end, if it is still there."""
    keyboard, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    # a session leader without a terminal gets the first one that it opens: Ctrl-C then is a signal
    script = 'terminal=$1; shift; exec "$@" <"$terminal" >"$terminal" 2>&1'
    started = ["sh", "-c", script, "sh", os.ttyname(end), *command]
    try:
        async with await anyio.open_process(started, env=env, start_new_session=True, stdin=None) as process:
            screen = _Answering(columns, lines, history=1000)
            screen.keyboard = keyboard
            try:
                yield TypedScreen(keyboard, process, screen, pyte.ByteStream(screen))
            finally:
                if process.returncode is None:
                    process.kill()
    finally:
        os.close(end)
        os.close(keyboard)
