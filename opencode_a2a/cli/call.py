"""`opencode-a2a call`: sends one message to any A2A agent and shows the answer as it comes.

What to ask and what an answer means is decided by the core's client side; this drives it, and reports the outcome.
Credentials come from settings, never from the command line.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import nullcontext
from functools import partial
from typing import TextIO

import anyio
import anyio.to_thread
from attrs import frozen

from opencode_a2a.cli.agent_arguments import calling_command, for_people, interface_text
from opencode_a2a.cli.message_arguments import MessageShape, message_shape
from opencode_a2a.cli.outcome import INTERRUPTED, OF_STATE, USAGE, reported
from opencode_a2a.client.cards import check_url
from opencode_a2a.client.connection import connect
from opencode_a2a.client.options import CallTarget
from opencode_a2a.client.remote_agent import RemoteAgent
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.terminal.conversation import Conversation
from opencode_a2a.terminal.interruption import Interruption
from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.prompts import Answers, Terminal
from opencode_a2a.terminal.saving import Saving
from opencode_a2a.terminal.screen.look import Look
from opencode_a2a.terminal.screen.printers import printer_for
from sansio.a2a.cards.parse import (
    Origin,
)
from sansio.a2a.client.client_errors import AgentError, ClientError, InvalidAnswerError, UsageError
from sansio.a2a.client.transcript import Transcript
from sansio.a2a.model import JsonObject, TaskState

__all__ = ["CallTarget", "call", "run", "run_from_arguments"]


# --- the command line -------------------------------------------------------------------------------------


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code."""
    return runtime.run(partial(run_from_arguments, options, settings, sys.stdout, sys.stderr))


async def run_from_arguments(
    args: argparse.Namespace, settings: Settings, out: TextIO, err: TextIO, stdin: TextIO | None = None
) -> int:
    """Runs `call` as parsed by its arguments; returns the exit code. SIGINT and SIGTERM end it with 130.

    `stdin` is what TEXT `-` and answers are read from; None: the process's own.
    """
    typed = stdin or sys.stdin
    look = Look.of(out, err, os.environ, args.color)
    printer = printer_for(out, err, look, quiet=args.quiet, verbose=args.verbose, as_json=args.json)
    terminal = Terminal.between(typed, err)
    interruption = Interruption(printer=printer, terminal=terminal)
    try:
        target = CallTarget.of(
            args.url,
            settings,
            version=args.version,
            binding=args.binding and args.binding.upper(),
            timeout=args.timeout,
        )
    except UsageError as error:
        printer.fault(str(error))
        printer.outcome(_outcome(USAGE, interruption, printer))
        return USAGE

    async def read_and_call() -> int:
        opening = await _opening(args, settings, typed)
        saving = None if args.output is None else Saving.at(args.output)
        answers = Answers(args.on_permission, terminal)
        _check(target, opening)
        return await _connected(
            target, printer, answers, opening, interruption, stream=not args.no_stream, saving=saving
        )

    codes: list[int] = []
    with terminal.silenced() if terminal is not None and (look.out or look.err) else nullcontext():
        async with anyio.create_task_group() as group:
            group.start_soon(interruption.watch, group.cancel_scope)
            group.start_soon(printer.animate)
            codes.append(await reported(read_and_call(), printer, target))
            interruption.over.set()
            group.cancel_scope.cancel()
    code = codes[0] if codes else _code_of_interrupted(interruption, args)
    printer.outcome(_outcome(code, interruption, printer))
    return code


async def _opening(args: argparse.Namespace, settings: Settings, stdin: TextIO) -> _Opening:
    """Read what the call begins with. Raises `UsageError`."""
    if args.resume is not None:
        if args.text is not None or args.task is not None or args.context is not None:
            raise UsageError("--resume: takes neither TEXT nor --task nor --context")
        return _Opening(text=None, context_id=None, task_id=args.resume, shape=MessageShape())
    text = args.text
    if text is None:
        raise UsageError("TEXT: is missing")
    if text == "-":
        try:
            text = await anyio.to_thread.run_sync(stdin.read, abandon_on_cancel=True)
        except UnicodeDecodeError:
            raise UsageError("standard input is not text in the terminal's encoding") from None
    shape = await message_shape(args, settings, text)
    return _Opening(text=text, context_id=args.context, task_id=args.task, shape=shape)


def _code_of_interrupted(interruption: Interruption, args: argparse.Namespace) -> int:
    """Return the exit code of a call that was cut short, and print how to come back."""
    conversation, printer = interruption.conversation, interruption.printer
    state = None if conversation is None else conversation.transcript.state
    if state is not None and state.terminal:
        return OF_STATE[state]
    task = interruption.task_id
    if task is None:
        printer.fault("interrupted; the agent may still be working on the task")
    else:
        command = calling_command(args, "--resume", task)
        printer.fault(f"interrupted; the task goes on. To come back: {command}")
    return INTERRUPTED


