"""Pieces of text of an artifact as the bytes of their events, which differ in the text alone.

An event of a stream is a message in a message. To put a text between the bytes that surround it takes a quarter of
the time that it takes to make them all. They are made once for each artifact, by the same conversion as any event.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from attrs import define, evolve, field, frozen

from sansio.a2a.model import Artifact, ArtifactUpdate, TextPart
from sansio.a2a.protobuf.conversion import message_of
from sansio.a2a.protobuf.messages import message
from sansio.a2a.protobuf.pieces import length_delimited
from sansio.a2a.tasks.presentation import Presentation

_MOST: Final = 64  # artifacts of a stream whose surroundings are kept
_NO_TEXT: Final = (TextPart(text=""),)
_TRUE: Final = 1


@frozen
class _Surroundings:
    """The bytes around a piece of text: the members of the event, and those of its artifact."""

    update: bytes
    artifact: bytes


@define
class TextPieces:
    """Encodes the pieces of one stream. `answer`: the class of a stream's messages."""

    _answer: Any
    _known: dict[tuple[object, ...], _Surroundings] = field(factory=dict, init=False)

    def encoded(self, item: ArtifactUpdate, text: str, presentation: Presentation) -> bytes:
        """Return the message of an event of whose artifact a client sees this text, and no metadata."""
        tags = _tags(self._answer)
        artifact = item.artifact
        key = (artifact.artifact_id, artifact.name, artifact.description, artifact.extensions)
        around = self._known.get(key)
        if around is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            around = self._known[key] = _surroundings(self._answer, item, presentation)
        part = _field(tags.part, _field(tags.text, text.encode()))
        update = around.update + _field(tags.artifact, around.artifact + part)
        if item.append:
            update += tags.append
        if item.last_chunk:
            update += tags.last_chunk
        return _field(tags.update, update)


def _surroundings(answer: Any, item: ArtifactUpdate, presentation: Presentation) -> _Surroundings:
    artifact: Artifact = evolve(item.artifact, parts=_NO_TEXT, metadata=None)
    plain = evolve(item, artifact=artifact, metadata=None, append=False, last_chunk=False)
    members = presentation.item(plain, 0)["artifactUpdate"]
    of_artifact = members.pop("artifact")
    del of_artifact["parts"]
    kind = _held(answer.DESCRIPTOR, "artifact_update")
    update, inner = message(kind.full_name), message(_held(kind, "artifact").full_name)
    return _Surroundings(
        message_of(update, members).SerializeToString(), message_of(inner, of_artifact).SerializeToString()
    )


@frozen
class _Tags:
    """The tags of the fields on the way to a text; `append` and `last_chunk` with their value."""

    update: bytes
    artifact: bytes
    part: bytes
    text: bytes
    append: bytes
    last_chunk: bytes


@cache
def _tags(answer: Any) -> _Tags:
    update = _held(answer.DESCRIPTOR, "artifact_update")
    artifact = _held(update, "artifact")
    return _Tags(
        update=_tag(answer.DESCRIPTOR, "artifact_update"),
        artifact=_tag(update, "artifact"),
        part=_tag(artifact, "parts"),
        text=_tag(_held(artifact, "parts"), "text"),
        append=_tag(update, "append", 0) + bytes((_TRUE,)),
        last_chunk=_tag(update, "last_chunk", 0) + bytes((_TRUE,)),
    )


def _held(kind: Any, name: str) -> Any:
    """Return the descriptor of the message that a field holds."""
    return kind.fields_by_name[name].message_type


def _tag(kind: Any, name: str, wire_type: int = 2) -> bytes:
    return bytes((kind.fields_by_name[name].number << 3 | wire_type,))


def _field(tag: bytes, data: bytes) -> bytes:
    """Encode a field whose value has a length."""
    size = len(data)
    return b"%b%c%b" % (tag, size, data) if size < 0x80 else length_delimited(tag, size) + data
