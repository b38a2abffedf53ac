"""Files that a user attaches to a message: a file's content as a part, or a URL as a part that refers to it.

Knows no file system: content, name and a guess at the media type are arguments.
"""

from __future__ import annotations

import base64
import re
from pathlib import PurePath
from typing import Final
from urllib.parse import unquote, urlsplit

from sansio.a2a.cards.parse import Origin
from sansio.a2a.media_types import PLAIN_TEXT
from sansio.a2a.model import FilePart

UNKNOWN: Final = "application/octet-stream"

_ENVELOPE: Final = 4096  # bytes of a request beside its text and its files
_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_WEB: Final = re.compile(r"https?://", re.IGNORECASE)
_COMPRESSED: Final = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}
"""Media types of compressed files by their encoding."""


def is_reference(source: str) -> bool:
    """Return whether a file is named by a URL, of whatever scheme, and not by a path."""
    return _SCHEME.match(source) is not None


def file_budget(body_limit: int, text: str) -> int:
    """Return how many bytes of files fit into a request of `body_limit` bytes beside the text. 0: none does."""
    left = body_limit - _ENVELOPE - len(text.encode("utf-8", "replace"))
    return max(0, left // 4 * 3)  # base64 makes four bytes of three


def file_of_content(source: str, content: bytes, guess: tuple[str | None, str | None]) -> FilePart:
    """Make the part of a file that is sent whole, under its name without directories.

    `guess`: the media type and the encoding that the name suggests, as `mimetypes` has them. Raises `ValueError`
    where the name is not valid in the terminal's encoding.
    """
    name = PurePath(source).name
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError("its name is not valid in the terminal's encoding") from None
    return FilePart(
        raw=base64.b64encode(content).decode(),
        filename=name or None,
        media_type=_media_type(content, *guess),
    )


def file_of_url(url: str, guess: tuple[str | None, str | None]) -> FilePart:
    """Make the part that refers to a file; nobody fetches it here. Raises `ValueError`, which never holds the URL."""
    if not _WEB.match(url):
        raise ValueError("must be a path, or a URL that begins with http:// or https://")
    Origin.of(url)
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    media_type, encoding = guess
    return FilePart(
        url=url,
        filename=name if name.isprintable() and name else None,
        media_type=media_type if encoding is None else _COMPRESSED.get(encoding),
    )


def _media_type(content: bytes, guessed: str | None, encoding: str | None) -> str:
    if encoding is not None:
        return _COMPRESSED.get(encoding, UNKNOWN)
    kind, _, subtype = (guessed or "").partition("/")
    # a source file may be named like a film: `.ts` is TypeScript, and an MPEG transport stream
    if (not guessed or (kind in ("audio", "video", "image") and not subtype.endswith("xml"))) and _is_text(content):
        return PLAIN_TEXT
    return guessed or UNKNOWN


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content
