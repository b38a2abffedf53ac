"""`opencode-a2a call`: sends one message to any A2A agent and shows the answer as it comes.

What to ask and what an answer means is decided by the core's client side; this drives it, and reports the outcome.
Credentials come from settings, never from the command line.
"""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from typing import Final, TextIO

import anyio
import anyio.to_thread
from attrs import frozen

from opencode_a2a.cli.agent_arguments import add_agent_arguments, add_timeout, add_url, for_people
from opencode_a2a.cli.message_arguments import MessageShape, add_message_arguments, message_shape
from opencode_a2a.cli.outcome import INTERRUPTED, OF_STATE, USAGE, reported
from opencode_a2a.client.cards import check_url
from opencode_a2a.client.connection import connect
from opencode_a2a.client.options import CallTarget
from opencode_a2a.client.remote_agent import RemoteAgent
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.terminal.conversation import Conversation
from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.prompts import ASK, RULES, Answers, Terminal
from sansio.a2a.cards.parse import (
    Origin,
)
from sansio.a2a.client.client_errors import AgentError, ClientError, InvalidAnswerError, UsageError

__all__ = ["CallTarget", "add_arguments", "call", "run", "run_from_arguments"]

EPILOG: Final = """\
The answer goes to standard output as it comes; states, tool calls and errors go to standard error.
A stream that breaks is resumed, also while the agent is being restarted; --no-stream reads the task now and then.

Credentials are read from A2A_CLIENT_BEARER_TOKEN, or A2A_CLIENT_BASIC_AUTH (user:password). They are sent to
the origin of URL only; an agent card that points elsewhere is refused while they are set.

A task that asks its user something is answered in plain words. At a terminal (standard input and standard error)
you are asked; an answer is a line, or a line for each of several questions, where an empty line says that this is
all. What a permission is answered can be chosen beforehand with --on-permission; it is known to be one where the
agent's stream tells so. End of input, or nobody to ask, leaves the task waiting; --task answers it later, and tries
a task again that has waited for credentials.

exit codes:
  0    the task is completed, or the agent answered with a message
  1    the task failed, or was rejected
  2    wrong usage or settings
  3    the task waits for its user: input or authentication is required
  4    the agent cannot be reached, refused the request, or broke the protocol
  5    the task was canceled
  130  interrupted (the task goes on)
"""

