"""Files that a user attaches: which name and media type they get, how much fits, which URLs are passed on."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.cards.parse import Interface
from sansio.a2a.client.calls import send_call
from sansio.a2a.client.outgoing_files import file_budget, file_of_content, file_of_url, is_reference
from sansio.a2a.model import FilePart, Message, Role, SendRequest, TextPart

PNG = b"\x89PNG\r\n\x1a\n\0\0"


@pytest.mark.parametrize(
    ("source", "content", "guess", "media_type"),
    [
        ("/home/ada/notes.txt", b"text", ("text/plain", None), "text/plain"),
        ("picture.png", PNG, ("image/png", None), "image/png"),
        ("app.ts", b"let a: number = 1", ("video/mp2t", None), "text/plain"),
        ("film.ts", b"G\0\x11\xff", ("video/mp2t", None), "video/mp2t"),
        ("drawing.svg", b"<svg/>", ("image/svg+xml", None), "image/svg+xml"),
        ("Makefile", b"all:\n", (None, None), "text/plain"),
        ("what.is-it", b"\0\xff", (None, None), "application/octet-stream"),
        ("logs.tar.gz", b"\x1f\x8b\0", ("application/x-tar", "gzip"), "application/gzip"),
        ("logs.tar.new", b"", ("application/x-tar", "new"), "application/octet-stream"),
        ("data.json", b"{}", ("application/json", None), "application/json"),
    ],
)
def test_a_file_goes_whole_with_its_name_and_type(
    source: str, content: bytes, guess: tuple[str | None, str | None], media_type: str
) -> None:
    part = file_of_content(source, content, guess)

    assert base64.b64decode(part.raw or "") == content
    assert (part.filename, part.media_type, part.url) == (source.rpartition("/")[2], media_type, None)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="encoding"):
        file_of_content("a\udcff", b"", (None, None))


def test_a_url_is_passed_on_with_the_name_at_its_end() -> None:
    url = "https://files.example/of/My%20plan.pdf?version=2"

    assert file_of_url(url, ("application/pdf", None)) == FilePart(
        url=url, filename="My plan.pdf", media_type="application/pdf"
    )
    assert file_of_url("http://files.example", (None, None)) == FilePart(url="http://files.example")


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "https://ada:secret@files.example/a", "http://"])
def test_a_url_that_others_cannot_fetch_is_refused_without_repeating_it(url: str) -> None:
    assert is_reference(url)
    with pytest.raises(ValueError, match=r"^(must|its)") as caught:
        file_of_url(url, (None, None))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["notes.txt", "/a/b", "./http", "c:/windows", "a:b//c", ""])
def test_a_path_is_no_url(path: str) -> None:
    assert not is_reference(path)


@given(
    limit=st.integers(0, 40_000), text=st.text("aß€", max_size=500), binding=st.sampled_from(["JSONRPC", "HTTP+JSON"])
)
def test_what_fits_the_budget_fits_the_request(limit: int, text: str, binding: str) -> None:
    budget = file_budget(limit, text)
    part = file_of_content("a", b"\0" * budget, (None, None))
    message = Message(message_id="m", role=Role.USER, parts=(TextPart(text=text), part))
    interface = Interface(binding=binding, version="1.0", url="http://a")

    body = send_call(interface, SendRequest(message=message), request_id="r").body or b""

    assert budget == 0 or len(body) <= limit
    assert file_budget(limit + 4, text) >= budget
