"""Files in messages: what reaches OpenCode, what is refused before there is a task, and a context that goes on."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from opencode_a2a.fake_opencode import FakeOpenCode
from sansio.a2a.model import TaskState
from tests.shell.cases import each_value, every_listing_codec
from tests.shell.folding import text_of
from tests.shell.harness import RPC_10, Agent, Serving, Wire, quick
from tests.shell.method_calls import Methods

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
ZIP = b"PK\x03\x04\x14\0\x06\0\x08\0"
WAV = b"RIFF\x24\0\0\0WAVEfmt "
UNSUPPORTED = [(ZIP, "application/vnd.ms-word"), (ZIP, "application/octet-stream"), (ZIP, None), (WAV, "audio/wav")]


def parts(wire: Wire, text: str, content: bytes, media_type: str | None) -> list[dict[str, Any]]:
    """A text and a file, as a version has them over JSON-RPC or HTTP+JSON."""
    raw = base64.b64encode(content).decode()
    if wire.version == "1.0":
        typed = {} if media_type is None else {"mediaType": media_type}
        return [{"text": text}, {"raw": raw, "filename": "a.x", **typed}]
    typed = {} if media_type is None else {"mimeType": media_type}
    return [{"kind": "text", "text": text}, {"kind": "file", "file": {"bytes": raw, "name": "a.x", **typed}}]


def files_at_opencode(agent: Agent) -> list[tuple[str, bytes]]:
    prompts = [one.json for one in agent.fake_opencode.requests if one.path.endswith("/prompt_async")]
    found = [part for body in prompts for part in body["parts"] if part["type"] == "file"]
    return [(part["mime"], base64.b64decode(part["url"].partition(",")[2])) for part in found]


@each_value("media_type", ["application/json", "application/octet-stream", "text/x-python", None], wire=True)
async def test_text_is_given_as_text(serving: Serving, wire: Wire, media_type: str | None) -> None:
    async with serving() as agent:
        task = await agent.caller(wire).send("", parts=parts(wire, "COUNT", b'{"a": 1}', media_type))
        again = await agent.caller(wire).send("COUNT", contextId=task.context_id)

        assert files_at_opencode(agent) == [("text/plain", b'{"a": 1}')]
        [session] = agent.fake_opencode.sessions.values()
        assert {"text": '{"a": 1}', "synthetic": True}.items() <= session.messages[0].parts[-2].items()
    assert (text_of(task), text_of(again)) == ("You have said 1 things.", "You have said 2 things.")


@every_listing_codec
@pytest.mark.parametrize(("content", "media_type"), UNSUPPORTED)
async def test_what_no_model_takes_is_refused_before_there_is_a_task(
    serving: Serving, wire: Wire, content: bytes, media_type: str | None
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        first = await caller.send("COUNT")
        error = await caller.refused(
            text="", parts=parts(wire, "COUNT", content, media_type), contextId=first.context_id
        )
        again = await caller.send("COUNT", contextId=first.context_id)
        page = await caller.page()

    assert "message.parts[1]" in str(error)
    assert error.get("code") == -32005 if wire.binding == "rpc" else error["http"] == 415 or error["http"] == 400
    assert text_of(again) == "You have said 2 things."
    assert len(page["tasks"]) == 2


@each_value(
    "takes, content, granted",
    [
        (("text",), PNG, False),
        (("text", "image"), PNG, True),
        (("text", "audio"), WAV, True),
        (("text", "pdf"), WAV, False),
    ],
)
@pytest.mark.parametrize("named", [True, False])
async def test_the_model_of_the_message_decides(
    serving: Serving, takes: tuple[str, ...], content: bytes, granted: bool, named: bool
) -> None:
    metadata = {"shared": {"model": {"providerID": "standin", "modelID": "scripted"}}} if named else {}
    async with serving(FakeOpenCode(pause=0, takes=takes)) as agent:
        given: dict[str, Any] = {"parts": parts(RPC_10, "hi", content, None), "metadata": metadata}
        if granted:
            await agent.caller().send("", **given)
            assert len(files_at_opencode(agent)) == 1
        else:
            error = await agent.caller().refused(text="", **given)
            assert error["code"] == -32005
            assert agent.fake_opencode.sessions == {}


async def test_the_catalogue_is_asked_once_and_only_for_media(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller()
        await caller.send("hi")
        before = agent.asked("GET", "/config/providers")
        await caller.send("", parts=parts(RPC_10, "hi", b"{}", "application/json"))
        assert agent.asked("GET", "/config/providers") == before
        for _ in range(3):
            await caller.send("", parts=parts(RPC_10, "hi", PNG, None))
        assert agent.asked("GET", "/config/providers") <= before + 2  # the server asks once at its start, too


async def test_a_model_that_is_not_known_takes_pictures(serving: Serving) -> None:
    async with serving() as agent:
        for _ in range(2):  # the server asks at its start, too
            agent.fake_opencode.fail_next("GET", "/config/providers", 500)
        await agent.caller().send("", parts=parts(RPC_10, "hi", PNG, None))

        assert files_at_opencode(agent) == [("image/png", PNG)]


async def test_a_message_that_the_provider_refuses_is_taken_back(serving: Serving) -> None:
    # its model declares audio, and its provider takes none
    async with serving(FakeOpenCode(pause=0, takes=("text", "audio"))) as agent:
        caller = agent.caller()
        first = await caller.send("COUNT")
        model = {"shared": {"model": {"providerID": "standin", "modelID": "scripted"}}}
        given = {"parts": parts(RPC_10, "COUNT", WAV, "audio/wav"), "metadata": model}
        refused = await caller.send("", contextId=first.context_id, **given)
        again = await caller.send("COUNT", contextId=first.context_id)

        assert refused.status.state is TaskState.FAILED
        assert agent.asked("POST", "/revert") == 1
    assert text_of(again) == "You have said 2 things."


async def test_a_turn_that_fails_for_another_reason_is_not_taken_back(serving: Serving) -> None:
    async with serving() as agent:
        task = await agent.caller().send("", parts=parts(RPC_10, "FAIL401", PNG, None))
        text = await agent.caller().send("FAIL401")

        assert {task.status.state, text.status.state} == {TaskState.AUTH_REQUIRED}
        assert agent.asked("POST", "/revert") == 0


@pytest.mark.parametrize("method", ["prompt_async", "command"])
async def test_methods_refuse_such_files_by_name(serving: Serving, method: str) -> None:
    file = {"type": "file", "mime": "application/zip", "url": "data:;base64," + base64.b64encode(ZIP).decode()}
    more: dict[str, Any] = {"command": "init", "arguments": "x"} if method == "command" else {}
    async with serving(quick()) as agent:
        task = await agent.caller().send("hi")
        params = {
            "session_id": (task.metadata or {})["shared"]["session"]["id"],
            "request": {"parts": [file], **more},
        }
        error = await Methods(agent.http, "0.3").error(f"opencode.sessions.{method}", params)

        assert error["data"]["field"] == "request.parts[0].mime"
        assert files_at_opencode(agent) == []
