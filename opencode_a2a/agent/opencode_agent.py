"""OpenCode as an agent: what a message asks of it, where it runs, and what answers its questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opencode_a2a.agent.instance_choice import InstanceChoice
from opencode_a2a.agent.instances import Instance, Instances
from opencode_a2a.agent.model_tool import ModelTool
from opencode_a2a.agent.turns.instance_interrupts import InstanceInterrupts
from opencode_a2a.agent.turns.running_turn import Prompt
from opencode_a2a.agent.turns.shared_interrupts import InterruptCommands
from opencode_a2a.agent.turns.tool_origins import COMMAND
from opencode_a2a.server.agent import AgentHooks, AgentRequest, NotHereError, Work
from opencode_a2a.server.store import Store
from opencode_a2a.server.store.store_errors import from_store
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.running_task import RunningTask
from sansio.a2a.model import JsonObject, Message
from sansio.a2a.tasks.task_log import LogEvent
from sansio.a2a.tool.hops import hops_of
from sansio.opencode.deployment import OUTPUT_MODES
from sansio.opencode.file_inputs import EVERYTHING
from sansio.opencode.locations import location_as_text, location_of_text
from sansio.opencode.send_options import SendOptions, same_target, send_options_of
from sansio.opencode.upstream.requests import Location, prompt_parts


class OpenCodeAgent(AgentHooks):
    """The agent that `opencode_a2a.server` serves. A task is one turn of a session."""

    commits_first = False  # a task is committed with its session and its prompt's id, in one commit
    logs_end = False  # the turn's line in the log names the session

    def __init__(self, instances: Instances, store: Store) -> None:
        self.choice: InstanceChoice = InstanceChoice(instances, store)
        interrupts = InstanceInterrupts([instance.interrupts for instance in instances])
        self._commands = InterruptCommands(interrupts)
        self.tool: ModelTool | None = None  # by which the model calls other agents

    # --- a message ----------------------------------------------------------------------------------------

    def read(self, request: AgentRequest) -> None:
        """Read the options of a message. Raises `ProtocolError`."""
        options = request.prepared = send_options_of(request.send, OUTPUT_MODES)
        request.options.update(options.kept())
        hops = hops_of(request.send)
        if hops:
            request.options["hops"] = hops

    async def accept(self, request: AgentRequest) -> None:
        """Check where the message runs, claim the session it names, and write the prompt. Raises `ProtocolError`."""
        options: SendOptions = request.prepared
        message = request.message
        chosen = self.choice.of_message(
            request.principal,
            message.context_id,
            session_id=options.session_id,
            asked=options.instance,
            directory=options.directory if options.workspace is None else None,
        )
        instance = await chosen
        request.affinity = instance.affinity
        location = await instance.locations.requested(options.directory, options.workspace)
        new = message.context_id is None and options.session_id is None
        takes = await instance.inputs.takes(
            message.parts, options.model, location or instance.locations.default, new=new
        )
        request.prepared = Prompt(
            parts=prompt_parts(message.parts, takes),
            model=options.model,
            session_id=options.session_id,
            fresh=message.context_id is None,
            location=location,
        )
        if location is not None:
            request.options["place"] = location_as_text(location)
            checked = instance.sessions.check_location(
                request.principal, message.context_id, options.session_id, location
            )
            await from_store(checked)
        if options.session_id is not None:
            await from_store(instance.sessions.claim(request.principal, options.session_id, location))

    def is_repeat(self, task: ActiveTask, request: AgentRequest) -> bool:
        """Whether a message is for the same session, location and model as a task's."""
        return same_target(task.options, task.session_id, request.options)

    # --- a task -------------------------------------------------------------------------------------------

    def run(self, request: AgentRequest, task: RunningTask) -> Work:
        """Run a turn."""
        return self._of(task.active).turns.run(task.active, request.prepared)

    def restore(self, request: AgentRequest) -> bool:
        """Write the prompt of a message again. Raises `ProtocolError`."""
        options = SendOptions.of_kept(request.options)
        request.prepared = Prompt(
            parts=prompt_parts(request.message.parts, EVERYTHING),
            model=options.model,
            session_id=options.session_id,
            location=_kept_location(request.options),
        )
        return True

    def recover(self, request: AgentRequest, task: RunningTask) -> Work:
        """Carry on a turn that OpenCode may be working on."""
        try:
            turns = self._of(task.active).turns
        except NotHereError as error:
            return _failing(error)
        return turns.recover(task.active, request.prepared)

    def check_reached(self, task: ActiveTask) -> None:
        """Refuse a turn of an OpenCode that this server does not work with. Raises `NotHereError`."""
        self._of(task)

    async def command(self, principal: str, name: str, arguments: JsonObject) -> Any:
        """Reply to a permission or a question of this server's turns, or list them. Raises `ProtocolError`."""
        if name == COMMAND:
            return None if self.tool is None else await self.tool.origins.hops_here(arguments)
        return await self._commands.run(principal, name, arguments)

    def note_gone(self) -> None:
        """See again that OpenCode has the tool: another server may have taken it along."""
        for registration in [] if self.tool is None else self.tool.registrations:
            registration.recheck()

    def canceled(self, task: ActiveTask, now: str) -> Sequence[LogEvent]:
        """The events that end a turn as canceled."""
        return self.choice.or_default(task.facts.affinity).turns.canceled(task, now)

    def interrupt(self, task: RunningTask) -> None:
        """Stop a turn that is canceled."""
        self._of(task.active).turns.interrupt(task.id)

    def fail(self, task: RunningTask, text: str) -> None:
        """End a turn as failed, at once, and stop it."""
        self._of(task.active).turns.fail(task.active, text)

    def stop(self, task: RunningTask) -> None:
        """End a turn as failed."""
        self._of(task.active).turns.stop(task.id)

    # --- answers ------------------------------------------------------------------------------------------

    def takes(self, task: ActiveTask, request: AgentRequest) -> bool:
        """Whether a task waits for an answer, in the session that the message names, if it names one."""
        options: SendOptions = request.prepared
        return self._of(task).interrupts.waits(task, options.session_id)

    async def answer(self, task: RunningTask, message: Message) -> bool:
        """Take a message as the answer to a permission or a question. Raises `ProtocolError`."""
        return await self._of(task.active).interrupts.by_message(task.active, message)

    # --- inside -------------------------------------------------------------------------------------------

    def _of(self, task: ActiveTask) -> Instance:
        """The instance that a task runs in. Raises `NotHereError`."""
        return self.choice.of_task(task.facts.affinity)


async def _failing(error: NotHereError) -> None:
    """The work on a turn whose OpenCode is not configured any more."""
    raise error


def _kept_location(options: JsonObject) -> Location | None:
    location = options.get("place")
    return location_of_text(location) if isinstance(location, str) else None
