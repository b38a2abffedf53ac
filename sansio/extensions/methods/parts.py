"""The parts and the other nested objects that a prompt or a command of a session takes."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from sansio.a2a.model import JsonObject
from sansio.extensions.methods.shapes import (
    MODEL,
    AnyJson,
    Flag,
    Identifier,
    Many,
    Number,
    Path,
    Record,
    Tagged,
    Text,
    wrong,
)
from sansio.opencode.file_inputs import TYPE_PATTERN, settled_file
from sansio.opencode.upstream.requests import FILE_SCHEMES


@frozen
class FileUrl:
    """URL of a file. One that OpenCode would read on its own machine is refused: it would bypass OpenCode's
    permissions.
    """

    def read(self, value: Any, path: Path) -> str:
        url = Text(longest=64 * 1024 * 1024).read(value, path)
        if not url.lower().startswith(FILE_SCHEMES):
            raise wrong(path, f"must begin with one of {', '.join(FILE_SCHEMES)}", supported=list(FILE_SCHEMES))
        return url

    def schema(self) -> JsonObject:
        return {"type": "string", "pattern": f"^({'|'.join(FILE_SCHEMES)})"}


@frozen
class ModelName:
    """A model as an object, or as one text: `provider/model`."""

    def read(self, value: Any, path: Path) -> Any:
        return Text().read(value, path) if isinstance(value, str) else MODEL.read(value, path)

    def schema(self) -> JsonObject:
        return {"anyOf": [MODEL.schema(), Text().schema()]}


_PART_ID = {"id": Identifier("prt")}
_SAID = Text(empty=True, verbatim=True, longest=16 * 1024 * 1024)


@frozen
class MediaType:
    """The type of a file that a model can take: OpenCode keeps a message with any other one, and fails on it."""

    def read(self, value: Any, path: Path) -> str:
        mime = Text(longest=256).read(value, path)
        if not re.search(TYPE_PATTERN, mime, re.IGNORECASE):
            raise wrong(path, "must be the type of a text, an image, a PDF, a sound or a video that models take")
        return mime

    def schema(self) -> JsonObject:
        return {"type": "string", "maxLength": 256, "pattern": TYPE_PATTERN}


class FileRecord(Record):
    """A file, of which text goes as plain text, whatever its type is."""

    def read(self, value: Any, path: Path) -> JsonObject:
        return settled_file(super().read(value, path))


_FILE = FileRecord(
    required={"mime": MediaType(), "url": FileUrl()},
    optional={**_PART_ID, "filename": Text(), "source": AnyJson()},
)

PROMPT_PART = Tagged(
    {
        "text": Record(
            required={"text": _SAID},
            optional={
                **_PART_ID,
                "synthetic": Flag(),
                "ignored": Flag(),
                "time": AnyJson(),
                "metadata": AnyJson(),
            },
        ),
        "file": _FILE,
        "agent": Record(required={"name": Text()}, optional={**_PART_ID, "source": AnyJson()}),
        "subtask": Record(
            required={"prompt": _SAID, "description": Text(empty=True), "agent": Text()},
            optional={**_PART_ID, "model": MODEL, "command": Text(empty=True)},
        ),
    }
)
PROMPT_PARTS = Many(PROMPT_PART, least=1)
FILE_PARTS = Many(Tagged({"file": _FILE}))
COMMAND_MODEL = ModelName()

FORMAT = Tagged(
    {
        "text": Record(),
        "json_schema": Record(
            required={"schema": Record(open=True)}, optional={"retryCount": Number(least=0, most=2**31 - 1)}
        ),
    }
)
"""The form that an answer is to have."""
