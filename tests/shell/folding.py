"""What a simple client makes of a stream and of a task: worked out naively, and apart from the core's own folding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from sansio.a2a.model import ArtifactUpdate, DataPart, Part, StreamItem, Task, TextPart


@frozen(kw_only=True)
class Said:
    """An artifact without its metadata: text joined, data as it is."""

    id: str
    name: str | None
    text: str
    data: list[Any]


def _said(id: str, name: str | None, parts: Iterable[Part]) -> Said:
    found = list(parts)
    return Said(
        id=id,
        name=name,
        text="".join(part.text for part in found if isinstance(part, TextPart)),
        data=[part.data for part in found if isinstance(part, DataPart)],
    )


def folded(items: Iterable[StreamItem]) -> list[Said]:
    """What a simple client makes of a stream: chunks with `append` go behind, others replace. By id."""
    names: dict[str, str | None] = {}
    parts: dict[str, list[Part]] = {}
    for item in items:
        if isinstance(item, ArtifactUpdate):
            name = item.artifact.artifact_id
            if item.append:
                parts[name].extend(item.artifact.parts)
            else:
                names[name], parts[name] = item.artifact.name, list(item.artifact.parts)
    return [_said(name, names[name], parts[name]) for name in sorted(parts)]


def artifacts_of(task: Task) -> list[Said]:
    """A task's artifacts, by id."""
    found = [_said(one.artifact_id, one.name, one.parts) for one in task.artifacts]
    return sorted(found, key=lambda one: one.id)


def text_of(task: Task) -> str:
    """The answer: the text of the first artifact, which must be the response."""
    if not task.artifacts:
        return ""
    first = task.artifacts[0]
    assert first.name == "response"
    return _said(first.artifact_id, first.name, first.parts).text


def reason_of(task: Task) -> str:
    """What a task's status says."""
    message = task.status.message
    return "" if message is None else _said("", None, message.parts).text
