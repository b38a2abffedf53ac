"""OpenCode's parts as artifacts of a task: one for text, one for reasoning, one per tool call.

Within an artifact every OpenCode part is one A2A part, in OpenCode's order (part ids sort by time).
Pure bookkeeping of what was sent; `turn` decides what to send.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import define, field

from sansio.a2a.codecs.fields import nested_deeper
from sansio.a2a.codecs.json_values import member, object_at, text_at
from sansio.a2a.model import Artifact, FilePart, JsonObject, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk
from sansio.opencode.upstream.events import PartSeen


class BlockType(Enum):
    """The kinds of block that are sent to clients."""

    TEXT = "text"
    REASONING = "reasoning"
    TOOL_CALL = "tool_call"
    FILE = "file"

    def __init__(self, name: str) -> None:
        self.published: str = name  # its `value`, which takes an enumeration much longer to give


BLOCK_OF = {"text": BlockType.TEXT, "reasoning": BlockType.REASONING, "tool": BlockType.TOOL_CALL}
"""From OpenCode's part type to the block it becomes; other types are no output."""

PROGRESS_TYPES = frozenset({"step-start", "step-finish"})
"""Part types that are sent as progress."""

TOOL_RANK = {"pending": 0, "running": 1, "completed": 2, "error": 2}
"""A tool call's states in order; it never goes back."""

TOOL_ENDED = 2
"""The rank at which a tool call is over."""

_COUNT_LIMIT = 2**53


@define(eq=False)
class TextBlock:
    """The text of one OpenCode part, as far as it was sent. `settled`: OpenCode has given its final text."""

    part_id: str
    message_id: str
    pieces: list[str] = field(factory=list)
    begun: bool = False  # something of it has been sent
    settled: bool = False
    has_gap: bool = False  # a piece may have been missed: it is not known where in the text a delta belongs
    unplaced: int = 0  # number of characters in deltas that came while there was a gap
    repeated: str = ""  # text that was sent before, and that the next deltas bring once more

    @property
    def text(self) -> str:
        """The text that was sent so far. The pieces are joined once."""
        if len(self.pieces) > 1:
            self.pieces[:] = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def locate(self, text: str) -> None:
        """Close the gap by the text so far, which came in its order among the deltas.

        It stays open where the text lacks deltas that came before, or is another text than the one that was sent.
        """
        sent = self.text
        if len(text) < self.unplaced or not (text.startswith(sent) or sent.startswith(text)):
            return
        self.has_gap = False
        self.repeated = sent[len(text) :]

    def news_of(self, delta: str) -> str:
        """Return what a delta brings beyond the text that was sent; empty while there is a gap.

        A delta that should repeat what was sent, and does not, opens a gap.
        """
        if self.repeated and not self.has_gap:
            size = min(len(delta), len(self.repeated))
            self.has_gap = delta[:size] != self.repeated[:size]
            self.repeated, delta = self.repeated[size:], delta[size:]
        if self.has_gap:
            self.unplaced += len(delta)
            return ""
        return delta


@define
class Tool:
    """A tool call as it was last sent. `files`: the attachments of its result."""

    part_id: str
    message_id: str
    data: JsonObject
    rank: int
    files: tuple[FilePart, ...] = ()


