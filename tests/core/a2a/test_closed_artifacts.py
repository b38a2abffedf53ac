"""A text artifact is closed by an update that holds all of it, for clients that keep the last chunk alone."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.model import Artifact, ArtifactUpdate, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, LogEvent, TaskLog
from sansio.a2a.tasks.task_log_codec import decode_events, encode_events
from tests.strategies import log_events

BEFORE = orjson.dumps(
    [
        {"chunk": {"artifactId": "t:text", "name": "response", "parts": [{"text": "a"}]}, "leads": True},
        {"chunk": {"artifactId": "t:text", "parts": [{"text": "b"}]}, "append": True, "joins": True, "leads": True},
        {"chunk": {"artifactId": "t:text", "parts": [{"text": "c"}]}, "append": True, "leads": True},
        {
            "chunk": {"artifactId": "t:text", "parts": [{"text": ""}], "metadata": {"n": 4}},
            "append": True,
            "last_chunk": True,
            "joins": True,
        },
    ]
)
"""The events of a text of two parts as earlier versions have stored them."""


def log_of(body: bytes) -> TaskLog:
    log = TaskLog("t", "c")
    for event in decode_events(body):
        log.append(event)
    return log


def updates_of(log: TaskLog) -> list[ArtifactUpdate]:
    return [entry.item for entry in log.since(0) if isinstance(entry.item, ArtifactUpdate)]


def closing(artifact_id: str = "a") -> ArtifactChunk:
    return ArtifactChunk(artifact=Artifact(artifact_id=artifact_id, parts=()), append=True, last_chunk=True)


def said(text: str, *, append: bool = True) -> ArtifactChunk:
    artifact = Artifact(artifact_id="a", name="response", parts=(TextPart(text=text),))
    return ArtifactChunk(artifact=artifact, append=append, joins=append)


def client_of_last_chunks(updates: list[ArtifactUpdate]) -> dict[str, tuple[str, ...]]:
    """What a client has that keeps last chunks alone."""
    kept = [one.artifact for one in updates if one.last_chunk]
    return {one.artifact_id: tuple(part.text for part in one.parts if isinstance(part, TextPart)) for one in kept}


def test_events_of_earlier_versions_close_their_artifact_with_the_whole_of_it() -> None:
    log = log_of(BEFORE)

    updates = updates_of(log)

    [artifact] = log.task().artifacts
    assert [part.text for part in artifact.parts if isinstance(part, TextPart)] == ["ab", "c"]
    assert client_of_last_chunks(updates) == {"t:text": ("ab", "c")}
    assert [one.append for one in updates] == [False, True, True, False]
    assert [one.last_chunk for one in updates] == [False, False, False, True]
    assert [one.artifact.name for one in updates] == ["response"] * 4
    assert updates[-1].artifact.metadata == {"n": 4}
    assert log_of(encode_events(log.events)).task() == log.task()


def test_an_artifact_that_holds_nothing_is_not_closed_by_an_empty_part() -> None:
    log = TaskLog("t", "c")
    log.append(said("taken back", append=False))
    log.append(said("", append=False))

    entry = log.append(closing())

    assert entry is not None
    assert entry.item is None


def test_closing_what_is_not_there_makes_nothing() -> None:
    log = TaskLog("t", "c")

    entry = log.append(closing())

    assert entry is not None
    assert entry.item is None
    assert log.task().artifacts == ()


def test_what_comes_after_a_closed_artifact_is_added_to_it() -> None:
    log = TaskLog("t", "c")
    for event in (said("one", append=False), closing(), said(" two"), closing()):
        log.append(event)

    assert client_of_last_chunks(updates_of(log)) == {"a": ("one two",)}


@given(st.lists(log_events(), max_size=8))
def test_a_closing_chunk_changes_no_task_and_is_the_same_after_it_was_stored(events: list[LogEvent]) -> None:
    log = TaskLog("t", "c")
    for event in (said("x", append=False), *events):
        log.append(event)
    before = log.task()

    log.append(closing())

    assert log.task() == before
    again = TaskLog("t", "c")
    for event in decode_events(encode_events(log.events)):
        again.append(event)
    assert [one.item for one in again.since(0)] == [one.item for one in log.since(0)]
    assert again.task() == before