def _outcome(code: int, interruption: Interruption, printer: Printer) -> JsonObject:
    """Return the last line of `--json`."""
    transcript = Transcript() if interruption.conversation is None else interruption.conversation.transcript
    return {
        "code": code,
        "state": None if transcript.state is None else transcript.state.value,
        "taskId": transcript.task_id,
        "contextId": transcript.context_id,
        "protocolVersion": None if interruption.conversation is None else printer.version,
        "binding": None if interruption.conversation is None else interruption.conversation.agent.interface.binding,
        "error": printer.failure,
    }


# --- one call ---------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _Opening:
    """The user's message, and the context and task that it belongs to; `text` None: the task is resumed."""

    text: str | None
    context_id: str | None
    task_id: str | None
    shape: MessageShape


async def call(
    target: CallTarget,
    text: str,
    *,
    out: TextIO,
    err: TextIO,
    context_id: str | None = None,
    task_id: str | None = None,
    shape: MessageShape | None = None,
    answers: Answers | None = None,
    stream: bool = True,
    verbose: bool = False,
    as_json: bool = False,
) -> int:
    """Sends `text` and shows the answer; returns the exit code (see its help).

    `shape`: what else the message holds. `answers`: what to say where the task asks something; by default it is left
    waiting. Errors of the network, of the agent and of usage become one line on `err`. Cancelling it leaves the task
    with the agent.
    """
    printer = Printer(out, err, verbose=verbose, as_json=as_json)
    opening = _Opening(text=text, context_id=context_id, task_id=task_id, shape=shape or MessageShape())
    interruption = Interruption(printer=printer, terminal=None)

    async def converse() -> int:
        _check(target, opening)
        return await _connected(target, printer, answers or Answers(), opening, interruption, stream=stream)

    return await reported(converse(), printer, target)


def _check(target: CallTarget, opening: _Opening) -> None:
    check_url(target.url)
    if opening.text is not None and not opening.text.strip():
        raise UsageError("TEXT: must not be empty")
    for name, value in (
        ("TEXT", opening.text or ""),
        ("--context", opening.context_id or ""),
        ("--task" if opening.text is not None else "--resume", opening.task_id or ""),
    ):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{name}: is not valid in the terminal's encoding") from None


# --- the conversation -------------------------------------------------------------------------------------


async def _connected(
    target: CallTarget,
    printer: Printer,
    answers: Answers,
    opening: _Opening,
    interruption: Interruption,
    *,
    stream: bool,
    saving: Saving | None = None,
) -> int:
    """Call the agent; whatever becomes of it, write what there is of the answer to where it is wanted."""
    printer.activity("connecting")
    try:
        async with connect(target.url, for_people(target.options)) as agent:
            return await _converse(agent, printer, answers, opening, interruption, stream=stream)
    finally:
        if saving is not None and interruption.conversation is not None:
            transcript = interruption.conversation.transcript
            # what is there already is kept until there is an answer, be it an empty one
            if transcript.answer or transcript.files or transcript.state is TaskState.COMPLETED:
                for path in saving.write(transcript.answer, transcript.files):
                    printer.hint(f"written: {path}")


async def _converse(
    agent: RemoteAgent,
    printer: Printer,
    answers: Answers,
    opening: _Opening,
    interruption: Interruption,
    *,
    stream: bool,
) -> int:
    printer.version = agent.interface.version
    printer.detail(interface_text(agent.interface))
    origin = Origin.of(agent.interface.url)
    if origin != agent.web.home:
        printer.note(f"the agent card points to {origin}")
    conversation = Conversation(agent=agent, printer=printer, answers=answers, streaming=stream)
    transcript = conversation.transcript
    interruption.conversation = conversation
    printer.activity("waiting for the agent")
    try:
        if opening.text is None:
            assert opening.task_id is not None  # a task is resumed
            await conversation.resume(opening.task_id)
        else:
            message = opening.shape.message(
                opening.text, agent.card.extensions, context_id=opening.context_id, task_id=opening.task_id
            )
            await conversation.hold(message)
    except AgentError:
        if opening.text is not None and opening.task_id is not None:
            await _say_where_to_go_on(agent, opening.task_id, printer)
        raise
    code = None if transcript.state is None else OF_STATE.get(transcript.state)
    if code is None:
        raise InvalidAnswerError("The agent's answer ended before the task did")
    if transcript.context_id is not None:
        printer.hint(f"to go on with this conversation: --context {shlex.quote(transcript.context_id)}")
    return code


async def _say_where_to_go_on(agent: RemoteAgent, task_id: str, printer: Printer) -> None:
    """A task that has ended takes no message; its context does."""
    try:
        task = await agent.get_task(task_id)
    except ClientError:
        return  # the refusal says enough
    if task.status.state.terminal and task.context_id:
        printer.note(f"the task is {task.status.state.value}; go on with --context {shlex.quote(task.context_id)}")
