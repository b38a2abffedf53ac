"""`opencode-a2a tasks`: lists the tasks of any A2A agent, and shows, cancels or watches one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Final, TextIO

import anyio
from attrs import frozen

from opencode_a2a.cli.agent_arguments import answering_command, for_people
from opencode_a2a.cli.outcome import DONE, FAILED, OF_STATE, reported
from opencode_a2a.client.cards import check_url
from opencode_a2a.client.connection import connect
from opencode_a2a.client.options import CallTarget
from opencode_a2a.client.remote_agent import RemoteAgent
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.terminal.conversation import Conversation
from opencode_a2a.terminal.output import Printer, harmless_json, on_one_line
from opencode_a2a.terminal.prompts import Answers
from opencode_a2a.terminal.screen.look import PLAIN, Look
from opencode_a2a.terminal.screen.printers import printer_for
from sansio.a2a.client.calls import to_json
from sansio.a2a.client.client_errors import UsageError
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import ListTasksRequest, Task, TaskState, TextPart


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code."""
    return runtime.run(partial(run_from_arguments, options, settings, sys.stdout, sys.stderr))


@frozen(kw_only=True)
class _Session:
    """An agent that was reached, and how to print what it answers."""

    agent: RemoteAgent
    printer: Printer
    options: argparse.Namespace


async def run_from_arguments(options: argparse.Namespace, settings: Settings, out: TextIO, err: TextIO) -> int:
    """Run the command as it was parsed; return the exit code (see its help)."""
    binding = options.binding and options.binding.upper()
    target = CallTarget.of(options.url, settings, version=options.version, binding=binding)
    look = Look.of(out, err, os.environ) if options.action == "watch" else PLAIN
    printer = printer_for(out, err, look, verbose=options.verbose, as_json=options.json, command="tasks")

    async def act() -> int:
        check_url(target.url)
        if (options.id is None) is not (options.action == "list"):
            raise UsageError("list takes no ID" if options.action == "list" else f"{options.action} needs an ID")
        async with connect(target.url, for_people(target.options)) as agent:
            printer.version = agent.interface.version
            return await ACTIONS[options.action](_Session(agent=agent, printer=printer, options=options))

    codes: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(printer.animate)
        codes.append(await reported(act(), printer, target))
        group.cancel_scope.cancel()
    return codes[0]


async def _list(session: _Session) -> int:
    options = session.options
    state = TaskState(options.state) if options.state else None
    left, token = options.limit, None
    total = shown = 0
    while left > 0:
        request = ListTasksRequest(
            context_id=options.context, state=state, page_size=min(left, 100), page_token=token, history_length=0
        )
        page = await session.agent.list_tasks(request)
        tasks = page.tasks[:left]
        for task in tasks:
            _print(session, task, task_row)
        shown, left, total = shown + len(tasks), left - len(tasks), page.total
        token = page.next_page_token
        if not token or not tasks:
            break
    if total > shown:
        session.printer.note(f"{shown} of {total} tasks; --limit shows more")
    return DONE


async def _get(session: _Session) -> int:
    task = await session.agent.get_task(session.options.id)
    _print(session, task, _whole)
    return OF_STATE.get(task.status.state, DONE)


async def _cancel(session: _Session) -> int:
    task = await session.agent.cancel_task(session.options.id)
    _print(session, task, task_row)
    return DONE if task.status.state is TaskState.CANCELED else FAILED


async def _watch(session: _Session) -> int:
    conversation = Conversation(agent=session.agent, printer=session.printer, answers=Answers())
    await conversation.watch(session.options.id)
    state = conversation.transcript.state
    if state is not None and state.interrupted:
        chosen = session.options
        session.printer.note(f"the task waits for an answer: {answering_command(chosen, chosen.id)}")
    return DONE if state is None else OF_STATE.get(state, DONE)


ACTIONS: Final[Mapping[str, Callable[[_Session], Awaitable[int]]]] = {
    "list": _list,
    "get": _get,
    "cancel": _cancel,
    "watch": _watch,
}
"""The actions of the command by name."""


def _print(session: _Session, task: Task, lines: Callable[[Task], Iterator[str]]) -> None:
    if session.options.json:
        text = harmless_json(to_json(CODECS[session.agent.interface.version].render_task(task))) + "\n"
    else:
        text = "".join(f"{line}\n" for line in lines(task))
    session.printer.print(text)


def task_row(task: Task) -> Iterator[str]:
    """Yield the line of a task in a list. Texts of the agent cannot move the cursor."""
    changed, context = task.status.timestamp or "-", task.context_id or "-"
    yield f"{on_one_line(task.id)}  {task.status.state.value:<14}  {on_one_line(changed)}  {on_one_line(context)}"


def _whole(task: Task) -> Iterator[str]:
    """Yield a task with its last status message and the texts of its artifacts."""
    yield from task_row(task)
    message = task.status.message
    for part in message.parts if message is not None else ():
        if isinstance(part, TextPart):
            yield f"  {on_one_line(part.text)}"
    for artifact in task.artifacts:
        for part in artifact.parts:
            if isinstance(part, TextPart):
                name = on_one_line(artifact.name or artifact.artifact_id)
                yield from (f"  {name}: {on_one_line(line)}" for line in part.text.splitlines() or [""])
