"""Ctrl-C during a call: cancel the task, leave it running, or go on.

A terminal is needed for the choice; without one, at the second Ctrl-C, and at SIGTERM, the task is left running.
"""

from __future__ import annotations

import signal
from typing import Final

import anyio
from attrs import define, field

from opencode_a2a.terminal.conversation import Conversation
from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.prompts import Terminal
from sansio.a2a.client.client_errors import ClientError

MENU: Final = "Interrupted: [c]ancel the task, [d]etach from it, or go on (Enter)"
MENU_PROMPT: Final = "c, d or Enter> "
_CHOICES: Final = ("c", "d", "")
_GRACE: Final = 3.0
"""Seconds in which the stream of a canceled task may end by itself."""


@define(eq=False, kw_only=True)
class Interruption:
    """Watches for signals beside a call. `conversation` is set as soon as there is one; `over` when it has ended."""

    printer: Printer
    terminal: Terminal | None
    conversation: Conversation | None = None
    over: anyio.Event = field(factory=anyio.Event, init=False)
    _choosing: bool = field(default=False, init=False)

    async def watch(self, scope: anyio.CancelScope) -> None:
        """Cancel the scope of the call where it is to end. Returns at once where signals cannot be received."""
        try:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async with anyio.create_task_group() as group:
                    async for number in signals:
                        if number == signal.SIGTERM or self._choosing or not self._can_choose:
                            scope.cancel()
                        else:
                            self._choosing = True
                            group.start_soon(self._choose, scope)
        except NotImplementedError:
            return  # Windows: the runtime's own KeyboardInterrupt ends the program

    @property
    def task_id(self) -> str | None:
        """The task of the call, once it is known."""
        return None if self.conversation is None else self.conversation.transcript.task_id

    @property
    def _can_choose(self) -> bool:
        return self.terminal is not None and self.task_id is not None

    async def _choose(self, scope: anyio.CancelScope) -> None:
        """Offer the choice, and act on it."""
        assert self.terminal is not None
        assert self.conversation is not None
        chosen = None
        with self.terminal.asking():
            while chosen not in _CHOICES:  # who has typed something else is asked again
                with self.printer.aside(MENU, MENU_PROMPT):
                    line = await self.terminal.aside()
                    self.printer.asked()
                    chosen = "d" if line is None else line.strip().lower()[:1]
                    left_open = self.printer.left_open
                    if chosen in ("c", "d"):
                        self.printer.unask()  # nobody will answer what the task asks
        if chosen == "d":
            scope.cancel()
        elif chosen == "c":
            try:
                await self.conversation.cancel()
            except ClientError as error:
                self.printer.note(f"the task was not canceled: {error}")
                if left_open is not None:
                    self.printer.ask(*left_open)
            else:
                with anyio.move_on_after(_GRACE):
                    await self.over.wait()
                scope.cancel()
        self._choosing = False
