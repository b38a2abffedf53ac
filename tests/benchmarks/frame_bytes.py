"""Bytes of the event of one token that are not the token: what the protocol asks for, and what is ours to choose.

    python -m tests.benchmarks.frame_bytes

A token of an answer of OpenCode's, in the middle of its text, as Server-Sent Events over JSON-RPC.
"""

from __future__ import annotations

import orjson
from attrs import evolve

from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs.registry import Codec
from sansio.a2a.model import Artifact, ArtifactUpdate, TextPart
from sansio.a2a.tasks.chunk_templates import ChunkTemplates
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.shared_metadata import STREAM_HINTS
from sansio.opencode.turns.blocks import BlockType
from sansio.opencode.turns.event_metadata import EventMetadata

_TASK, _CONTEXT = "ec62113c-f484-4adc-8fd8-72d4161c9ce1", "273e8516-6cde-4a88-b313-2fdb14ff35fe"
_TOKEN = " token"
_ROWS: tuple[tuple[str, Codec, frozenset[str]], ...] = (
    ("1.0", v1_0, frozenset()),
    ("1.0 with stream-hints", v1_0, frozenset({STREAM_HINTS})),
    ("0.3", v0_3, frozenset()),
)


def _chunk() -> ArtifactUpdate:
    one = EventMetadata(task_id=_TASK, context_id=_CONTEXT, session_id="ses_e02e22e5effeI6BVYozdCemILu", sequence=99)
    metadata = one.chunk(BlockType.TEXT, "stream", "msg_21f27962a002A77jvuifxnWmMB", "prt_21f27962a00bLpdPBIBLTGKyzE")
    artifact = Artifact(
        artifact_id=f"{_TASK}:text", name="response", parts=(TextPart(text=_TOKEN),), metadata=metadata
    )
    return ArtifactUpdate(task_id=_TASK, context_id=_CONTEXT, artifact=artifact, append=True, joins=True)


def _frame(view: Presentation, chunk: ArtifactUpdate) -> int:
    rendered = ChunkTemplates(view).render(chunk)
    assert rendered is not None  # a token is a text
    return len(b'id: 104\ndata: {"jsonrpc":"2.0","id":1,"result":%b}\n\n' % rendered)


def main() -> None:
    """Print the table."""
    chunk = _chunk()
    bare = evolve(chunk, artifact=evolve(chunk.artifact, name=None, metadata=None))
    print("| version | bytes | the token | the protocol | ours: name and metadata | stated once, not on each event |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, codec, extensions in _ROWS:
        view = Presentation(codec, extensions=extensions)
        whole, least = _frame(view, chunk), _frame(view, bare)
        text = len(orjson.dumps(_TOKEN)) - 2
        stated = _frame(view, evolve(chunk, joins=False)) - whole
        print(f"| {name} | {whole} | {text} | {least - text} | {whole - least} | {stated} |")


if __name__ == "__main__":
    main()
