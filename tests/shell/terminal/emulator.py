"""A person's terminal for tests: a program in a pseudo-terminal, and the screen that its output makes.

Knows nothing of what the program is.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import pyte
from anyio.abc import Process
from attrs import define, field

DEADLINE = 10.0

CALL = """
import fcntl, sys, termios
from importlib import import_module
from opencode_a2a.cli.main import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.exit(main(sys.argv[1:]))
"""


@define(eq=False, kw_only=True)
class Emulator:
    """The terminal of one program. `raw`: all bytes that the program has written to it."""

    keyboard: int
    screen: pyte.Screen
    process: Process
    raw: bytearray = field(factory=bytearray)
    changed: anyio.Event = field(factory=anyio.Event)
    ended: bool = False

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, without white space at their ends, and without the empty ones below."""
        found = [line.rstrip() for line in self.screen.display]
        while found and not found[-1]:
            found.pop()
        return found

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def types(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    async def until(self, found: str | Callable[[], object]) -> None:
        """Wait for a text on the screen, or for something to be true of it."""

        def holds() -> object:
            return found in self.text if isinstance(found, str) else found()

        try:
            with anyio.fail_after(DEADLINE):
                while not holds():
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"not on the screen: {found}\n{self.text}") from None

    async def exit_code(self) -> int:
        with anyio.fail_after(DEADLINE):
            code = await self.process.wait()
            while not self.ended:
                await self.changed.wait()
        return code

    async def read(self) -> None:
        """Bring what the program writes on the screen, to its end."""
        stream = pyte.ByteStream(self.screen)
        while True:
            await anyio.wait_readable(self.keyboard)
            try:
                data = os.read(self.keyboard, 65536)
            except OSError:  # the program has closed its end
                data = b""
            self.raw += data
            stream.feed(data)
            self.ended = not data
            self.changed.set()
            self.changed = anyio.Event()
            if not data:
                return


@asynccontextmanager
async def emulator(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    columns: int = 80,
    lines: int = 40,
    stdout: int | None = None,
) -> AsyncIterator[Emulator]:
    """Run the command line at a terminal. `stdout`: where standard output goes instead."""
    keyboard, program_end = os.openpty()
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    process = await anyio.open_process(
        [sys.executable, "-c", CALL, *arguments],
        stdin=program_end,
        stdout=program_end if stdout is None else stdout,
        stderr=program_end,
        start_new_session=True,
        env={**kept, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONUTF8": "1", **environ},
    )
    os.close(program_end)
    found = Emulator(keyboard=keyboard, screen=pyte.Screen(columns, lines), process=process)
    try:
        async with process, anyio.create_task_group() as group:
            group.start_soon(found.read)
            try:
                yield found
            finally:
                if process.returncode is None:
                    process.kill()
                group.cancel_scope.cancel()
    finally:
        os.close(keyboard)
