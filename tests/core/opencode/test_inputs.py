"""Which files reach the model, as what, and which are refused by name: by content, name and media type."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import ErrorKind, ProtocolError, http_error
from sansio.a2a.model import FilePart, JsonObject, TextPart
from sansio.opencode.file_inputs import (
    AUDIO,
    EVERYTHING,
    IMAGE,
    PDF,
    SAFE,
    declared,
    file_part,
    holds_media,
    is_media,
    model_of_config,
    settled_file,
)
from sansio.opencode.upstream.requests import prompt_parts

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
ZIP = b"PK\x03\x04\x14\0\x06\0\x08\0"
WAV = b"RIFF\x24\0\0\0WAVEfmt "
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def file(content: bytes, media_type: str | None = None, name: str | None = None) -> FilePart:
    return FilePart(raw=base64.b64encode(content).decode(), media_type=media_type, filename=name)


def content_of(body: JsonObject) -> bytes:
    head, _, encoded = body["url"].partition(",")
    assert head == f"data:{body['mime']};base64"
    return base64.b64decode(encoded, validate=True)


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/octet-stream", None, "image/png", "text/csv", "x"]
)
@pytest.mark.parametrize("name", [None, "a.json", "a.bin", "a"])
def test_text_goes_as_text_whatever_it_is_called(media_type: str | None, name: str | None) -> None:
    body = file_part(file(b'{"a": "\xc3\xbc"}', media_type, name), 0)

    assert body["mime"] == "text/plain"
    assert content_of(body) == b'{"a": "\xc3\xbc"}'
    assert body["filename"] == (name or "file-1.txt")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_of_another_encoding_is_told_in_utf_8(encoding: str) -> None:
    assert content_of(file_part(file("ü\n".encode(encoding), "text/plain", "a"), 0)) == "ü\n".encode()


@pytest.mark.parametrize(
    ("content", "media_type", "name", "mime"),
    [
        (PNG, "image/png", "a.png", "image/png"),
        (PNG, None, None, "image/png"),
        (PNG, "application/octet-stream", None, "image/png"),
        (PNG, "image/jpeg", "a.jpg", "image/png"),
        (b"\xff\xd8\xff\xe0", None, None, "image/jpeg"),
        (b"GIF89a\x01\0\x01\0", None, None, "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", None, None, "image/webp"),
        (b"%PDF-1.7\n", "application/octet-stream", None, "application/pdf"),
        (b"\xfb\xff", "image/jpg; q=1", None, "image/jpeg"),
        (b"\xfb\xff", None, "a.PNG", "image/png"),
    ],
)
def test_pictures_and_pdf_go_as_files(content: bytes, media_type: str | None, name: str | None, mime: str) -> None:
    part = file(content, media_type, name)
    body = file_part(part, 0)

    assert (body["type"], body["mime"]) == ("file", mime)
    assert content_of(body) == content
    assert is_media(part)
    assert holds_media([body])


@pytest.mark.parametrize(
    ("content", "media_type", "name"),
    [
        (ZIP, DOCX, "a.docx"),
        (ZIP, None, "a.zip"),
        (b"\0\1\2", "application/octet-stream", None),
        (b"\0\1\2", None, None),
        (b"\0\1\2", "text/plain", "a.txt"),
        (b"\0\1\2", "image/tiff", "a.tiff"),
        (b"\0\1\2", DOCX, "a.png"),
        (WAV, "audio/wav", "a.wav"),
    ],
)
def test_what_no_model_takes_is_refused_and_the_part_is_named(
    content: bytes, media_type: str | None, name: str | None
) -> None:
    with pytest.raises(ProtocolError) as caught:
        prompt_parts([TextPart(text="a"), file(content, media_type, name)])

    assert caught.value.kind is ErrorKind.CONTENT_TYPE_NOT_SUPPORTED
    assert caught.value.metadata["field"] == caught.value.data["field"] == "message.parts[1]"
    assert caught.value.message.startswith("message.parts[1]: ")
    assert http_error(caught.value, "0.3")[1]["type"] == "ContentTypeNotSupportedError"


@pytest.mark.parametrize(
    ("content", "takes", "granted"),
    [
        (WAV, SAFE, False),
        (WAV, frozenset({AUDIO}), True),
        (PNG, frozenset(), False),
        (PNG, frozenset({PDF}), False),
        (PNG, frozenset({IMAGE}), True),
        (b"text", frozenset(), True),
    ],
)
def test_a_file_is_for_models_that_declare_it(content: bytes, takes: frozenset[str], granted: bool) -> None:
    if granted:
        file_part(file(content), 0, takes)
    else:
        with pytest.raises(ProtocolError, match="text"):
            file_part(file(content), 0, takes)


@pytest.mark.parametrize(
    ("url", "media_type", "name", "mime"),
    [
        ("https://e.org/a.png?x=1", None, None, "image/png"),
        ("https://e.org/x", "image/png", None, "image/png"),
        ("https://e.org/x", None, "notes.md", "text/plain"),
        ("https://e.org/x", "application/ld+json", None, "text/plain"),
        ("https://e.org/x", "application/json", None, "text/plain"),
        ("https://e.org/x", None, None, None),
        ("https://e.org/x.docx", None, None, None),
        ("https://e.org/x.png", DOCX, None, None),
    ],
)
def test_what_cannot_be_looked_at_goes_by_its_type_and_name(
    url: str, media_type: str | None, name: str | None, mime: str | None
) -> None:
    part = FilePart(url=url, media_type=media_type, filename=name)
    if mime is None:
        with pytest.raises(ProtocolError):
            file_part(part, 0)
    else:
        body = file_part(part, 0)
        assert (body["mime"], body["url"]) == (mime, url)


@pytest.mark.parametrize(
    "url", ["data:application/json;base64,eyJhIjogMX0", "data:application/json,%7B%22a%22:%201%7D"]
)
def test_a_data_url_is_looked_at_too(url: str) -> None:
    body = file_part(FilePart(url=url, filename="a"), 0)

    assert (body["mime"], content_of(body)) == ("text/plain", b'{"a": 1}')
    assert settled_file({"type": "file", "mime": "application/json", "url": url, "filename": "a"}) == body


JPEG = b"\xff\xd8\xff\xfb\xef\xbe" * 40
STANDARD = base64.b64encode(JPEG).decode()
OTHER = base64.urlsafe_b64encode(JPEG).decode().rstrip("=")


@pytest.mark.parametrize("encoded", [STANDARD, OTHER, STANDARD.rstrip("="), OTHER + "=="])
def test_base64_goes_on_in_the_standard_alphabet_padded(encoded: str) -> None:
    for part in (FilePart(raw=encoded), FilePart(url=f"data:;base64,{encoded}")):
        assert is_media(part)
        assert file_part(part, 0)["url"] == f"data:image/jpeg;base64,{STANDARD}"


@pytest.mark.parametrize("encoded", [quote(STANDARD), f"\r\n {STANDARD[:7]}\n{STANDARD[7:]}\n", f"%0A{STANDARD}%0A"])
def test_base64_with_white_space_or_escapes_is_written_anew(encoded: str) -> None:
    part = FilePart(url=f"data:image/png;base64,{encoded}")

    assert is_media(part)
    assert file_part(part, 0)["url"] == f"data:image/jpeg;base64,{STANDARD}"


@pytest.mark.parametrize(
    "url", ["data:;base64,\u00fc", "data:;base64,%FF", "data:;base64,A", "data:;base64", "data:"]
)
def test_a_data_url_without_content_is_an_empty_text(url: str) -> None:
    assert not is_media(FilePart(url=url))
    assert content_of(file_part(FilePart(url=url), 0)) == b""


@pytest.mark.parametrize(
    ("part", "media"),
    [
        (file(b"%PDF-1.7"), True),
        (file(WAV), True),
        (file(b"\0\1", "audio/wav"), True),
        (FilePart(url="data:image/png,%89PNG%0D%0A%1A%0A"), True),
        (FilePart(url="data:image/png,x"), True),
        (FilePart(url="https://e.org/a.png"), True),
        (file(b"text"), False),
        (file(ZIP, DOCX), False),
        (FilePart(url="https://e.org/a.txt"), False),
    ],
)
def test_whether_the_model_matters_is_known_by_the_beginning_and_the_type(part: FilePart, media: bool) -> None:
    assert is_media(part) == media


@pytest.mark.parametrize("control", [0, 8, 0x0E, 0x1A, 0x1C, 0x1F, 0x7F])
def test_a_control_character_anywhere_makes_a_file_no_text(control: int) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        content = f"ü{'x' * 5000}{chr(control)}".encode(encoding)
        with pytest.raises(ProtocolError):
            file_part(file(content), 0)
    assert content_of(file_part(file(b"a\t\n\x0b\x0c\r\x1bz"), 0)) == b"a\t\n\x0b\x0c\r\x1bz"


@given(st.binary(max_size=64), st.none() | st.text(max_size=20), st.none() | st.text(max_size=20))
def test_a_file_is_given_whole_or_refused_by_name(content: bytes, media_type: str | None, name: str | None) -> None:
    try:
        body = file_part(file(content, media_type, name), 3, EVERYTHING)
    except ProtocolError as error:
        body, refused = {}, error
    if not body:
        assert refused.metadata["field"] == "message.parts[3]"
    else:
        given = content_of(body)
        assert given == content or given.decode() == content.decode(
            "utf-16" if content[:1] in b"\xff\xfe" else "utf-8-sig"
        )


def test_what_a_model_takes_is_read_from_the_catalogue() -> None:
    takes = {"text": True, "image": True, "audio": False, "pdf": 1}
    models = {"m": {"capabilities": {"input": takes}}, "silent": {"capabilities": {}}}
    catalogue = {"providers": [{"id": "q"}, 5, {"id": "p", "models": models}]}

    assert declared(catalogue, "p", "m") == frozenset({IMAGE})
    for provider, model in (("p", "silent"), ("p", "unknown"), ("q", "m"), ("x", "m")):
        assert declared(catalogue, provider, model) is None


@pytest.mark.parametrize("junk", [None, [], {}, {"providers": 5}, {"providers": [{"id": "p", "models": 5}]}])
def test_a_catalogue_that_is_none_says_nothing(junk: object) -> None:
    assert declared(junk, "p", "m") is None


@pytest.mark.parametrize(
    ("config", "model"),
    [({"model": "p/m/x"}, ("p", "m/x")), ({"model": "p"}, None), ({}, None), (None, None), ({"model": "/m"}, None)],
)
def test_the_model_of_new_sessions_is_in_the_configuration(config: object, model: tuple[str, str] | None) -> None:
    assert model_of_config(config) == model


def test_a_file_that_no_model_takes_stays_as_opencode_has_it() -> None:
    binary = {"type": "file", "mime": "text/plain", "url": "data:text/plain;base64,AAEC", "id": "prt_1"}
    markdown = {**binary, "mime": "text/markdown", "url": "data:text/markdown,hi"}

    assert settled_file(binary) == binary
    assert settled_file(markdown)["mime"] == "text/plain"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "FILE:///etc/passwd", "/etc/passwd", "ftp://host/a.txt"])
def test_opencode_reads_no_file_for_a_client(url: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        prompt_parts([TextPart(text="read this"), FilePart(url=url, media_type="text/plain")])

    (violation,) = caught.value.violations
    assert violation.field == "message.parts[1]"
    assert violation.message.startswith("a file's URL must begin with one of ")
