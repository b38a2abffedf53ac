"""Files that OpenCode produces, as file parts: attachments of its tools, and file parts of its messages.

A file is sent as its bytes, or as an address that others can read. A path of OpenCode's machine is neither, and is
left out.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from sansio.a2a.codecs.json_values import objects_at
from sansio.a2a.model import FilePart, JsonObject


def file_of(body: JsonObject) -> FilePart | None:
    """Convert OpenCode's file part; `None` where there is nothing a client could read."""
    url, mime, name = body.get("url"), body.get("mime"), body.get("filename")
    if not isinstance(url, str):
        return None
    media_type = mime if isinstance(mime, str) and mime else None
    filename = name if isinstance(name, str) and name else None
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        raw = _bytes_in(url)
        return None if raw is None else FilePart(raw=raw, media_type=media_type, filename=filename)
    if scheme.startswith(("https://", "http://")):
        return FilePart(url=url, media_type=media_type, filename=filename)
    return None


def attachments_of(part: JsonObject) -> tuple[FilePart, ...]:
    """Return the files that a tool call has attached to its result."""
    files = map(file_of, objects_at(part, "state", "attachments"))
    return tuple(file for file in files if file is not None)


def _bytes_in(url: str) -> str | None:
    """Return the bytes of a `data:` URL (RFC 2397), in base64; None where it is none."""
    head, comma, content = url.partition(",")
    if not comma:
        return None
    data = unquote_to_bytes(content)
    if head.lower().endswith(";base64"):
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
        except binascii.Error:
            return None
    return base64.b64encode(data).decode()