@define
class ArtifactStream:
    """The text blocks of one artifact, in order.

    `before`: the texts that an earlier run of the server sent, part by part, until `recall` has matched blocks with
    them.
    """

    artifact_id: str
    name: str
    block_type: BlockType
    blocks: list[TextBlock] = field(factory=list)
    begun: bool = False  # the artifact exists for readers
    before: tuple[str, ...] = ()

    def recall(self, found: Sequence[tuple[TextBlock, str]]) -> bool:
        """Match these blocks, in order and each with OpenCode's text, with what was sent before.

        Return false if something else was sent. Then the blocks count as sent with those texts, and the artifact must
        be replaced. Blocks of which nothing was sent yet are left out.
        """
        before, self.before = [text for text in self.before if text], ()
        for block, text in found:
            if not before or (block.settled and not text):
                continue
            sent = before[0]
            if text.startswith(sent) or (not block.settled and sent.startswith(text)):
                block.pieces = [before.pop(0)]
                block.begun = True
            else:
                break
        if before:
            for block, text in found:
                block.pieces = [text]
                block.begun = bool(text)
        for block, _ in found:
            if block.begun or before:
                self.insert(block)
        return not before

    def insert(self, block: TextBlock) -> bool:
        """Put a block in its place. Return true if that is the end, where a chunk can be appended."""
        key = (block.message_id, block.part_id)
        index = len(self.blocks)
        while index and (self.blocks[index - 1].message_id, self.blocks[index - 1].part_id) > key:
            index -= 1
        self.blocks.insert(index, block)
        return index == len(self.blocks) - 1

    def continuation(self, text: str, metadata: JsonObject, *, joins: bool) -> ArtifactChunk:
        """Return the artifact's next chunk, or its first. `joins`: it continues the last part."""
        artifact = Artifact(
            artifact_id=self.artifact_id,
            name=self.name,
            parts=(TextPart(text=text),),
            metadata=metadata,
        )
        leads = self.block_type is BlockType.TEXT
        return ArtifactChunk(artifact=artifact, append=self.begun, joins=joins, leads=leads)

    def whole(self, metadata: JsonObject) -> ArtifactChunk:
        """Return a chunk that replaces the artifact by all that was sent of it."""
        parts = tuple(TextPart(text=block.text) for block in self.blocks if block.begun)
        artifact = Artifact(
            artifact_id=self.artifact_id, name=self.name, parts=parts or (TextPart(text=""),), metadata=metadata
        )
        return ArtifactChunk(artifact=artifact, leads=self.block_type is BlockType.TEXT)

    def is_last_sent(self, block: TextBlock) -> bool:
        """Return whether this block is the last of which something was sent."""
        if self.blocks[-1] is block:
            return True
        return not any(b.begun for b in self.blocks[self.blocks.index(block) + 1 :])


def is_settled(part: JsonObject) -> bool:
    """Return whether OpenCode has finished a text or reasoning part."""
    return member(part, "time", "end") is not None


def output_text(part: JsonObject) -> str | None:
    """Return the text of a text or reasoning part; `None` for one that is not meant to be read."""
    if part.get("synthetic") is True or part.get("ignored") is True:
        return None
    return text_at(part, "text") or ""


def tool_data(part: PartSeen) -> JsonObject:
    """Return the data of a `tool_call` block: `call_id`, `tool`, `status` and what the state holds beyond.

    What is nested too deep to be sent on is left out.
    """
    state = object_at(part.body, "state")
    data: JsonObject = {}
    for name, value in (
        ("call_id", part.body.get("callID")),
        ("tool", part.body.get("tool")),
        ("status", state.get("status")),
        ("title", state.get("title")),
        ("subtitle", state.get("subtitle")),
        ("input", state.get("input")),
        ("output", state.get("output")),
        ("error", state.get("error")),
    ):
        if value is not None and not nested_deeper(value):
            data[name] = value
    return data


def usage_of(tokens: JsonObject, cost: float | None, model: JsonObject | None = None) -> JsonObject:
    """Convert OpenCode's token counts to the shared form, with the model that they are of.

    Counts are tokens, `cost` is in OpenCode's currency.
    """

    def count(source: JsonObject, name: str) -> int:
        value = source.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            return 0
        return value if 0 <= value < _COUNT_LIMIT else 0

    cache = object_at(tokens, "cache")
    read, write = count(cache, "read"), count(cache, "write")
    input_tokens, output_tokens = count(tokens, "input"), count(tokens, "output")
    reasoning = count(tokens, "reasoning")
    usage: JsonObject = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": count(tokens, "total") or input_tokens + output_tokens + reasoning + read + write,
        "reasoning_tokens": reasoning,
        "cache_tokens": {"read_tokens": read, "write_tokens": write},
    }
    if cost is not None:
        usage["cost"] = cost
    if model is not None:
        usage["model"] = model
    return usage
