"""What ready-made clients keep of a stream: last chunks alone, or chunks by name; none is ever sent an empty text."""

from __future__ import annotations

import pytest

from opencode_a2a.fake_opencode.scripts import AFTER_THOUGHT, AFTER_TOOL, BEFORE_TOOL, HELLO, THOUGHT
from sansio.a2a.model import TextPart
from tests.shell.cases import every_codec
from tests.shell.folding import artifacts_of
from tests.shell.harness import Serving, Stream, Wire

pytestmark = pytest.mark.anyio


def kept(stream: Stream) -> dict[str | None, str]:
    """The texts of a client that keeps last chunks alone, by the artifact's name."""
    return {
        chunk.artifact.name: "".join(part.text for part in chunk.artifact.parts if isinstance(part, TextPart))
        for chunk in stream.chunks
        if chunk.last_chunk
    }


@every_codec
@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("hello", {"response": HELLO}),
        ("STEPS", {"response": BEFORE_TOOL + AFTER_TOOL, "bash": ""}),
        ("THINK", {"reasoning": THOUGHT, "response": AFTER_THOUGHT}),
        ("SLOW", {}),
    ],
)
async def test_last_chunks_alone_are_the_whole_answer(
    serving: Serving, wire: Wire, prompt: str, texts: dict[str, str]
) -> None:
    async with serving() as agent:
        if prompt == "SLOW":
            async with agent.caller(wire).open(prompt) as stream:
                await stream.until(lambda: stream.text)
                await agent.caller(wire).cancel(stream.task.id)
                await stream.whole()
            texts = {"response": stream.text}
        else:
            stream = await agent.caller(wire).stream(prompt)
        done = await agent.caller(wire).get(stream.task.id)

    assert kept(stream) == texts
    assert list(kept(stream))[-1] == "response"  # for clients that take the last artifact for the answer
    assert {one.name: one.text for one in artifacts_of(done)} == texts
    sent = [part for chunk in stream.chunks for part in chunk.artifact.parts if isinstance(part, TextPart)]
    assert all(part.text for part in sent)
    assert {chunk.artifact.name for chunk in stream.chunks} == set(texts)
