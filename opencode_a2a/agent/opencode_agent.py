"""OpenCode as an agent: what a message asks of it, where it runs, and what answers its questions."""

from __future__ import annotations

from collections.abc import Sequence

from opencode_a2a.agent.sessions.location_check import Locations
from opencode_a2a.agent.sessions.session_choice import Sessions
from opencode_a2a.agent.turns.interrupt_service import InterruptService
from opencode_a2a.agent.turns.model_inputs import ModelInputs
from opencode_a2a.agent.turns.running_turn import Prompt
from opencode_a2a.agent.turns.turn_runner import TurnRunner
from opencode_a2a.server.agent import AgentHooks, AgentRequest, Work
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

    def __init__(
        self,
        *,
        turns: TurnRunner,
        interrupts: InterruptService,
        sessions: Sessions,
        locations: Locations,
        inputs: ModelInputs,
    ) -> None:
        self._turns = turns
        self._interrupts = interrupts
        self._sessions = sessions
        self._locations = locations
        self._inputs = inputs

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
        location = await self._locations.requested(options.directory, options.workspace)
        new = message.context_id is None and options.session_id is None
        takes = await self._inputs.takes(message.parts, options.model, location or self._locations.default, new=new)
        request.prepared = Prompt(
            parts=prompt_parts(message.parts, takes),
            model=options.model,
            session_id=options.session_id,
            fresh=message.context_id is None,
            location=location,
        )
        if location is not None:
            request.options["place"] = location_as_text(location)
            checked = self._sessions.check_location(
                request.principal, message.context_id, options.session_id, location
            )
            await from_store(checked)
        if options.session_id is not None:
            await from_store(self._sessions.claim(request.principal, options.session_id, location))

    def is_repeat(self, task: ActiveTask, request: AgentRequest) -> bool:
        """Whether a message is for the same session, location and model as a task's."""
        return same_target(task.options, task.session_id, request.options)

    # --- a task -------------------------------------------------------------------------------------------

    def run(self, request: AgentRequest, task: RunningTask) -> Work:
        """Run a turn."""
        return self._turns.run(task.active, request.prepared)

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
        return self._turns.recover(task.active, request.prepared)

    def canceled(self, task: ActiveTask, now: str) -> Sequence[LogEvent]:
        """The events that end a turn as canceled."""
        return self._turns.canceled(task, now)

    def interrupt(self, task: RunningTask) -> None:
        """Stop a turn that is canceled."""
        self._turns.interrupt(task.id)

    def stop(self, task: RunningTask) -> None:
        """End a turn as failed."""
        self._turns.stop(task.id)

    # --- answers ------------------------------------------------------------------------------------------

    def takes(self, task: ActiveTask, request: AgentRequest) -> bool:
        """Whether a task waits for an answer, in the session that the message names, if it names one."""
        options: SendOptions = request.prepared
        return self._interrupts.waits(task, options.session_id)

    async def answer(self, task: RunningTask, message: Message) -> bool:
        """Take a message as the answer to a permission or a question. Raises `ProtocolError`."""
        return await self._interrupts.by_message(task.active, message)


def _kept_location(options: JsonObject) -> Location | None:
    location = options.get("place")
    return location_of_text(location) if isinstance(location, str) else None
