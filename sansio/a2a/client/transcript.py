"""Transcript of an agent's answer for a person: stream items in, text to print and notices out.

For any agent's stream. The metadata of the streaming extension (`shared.stream`, `shared.progress`,
`shared.interrupt`) is used where there is some; without it, the text of artifacts is the answer. Knows nothing of
terminals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeAlias

from attrs import Factory, define, frozen

from sansio.a2a.client.calls import to_json
from sansio.a2a.client.input_requests import InputRequest, read_input_request
from sansio.a2a.codecs.json_values import member, text_at, weight_of
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    FilePart,
    JsonObject,
    Message,
    Part,
    Role,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)

UNNAMED = "The agent waits for its user"
"""Text of a request for input that has none."""

_MOST_REQUESTS: Final = 64
_LARGEST_REQUEST: Final = 256 * 1024  # characters; a larger one is asked as plain text
_BLANKS: Final = 4096  # characters of white space at the end of an answer that are looked past


class NoticeKind(Enum):
    """Subject of a notice."""

    STATE = "state"
    STATUS = "status"
    REASONING = "reasoning"
    TOOL = "tool"
    PROGRESS = "progress"
    INTERRUPT = "interrupt"
    ANSWERED = "answered"
    FILE = "file"
    CORRECTION = "correction"
    ERROR = "error"


@frozen
class AnswerText:
    """A piece of the answer, to be printed right after the pieces before it."""

    text: str


@frozen(kw_only=True)
class ToolCall:
    """A step of a tool call. `key` is the same in all steps of one call; `status` is as the agent names it.

    `details`: input, output and whatever else there is of it, by name.
    """

    key: tuple[str, str]
    name: str
    status: str = ""
    title: str = ""
    error: str = ""
    details: Mapping[str, Any] = Factory(dict)

    @property
    def ended(self) -> bool:
        """The call has come to its end, well or not."""
        return self.status in ("completed", "error")


@frozen(kw_only=True)
class Notice:
    """Something beside the answer.

    `detail`: only for the curious; `partial`: a piece of running text; `ends`: the task's last state;
    `asks`: it is what `Transcript.asked` holds. `tool`: the subject of notices of that kind.
    """

    kind: NoticeKind
    text: str
    detail: bool = False
    partial: bool = False
    ends: bool = False
    asks: bool = False
    tool: ToolCall | None = None


Utterance: TypeAlias = AnswerText | Notice


@define
class _ArtifactStream:
    """The running text of one block. `ahead`: the text that was emitted, where it is longer than the text is now."""

    pieces: list[str] = Factory(list)
    ahead: str = ""
    reached: int = 0  # characters of it that the text has by now

    @property
    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces[:] = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def append(self, text: str) -> tuple[str, bool]:
        """Add text. Return the text to emit, and whether it contradicts what was emitted."""
        self.pieces.append(text)
        return self._compare(self.ahead, self.reached, text) if self.ahead else (text, False)

    def replace(self, text: str) -> tuple[str, bool]:
        """Replace the text. Return as `append` does."""
        received = self.ahead or self.text
        self.pieces = [text]
        return self._compare(received, 0, text)

    def _compare(self, received: str, start: int, text: str) -> tuple[str, bool]:
        """Compare what was emitted, from `start` on, with the text that is there now. Looks at no more than that."""
        self.ahead, left = "", len(received) - start
        if len(text) < left and received.startswith(text, start):
            self.ahead, self.reached = received, start + len(text)
            return "", False
        if len(text) >= left and received.endswith(text[:left], start):
            return text[left:], False
        return self.text, True

    def settle(self) -> str | None:
        """Return the text where it ended shorter than what was emitted, white space aside."""
        if self.ahead and self.ahead.rstrip() != self.text.rstrip():
            self.ahead = ""
            return self.text
        return None


class Transcript:
    """The state of one answer. `feed` it every item of the stream, or the one answer of a send."""

    def __init__(self) -> None:
        self.state: TaskState | None = None
        self.task_id: str | None = None
        self.context_id: str | None = None
        self.error: str | None = None
        self.asked: InputRequest | None = None  # the same object for as long as the same is asked
        self.closed: bool = False  # the agent has marked its stream as final
        self._requests: dict[str, Any] = {}  # metadata of each, oldest first
        self._answer: dict[str, _ArtifactStream] = {}
        self._reasoning: dict[str, _ArtifactStream] = {}
        self._tools: dict[tuple[str, str], tuple[str, str]] = {}
        self.files: list[FilePart] = []
        self._files: set[str] = set()
        self._last_key: str | None = None
        self._last_status = ""
        self._ends_line = True

    @property
    def answer(self) -> str:
        """The answer as it stands; texts of several artifacts on lines of their own."""
        *others, last = [one.text for one in self._answer.values() if one.text] or [""]
        return "".join(text if text.endswith("\n") else f"{text}\n" for text in others) + last

    @property
    def settled(self) -> bool:
        """The task has come to an end, or waits for its user."""
        return self.state is not None and (self.state.terminal or self.state.interrupted)

    @property
    def ended(self) -> bool:
        """The agent will send nothing more, or waits for its user."""
        return self.closed or self.settled

    def feed(self, item: StreamItem) -> list[Utterance]:
        """Return what is new in an item. The first terminal state wins; after it only artifacts count."""
        out: list[Utterance] = []
        self.closed = isinstance(item, StatusUpdate) and item.final
        self.context_id = self.context_id or item.context_id or None
        if isinstance(item, Message):
            self._message(item, out)
        elif isinstance(item, Task):
            self.task_id = self.task_id or item.id
            self._snapshot(item, out)
        else:
            self.task_id = self.task_id or item.task_id
            if isinstance(item, ArtifactUpdate):
                self._artifact(item.artifact, item.append, out)
            else:
                self._status(item.status, item.metadata, out)
        return out

    # --- items --------------------------------------------------------------------------------------------

    def _message(self, message: Message, out: list[Utterance]) -> None:
        if message.role is not Role.AGENT:
            return
        self._files_of(message.message_id, message.parts, out)
        self._emit(f"message:{message.message_id}", text_of(message.parts), False, out)
        if self.task_id is None:  # a message without a task is the whole answer
            self.state = TaskState.COMPLETED

    def _snapshot(self, task: Task, out: list[Utterance]) -> None:
        for artifact in task.artifacts:
            if not self._is_old(artifact):
                self._artifact(artifact, False, out)
        if task.status.state is TaskState.COMPLETED and not self._answer and task.status.message is None:
            reply = _last_reply(task.history)
            if reply is not None:
                self._emit("history", reply, False, out)
        self._status(task.status, task.metadata, out)

    def _is_old(self, artifact: Artifact) -> bool:
        """Return whether a snapshot's artifact was streamed under another id, as some agents do."""
        if artifact.artifact_id in self._answer or _block_type(artifact) not in (None, "text"):
            return False
        text = text_of(artifact.parts).strip()
        return bool(text) and self._tail(len(text)).endswith(text)

    def _tail(self, length: int) -> str:
        """Return at least so many characters of the answer's end, if it has them, white space after it aside."""
        tail: deque[str] = deque()
        left = length
        for artifact_stream in reversed(self._answer.values()):
            text = artifact_stream.text[-left - _BLANKS :]
            if tail and text:
                tail.extendleft(("\n", text.removesuffix("\n")))
                left -= len(text)
            elif text := text.rstrip():
                tail.append(text)
                left -= len(text)
            if left <= 0:
                break
        return "".join(tail)

    def _artifact(self, artifact: Artifact, append: bool, out: list[Utterance]) -> None:
        if member(artifact.metadata, "shared", "stream", "role") == "user":
            return
        block_type = _block_type(artifact)
        if block_type == "tool_call":
            for part in artifact.parts:
                if isinstance(part, DataPart):
                    self._tool(artifact.artifact_id, part.data, out)
            self._files_of(artifact.artifact_id, artifact.parts, out)
            return
        self._files_of(artifact.artifact_id, artifact.parts, out)
        text = text_of(artifact.parts)
        if block_type == "reasoning":
            artifact_stream = self._reasoning.setdefault(artifact.artifact_id, _ArtifactStream())
            new, _ = artifact_stream.append(text) if append else artifact_stream.replace(text)
            if new:
                out.append(Notice(kind=NoticeKind.REASONING, text=new, detail=True, partial=True))
            return
        self._emit(artifact.artifact_id, text, append, out)

    def _status(self, status: TaskStatus, metadata: JsonObject | None, out: list[Utterance]) -> None:
        if self.state is not None and self.state.terminal:
            return
        text = text_of(status.message.parts) if status.message and status.message.role is Role.AGENT else ""
        has_progress = self._progress(metadata, out)
        self._note_input_request(status, text, member(metadata, "shared", "interrupt"))
        if status.state is not self.state:
            self.state = status.state
            if status.state.terminal:
                self._conclude(text, out)
            out.append(Notice(kind=NoticeKind.STATE, text=status.state.value, ends=self.settled))
        if status.state.terminal:
            self._end(status.state, text, out)
        elif status.state.interrupted:
            request_id = _filled(metadata, "shared", "interrupt", "request_id")
            lines = [text or UNNAMED, f"(request {request_id})" if request_id else ""]
            shown = "\n".join(line for line in lines if line)
            if shown != self._last_status:
                out.append(Notice(kind=NoticeKind.INTERRUPT, text=shown, asks=self.asked is not None))
            self._last_status = shown
        elif text and text != self._last_status and not has_progress:
            self._last_status = text
            out.append(Notice(kind=NoticeKind.STATUS, text=text))

    def _note_input_request(self, status: TaskStatus, text: str, interrupt: Any) -> None:
        """Keep what is asked. Of several requests the oldest comes first, and its text is the status's by then."""
        if status.state is not TaskState.INPUT_REQUIRED:
            self.asked = None
            self._requests.clear()
            return
        request_id = _filled(interrupt, "request_id")
        if request_id is not None and member(interrupt, "phase") == "resolved":
            self._requests.pop(request_id, None)
        elif request_id is not None:
            if len(self._requests) < _MOST_REQUESTS and weight_of(interrupt) <= _LARGEST_REQUEST:
                self._requests.setdefault(request_id, interrupt)
        elif self.asked is not None and not text.endswith(self.asked.text):
            self._requests.clear()  # the task waits for something else by now, and did not report that
        seen = (text, status.timestamp, status.message.message_id if status.message else None)
        first = next(iter(self._requests), None)
        if self.asked is None or self.asked.request_id != first or (first is None and self.asked.status != seen):
            self.asked = read_input_request(text, seen, self._requests.get(first or ""))

    def _conclude(self, text: str, out: list[Utterance]) -> None:
        """Emit the end of the answer: a revision, or the text of the final status where there was no other."""
        for key, artifact_stream in self._answer.items():
            final = artifact_stream.settle()
            if final is not None:
                self._correct(key, final, out)
        if (
            self.state is TaskState.COMPLETED
            and text
            and not any(artifact_stream.text for artifact_stream in self._answer.values())
        ):
            self._emit("status", text, False, out)

    def _end(self, state: TaskState, text: str, out: list[Utterance]) -> None:
        if state is not TaskState.COMPLETED:
            self.error = text or None
            if text:
                out.append(Notice(kind=NoticeKind.ERROR, text=text))
        elif text.strip() and text.strip() not in self.answer and text != self._last_status:
            out.append(Notice(kind=NoticeKind.STATUS, text=text))

    # --- what is emitted ----------------------------------------------------------------------------------

    def _emit(self, key: str, text: str, append: bool, out: list[Utterance]) -> None:
        artifact_stream = self._answer.setdefault(key, _ArtifactStream())
        new, contradicts = artifact_stream.append(text) if append else artifact_stream.replace(text)
        settled = artifact_stream.settle() if self.state is not None and self.state.terminal else None
        if contradicts or settled is not None:
            self._correct(key, new if settled is None else settled, out)
        elif new:
            if self._last_key not in (None, key) and not self._ends_line:
                out.append(AnswerText("\n"))
            self._print(key, new, out)

    def _correct(self, key: str, text: str, out: list[Utterance]) -> None:
        """Emit the whole text again, on a line of its own: printed text cannot be taken back."""
        out.append(Notice(kind=NoticeKind.CORRECTION, text="The agent has revised what it said"))
        if not self._ends_line:
            out.append(AnswerText("\n"))
            self._ends_line = True
        if text:
            self._print(key, text, out)

    def _print(self, key: str, text: str, out: list[Utterance]) -> None:
        out.append(AnswerText(text))
        self._last_key = key
        self._ends_line = text.endswith("\n")

    def _files_of(self, owner: str, parts: tuple[Part, ...], out: list[Utterance]) -> None:
        for part in parts:
            if not isinstance(part, FilePart):
                continue
            where = part.url or f"{len(part.raw or '') * 3 // 4} bytes"
            text = " ".join(word for word in (part.filename, part.media_type, where) if word)
            if f"{owner}:{text}" not in self._files:
                self._files.add(f"{owner}:{text}")
                self.files.append(part)
                out.append(Notice(kind=NoticeKind.FILE, text=text))

    def _tool(self, owner: str, data: Any, out: list[Utterance]) -> None:
        tool, status = _filled(data, "tool") or "tool", _filled(data, "status") or ""
        call_id, title = _filled(data, "call_id") or "", _filled(data, "title") or ""
        if self._tools.get((owner, call_id)) == (status, title):
            return
        self._tools[owner, call_id] = (status, title)
        fault = (_filled(data, "error") or "") if status == "error" else ""
        text = ": ".join(word for word in (tool, status, fault or title) if word)
        details = {name: value for name in ("input", "output") if (value := member(data, name))}
        call = ToolCall(key=(owner, call_id), name=tool, status=status, title=title, error=fault, details=details)
        out.append(Notice(kind=NoticeKind.TOOL, text=text, tool=call))

    def _progress(self, metadata: JsonObject | None, out: list[Utterance]) -> bool:
        """Emit progress and answered interrupts. Return whether the status was about nothing else."""
        progress = member(metadata, "shared", "progress")
        if isinstance(progress, dict):
            kind = _filled(progress, "type") or "progress"
            attempt = progress.get("attempt")
            head = f"{kind} {attempt}" if isinstance(attempt, int) else kind
            detail = _filled(progress, "message") or _filled(progress, "reason")
            text = f"{head}: {detail}" if detail else head
            out.append(Notice(kind=NoticeKind.PROGRESS, text=text, detail=kind != "retry"))
            return True
        interrupt = member(metadata, "shared", "interrupt")
        if member(interrupt, "phase") == "resolved":
            asked, answer = _filled(interrupt, "type"), _filled(interrupt, "resolution")
            text = f"{asked or 'request'} {answer or 'answered'}"
            out.append(Notice(kind=NoticeKind.ANSWERED, text=text))
            self._last_status = ""
        return False


def text_of(parts: tuple[Part, ...]) -> str:
    """Return the text of the parts: texts to the letter, data as JSON on lines of its own, files not at all."""
    text = ""
    for part in parts:
        if isinstance(part, TextPart):
            text += part.text
        elif isinstance(part, DataPart):
            separator = "" if not text or text.endswith("\n") else "\n"
            text += f"{separator}{_data_text(part.data)}\n"
    return text


def _data_text(data: Any) -> str:
    try:
        return to_json(data).decode()
    except ProtocolError:
        return "(data that is nested too deeply)"


def _last_reply(history: tuple[Message, ...]) -> str | None:
    """Return the agent's last message, if none of the user follows it."""
    if history and history[-1].role is Role.AGENT:
        return text_of(history[-1].parts) or None
    return None


def _block_type(artifact: Artifact) -> str | None:
    return _filled(artifact.metadata, "shared", "stream", "block_type")


def _filled(value: Any, *names: str) -> str | None:
    return text_at(value, *names) or None
