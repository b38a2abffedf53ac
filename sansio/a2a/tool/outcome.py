"""Outcome of a call: the items of an agent's answer in, progress and the text for the model out.

The text begins with this server's own lines (the agent, the state, the ids), so that nothing an agent sends can take
their place, and what follows is marked as the agent's words. An answer that is too long is cut, and says so.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from sansio.a2a.client.transcript import AnswerText, Notice, NoticeKind, Transcript
from sansio.a2a.errors import shortened
from sansio.a2a.message_checks import ID_LIMIT
from sansio.a2a.model import ArtifactUpdate, FilePart, JsonObject, Message, Part, StreamItem, Task, TaskState
from sansio.a2a.tool.tool_errors import LONGEST_DETAIL, ToolError, ToolErrorCode

LONGEST_ANSWER: Final = 40_000
"""Characters of an agent's answer that reach the model."""

MOST_FILES: Final = 50
"""Files of an answer that are named."""

LONGEST_PROGRESS: Final = 200
"""Characters of one progress text."""

_LONGEST_NAME: Final = 200  # characters of a file's name and media type
_LONGEST_URL: Final = 4096

_SHOWN: Final = frozenset(
    {NoticeKind.STATE, NoticeKind.STATUS, NoticeKind.TOOL, NoticeKind.PROGRESS, NoticeKind.INTERRUPT}
)
_FAILED: Final = frozenset({TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED})
_HINTS: Final = {
    TaskState.INPUT_REQUIRED: "The agent waits for an answer: call it again with this task_id and the answer.",
    TaskState.AUTH_REQUIRED: "The agent waits for credentials, which only the operator of this server can set up. "
    "Once they are, call it again with this task_id.",
    TaskState.WORKING: "The agent has not finished.",
    TaskState.SUBMITTED: "The agent has not finished.",
}


@frozen(kw_only=True)
class FileLink:
    """A file of an answer that can be fetched."""

    url: str
    name: str
    media_type: str | None


@frozen(kw_only=True)
class CallOutcome:
    """The end of a call. `text` holds everything; `data` has the same for programs. `failed`: as a tool's error."""

    text: str = field(repr=False)
    data: JsonObject = field(repr=False)
    links: tuple[FileLink, ...] = ()
    failed: bool = False


def refused(error: ToolError) -> CallOutcome:
    """Return the outcome of a call that got no answer."""
    detail = shortened(error.detail, LONGEST_DETAIL)
    return CallOutcome(text=error.text, data={"error_code": error.code.name, "error": detail}, failed=True)


@define
class PeerAnswer:
    """The answer of one agent while it comes. `label`: the agent, as the model named it."""

    label: str
    transcript: Transcript = field(factory=Transcript)
    _files: dict[str, FilePart] = field(factory=dict)
    _characters: int = 0

    @property
    def task_id(self) -> str | None:
        """The id of the task that the agent made of the message."""
        return self.transcript.task_id

    @property
    def unfinished(self) -> bool:
        """Whether there is a task that may be running; one that waits for its user is not."""
        return self.task_id is not None and not self.transcript.settled

    def feed(self, item: StreamItem) -> str | None:
        """Take an item; return a line of progress where it has one."""
        for part in _parts_of(item):
            if isinstance(part, FilePart) and len(self._files) < MOST_FILES:
                self._files.setdefault(part.url or f"{part.filename}:{part.media_type}", part)
        line = None
        for one in self.transcript.feed(item):
            if isinstance(one, AnswerText):
                self._characters += len(one.text)
                line = line or f"{self._characters} characters of the answer"
            elif _is_progress(one):
                line = one.text
        return None if line is None else shortened(one_line(line), LONGEST_PROGRESS)

    def outcome(self) -> CallOutcome:
        """Return the outcome of what has come; an agent that sent nothing to use makes it an error."""
        transcript = self.transcript
        state = transcript.state
        answer = transcript.answer or (transcript.error or "")
        if transcript.asked is not None and transcript.asked.text not in answer:
            answer = f"{answer}\n{transcript.asked.text}" if answer else transcript.asked.text
        files = self._file_lines()
        if state is None or not (answer or files or transcript.task_id):
            return refused(ToolError(ToolErrorCode.a2a_unexpected_response))
        failed = state in _FAILED
        head = [f"{ToolErrorCode.a2a_call_failed.name}: The agent's task ended as {state.value}"] if failed else []
        head += [f"agent: {one_line(self.label)}", f"state: {state.value}"]
        data: JsonObject = {"state": state.value}
        for name, value in (("context_id", transcript.context_id), ("task_id", transcript.task_id)):
            if value:
                data[name] = shortened(value, ID_LIMIT)
                head.append(f"{name}: {shortened(one_line(value), ID_LIMIT)}")
        if failed:
            data["error_code"] = ToolErrorCode.a2a_call_failed.name
        if state in _HINTS:
            head.append(_HINTS[state])
        shown = answer[:LONGEST_ANSWER]
        data |= {"text": shown, "cut": len(shown) < len(answer)}
        body = ["", "The agent's own words:", shown] if shown else []
        if data["cut"]:
            body.append(f"[cut here: {len(answer) - len(shown)} more characters were left out]")
        if files:
            body += ["", "Files of the agent:", *files]
        text = "\n".join([*head, *body])
        return CallOutcome(text=text, data=data, links=self._links(), failed=failed)

    def _links(self) -> tuple[FileLink, ...]:
        return tuple(
            FileLink(
                url=part.url,
                name=shortened(one_line(part.filename or "file"), _LONGEST_NAME),
                media_type=shortened(one_line(part.media_type), _LONGEST_NAME) if part.media_type else None,
            )
            for part in self._files.values()
            if part.url is not None and len(part.url) <= _LONGEST_URL
        )

    def _file_lines(self) -> list[str]:
        lines = []
        for part in self._files.values():
            where = part.url or f"{len(part.raw or '') * 3 // 4} bytes, left out"
            words = (part.filename or "file", f"({part.media_type})" if part.media_type else "", where)
            lines.append(shortened(one_line(" ".join(word for word in words if word)), 2000))
        return lines


def _is_progress(notice: Notice) -> bool:
    return notice.kind in _SHOWN and not notice.partial and not notice.ends


def _parts_of(item: StreamItem) -> tuple[Part, ...]:
    if isinstance(item, Message):
        return item.parts
    if isinstance(item, ArtifactUpdate):
        return item.artifact.parts
    if isinstance(item, Task):
        return tuple(part for artifact in item.artifacts for part in artifact.parts)
    return ()


def one_line(text: str) -> str:
    """Return the text in one line, without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)
