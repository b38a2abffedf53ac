"""Operations over WebSocket: each of them, in both versions, on one connection; and methods beyond the protocol."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opencode_a2a.fake_opencode import HELLO, FakeOpenCode, Say, Script
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from runtime_http import websocket
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import Task
from sansio.a2a.websocket.messages import FRAGMENT
from sansio.a2a.websocket.session import SessionLimits
from tests import schemas
from tests.shell.folding import folded
from tests.shell.harness import DEADLINE, RPC_03, RPC_10, STAYS_OPEN, Serving, Wire, quick
from tests.shell.server.websocket.client import Client, connection

pytestmark = pytest.mark.anyio

ON: dict[str, Any] = {"bindings": ("JSONRPC", "WEBSOCKET")}
HOOK = "http://127.0.0.1:9/hook"
NAMES = {
    "0.3": ("message/send", "message/stream", "tasks/get", "tasks/list", "tasks/cancel", "tasks/resubscribe"),
    "1.0": ("SendMessage", "SendStreamingMessage", "GetTask", "ListTasks", "CancelTask", "SubscribeToTask"),
}
each_version = pytest.mark.parametrize("wire", [RPC_03, RPC_10], ids=str)


def short() -> FakeOpenCode:
    """A fake OpenCode whose SLOW takes a third of a second."""
    script = Script(((Say(tuple(f"tick{n} " for n in range(30)), ticking=True),),))
    return FakeOpenCode(pause=0, tick=0.01, scripts={**SCRIPTS, "SLOW": lambda _: script})


def text_of(events: list[dict[str, Any]]) -> str:
    """The text of a stream of version 1.0."""
    items = [CODECS["1.0"].parse_item(one["result"]) for one in events if "result" in one]
    return next((one.text for one in folded(items) if one.name == "response"), "")


async def started(client: Client, text: str, *, id: Any = "s", **more: Any) -> str:
    """Begin a stream in version 1.0, and return the task's id."""
    await client.send(id=id, method="SendStreamingMessage", params={"message": RPC_10.message(text)}, **more)
    await client.until(lambda: client.answers[id])
    return str(client.answers[id][0]["result"]["task"]["id"])


@each_version
async def test_every_operation_answers_as_over_json_rpc(serving: Serving, wire: Wire) -> None:
    send, stream, get, page, cancel, subscribe = NAMES[wire.version]
    codec = CODECS[wire.version]
    old = wire.version == "0.3"
    async with serving(push_allow_private_hosts=True, **ON) as agent, connection(agent.url) as client:
        answer = await client.ask(send, {"message": wire.message("hi")}, id="a")
        schemas.check(wire.version, schemas.SEND_RESULT, answer["result"])
        task = codec.parse_item(answer["result"])
        assert isinstance(task, Task)
        assert answer["serviceParams"]["a2a-version"] == wire.version

        await client.send(id=2.5, method=stream, params={"message": wire.message("hi")})
        *events, end = await client.to_end(2.5)
        assert end == {"jsonrpc": "2.0", "id": 2.5, "streamEnd": True}
        for event in events:
            schemas.check(wire.version, schemas.STREAM_ITEM, event["result"])
        numbers = [int(event["eventId"]) for event in events]
        assert numbers == sorted(set(numbers))
        assert events[0]["serviceParams"]["a2a-version"] == wire.version

        again = await client.ask(get, {"id": task.id})
        assert codec.parse_task(again["result"]) == task
        listed = await client.ask(page, {}, **({} if old else {"serviceParams": {"A2A-Version": "1.0"}}))
        assert len(listed["result"]["tasks"]) == 2
        refused = await client.ask(cancel, {"id": task.id}, id=5)
        assert refused["error"]["code"] == -32002
        await client.send(id=6, method=subscribe, params={"id": task.id})
        await client.until(lambda: client.answers[6])
        assert ("error" in client.answers[6][0]) is not old  # version 0.3 replays what has ended

        config = {"url": HOOK, "id": "mine"}
        setting = {"taskId": task.id, "pushNotificationConfig": config} if old else {"taskId": task.id, **config}
        naming = {"id": task.id, "pushNotificationConfigId": "mine"} if old else {"taskId": task.id, "id": "mine"}
        verbs = ("Create", "Get", "List", "Delete")
        names = [f"{verb}TaskPushNotificationConfig{'s' * (verb == 'List')}" for verb in verbs]
        if old:
            names = [f"tasks/pushNotificationConfig/{verb}" for verb in ("set", "get", "list", "delete")]
        given = (setting, naming, {"id": task.id} if old else {"taskId": task.id}, naming)
        for name, params in zip(names, given, strict=True):
            assert "result" in await client.ask(name, params, id=name), name
        card = await client.ask("agent/getAuthenticatedExtendedCard" if old else "GetExtendedAgentCard", id=9)
        assert card["result"]["name"]


async def test_methods_of_the_agent_answer_as_over_json_rpc(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url) as client:
        listed = await client.ask("opencode.sessions.list", {})
        over_http = await agent.http.post(
            "/", json={"jsonrpc": "2.0", "id": 1, "method": "opencode.sessions.list", "params": {}}
        )
        assert listed["result"] == over_http.json()["result"]
        unknown = await client.ask("opencode.nothing", {}, id=2)
        assert unknown["error"]["code"] == -32601


