"""Files that a client sends, as OpenCode can give them to a model: what a file is, and what becomes of it.

OpenCode stores a message before the model's provider looks at it. A file that the provider cannot take fails that
turn and every later one of the session. So each file is decided on before there is a task: by its content, its name
and its media type. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from attrs import frozen

from sansio.a2a.codecs.json_values import member, objects_at, text_at
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.media_types import PLAIN_TEXT
from sansio.a2a.model import FilePart, JsonObject

TEXT, IMAGE, PDF, AUDIO, VIDEO = "text", "image", "pdf", "audio", "video"
"""OpenCode's names for what a model takes."""

SAFE = frozenset({IMAGE, PDF})
"""The inputs that an unknown model is assumed to take, besides text."""

EVERYTHING = frozenset({IMAGE, PDF, AUDIO, VIDEO})

_MEDIA = {
    "image/png": IMAGE,
    "image/jpeg": IMAGE,
    "image/gif": IMAGE,
    "image/webp": IMAGE,
    "application/pdf": PDF,
    "audio/wav": AUDIO,
    "audio/mpeg": AUDIO,
    "audio/ogg": AUDIO,
    "audio/flac": AUDIO,
    "audio/mp4": AUDIO,
    "video/mp4": VIDEO,
    "video/webm": VIDEO,
    "video/quicktime": VIDEO,
}
"""The media types that providers take, with what a model must declare for them."""

_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "application/x-pdf": "application/pdf",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
}

_EXTENSIONS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
}

_BEGINNINGS = (
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xf2\xf3\xfb]"), "audio/mpeg"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"....ftypM4A", re.DOTALL), "audio/mp4"),
    (re.compile(rb"....ftypqt", re.DOTALL), "video/quicktime"),
    (re.compile(rb"....ftyp", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1aE\xdf\xa3"), "video/webm"),
)

_TEXT_TYPE = re.compile(
    r"text/.*|.*\+(json|xml|yaml)"
    r"|application/(x-)?(json5?|ndjson|jsonlines|xml|yaml|toml|javascript|ecmascript|typescript|sh|sql|graphql|csv|tex|httpd-php|perl|python|ruby)"
)
_TEXT_NAME = re.compile(
    "txt|md|rst|[ct]sv|jsonl?|json5|ndjson|xml|ya?ml|toml|ini|cfg|conf|env|properties|log|svg|html?|s?css|less"
    "|[mc]?js|[jt]sx?|vue|svelte|pyi?|rb|php|pl|lua|r|jl|java|kts?|scala|groovy|go|rs|[ch]|cc|[ch]pp|[ch]xx|cs|fs"
    "|swift|mm?|dart|zig|hs|ml|exs?|erl|clj|lisp|el|[bz]a?sh|sh|fish|ps1|bat|cmd|sql|graphql|gql|proto|tf|hcl|nix"
    "|tex|bib|diff|patch|dockerfile|makefile|cmake|gradle|gitignore|editorconfig|lock"
)
_CONTROL = bytes((*range(9), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F))  # in UTF-8 nothing else has these bytes
_BOM = b"\xef\xbb\xbf"
_LEAD = 64  # characters of base64 that hold the beginning by which a type is known
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/_-]")


@frozen
class _Found:
    """Type of a file, and the URL for OpenCode. `mime` `None`: no model takes such a file."""

    mime: str | None
    url: str


def file_part(part: FilePart, index: int, takes: frozenset[str] = SAFE) -> JsonObject:
    """Return the file as OpenCode takes it; `takes`: what the model declares, beside text.

    Text goes as `text/plain`, whatever its type is: OpenCode gives that to the model as text, with its name.
    Raises `ProtocolError` (CONTENT_TYPE_NOT_SUPPORTED) naming the part.
    """
    found = _look(part)
    needed = TEXT if found.mime == PLAIN_TEXT else _MEDIA.get(found.mime or "")
    if found.mime is None or (needed != TEXT and needed not in takes):
        given = found.mime or _type_of(part.media_type) or "a file without a media type"
        raise unsupported(index, given, takes)
    body: JsonObject = {"type": "file", "mime": found.mime, "url": found.url}
    if part.filename or (needed == TEXT and _holds_content(part)):
        body["filename"] = part.filename or f"file-{index + 1}.txt"
    return body


def unsupported(index: int, given: str, takes: frozenset[str]) -> ProtocolError:
    """Make the error of a part that cannot be given to the model."""
    field = f"message.parts[{index}]"
    names = ", ".join(sorted(takes | {TEXT}))
    return ProtocolError(
        ErrorKind.CONTENT_TYPE_NOT_SUPPORTED,
        f"{field}: {given[:100]} cannot be given to the model, which takes {names}",
        data={"field": field},
        metadata={"field": field, "mediaType": given[:100]},
    )


def is_media(part: FilePart) -> bool:
    """Return whether the model decides if a file can be sent, judged by the file's first bytes, type and name."""
    beginning, media_type = _beginning(part)
    return (_by_beginning(beginning) or _by_name(part.media_type or media_type, _name_of(part))) in _MEDIA


TYPE_PATTERN = (
    r"^(text/[a-z0-9.+-]+|image/(png|jpe?g|gif|webp)|audio/(wav|mpeg|mp3|ogg|flac|mp4)|video/(mp4|webm|quicktime)"
    r"|application/(pdf|json|xml|yaml|toml|javascript|typescript|sql|graphql)|application/[a-z0-9.-]+\+(json|xml|yaml))$"
)
"""The media types of files that are rendered as OpenCode has them, as the published schema declares."""


