"""One prompt's life: bus events in, log events out.

The rules. Only assistant messages that answer our prompt (or one OpenCode made up after it, as it does when it
compacts) are output. A part's whole text settles its deltas: a missing suffix is sent, and a divergence replaces the
artifact. So duplicates, reordering across parts, and gaps followed by a re-read end in the same task. A turn ends
when the session is idle and its messages are complete, or by `cancel` and `fail`; always once.

A delta is sent only where it is known which text it follows. After a gap that is so for parts that begin afterwards,
and for a part whose text so far comes on the bus. A read does not show that: OpenCode (1.18) stores a text when it is
complete, and until then an empty one.

Knows no time, socket or reader. `now` is RFC 3339 text, put into the statuses it makes.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from sansio.a2a.model import Artifact, DataPart, JsonObject, TaskState, TaskStatus
from sansio.a2a.tasks.task_log import ArtifactChunk, LogEvent, MetadataChanged, StatusChanged
from sansio.opencode.interrupts.render import answered_unseen
from sansio.opencode.interrupts.tracker import InterruptTracker
from sansio.opencode.turns.attribution import Attribution
from sansio.opencode.turns.blocks import (
    BLOCK_OF,
    PROGRESS_TYPES,
    TOOL_ENDED,
    TOOL_RANK,
    ArtifactStream,
    BlockType,
    TextBlock,
    Tool,
    is_settled,
    output_text,
    tool_data,
    usage_of,
)
from sansio.opencode.turns.endings import ABORTED as ABORTED_END
from sansio.opencode.turns.endings import CANCELLED, FAILED, FINAL_FINISHES, closed, kind_of, words_of
from sansio.opencode.turns.event_metadata import EventMetadata
from sansio.opencode.turns.file_parts import attachments_of, file_of
from sansio.opencode.turns.progress import retry_of, step_of
from sansio.opencode.turns.recovery import RecoveredOutput
from sansio.opencode.upstream.events import (
    BusEvent,
    InterruptAsked,
    InterruptEnded,
    MessageInfo,
    MessageRecord,
    MessageSeen,
    PartDelta,
    PartSeen,
    SessionDeleted,
    SessionFailed,
    SessionStatus,
)
from sansio.opencode.upstream.faults import DELETED, STOPPED, UNREACHABLE, TaskFailure, blames_message, failure_of

ABORTED = "MessageAbortedError"
_HELD = 1000  # events kept for messages whose role is not known yet
_INCOMPLETE = TaskFailure(text="OpenCode stopped before the answer was complete", type=STOPPED)
_NEVER_HAD = TaskFailure(text="OpenCode never got the message: send it again", type=UNREACHABLE)


@frozen
class BusPosition:
    """Counts of what a turn has received: gaps, after which something may be missing, and session statuses."""

    gaps: int = 0
    statuses: int = 0

    def after_status(self) -> BusPosition:
        """Return the counts after one more session status."""
        return BusPosition(self.gaps, self.statuses + 1)


class Turn:
    """The state of one turn. `prompt_id` is the id we gave the user's message."""

    def __init__(self, *, task_id: str, context_id: str, session_id: str, prompt_id: str) -> None:
        self.task_id = task_id
        self.context_id = context_id
        self.session_id = session_id
        self.prompt_id = prompt_id
        self.ended: bool = False
        self.cancelled: bool = False
        self.failure: TaskFailure | None = None
        self.left: tuple[InterruptAsked, ...] = ()  # the requests that waited for an answer when the turn ended
        self.refused: bool = False  # it failed before anything was sent, by an error that the message may have caused
        self._status = TaskStatus(state=TaskState.SUBMITTED)
        self._artifact_streams = {
            block: ArtifactStream(artifact_id=f"{task_id}:{block.value}", name=name, block_type=block)
            for block, name in ((BlockType.TEXT, "response"), (BlockType.REASONING, "reasoning"))
        }
        self._blocks: dict[str, tuple[ArtifactStream, TextBlock]] = {}
        self._tools: dict[str, Tool] = {}
        self._sent_progress: set[object] = set()  # progress that was sent, by identity
        self._messages: dict[str, MessageInfo] = {}
        self._order: list[str] = []  # our assistant messages, oldest first
        self._held: dict[str, list[PartSeen | PartDelta]] = {}
        self._held_count = 0
        self._torn: dict[str, int] = {}  # parts whose beginning was missed: the number of characters that came since
        self._files: set[str] = set()  # ids of the file parts that were sent
        self._event_metadata = EventMetadata(task_id=task_id, context_id=context_id, session_id=session_id)
        self.interrupt_tracker: InterruptTracker = InterruptTracker(self._event_metadata)
        self._attribution = Attribution(prompt_id)
        self._idle = False
        self._doubtful = False  # an error came, and it is not known what the session does now
        self._fault: MessageInfo | SessionFailed | None = None
        self._early: list[BusEvent] | None = None  # of a recovered turn: events from before the session was read
        self.bus_position: BusPosition = BusPosition()
        self._reconciled_gaps = 0  # number of gaps that a later re-read has closed

    @property
    def unsettled(self) -> bool:
        """Whether the session is idle or in doubt, yet the turn has not ended: read the session again."""
        return (self._idle or self._doubtful) and not self.ended

    @property
    def prompt_seen(self) -> bool:
        """OpenCode has the prompt."""
        return self.prompt_id in self._messages

    # --- inputs -------------------------------------------------------------------------------------------

    def begin(self, now: str) -> list[LogEvent]:
        """Begin: the prompt is sent, and the task is being worked on. No effect if the turn has ended."""
        if self.ended:
            return []
        self._status = TaskStatus(state=TaskState.WORKING, timestamp=now)
        return [StatusChanged(status=self._status)]

    def feed(self, event: BusEvent, now: str) -> list[LogEvent]:
        """Feed one event of this session, or of a session below it. Events after the end are dropped.

        `now` may be empty with a `PartDelta`, which makes no status.
        """
        if self.ended:
            return []
        out: list[LogEvent] = []
        if self._early is not None:
            self._early.append(event)
        elif isinstance(event, PartDelta):  # first, as nearly all events are one
            if event.session_id == self.session_id:
                self._delta(event, out)
            return out
        elif isinstance(event, InterruptAsked | InterruptEnded):
            self._interrupt(event, now, out)
        elif event.session_id != self.session_id:
            return out
        elif isinstance(event, PartSeen):
            self._part(event, out)
        elif isinstance(event, MessageSeen):
            self._message(event.info, out)
        elif isinstance(event, SessionStatus):
            self.bus_position = self.bus_position.after_status()
            self._session_status(event, out)
        elif isinstance(event, SessionFailed):
            self.bus_position = self.bus_position.after_status()
            self._fault = event
            self._doubtful = True  # OpenCode refuses some prompts with nothing but this
        elif isinstance(event, SessionDeleted):
            return [*out, *self.fail(DELETED, now)]
        self._settle(now, out)
        return out

    def answered(self, ended: InterruptEnded, now: str) -> list[LogEvent]:
        """Record that OpenCode has taken an answer: that is reported at once, even before the session was read."""
        out: list[LogEvent] = []
        if not self.ended:
            self._interrupt(ended, now, out)
        return out

    def recover(self, recovered: RecoveredOutput) -> None:
        """Continue a turn that an earlier run of the server began. Nothing is sent twice. Call `reconcile` next."""
        self._status = recovered.status
        self._event_metadata.sequence = recovered.sequence
        self._sent_progress |= recovered.progress
        self._files |= recovered.files
        self.interrupt_tracker.recover(recovered.pending, recovered.asked_at)
        self.interrupt_tracker.add_to(recovered.resolved)
        self._tools = dict(recovered.tools)
        for artifact_stream in self._artifact_streams.values():
            if artifact_stream.artifact_id in recovered.texts:
                artifact_stream.begun = True
                artifact_stream.before = recovered.texts[artifact_stream.artifact_id]
        self._early = []

    def add_to(self, recovered: RecoveredOutput) -> None:
        """Continue a task that an earlier turn left unfinished: its output is added to."""
        self._event_metadata.sequence = recovered.sequence
        self.interrupt_tracker.add_to(recovered.resolved)
        for artifact_stream in self._artifact_streams.values():
            artifact_stream.begun = artifact_stream.artifact_id in recovered.texts

    def gap(self) -> None:
        """Record that events may have been missed: send nothing more of unfinished texts until they are complete.

        Nor does the turn end until the session was read: no later event may mention a missed part.
        """
        self.doubt()
        for _, block in self._blocks.values():
            if not block.settled:
                block.has_gap = True
        self._held.clear()  # the read has these parts again, as they are then
        self._held_count = 0
        if self._early is not None:
            self._early = [event for event in self._early if not isinstance(event, PartSeen | PartDelta)]

    def doubt(self) -> None:
        """Record that the session has to be read before the turn can end, though no event was missed."""
        self.bus_position = evolve(self.bus_position, gaps=self.bus_position.gaps + 1)

    def reconcile(
        self,
        records: Sequence[MessageRecord],
        status: SessionStatus,
        now: str,
        *,
        asked: Sequence[InterruptAsked] = (),
        waited_for: frozenset[str] = frozenset(),
        since: BusPosition | None = None,
        last_try: bool = False,
    ) -> list[LogEvent]:
        """Feed the session as read over REST. `asked`: all requests that it waits for.

        `waited_for`: the ids that `interrupt_tracker` held before the read. Those that are gone have been answered.
        `since`: `bus_position` before the read. A later gap needs another read, and a later status from the bus is
        newer than the one that was read. `None`: nothing has come since. `last_try`: if the session is idle and its
        answer still incomplete, the turn fails.
        """
        out: list[LogEvent] = []
        if self.ended:
            return out
        since = since or self.bus_position
        self._reconciled_gaps = since.gaps
        if self._early is not None:
            self._recall(records, out)
        for record in records:
            self._message(record.info, out)
            for part in record.parts:
                if part.part_id not in self._blocks:
                    self._torn.setdefault(part.part_id, 0)
                self._part(part, out, in_order=False)
        for request_id in sorted(waited_for - {interrupt.request_id for interrupt in asked}):
            if request_id in self.interrupt_tracker.pending:
                self._interrupt(answered_unseen(self.interrupt_tracker.pending[request_id]), now, out)
        for interrupt in asked:
            self._interrupt(interrupt, now, out)
        if since.statuses == self.bus_position.statuses:
            self._doubtful = False
            self._session_status(status, out)
        self._settle(now, out)
        early, self._early = self._early, None
        for event in early or ():
            out += self.feed(event, now)
        if last_try and self.unsettled and self._reconciled_gaps == self.bus_position.gaps:
            out += self.fail(_INCOMPLETE if self.prompt_seen else _NEVER_HAD, now)
        return out

    def tool_progress(self, tool: str, call_id: str, message_id: str, text: str) -> list[LogEvent]:
        """Report how a call of a tool gets on, as the tool itself says. Nothing if the turn has ended."""
        if self.ended:
            return []
        progress = {"type": "tool", "tool": tool, "call_id": call_id, "message": text}
        return [StatusChanged(status=self._status, metadata=self._event_metadata.progress(progress, message_id))]

    def fail(self, failure: TaskFailure, now: str) -> list[LogEvent]:
        """End the turn as failed, with a reason a person can act on. Nothing if it has ended.

        Where credentials are what is missing, the task waits for them (`auth-required`), though the turn is over.
        """
        if not self.ended:
            self.failure = failure
        error: JsonObject = {"type": failure.type}
        if failure.status is not None:
            error["upstream_status"] = failure.status
        state = TaskState.AUTH_REQUIRED if failure.wants_login else TaskState.FAILED
        return self._end(state, failure.text, {"opencode": {"error": error, "end": FAILED}}, now)

    def cancel(self, now: str, text: str | None = None) -> list[LogEvent]:
        """End the turn as canceled. Nothing if it has ended."""
        self.cancelled = self.cancelled or not self.ended
        return self._end(TaskState.CANCELED, text, {"opencode": {"end": CANCELLED}}, now)

    # --- messages and parts -------------------------------------------------------------------------------

    def _message(self, info: MessageInfo, out: list[LogEvent]) -> None:
        before = self._messages.get(info.id)
        if before is not None and before.completed and not info.completed:
            return  # an older state, which arrived late
        self._messages[info.id] = info
        self._attribution.note_message(info)
        if self._attribution.is_ours(info):
            if info.id not in self._order:
                self._order.append(info.id)
                self._order.sort()
                if isinstance(self._fault, SessionFailed):
                    self._fault = None  # OpenCode recovered, as it does where it compacts and continues
            if info.error is not None:
                self._fault = info
        for held in self._held.pop(info.id, ()):
            self._held_count -= 1
            if isinstance(held, PartDelta):
                self._delta(held, out)
            else:
                self._part(held, out, in_order=False)

    def _hold(self, event: PartSeen | PartDelta) -> bool:
        """Keep an event for the time at which its message is known. Return false if there is no room."""
        if self._held_count >= _HELD:
            return False
        self._held.setdefault(event.message_id, []).append(event)
        self._held_count += 1
        return True

    def _part(self, part: PartSeen, out: list[LogEvent], *, in_order: bool = True) -> None:
        """Take a part. `in_order`: it has come in its place among the deltas, as the bus sends it."""
        info = self._messages.get(part.message_id)
        if info is None:
            self._hold(part)
            return
        self._attribution.note_part(part, info)
        if not self._attribution.is_ours(info):
            return
        block_type = BLOCK_OF.get(part.type)
        if block_type is BlockType.TOOL_CALL:
            self._tool(part, out)
        elif block_type is not None:
            self._text(self._artifact_streams[block_type], part, out, in_order=in_order)
        elif part.type in PROGRESS_TYPES:
            self._progress(part.part_id, step_of(part), part.message_id, out)
        elif part.type == "file":
            self._file(part, out)

    def _delta(self, delta: PartDelta, out: list[LogEvent]) -> None:
        found = self._blocks.get(delta.part_id)
        if found is None:
            if delta.message_id not in self._held or not self._hold(delta):
                self._torn[delta.part_id] = self._torn.get(delta.part_id, 0) + len(delta.delta)
            return
        artifact_stream, block = found
        if delta.field != "text" or block.settled:
            return
        text = block.news_of(delta.delta) if block.has_gap or block.repeated else delta.delta
        if text:
            self._emit_text(artifact_stream, block, text, out)

    def _text(self, artifact_stream: ArtifactStream, part: PartSeen, out: list[LogEvent], *, in_order: bool) -> None:
        text = output_text(part.body)
        if text is None:
            return
        settled = is_settled(part.body)
        known = self._blocks.get(part.part_id)
        if known is None:
            block = TextBlock(part.part_id, part.message_id)
            block.has_gap = part.part_id in self._torn and not settled
            block.unplaced = self._torn.pop(part.part_id, 0)
            artifact_stream.insert(block)
            self._blocks[part.part_id] = (artifact_stream, block)
        else:
            block = known[1]
            if not (settled or in_order or block.has_gap):
                return  # the deltas bring it, and were it sent now, they would bring it twice
        if in_order and not settled and (block.has_gap or block.repeated):
            block.locate(text)
        sent = block.text
        if len(text) >= len(sent) and text.startswith(sent):
            if len(text) > len(sent):
                self._emit_text(artifact_stream, block, text[len(sent) :], out)
            block.settled = block.settled or settled
        elif settled:
            block.pieces = [text]
            block.begun = block.begun or bool(text)
            block.settled = True
            self._replace(artifact_stream, block.message_id, out)

    def _emit_text(self, artifact_stream: ArtifactStream, block: TextBlock, text: str, out: list[LogEvent]) -> None:
        """Continue a block: by a chunk where it is the last that was sent, else by replacing the artifact."""
        block.pieces.append(text)
        joins = block.begun
        block.begun = True
        if artifact_stream.begun and not artifact_stream.is_last_sent(block):
            self._replace(artifact_stream, block.message_id, out)
            return
        metadata = self._event_metadata.chunk(artifact_stream.block_type, "stream", block.message_id, block.part_id)
        out.append(artifact_stream.continuation(text, metadata, joins=joins))
        artifact_stream.begun = True

    def _replace(self, artifact_stream: ArtifactStream, message_id: str, out: list[LogEvent]) -> None:
        out.append(
            artifact_stream.whole(self._event_metadata.chunk(artifact_stream.block_type, "stream", message_id))
        )
        artifact_stream.begun = True

    def _recall(self, records: Sequence[MessageRecord], out: list[LogEvent]) -> None:
        """Match the output of an earlier run of the server with OpenCode's; replace it where they differ."""
        parts = [part for record in records if self._attribution.is_ours(record.info) for part in record.parts]
        for block_type, artifact_stream in self._artifact_streams.items():
            if not artifact_stream.begun:
                continue
            found = [
                (TextBlock(part.part_id, part.message_id, settled=is_settled(part.body)), text)
                for part in parts
                if BLOCK_OF.get(part.type) is block_type and (text := output_text(part.body)) is not None
            ]
            known = artifact_stream.recall(found)
            for block in artifact_stream.blocks:
                block.has_gap = not block.settled
                self._blocks[block.part_id] = (artifact_stream, block)
            if not known:
                self._replace(artifact_stream, self._last_message(artifact_stream), out)

    def _tool(self, part: PartSeen, out: list[LogEvent]) -> None:
        data = tool_data(part)
        rank = TOOL_RANK.get(str(data.get("status")), 0)
        before = self._tools.get(part.part_id)
        files = attachments_of(part.body)
        if before is not None and (rank < before.rank or (data == before.data and files == before.files)):
            return
        tool = self._tools[part.part_id] = Tool(part.part_id, part.message_id, data, rank, files)
        out.append(self._tool_chunk(tool, last=rank == TOOL_ENDED))

    def _tool_chunk(self, tool: Tool, *, last: bool) -> ArtifactChunk:
        name = tool.data.get("tool")
        return ArtifactChunk(
            artifact=Artifact(
                artifact_id=f"{self.task_id}:{BlockType.TOOL_CALL.value}:{tool.part_id}",
                name=name if isinstance(name, str) else None,
                parts=(DataPart(data=tool.data), *tool.files),
                metadata=self._event_metadata.chunk(
                    BlockType.TOOL_CALL, "tool_part_update", tool.message_id, tool.part_id
                ),
            ),
            last_chunk=last,
        )

    def _file(self, part: PartSeen, out: list[LogEvent]) -> None:
        file = file_of(part.body)
        if file is None or part.part_id in self._files:
            return
        self._files.add(part.part_id)
        artifact = Artifact(
            artifact_id=f"{self.task_id}:{BlockType.FILE.value}:{part.part_id}",
            name=file.filename,
            parts=(file,),
            metadata=self._event_metadata.chunk(BlockType.FILE, "file_part", part.message_id, part.part_id),
        )
        out.append(ArtifactChunk(artifact=artifact, last_chunk=True))

    # --- progress and interrupts --------------------------------------------------------------------------

    def _session_status(self, status: SessionStatus, out: list[LogEvent]) -> None:
        self._idle = status.type == "idle"
        self._doubtful = self._doubtful and self._idle
        if status.type == "retry":
            self._progress((status.attempt, status.next), retry_of(status), self._last_message(), out)

    def _progress(self, identity: object, progress: JsonObject, message_id: str, out: list[LogEvent]) -> None:
        """Emit progress, each step once."""
        if identity not in self._sent_progress:
            self._sent_progress.add(identity)
            out.append(
                StatusChanged(status=self._status, metadata=self._event_metadata.progress(progress, message_id))
            )

    def _interrupt(self, event: InterruptAsked | InterruptEnded, now: str, out: list[LogEvent]) -> None:
        if isinstance(event, InterruptAsked):
            ours = self._attribution.asks(event, self.session_id)
            events = self.interrupt_tracker.asked(event, now) if ours else []
        else:
            events = self.interrupt_tracker.ended(event, now)
        for one in events:
            if isinstance(one, StatusChanged):
                self._status = one.status
        out += events

    # --- the end ------------------------------------------------------------------------------------------

    def _settle(self, now: str, out: list[LogEvent]) -> None:
        """End the turn if OpenCode has: idle, and every message of ours complete.

        A session that somebody else types in may be busy with theirs: then our last message's own end counts.
        """
        messages = [self._messages[message_id] for message_id in self._order]
        over = bool(messages) and self._attribution.disturbed and messages[-1].finish in FINAL_FINISHES
        if not (self._idle or over) or self.ended or self._reconciled_gaps < self.bus_position.gaps:
            return
        if not all(info.completed for info in messages) or (not messages and self._fault is None):
            return
        fault = self._fault
        if isinstance(fault, MessageInfo):
            # an error that OpenCode recovered from is not the turn's: a later message of ours continued
            fault = self._messages[self._order[-1]]
        error = fault.error if isinstance(fault, MessageInfo) else fault.fault if fault else None
        if error is None:
            kind = kind_of(messages[-1] if messages else None)
            out += self._end(TaskState.COMPLETED, words_of(kind), {"opencode": {"end": kind}}, now)
        elif error.name == ABORTED:
            out += self._end(
                TaskState.CANCELED, "The turn was aborted in OpenCode", {"opencode": {"end": ABORTED_END}}, now
            )
        else:
            has_output = (
                any(artifact_stream.blocks for artifact_stream in self._artifact_streams.values()) or self._tools
            )
            self.refused = blames_message(error) and not has_output
            out += self.fail(failure_of(error), now)

    def _end(self, state: TaskState, text: str | None, extra: JsonObject, now: str) -> list[LogEvent]:
        if self.ended:
            return []
        out: list[LogEvent] = []
        self.left = tuple(self.interrupt_tracker.pending.values())
        for ended in self.interrupt_tracker.left():
            self._interrupt(ended, now, out)
        self.ended = True
        open_tools = [tool for tool in self._tools.values() if tool.rank < TOOL_ENDED]
        out += [self._tool_chunk(closed(tool, state), last=True) for tool in open_tools]
        # the answer comes last: some clients take the last whole artifact for the agent's answer
        out += [
            ArtifactChunk(
                artifact=Artifact(
                    artifact_id=artifact_stream.artifact_id,
                    parts=(),
                    metadata=self._event_metadata.chunk(
                        artifact_stream.block_type, "stream", self._last_message(artifact_stream)
                    ),
                ),
                append=True,
                last_chunk=True,
            )
            for artifact_stream in reversed(self._artifact_streams.values())
            if artifact_stream.begun
        ]
        kept = self._event_metadata.kept(self._usage(), extra)
        out.append(MetadataChanged(kept))
        message = self._event_metadata.message(f"{self.task_id}:status", text) if text else None
        self._status = TaskStatus(state=state, message=message, timestamp=now)
        out.append(StatusChanged(status=self._status, metadata=self._event_metadata.end(kept, self._last_message())))
        return out

    def _last_message(self, artifact_stream: ArtifactStream | None = None) -> str:
        """Return the id of the last message with output; of the prompt where there is none."""
        if artifact_stream is not None and artifact_stream.blocks:
            return artifact_stream.blocks[-1].message_id
        return self._order[-1] if self._order else self.prompt_id

    def _usage(self) -> JsonObject | None:
        for message_id in reversed(self._order):
            info = self._messages[message_id]
            if info.completed and info.tokens is not None:
                return usage_of(info.tokens, info.cost, info.model)
        return None
