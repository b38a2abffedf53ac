"""Edits the lines of a conversation at a terminal, with history and completion, by prompt_toolkit.

prompt_toolkit runs on an event loop of its own. So it works in a thread, whatever this program's loop is, and is
ended from here where the wait for a line is cancelled. Importing it takes long: only `chat` at a terminal does.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import anyio
import anyio.lowlevel
import anyio.to_thread
from attrs import define, field
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_searching
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from opencode_a2a.terminal.chat_history import HistoryFile
from sansio.chat import complete

_FILE = "/file "


class LineInterruptedError(Exception):
    """Ctrl-C was typed. `text` is what the line held."""

    def __init__(self, text: str) -> None:
        super().__init__("interrupted")
        self.text = text


class _Commands(Completer):
    """Completes commands, and the path of a file to attach."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if text.startswith(_FILE):
            path = text.removeprefix(_FILE)
            yield from self._paths.get_completions(Document(path, len(path)), complete_event)
            return
        for command in complete(text):
            filled = f"/{command.name}" + (" " if command.takes else "")
            shown = f"/{command.name} {command.takes}".rstrip()
            yield Completion(filled, start_position=-len(text), display=shown, display_meta=command.about)


class _Kept(History):
    """The history in a file. A file that fails later costs the history, not the conversation."""

    def __init__(self, file: HistoryFile) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        with suppress(OSError):
            yield from reversed(self._file.read())

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            self._file.append(string)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=~is_searching)
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=~is_searching)
    def another_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    def interrupt(event: KeyPressEvent) -> None:
        event.app.exit(exception=LineInterruptedError(event.current_buffer.text), style="class:aborting")

    return keys


@define(eq=False)
class LineEditor:
    """A terminal at which lines are typed, one wait at a time. `history` None: it lasts as long as this does."""

    history: HistoryFile | None = None
    _session: PromptSession[str] | None = field(default=None, init=False)
    _cancelled: bool = field(default=False, init=False)

    async def line(self, prompt: str) -> str | None:
        """Wait for a line, or several; `None` where Ctrl-D was typed. Raises `LineInterruptedError`.

        Cancelling it gives the terminal back before it raises.
        """
        self._cancelled = False
        typed: list[str | None] = []
        raised: list[LineInterruptedError] = []

        def edit() -> None:
            try:
                typed.append(self._edit(prompt))
            except LineInterruptedError as error:
                raised.append(error)  # a task group would wrap it

        async with anyio.create_task_group() as group:
            group.start_soon(self._end_when_cancelled)
            await anyio.to_thread.run_sync(edit)
            group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint_if_cancelled()  # what a cancelled wait has given is nothing
        for error in raised:
            raise error
        return typed[0] if typed else None

    async def _end_when_cancelled(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._cancelled = True
            app = None if self._session is None else self._session.app
            loop = None if app is None else app.loop
            if loop is not None:
                with suppress(RuntimeError):  # it has ended meanwhile
                    loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        """End a wait that is cancelled. Runs on prompt_toolkit's loop."""
        if self._session is not None and self._session.app.is_running and not self._session.app.is_done:
            self._session.app.exit(exception=EOFError())

    def _edit(self, prompt: str) -> str | None:
        if self._session is None:
            self._session = PromptSession(
                history=InMemoryHistory() if self.history is None else _Kept(self.history),
                completer=_Commands(),
                complete_while_typing=True,
                key_bindings=_keys(),
                multiline=True,
                prompt_continuation="  ",
                enable_open_in_editor=False,
            )
        try:
            return self._session.prompt(
                FormattedText([("bold", prompt)]),
                pre_run=lambda: self._end() if self._cancelled else None,
                handle_sigint=False,
            )
        except EOFError:
            return None
