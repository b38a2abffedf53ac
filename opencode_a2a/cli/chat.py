"""`opencode-a2a chat`: a conversation with any A2A agent, message by message, in one context.

The core decides which line is a message and which a command, what Ctrl-C does and where the next message goes; this
does it. At a terminal lines are edited; otherwise each line of standard input is a message.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import anyio
from attrs import define, evolve, field

from opencode_a2a.cli.agent_arguments import for_people, interface_text
from opencode_a2a.cli.message_arguments import MessageShape, message_shape, with_file
from opencode_a2a.cli.outcome import BROKEN, DONE, INTERRUPTED, OF_STATE, failure_text, reported
from opencode_a2a.cli.tasks import task_row
from opencode_a2a.client.cards import check_url
from opencode_a2a.client.connection import connect
from opencode_a2a.client.options import CallTarget
from opencode_a2a.client.remote_agent import RemoteAgent
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.terminal.chat_history import HistoryFile, state_directory
from opencode_a2a.terminal.conversation import Conversation
from opencode_a2a.terminal.output import Printer, on_one_line
from opencode_a2a.terminal.piped_lines import PipedLines
from opencode_a2a.terminal.prompts import Answers, Terminal
from opencode_a2a.terminal.screen.look import Look
from opencode_a2a.terminal.screen.printers import printer_for
from sansio.a2a.cards.parse import Origin
from sansio.a2a.cards.review import CardReview, review
from sansio.a2a.client.client_errors import ClientError, UsageError
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import ListTasksRequest
from sansio.chat import LINE_LIMIT, ChatState, Interruption, Interruptions, Mistake, Run, Say, help_lines, parse_line
from sansio.opencode.message_metadata import split_model

_TASKS: Final = 20  # the most that /tasks lists
_SKILLS: Final = 10  # the most that the greeting lists
_CANCELING: Final = 2.0
"""Seconds for which a canceled task may go on to be shown, after the agent has confirmed that it is canceled."""


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code."""
    return runtime.run(partial(run_from_arguments, options, settings, sys.stdout, sys.stderr, sys.stdin))


async def run_from_arguments(
    options: argparse.Namespace, settings: Settings, out: TextIO, err: TextIO, stdin: TextIO
) -> int:
    """Run the command as it was parsed; return the exit code (see its help)."""
    binding = options.binding and options.binding.upper()
    target = CallTarget.of(options.url, settings, version=options.version, binding=binding, timeout=options.timeout)
    look = Look.of(out, err, os.environ, options.color)
    printers = partial(printer_for, out, err, look, quiet=options.quiet, verbose=options.verbose, command="chat")
    printer = printers()
    terminal = Terminal.between(stdin, err)

    async def converse() -> int:
        check_url(target.url)
        shape = await message_shape(options, settings, "")
        async with connect(target.url, for_people(target.options)) as agent:
            printer.version = agent.interface.version
            printer.detail(interface_text(agent.interface))
            shape.extensions(agent.card.extensions)  # what the agent does not offer is refused now
            chat = Chat(
                options=options,
                settings=settings,
                target=target,
                agent=agent,
                printers=printers,
                printer=printer,
                terminal=terminal if look.out or look.err else None,
                answers=Answers(options.on_permission, terminal),
                shape=shape,
                state=ChatState(context_id=options.context),
                is_terminal=stdin.isatty() and out.isatty(),
            )
            return await chat.hold(stdin)

    return await reported(converse(), printer, target)