async def test_a_permission_is_answered_on_the_connection_that_its_stream_is_on(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url) as client:
        asks = {"serviceParams": {"a2a-extensions": STAYS_OPEN["1.0"]}}
        await started(client, "PERMISSION", id="stream", **asks)
        assert client.answers["stream"][0]["serviceParams"]["a2a-extensions"] == STAYS_OPEN["1.0"]

        def asked() -> list[str]:
            return [
                one["result"]["statusUpdate"]["status"]["state"]
                for one in client.answers["stream"]
                if "statusUpdate" in one.get("result", {})
            ]

        await client.until(lambda: "TASK_STATE_INPUT_REQUIRED" in asked())
        pending = await client.ask("opencode.permissions.list", {}, id="list")
        [item] = pending["result"]["items"]
        replied = await client.ask(
            "a2a.interrupt.permission.reply", {"request_id": item["request_id"], "reply": "once"}, id="reply"
        )
        assert replied["result"]["ok"] is True
        await client.to_end("stream")
        assert asked()[-1] == "TASK_STATE_COMPLETED"


async def test_service_parameters_of_a_request_go_before_those_of_the_handshake(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url, a2a_version="1.0") as client:
        of_connection = await client.ask("opencode.sessions.list", {})
        assert of_connection["serviceParams"]["a2a-version"] == "1.0"
        of_request = await client.ask("opencode.sessions.list", {}, id=2, serviceParams={"A2A-Version": "0.3"})
        assert of_request["serviceParams"]["a2a-version"] == "0.3"
        unknown = await client.ask("GetTask", {"id": "x"}, id=3, serviceParams={"a2a-version": "7.0"})
        assert unknown["error"]["code"] == -32009
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        traced = await client.ask("GetTask", {"id": "x"}, id=4, serviceParams={"traceparent": trace})
        assert traced["error"]["code"] == -32001
        assert traced["serviceParams"]["traceparent"].split("-")[1] == trace.split("-")[1]


async def test_a_notification_is_carried_out_without_an_answer(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url) as client:
        for method in ("SendMessage", "SendStreamingMessage", "NoSuchMethod", "GetTask"):
            await client.send(method=method, params={"message": RPC_10.message("hi")})
        with anyio.fail_after(DEADLINE):
            while len((await client.ask("ListTasks", {}, id="page"))["result"]["tasks"]) < 2:
                pass
        assert set(client.answers) == {"page"}


async def test_a_notification_beyond_the_limit_is_not_answered_either(serving: Serving) -> None:
    async with serving(**ON) as agent:
        agent.running.a2a.websockets.limits = SessionLimits(requests=1)
        agent.fake_opencode.hold(Say, tokens=1)
        async with connection(agent.url) as client:
            await started(client, "hi")
            await client.send(method="SendMessage", params={"message": RPC_10.message("ho")})
            refused = await client.ask("ListTasks", {}, id="refused")
            assert refused["error"]["data"][0]["reason"] == "OVERLOADED"
            agent.fake_opencode.release()
            await client.to_end("s")
            listed = await client.ask("ListTasks", {}, id="listed")
        assert set(client.answers) == {"s", "refused", "listed"}
        assert len(listed["result"]["tasks"]) == 1


async def test_what_is_no_request_is_answered_with_an_error_and_the_connection_goes_on(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url) as client:
        assert "result" in await client.ask("ListTasks", {})
        for text, code in (
            ("{", -32700),
            ("[]", -32600),
            ('"x"', -32600),
            ('{"jsonrpc":"2.0","id":null,"method":"ListTasks"}', -32600),
            ('{"jsonrpc":"2.0","id":18446744073709551617,"method":"ListTasks"}', -32600),
            ('{"jsonrpc":"2.0","id":-9223372036854775809,"cancelStream":true}', -32600),
            ('{"jsonrpc":"1.0","method":"ListTasks"}', -32600),
            ('{"jsonrpc":"2.0","method":"ListTasks","serviceParams":[]}', -32600),
            ('{"jsonrpc":"2.0","cancelStream":1,"id":null}', -32600),
        ):
            known = len(client.answers[None])
            await client.text(text)
            await client.until(lambda: len(client.answers[None]) > known)  # noqa: B023 - it is over by then
            assert client.answers[None][-1]["error"]["code"] == code, text
        assert "result" in await client.ask("ListTasks", {}, id=2)


@pytest.mark.parametrize("has_fragments", [True, False])
async def test_a_large_answer_and_a_large_message_pass(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, has_fragments: bool
) -> None:
    text = "hi" + "\u20ac" * 150_000
    if not has_fragments:
        monkeypatch.setattr(websocket, "FRAGMENTS", "an extension that nobody knows")
    async with serving(quick(), **ON) as agent, connection(agent.url) as client:
        answer = await client.ask("SendMessage", {"message": RPC_10.message(text)})
        assert answer["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        frames = client.frames
        page = await client.ask("ListTasks", {"includeArtifacts": True, "historyLength": 5}, id="all")
        assert (client.frames - frames > len(text.encode()) // FRAGMENT) == has_fragments
        assert page["result"]["tasks"][0]["history"][0]["parts"][0]["text"] == text
        task_id = await started(client, "hi", id="hi")
        assert task_id
        assert text_of(await client.to_end("hi")) == HELLO
