"""The files of the page: read once, when the server starts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from attrs import frozen

from opencode_a2a.server.http.documents import conditional
from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.cards.agent_card import CardDocument
from sansio.guards.console import CONTENT_TYPES, FILE_HEADERS, path_of

_CACHED: Final = ("cache-control", "no-cache")  # a newer server has newer files, which belong together


@frozen
class PageFile:
    """A file with the headers that it is served with."""

    content: CardDocument
    media_type: str

    def response(self, request: Request) -> Response:
        """Answer with the file, or with 304 where the client has it."""
        return conditional(request, self.content, ("content-type", self.media_type), _CACHED, *FILE_HEADERS)


def read_page(package: str) -> Mapping[str, PageFile]:
    """Read the files of a page that lie in a package, by their paths. Blocks; they are some dozens of kilobytes."""
    found: dict[str, PageFile] = {}
    for entry in files(package).iterdir():
        media_type = CONTENT_TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            found[path_of(entry.name)] = PageFile(CardDocument.of_bytes(entry.read_bytes()), media_type)
    return found