def _is_dumb(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM", "dumb").lower() in ("", "dumb", "unknown")


def _history(printer: Printer) -> HistoryFile | None:
    try:
        return HistoryFile.below(state_directory(os.environ, Path.home()))
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows the home directory
        printer.note(f"lines are not kept: {getattr(error, 'strerror', None) or error}")
        return None


@define(eq=False, kw_only=True)
class Chat:
    """A conversation: its lines, one after the other, and what becomes of each.

    `printers` makes the printer of a message. `terminal`: its echo would end up in what is drawn; `None`: nothing is.
    """

    options: argparse.Namespace
    settings: Settings
    target: CallTarget
    agent: RemoteAgent
    printers: Callable[[], Printer]
    printer: Printer
    terminal: Terminal | None
    answers: Answers
    shape: MessageShape
    state: ChatState
    is_terminal: bool
    _interruptions: Interruptions = field(factory=Interruptions, init=False)
    _running: Conversation | None = field(default=None, init=False)  # the message at work
    _turn: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    _over: anyio.Event = field(factory=anyio.Event, init=False)  # the turn has ended
    _code: int = field(default=DONE, init=False)

    async def hold(self, stdin: TextIO) -> int:
        """Hold the conversation to its end; return the exit code."""
        ended = False
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_signals, group)
            try:
                lines = PipedLines(stdin, LINE_LIMIT * 4)
                await (self._at_terminal(lines) if self.is_terminal else self._piped(lines))
            except Exception as error:  # whatever it is, it is raised below: the group would wrap it
                failure = error
            ended = True
            group.cancel_scope.cancel()
        self._say_how_to_come_back()
        if failure is not None:
            raise failure
        if not ended:
            return INTERRUPTED
        return DONE if self.is_terminal else self._code

    # --- lines --------------------------------------------------------------------------------------------

    async def _at_terminal(self, lines: PipedLines) -> None:
        prompt_for = self._prompted(lines) if _is_dumb(os.environ) else self._edited()
        self._greet()
        while True:
            text = await prompt_for("answer> " if self.state.task_id else "> ")
            if text is None:
                return
            match parse_line(text):
                case Say(text=text):
                    await self._send_from_terminal(text)
                case Run(name="quit"):
                    return
                case Run(name=name, argument=argument):
                    await self._attempt(_RUN[name](self, argument))
                case Mistake(reason=reason):
                    self.printer.fault(reason)

    def _edited(self) -> Callable[[str], Awaitable[str | None]]:
        """Return the wait for a line that is edited; it gives `None` where the conversation is to be left."""
        from opencode_a2a.terminal.line_editor import LineEditor, LineInterruptedError

        editor = LineEditor(None if self.options.no_history else _history(self.printer))

        async def line(prompt: str) -> str | None:
            while True:
                try:
                    text = await editor.line(prompt)
                except LineInterruptedError as interrupted:
                    effect = self._interruptions.while_typing(interrupted.text)
                    if effect is Interruption.LEAVE:
                        return None
                    if effect is Interruption.EXPLAIN:
                        self.printer.note("Ctrl-C again, or Ctrl-D, leaves")
                    continue
                self._interruptions.reset()
                return text

        return line

    def _prompted(self, lines: PipedLines) -> Callable[[str], Awaitable[str | None]]:
        """Return the wait for a line at a terminal that cannot move its cursor."""

        async def line(prompt: str) -> str | None:
            self.printer.print(prompt)
            try:
                text = await lines.line()
            except ValueError as error:
                raise UsageError(str(error)) from None
            if text is None:
                self.printer.close()
            else:
                self.printer = self.printers()  # whoever typed has ended the line of the prompt
            return text

        return line

    async def _piped(self, lines: PipedLines) -> None:
        """Send each line. The first that the agent does not take ends the conversation."""
        while True:
            try:
                text = await lines.line()
            except ValueError as error:
                raise UsageError(str(error)) from None
            if text is None:
                return
            if text.strip():
                self._code = await self._send(text)

    async def _attempt(self, command: Awaitable[None]) -> bool:
        """Await something; what fails is a line on standard error, and the conversation goes on."""
        try:
            await command
        except (ClientError, ProtocolError) as error:
            self.printer.fault(failure_text(error, self.target))
            return False
        finally:
            self.printer.close()
        return True

    # --- a message ----------------------------------------------------------------------------------------

    async def _send_from_terminal(self, text: str) -> None:
        async def send() -> None:
            await self._send(text)

        if not await self._attempt(send()):
            self.state = self.state.refused()

    async def _send(self, text: str) -> int:
        """Send a message, and show what comes of it; return the exit code that it stands for."""
        message = self.shape.message(
            text, self.agent.card.extensions, context_id=self.state.context_id, task_id=self.state.task_id
        )
        printer = self.printer = self.printers()
        printer.version = self.agent.interface.version
        running = self._running = Conversation(
            agent=self.agent,
            printer=printer,
            answers=self.answers,
            streaming=not self.options.no_stream,
            left_waiting="the task waits; the next message answers it",
        )
        transcript = running.transcript
        self._turn, self._over = anyio.CancelScope(), anyio.Event()
        printer.activity("waiting for the agent")
        try:
            with self._turn, nullcontext() if self.terminal is None else self.terminal.silenced():
                await self._drawn(running.hold(message), printer)
        finally:
            printer.close()
            self._running = None
            self._over.set()
            self._interruptions.reset()
            if transcript.state is not None:
                self.shape = evolve(self.shape, files=())  # they have arrived
            self.state = self.state.after(
                context_id=transcript.context_id, task_id=transcript.task_id, state=transcript.state
            )
        return BROKEN if transcript.state is None else OF_STATE.get(transcript.state, BROKEN)

    async def _drawn(self, turn: Awaitable[None], printer: Printer) -> None:
        """Await a turn, and draw meanwhile."""
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(printer.animate)
            try:
                await turn
            except Exception as error:  # whatever it is, it is raised below: the group would wrap it
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    # --- Ctrl-C while a task is at work -------------------------------------------------------------------

    async def _watch_signals(self, group: anyio.abc.TaskGroup) -> None:
        try:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for number in signals:
                    running = self._running
                    cancels = number == signal.SIGINT and running is not None and self.is_terminal
                    if cancels and self._interruptions.while_running() is Interruption.CANCEL:
                        assert running is not None  # as `cancels` says
                        group.start_soon(self._cancel_running, running)
                    else:
                        group.cancel_scope.cancel()
        except NotImplementedError:
            return  # Windows: the runtime's own KeyboardInterrupt ends the program

    async def _cancel_running(self, running: Conversation) -> None:
        """Cancel the task at work; its end is shown as it comes. A message without a task is given up."""
        turn, over, task_id = self._turn, self._over, running.transcript.task_id
        if task_id is None:
            self.printer.note("given up before the agent had named a task")
        else:
            running.printer.unask()
            self.printer.note("canceling; Ctrl-C again leaves")
            try:
                await running.cancel()
            except (ClientError, ProtocolError) as error:
                self.printer.note(f"the task was not canceled: {failure_text(error, self.target)}")
            with anyio.move_on_after(_CANCELING):
                await over.wait()
        turn.cancel()

    # --- commands -----------------------------------------------------------------------------------------

    async def _help(self, argument: str) -> None:
        self.printer.print("".join(f"{line}\n" for line in help_lines()))

    async def _new(self, argument: str) -> None:
        self.state = ChatState()
        self.shape = evolve(self.shape, session=None)  # a session belongs to its context
        self.printer.note("a new conversation begins")

    async def _context(self, argument: str) -> None:
        if argument:
            self.state = ChatState(context_id=argument)
            self.shape = evolve(self.shape, session=None)
        named = self.state.context_id
        self.printer.note("no context yet: the agent names it with its first answer" if named is None else named)

    async def _file(self, argument: str) -> None:
        if not argument:
            self.shape = evolve(self.shape, files=())
            self.printer.note("no file is attached")
            return
        self.shape = await with_file(self.shape, argument, self.settings, option="/file")
        names = ", ".join(part.filename or part.url or "unnamed" for part in self.shape.files)
        self.printer.note(f"attached to the next message: {names}")

    async def _model(self, argument: str) -> None:
        if argument:
            chosen = evolve(self.shape, model=None if argument == "default" else argument)
            try:
                split_model(chosen.model or "any/any")
                chosen.extensions(self.agent.card.extensions)
            except ValueError as error:
                raise UsageError(f"/model: {error}") from None
            self.shape = chosen
        self.printer.note(f"the model is {self.shape.model or 'left to the agent'}")

    async def _tasks(self, argument: str) -> None:
        if self.state.context_id is None:
            self.printer.note("no task yet")
            return
        request = ListTasksRequest(context_id=self.state.context_id, page_size=_TASKS, history_length=0)
        page = await self.agent.list_tasks(request)
        rows = [f"{row}\n" for task in page.tasks[:_TASKS] for row in task_row(task)]
        if rows:
            self.printer.print("".join(rows))
        else:
            self.printer.note("no task")

    async def _cancel_waiting(self, argument: str) -> None:
        if self.state.task_id is None:
            self.printer.note("no task waits for an answer")
            return
        task = await self.agent.cancel_task(self.state.task_id)
        if task.status.state.terminal:
            self.state = self.state.refused()
        self.printer.note(f"the task {task.id} is {task.status.state.value}")

    # --- beginning and end --------------------------------------------------------------------------------

    def _greet(self) -> None:
        if not self.options.quiet:
            self.printer.print("".join(f"{line.rstrip()}\n" for line in _greeting(review(self.agent.card_body))))
        origin = Origin.of(self.agent.interface.url)
        if origin != self.agent.web.home:
            self.printer.note(f"the agent card points to {origin}")
        if self.state.context_id is not None:
            self.printer.note(f"going on with context {self.state.context_id}")
        self.printer.note("/help lists the commands; Ctrl-D leaves")

    def _say_how_to_come_back(self) -> None:
        if self.state.context_id is None:
            return
        context = shlex.quote(self.state.context_id)
        if self.state.task_id is not None:
            self.printer.hint(f"the task {self.state.task_id} waits for an answer")
        self.printer.hint(
            f"to go on with this conversation: opencode-a2a chat {shlex.quote(self.options.url)} --context {context}"
        )


_RUN: Final[Mapping[str, Callable[[Chat, str], Awaitable[None]]]] = {
    "help": Chat._help,
    "new": Chat._new,
    "context": Chat._context,
    "file": Chat._file,
    "model": Chat._model,
    "tasks": Chat._tasks,
    "cancel": Chat._cancel_waiting,
}


def _greeting(reviewed: CardReview) -> Iterator[str]:
    """Yield the name and the skills of an agent. Its texts cannot move the cursor."""
    yield on_one_line(f"{reviewed.card.name or 'unnamed'}  {reviewed.version}")
    if reviewed.description:
        yield on_one_line(reviewed.description)
    for skill in reviewed.skills[:_SKILLS]:
        yield on_one_line(f"- {skill.name or skill.id}: {skill.description}".removesuffix(": "))
    if len(reviewed.skills) > _SKILLS:
        yield f"- {len(reviewed.skills) - _SKILLS} more skills; `opencode-a2a card` lists them"
