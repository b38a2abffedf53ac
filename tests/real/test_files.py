"""Files in messages: what reaches the real OpenCode's model, and a conversation that outlives what it cannot use."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.real.adapter import Adapter
from tests.real.conftest import connected
from tests.real.opencode import OpenCode
from tests.real.wire import Client, Json, Task

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

TEXT = b'{"answer": 42}'
BINARY = b"PK\x03\x04\x14\0\x06\0\x08\0"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.fixture
def client(adapter: Adapter) -> Iterator[Client]:
    client = connected(adapter, "1.0", "jsonrpc")
    with client.http:
        yield client


def request(client: Client, text: str, content: bytes | None, media_type: str, context: str | None) -> Json:
    params = client.params(text, context)
    if content is not None:
        raw = base64.b64encode(content).decode()
        params["message"]["parts"].append({"raw": raw, "mediaType": media_type, "filename": "a.x"})
    return client.envelope("SendMessage", params)


def say(
    client: Client, text: str, content: bytes | None = None, media_type: str = "", context: str | None = None
) -> Task:
    asked = request(client, text, content, media_type, context)
    return client.reading.sent(client.result(client.answer(client.http.post("/", json=asked)), asked["id"]))


def error_of(client: Client, content: bytes, media_type: str, context: str) -> Json:
    asked = request(client, "hi", content, media_type, context)
    error: Json = client.http.post("/", json=asked).raise_for_status().json()["error"]
    return error


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/octet-stream", "text/csv", "image/svg+xml", ""]
)
def test_text_reaches_the_model_and_the_conversation_goes_on(client: Client, media_type: str) -> None:
    first = say(client, "SAYBACK", TEXT, media_type)
    second = say(client, "COUNT", context=first.context_id)

    assert (first.state, second.state) == ("completed", "completed")
    [said] = first.artifact_stream("text")
    assert TEXT.decode() in "".join(said.texts)
    assert "a.x" in "".join(said.texts)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(BINARY, DOCX), (BINARY, "application/octet-stream"), (b"\x89PNG\r\n\x1a\n\0", "image/png")],
)
def test_what_the_model_does_not_take_is_refused_and_the_conversation_goes_on(
    client: Client, opencode: OpenCode, content: bytes, media_type: str
) -> None:
    first = say(client, "COUNT")
    error = error_of(client, content, media_type, first.context_id) if media_type != "image/png" else None
    fresh = error_of(client, content, media_type, "")
    second = say(client, "COUNT", context=first.context_id)

    for refused in (error, fresh):
        assert refused is None or (refused["code"], "message.parts[1]" in str(refused)) == (-32005, True)
    assert second.artifact_stream("text")[0].texts == ("You have said 2 things.",)
    assert opencode.user_texts(first.session_id) == ["COUNT", "COUNT"]
