"""JSON of the chunks of artifacts: what the chunks of one artifact have in common is rendered once.

Nearly all events of a stream are a chunk that is one text. Its JSON is that of the chunk before it, but for the text
and the metadata. To render the whole of it again takes four times as long.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import orjson

from sansio.a2a.bindings.sse import json_data
from sansio.a2a.model import Artifact, ArtifactUpdate, JsonObject, TextPart
from sansio.a2a.tasks.presentation import Presentation

_Key: TypeAlias = tuple[str, str | None, bool, bool]
_Template: TypeAlias = tuple[bytes, bytes, bytes]  # before the text, between text and metadata, behind these

_MOST: Final = 16  # templates of one task
_TEXT: Final = "\x1ftext\x1f"
_METADATA: Final[JsonObject] = {"\x1fmetadata\x1f": None}
_UNUSABLE: Final[_Template] = (b"", b"", b"")


class ChunkTemplates:
    """Templates of the chunks of one task, as one presentation shows them."""

    def __init__(self, presentation: Presentation) -> None:
        self._presentation = presentation
        self._known: dict[_Key, _Template] = {}

    def render(self, item: ArtifactUpdate) -> bytes | None:
        """Return the JSON of a chunk that is one text, in one line; `None` for any other item."""
        artifact = item.artifact
        text = artifact.only_text
        if text is None or item.last_chunk or item.metadata is not None or self._presentation.marks_events:
            return None
        metadata = self._presentation.metadata(artifact.metadata, joins=item.joins)
        key = (artifact.artifact_id, artifact.name, item.append, metadata is not None)
        template = self._known.get(key)
        if template is None:
            template = self._add(key, item)
        begin, middle, end = template
        if not begin:
            return None
        if metadata is None:
            return b"%b%b%b" % (begin, json_data(orjson.dumps(text)), end)
        rest = json_data(orjson.dumps(metadata))
        return b"%b%b%b%b%b" % (begin, json_data(orjson.dumps(text)), middle, rest, end)

    def _add(self, key: _Key, item: ArtifactUpdate) -> _Template:
        """Make the template of chunks like this one: an item whose text and metadata are marks, cut at the marks."""
        artifact_id, name, append, has_metadata = key
        artifact = Artifact(
            artifact_id=artifact_id,
            name=name,
            parts=(TextPart(text=_TEXT),),
            metadata=_METADATA if has_metadata else None,
        )
        marked = ArtifactUpdate(task_id=item.task_id, context_id=item.context_id, artifact=artifact, append=append)
        rendered = json_data(orjson.dumps(self._presentation.item(marked, 0)))
        begin, *more = rendered.split(orjson.dumps(_TEXT))
        ends = more[0].split(orjson.dumps(_METADATA)) if len(more) == 1 else []
        template = _UNUSABLE  # an id of the client's holds a mark
        if len(ends) == 1 + has_metadata:
            template = (begin, ends[0], ends[1]) if has_metadata else (begin, b"", ends[0])
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = template
        return template
