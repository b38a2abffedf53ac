"""Chunks rendered from templates are those that the codec renders, to the letter."""

from __future__ import annotations

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.sse import json_data
from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.model import Artifact, ArtifactUpdate, DataPart, TextPart
from sansio.a2a.tasks.chunk_templates import ChunkTemplates
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.shared_metadata import SHARED_BY, STREAM_HINTS, STREAM_RESUME
from tests import strategies

CODECS = (v0_3, v0_3_gateway, v1_0)
presentations = st.builds(
    Presentation, st.sampled_from(CODECS), st.booleans(), st.frozensets(st.sampled_from(sorted(SHARED_BY)))
)
METADATA = {"shared": {"stream": {"sequence": 1, "message_id": "m", "role": "agent"}}}
CHUNK = ArtifactUpdate(
    task_id="t",
    context_id="c",
    artifact=Artifact(artifact_id="t:text", name="response", parts=(TextPart(text="Hello"),), metadata=METADATA),
    append=True,
)
texts = st.text() | st.sampled_from(["\u2028", "\x85", '"', "\x1ftext\x1f", "\U0001f600", ""])
metadata = st.sampled_from(
    [None, {}, METADATA, {"mine": 1}, {"mine": "\u2029", "shared": {"stream": 1, "x": 2}}, {"shared": 1}]
)


def rendered(presentation: Presentation, item: ArtifactUpdate, number: int = 7) -> bytes:
    return json_data(orjson.dumps(presentation.item(item, number)))


def with_text(item: ArtifactUpdate, text: str) -> ArtifactUpdate:
    return evolve(item, artifact=evolve(item.artifact, parts=(TextPart(text=text),)))


names = st.sampled_from([None, "", "response"])


@given(presentations, st.lists(st.tuples(texts, metadata, st.booleans(), names)), st.booleans())
def test_texts_are_rendered_as_by_the_codec(
    presentation: Presentation, chunks: list[tuple[str, dict[str, object] | None, bool, str | None]], joins: bool
) -> None:
    templates = ChunkTemplates(presentation)
    for text, its_metadata, append, name in chunks:
        artifact = evolve(CHUNK.artifact, parts=(TextPart(text=text),), metadata=its_metadata, name=name)
        item = evolve(CHUNK, artifact=artifact, append=append, joins=joins)

        made = templates.render(item)

        assert made == (None if presentation.marks_events else rendered(presentation, item))


@given(presentations, st.sampled_from(strategies.VERSIONS).flatmap(strategies.items))
def test_whatever_is_rendered_is_what_the_codec_renders(presentation: Presentation, item: object) -> None:
    if not isinstance(item, ArtifactUpdate):
        return

    assert ChunkTemplates(presentation).render(item) in (None, rendered(presentation, item))


@pytest.mark.parametrize(
    "item",
    [
        evolve(CHUNK, last_chunk=True),
        evolve(CHUNK, metadata={"a": 1}),
        evolve(CHUNK, artifact=evolve(CHUNK.artifact, parts=())),
        evolve(CHUNK, artifact=evolve(CHUNK.artifact, parts=(TextPart(text="a"), TextPart(text="b")))),
        evolve(CHUNK, artifact=evolve(CHUNK.artifact, parts=(DataPart(data={}),))),
        evolve(CHUNK, artifact=evolve(CHUNK.artifact, parts=(TextPart(text="a", filename="f"),))),
        evolve(CHUNK, artifact=evolve(CHUNK.artifact, description="d")),
        evolve(CHUNK, artifact=evolve(CHUNK.artifact, extensions=("urn:x",))),
    ],
    ids=("last", "own metadata", "empty", "two parts", "data", "file name", "description", "extensions"),
)
def test_what_is_more_than_a_text_is_left_to_the_codec(item: ArtifactUpdate) -> None:
    assert ChunkTemplates(Presentation(v1_0)).render(item) is None


def test_items_with_the_number_of_their_event_are_left_to_the_codec() -> None:
    assert ChunkTemplates(Presentation(v1_0, extensions=frozenset({STREAM_RESUME}))).render(CHUNK) is None


@pytest.mark.parametrize("extensions", [frozenset[str](), frozenset({STREAM_HINTS})], ids=("plain", "hints"))
def test_an_id_that_looks_like_a_mark_is_left_to_the_codec(extensions: frozenset[str]) -> None:
    templates = ChunkTemplates(Presentation(v1_0, extensions=extensions))
    item = evolve(CHUNK, context_id="\x1ftext\x1f")

    assert templates.render(item) is None
    assert templates.render(with_text(item, "more")) is None


def test_any_number_of_artifacts_has_a_bounded_number_of_templates() -> None:
    presentation = Presentation(v1_0)
    templates = ChunkTemplates(presentation)
    for number in (*range(40), 0, 39):
        item = evolve(CHUNK, artifact=evolve(CHUNK.artifact, artifact_id=f"t:{number}"))

        assert templates.render(item) == rendered(presentation, item)
