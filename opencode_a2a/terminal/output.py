"""Writes what `opencode-a2a call` shows: the answer to one text stream, everything else to another.

Knows no network. What an agent says is never trusted to be harmless to a terminal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from sansio.a2a.client.calls import to_json
from sansio.a2a.client.transcript import AnswerText, Notice, NoticeKind, Utterance
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import JsonObject, StreamItem

# Control characters can move the cursor, retitle a window, or type for the user; they are shown as symbols.
_HIDDEN: Final = (*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SYMBOLS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    **dict.fromkeys(_HIDDEN, 0xFFFD),
}
_ESCAPES: Final = {code: f"\\u{code:04x}" for code in _HIDDEN}
PREFIXES: Final = {
    NoticeKind.STATE: "[{}]",
    NoticeKind.STATUS: "{}",
    NoticeKind.TOOL: "[tool] {}",
    NoticeKind.PROGRESS: "[progress] {}",
    NoticeKind.INTERRUPT: "[waiting] {}",
    NoticeKind.ANSWERED: "[answered] {}",
    NoticeKind.FILE: "[file] {}",
    NoticeKind.CORRECTION: "[corrected] {}",
    NoticeKind.ERROR: "error: {}",
}


def harmless(text: str) -> str:
    """The text with every control character but tab and line feed replaced by a symbol for it."""
    return text.replace("\r\n", "\n").translate(_SYMBOLS)


def on_one_line(text: str) -> str:
    """The same on one line."""
    return " ".join(harmless(text).split())


def harmless_json(document: bytes) -> str:
    """The text of JSON in UTF-8; the control characters that JSON would let through are escaped in it."""
    return document.decode().translate(_ESCAPES)


class Printer:
    """The two streams of a command. Each piece is flushed as it comes.

    `quiet`: the answer alone, what is asked, and what has failed. `version` is the protocol version in which
    `as_json` prints items. `command` stands before what has failed. Raises `BrokenPipeError` where nobody reads the
    answer any more.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        verbose: bool = False,
        quiet: bool = False,
        as_json: bool = False,
        command: str = "call",
    ) -> None:
        self._command = command
        self._out = out
        self._err = err
        self._verbose = verbose
        self._quiet = quiet
        self._as_json = as_json
        self._on_terminal = out.isatty()
        self._for_people = err.isatty()
        self._shared = (self._on_terminal and err.isatty()) or _is_same_file(out, err)
        self._out_open = False  # the last line of each stream has not ended
        self._err_open = False
        self._question = ""
        self._prompt: tuple[str, str] | None = None  # the question and the prompt that wait for an answer
        self._prompt_shown = False  # the prompt is the last thing on its stream
        self._is_aside = False  # the prompt is the command's own
        self._below: tuple[str, str] | None = None  # what the task asks at the time
        self.version = "1.0"
        self.failure: str | None = None  # why the command has failed

    def show(self, item: StreamItem, utterances: Sequence[Utterance], *, will_ask: bool = False) -> None:
        """One item of the answer, and what there is to say of it. `will_ask`: `ask` will show what it asks."""
        if self._as_json:
            self._write_out(harmless_json(to_json(CODECS[self.version].render_item(item))) + "\n")
            self._prompt_again()
            return
        for utterance in utterances:
            if isinstance(utterance, Notice) and utterance.asks and will_ask:
                continue
            if isinstance(utterance, AnswerText):
                self._end_err_line()
                self._write_out(harmless(utterance.text) if self._on_terminal else utterance.text)
            elif self._wants(utterance) and (self._verbose or not utterance.detail):
                self._notice(utterance)
        self._prompt_again()

    def note(self, text: str) -> None:
        """Something the call itself has to say."""
        self._say(f"[{on_one_line(text)}]")
        self._prompt_again()

    def activity(self, text: str) -> None:
        """Take note of what the call does while nothing comes; a screen shows it."""

    async def animate(self) -> None:
        """Draw, for as long as this is awaited, where there is a screen."""

    def detail(self, text: str) -> None:
        """The same, for the curious."""
        if self._verbose:
            self.note(text)

    def hint(self, text: str) -> None:
        """Print how to continue, at a terminal or where more is asked for."""
        if not self._quiet and (self._verbose or self._for_people):
            self.note(text)

    def fault(self, text: str) -> None:
        """Why the command has failed."""
        self.failure = on_one_line(text)
        self._say(f"opencode-a2a {self._command}: {on_one_line(text)}")

    def print(self, text: str) -> None:
        """Print lines of a result."""
        self._write_out(text)

    def ask(self, question: str, prompt: str) -> None:
        """Prompt for an answer at the terminal, right below the question. Both come again after what comes between.

        `question` is empty where the prompt goes on with the question before it.
        """
        if question:
            self._question = question
        if self._is_aside:
            self._below = (self._question, prompt)
            return
        self._put_question(question)
        self._prompt = (self._question, prompt)
        self._put_prompt()

    def asked(self) -> None:
        """The answer has been typed, and its line ended by whoever typed it."""
        self._prompt, self._prompt_shown = None, False

    def unask(self) -> None:
        """There will be no answer, or none is needed any more."""
        if self._is_aside:
            self._below = None
        else:
            self._end_prompt()

    @property
    def left_open(self) -> tuple[str, str] | None:
        """The question of the task and its prompt, while the command asks something of its own."""
        return self._below

    @contextmanager
    def aside(self, question: str, prompt: str) -> Iterator[None]:
        """Prompt for an answer to a question of the command's own; what the task asks comes again after it."""
        before, of_task = self._prompt, self._question
        self._end_prompt()
        self.ask(question, prompt)
        self._question, self._below, self._is_aside = of_task, before, True
        try:
            yield
        finally:
            self._is_aside = False
            self._end_prompt()
            self._prompt, self._below = self._below, None
            self._prompt_again()

    def outcome(self, outcome: JsonObject) -> None:
        """Print how the command has ended, where items are printed as JSON."""
        if self._as_json:
            with suppress(OSError):  # what was printed before it could not be written either
                self._write_out(harmless_json(to_json({"outcome": outcome})) + "\n")

    def close(self) -> None:
        """End the lines that are open."""
        try:
            self._end_err_line()
            self._end_out_line()
        except BrokenPipeError:
            return  # the reader has left; `show` has raised where it mattered

    def _wants(self, notice: Notice) -> bool:
        """Whether a notice is shown: where it is quiet, what has failed and what is asked alone."""
        return not self._quiet or notice.asks or notice.kind is NoticeKind.ERROR

    def _notice(self, notice: Notice) -> None:
        if notice.partial:
            if self._prompt_shown:
                self._end_err_line()
            if not self._err_open:
                self._end_shared_line()
            self._write_err(harmless(notice.text))
            self._err_open = not notice.text.endswith("\n")
            return
        if notice.ends:
            self._end_out_line()
        self._say(PREFIXES[notice.kind].format(harmless(notice.text)))

    def _prompt_again(self) -> None:
        """End the lines that were written between a question and its answer."""
        if self._prompt is not None and not self._prompt_shown:
            question, _ = self._prompt
            self._put_question(question)
            self._put_prompt()

    def _put_question(self, question: str) -> None:
        if question:
            self._say(PREFIXES[NoticeKind.INTERRUPT].format(harmless(question)))

    def _end_prompt(self) -> None:
        self._prompt = None

    def _put_prompt(self) -> None:
        if self._prompt is not None:
            self._end_err_line()
            self._end_shared_line()
            self._write_err(self._prompt[1])
            self._prompt_shown = True

    def _say(self, text: str) -> None:
        self._end_err_line()
        self._end_shared_line()
        self._write_err(f"{text}\n")

    def _end_err_line(self) -> None:
        if self._err_open or self._prompt_shown:
            self._err_open = self._prompt_shown = False
            self._write_err("\n")

    def _end_out_line(self) -> None:
        if self._out_open:
            self._write_out("\n")

    def _end_shared_line(self) -> None:
        """Where both streams go to one place, a notice does not begin in the middle of the answer."""
        if self._shared and self._out_open:
            self._out_open = False
            self._write_err("\n")

    def _write_out(self, text: str) -> None:
        _write(self._out, text)
        self._out_open = not text.endswith("\n")

    def _write_err(self, text: str) -> None:
        _write(self._err, text)


def _is_same_file(one: TextIO, other: TextIO) -> bool:
    """Whether both streams are one file or pipe, as with `2>&1`."""
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())
    except (OSError, ValueError):  # no file is behind it
        return False


def _write(stream: TextIO, text: str) -> None:
    """Characters the stream's encoding lacks are replaced rather than fatal."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