# --- the command line -------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `call`; sets the parser's epilog and keeps its lines as they are."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_url(parser)
    parser.add_argument("text", metavar="TEXT", help="the message; - reads it from standard input")
    add_agent_arguments(parser, "--line")
    parser.add_argument("--context", metavar="ID", help="the context (conversation) to go on with")
    parser.add_argument("--task", metavar="ID", help="the task that TEXT is for: one that waits for its user")
    add_message_arguments(parser)
    parser.add_argument(
        "--on-permission",
        choices=RULES,
        default=ASK,
        help="what to answer when a permission is asked [default: ask, at a terminal]",
    )
    parser.add_argument("--no-stream", action="store_true", help="wait for the whole answer")
    parser.add_argument("--verbose", action="store_true", help="show reasoning and every step too")
    parser.add_argument("--json", action="store_true", help="print each item of the answer as a line of JSON")
    add_timeout(parser)


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code."""
    return runtime.run(partial(run_from_arguments, options, settings, sys.stdout, sys.stderr))


async def run_from_arguments(
    args: argparse.Namespace, settings: Settings, out: TextIO, err: TextIO, stdin: TextIO | None = None
) -> int:
    """Runs `call` as parsed by `add_arguments`; returns the exit code. SIGINT and SIGTERM end it with 130.

    `stdin` is what TEXT `-` and answers are read from; None: the process's own.
    """
    target = CallTarget.of(
        args.url,
        settings,
        version=args.version,
        binding=args.binding and args.binding.upper(),
        timeout=args.timeout,
    )

    typed = stdin or sys.stdin

    async def read_and_call() -> int:
        text = args.text
        if text == "-":
            try:
                text = await anyio.to_thread.run_sync(typed.read, abandon_on_cancel=True)
            except UnicodeDecodeError:
                Printer(out, err).fault("standard input is not text in the terminal's encoding")
                return USAGE
        try:
            shape = await message_shape(args, settings, text)
        except UsageError as error:
            Printer(out, err).fault(str(error))
            return USAGE
        return await call(
            target,
            text,
            out=out,
            err=err,
            context_id=args.context,
            task_id=args.task,
            shape=shape,
            answers=Answers(args.on_permission, Terminal.between(typed, err)),
            stream=not args.no_stream,
            verbose=args.verbose,
            as_json=args.json,
        )

    codes: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(_stop_at_signal, group.cancel_scope)
        codes.append(await read_and_call())
        group.cancel_scope.cancel()
    if codes:
        return codes[0]
    Printer(out, err).fault("interrupted; the agent may still be working on the task")
    return INTERRUPTED


async def _stop_at_signal(scope: anyio.CancelScope) -> None:
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()
    except NotImplementedError:
        return  # Windows: the runtime's own KeyboardInterrupt ends the program


# --- one call ---------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _Opening:
    """The user's message, and the context and task that it belongs to."""

    text: str
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
    """Sends `text` and shows the answer; returns the exit code (see `EPILOG`).

    `shape`: what else the message holds. `answers`: what to say where the task asks something; by default it is left
    waiting. Errors of the network, of the agent and of usage become one line on `err`. Cancelling it leaves the task
    with the agent.
    """
    printer = Printer(out, err, verbose=verbose, as_json=as_json)
    opening = _Opening(text=text, context_id=context_id, task_id=task_id, shape=shape or MessageShape())

    async def converse() -> int:
        _check(target, opening)
        async with connect(target.url, for_people(target.options)) as agent:
            return await _converse(agent, printer, answers or Answers(), opening, stream=stream)

    return await reported(converse(), printer, target)


def _check(target: CallTarget, opening: _Opening) -> None:
    check_url(target.url)
    if not opening.text.strip():
        raise UsageError("TEXT: must not be empty")
    for name, value in (
        ("TEXT", opening.text),
        ("--context", opening.context_id or ""),
        ("--task", opening.task_id or ""),
    ):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{name}: is not valid in the terminal's encoding") from None


# --- the conversation -------------------------------------------------------------------------------------


async def _converse(
    agent: RemoteAgent, printer: Printer, answers: Answers, opening: _Opening, *, stream: bool
) -> int:
    printer.version = agent.interface.version
    origin = Origin.of(agent.interface.url)
    if origin != agent.web.home:
        printer.note(f"the agent card points to {origin}")
    message = opening.shape.message(
        opening.text, agent.card.extensions, context_id=opening.context_id, task_id=opening.task_id
    )
    conversation = Conversation(agent=agent, printer=printer, answers=answers, streaming=stream)
    transcript = conversation.transcript
    try:
        await conversation.hold(message)
    except AgentError:
        if opening.task_id is not None:
            await _say_where_to_go_on(agent, opening.task_id, printer)
        raise
    code = None if transcript.state is None else OF_STATE.get(transcript.state)
    if code is None:
        raise InvalidAnswerError("The agent's answer ended before the task did")
    if transcript.context_id is not None:
        printer.hint(f"to go on with this conversation: --context {transcript.context_id}")
    return code


async def _say_where_to_go_on(agent: RemoteAgent, task_id: str, printer: Printer) -> None:
    """A task that has ended takes no message; its context does."""
    try:
        task = await agent.get_task(task_id)
    except ClientError:
        return  # the refusal says enough
    if task.status.state.terminal and task.context_id:
        printer.note(f"the task is {task.status.state.value}; go on with --context {task.context_id}")