def settled_file(body: JsonObject) -> JsonObject:
    """Return a file in OpenCode's own form, of a type of `TYPE_PATTERN`, with text types as plain text."""
    part = FilePart(url=body["url"], media_type=body["mime"], filename=body.get("filename"))
    try:
        return {**body, **file_part(part, 0, EVERYTHING)}
    except ProtocolError:
        return body


def holds_media(parts: Sequence[JsonObject]) -> bool:
    """Return whether a prompt holds a file that is not text. A provider may refuse it anyway."""
    return any(part.get("type") == "file" and part.get("mime") != PLAIN_TEXT for part in parts)


def declared(catalogue: Any, provider_id: str, model_id: str) -> frozenset[str] | None:
    """Return the inputs that a model takes besides text, from `GET /config/providers`; `None` if it is not listed
    there.
    """
    for provider in objects_at(catalogue, "providers"):
        if provider.get("id") == provider_id:
            found = member(provider, "models", model_id, "capabilities", "input")
            return _taken(found) if isinstance(found, dict) else None
    return None


def _taken(given: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for name in EVERYTHING if given.get(name) is True)


def model_of_config(config: Any) -> tuple[str, str] | None:
    """Return the provider and model of new sessions, from `GET /config`; `None` if it has none."""
    provider_id, slash, model_id = (text_at(config, "model") or "").partition("/")
    return (provider_id, model_id) if slash and provider_id and model_id else None


# --- what a file is ---------------------------------------------------------------------------------------


def _look(part: FilePart) -> _Found:
    """Find the type of a file. Its content is decoded once, and its base64 is passed on unchanged where possible."""
    if not _holds_content(part):
        return _Found(_by_name(part.media_type, _name_of(part)), part.url or "")
    encoded: str | None
    if part.raw is not None:
        media_type = ""
        content, encoded = _from_base64(part.raw)
    else:
        content, encoded, media_type = _of_data_url(part.url or "")
    text = None if content.startswith(b"%PDF-") else _text(content)
    if text is not None:
        return _Found(PLAIN_TEXT, _data_url(PLAIN_TEXT, text, encoded if text is content else None))
    mime = _by_beginning(content) or _by_name(part.media_type or media_type, _name_of(part))
    return _Found(None if mime == PLAIN_TEXT else mime, _data_url(mime or "", content, encoded))


def _by_beginning(content: bytes) -> str | None:
    return next((mime for pattern, mime in _BEGINNINGS if pattern.match(content)), None)


def _text(content: bytes) -> bytes | None:
    """Convert text to UTF-8: from UTF-8, with or without its mark, or from UTF-16 with it. `None`: it is no text."""
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = content.decode("utf-16").encode()
        else:
            text = content.removeprefix(_BOM)
            text.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text.translate(None, _CONTROL)) == len(text) else None


def _by_name(media_type: str | None, name: str) -> str | None:
    """Return the type of what cannot be looked at, by its media type, else by its name."""
    mime = _type_of(media_type)
    if mime in _MEDIA:
        return mime
    if mime and _TEXT_TYPE.fullmatch(mime):
        return PLAIN_TEXT
    if mime not in ("", "application/octet-stream", "binary/octet-stream"):
        return None
    extension = name.rpartition("/")[2].rpartition(".")[2].lower()
    if extension in _EXTENSIONS:
        return _EXTENSIONS[extension]
    return PLAIN_TEXT if _TEXT_NAME.fullmatch(extension) else None


def _type_of(media_type: str | None) -> str:
    mime = (media_type or "").partition(";")[0].strip().lower()
    return _SAME.get(mime, mime)


def _is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def _holds_content(part: FilePart) -> bool:
    return part.raw is not None or _is_data(part.url or "")


def _name_of(part: FilePart) -> str:
    return part.filename or (urlsplit(part.url).path if part.url and not _is_data(part.url) else "")


def _beginning(part: FilePart) -> tuple[bytes, str]:
    """Return the first bytes of a file, if it holds any, and the media type of its `data:` URL."""
    if part.raw is not None:
        return _from_base64(part.raw[:_LEAD])[0], ""
    if not _holds_content(part):
        return b"", ""
    media_type, marked, data = _split_data_url(part.url or "")
    content = unquote_to_bytes(data[: 4 * _LEAD])
    if marked:
        content = _from_base64(_NO_BASE64.sub(b"", content)[:_LEAD].decode())[0]
    return content, media_type


def _of_data_url(url: str) -> tuple[bytes, str | None, str]:
    """Return the content of a `data:` URL, its base64 as `_from_base64` gives it, and the media type."""
    media_type, marked, data = _split_data_url(url)
    if not marked:
        return unquote_to_bytes(data), None, media_type
    text = unquote_to_bytes(data).decode("ascii", "replace") if "%" in data else data
    return *_from_base64(text), media_type


def _split_data_url(url: str) -> tuple[str, bool, str]:
    """Return the media type of a `data:` URL (RFC 2397), whether the data are base64, and the data."""
    head, _, data = url[5:].partition(",")
    media_type, marked, _ = head.partition(";base64")
    return media_type, bool(marked), data


def _from_base64(text: str) -> tuple[bytes, str | None]:
    """Return the bytes of base64 in either alphabet, with or without padding; none for what is no base64.

    With them their base64 in the standard alphabet, padded; None where the text holds anything else.
    """
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    standard += "=" * (-len(standard) % 4)
    try:
        return binascii.a2b_base64(standard, strict_mode=True), standard
    except ValueError:  # for example white space
        pass
    try:
        return binascii.a2b_base64(standard), None
    except ValueError:
        return b"", None


def _data_url(mime: str, content: bytes, encoded: str | None) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode() if encoded is None else encoded}"
