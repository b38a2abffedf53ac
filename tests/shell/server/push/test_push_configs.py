"""Push notification configurations by method: made, read, listed, replaced, deleted, in the shape of each wire."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from attrs import define

from opencode_a2a.fake_opencode import Say
from sansio.a2a.model import TaskState
from tests import schemas
from tests.shell.cases import every_codec, every_json_codec, one_codec
from tests.shell.harness import (
    REST_03,
    REST_10,
    RPC_03,
    RPC_10,
    WEBSOCKET_03,
    WIRES,
    Agent,
    Caller,
    Serving,
    Wire,
    client,
)
from tests.shell.push_receiver import PushReceiver, receiving
from tests.shell.refusals import Refusal, not_found, refusal, wrong

pytestmark = pytest.mark.anyio

HOOK = "http://127.0.0.1:9/hook"
"""Nobody listens there: what is delivered is tested elsewhere."""
TOKEN, CREDENTIALS = "token-5c1d77", "credentials-88f2a0"


@define
class Configs:
    """The configurations of one caller, told in one neutral shape: 1.0's, without the task."""

    agent: Agent
    wire: Wire
    bob: bool = False

    async def _ask(self, operation: str, params: dict[str, Any]) -> Any:
        response = await self.agent.caller(self.wire, bob=self.bob).ask(operation, params)
        if response.status_code == 204:
            assert (self.wire, operation) == (REST_03, "push-delete")
            assert response.content == b""
            return None
        assert response.status_code == 200, response.text
        body = response.json()
        if self.wire.binding != "rpc":
            return body
        assert "error" not in body, body
        return body["result"]

    async def refused(self, operation: str, params: dict[str, Any]) -> Refusal:
        return refusal(self.wire, await self.error(operation, params))

    async def error(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self.agent.caller(self.wire, bob=self.bob).refused(operation, **params)

    def setting(self, task_id: str, config: dict[str, Any]) -> dict[str, Any]:
        """The parameters that set a configuration; `config` is in the neutral shape."""
        if self.wire.version == "1.0":
            return {"taskId": task_id, **config}
        return {"taskId": task_id, "pushNotificationConfig": in_old_form(config)}

    def naming(self, task_id: str, config_id: str | None = None) -> dict[str, Any]:
        """The parameters that name a configuration, or a task's."""
        task_name, config_name = (
            ("id", "pushNotificationConfigId") if self.wire.version == "0.3" else ("taskId", "id")
        )
        return {task_name: task_id} | ({config_name: config_id} if config_id is not None else {})

    def read(self, task_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """A configuration as it is answered, in the neutral shape."""
        if self.wire.version == "1.0":
            schemas.check("1.0", schemas.PUSH_CONFIG, body)
            assert body["taskId"] == task_id
            return {name: value for name, value in body.items() if name != "taskId"}
        inner: dict[str, Any] = dict(body["pushNotificationConfig"])
        if self.wire.binding == "rpc":
            schemas.check("0.3", schemas.PUSH_CONFIG, body)
            assert body["taskId"] == task_id
        else:
            assert body["name"] == f"tasks/{task_id}/pushNotificationConfigs/{inner['id']}"
            schemas.check("0.3", schemas.PUSH_CONFIG, {"taskId": task_id, "pushNotificationConfig": inner})
        if authentication := inner.get("authentication"):
            [scheme] = authentication["schemes"]
            inner["authentication"] = {"scheme": scheme, "credentials": authentication["credentials"]}
        return inner

    async def set(self, task_id: str, config: dict[str, Any]) -> dict[str, Any]:
        return self.read(task_id, await self._ask("push-set", self.setting(task_id, config)))

    async def get(self, task_id: str, config_id: str) -> dict[str, Any]:
        return self.read(task_id, await self._ask("push-get", self.naming(task_id, config_id)))

    async def page(self, task_id: str, **more: Any) -> dict[str, Any]:
        page = await self._ask("push-list", self.naming(task_id) | more)
        if self.wire in (RPC_03, WEBSOCKET_03):
            page = {"configs": page}
        elif self.wire.version == "1.0":
            schemas.check("1.0", schemas.PUSH_CONFIGS, page)
        return {**page, "configs": [self.read(task_id, one) for one in page["configs"]]}

    async def list(self, task_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.page(task_id))["configs"]
        return found

    async def delete(self, task_id: str, config_id: str) -> None:
        answer = await self._ask("push-delete", self.naming(task_id, config_id))
        assert answer == ({} if self.wire.version == "1.0" else None)


def in_old_form(config: dict[str, Any]) -> dict[str, Any]:
    config = dict(config)
    if authentication := config.get("authentication"):
        config["authentication"] = {**authentication, "schemes": [authentication["scheme"]]}
        del config["authentication"]["scheme"]
    return config


def serving_private(serving: Serving) -> Any:
    return serving(push_allow_private_hosts=True)


FULL = {
    "url": HOOK,
    "id": "mine",
    "token": TOKEN,
    "authentication": {"scheme": "Bearer", "credentials": CREDENTIALS},
}


# --- made and read ----------------------------------------------------------------------------------------


@every_codec
async def test_a_configuration_is_answered_as_it_was_given(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)

        made = await configs.set(task.id, FULL)
        read, listed = await configs.get(task.id, "mine"), await configs.list(task.id)

    assert made == read == FULL
    assert listed == [FULL]


@every_codec
async def test_a_configuration_without_an_id_gets_one(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)

        made = [await configs.set(task.id, {"url": HOOK}) for _ in range(2)]

        assert made[0]["id"] != made[1]["id"]
        assert [set(one) for one in made] == [{"id", "url"}] * 2
        for one in made:
            assert await configs.get(task.id, one["id"]) == one


@every_codec
async def test_a_task_has_as_many_as_were_made_and_the_same_id_replaces(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        caller = agent.caller(wire)
        one, other = await caller.send("hi"), await caller.send("hi")
        configs = Configs(agent, wire)
        for name in ("a", "b", "c"):
            await configs.set(one.id, {"url": f"{HOOK}/{name}", "id": name})
        await configs.set(other.id, {"url": HOOK, "id": "a"})

        replaced = await configs.set(one.id, {"url": f"{HOOK}/new", "id": "b", "token": TOKEN})
        listed = await configs.list(one.id)

        assert sorted(config["id"] for config in listed) == ["a", "b", "c"]
        assert replaced in listed
        assert replaced == {"url": f"{HOOK}/new", "id": "b", "token": TOKEN}
        assert await configs.list(other.id) == [{"url": HOOK, "id": "a"}]


@every_codec
async def test_a_running_task_takes_configurations_too(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        task = await caller.send("hi", configuration=wire.at_once())
        await agent.fake_opencode.held()
        configs = Configs(agent, wire)

        made = await configs.set(task.id, FULL)
        assert await configs.list(task.id) == [made]
        await configs.delete(task.id, "mine")
        assert await configs.list(task.id) == []
        agent.fake_opencode.release()
        await caller.finished(task.id)


def with_message(wire: Wire, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a message that brings a push configuration."""
    if wire.version == "1.0":
        return {"taskPushNotificationConfig": config}
    return {"pushNotificationConfig": in_old_form(config)}


@every_codec
async def test_a_configuration_given_with_the_message_is_among_them(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        agent.fake_opencode.hold(Say)
        task = await agent.caller(wire).send("hi", configuration={**with_message(wire, FULL), **wire.at_once()})
        await agent.fake_opencode.held()

        assert await Configs(agent, wire).list(task.id) == [FULL]
        agent.fake_opencode.release()
        await agent.caller(wire).finished(task.id)


@every_codec
async def test_an_answer_brings_a_configuration_once_however_often_it_comes(serving: Serving, wire: Wire) -> None:
    unnamed = {"url": HOOK}
    async with serving_private(serving) as agent:
        caller, configs = agent.caller(wire), Configs(agent, wire)
        task = await caller.send("PERMISSION")
        named = {"taskId": task.id, "messageId": "answer"}
        for _ in range(2):
            ended = await caller.send("once", configuration=with_message(wire, unnamed), **named)

        assert ended.status.state is TaskState.COMPLETED
        (made,) = await configs.list(task.id)
        assert made["url"] == HOOK
        assert made["id"]


@every_codec
async def test_an_answer_whose_configuration_is_refused_is_not_taken(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        caller, configs = agent.caller(wire), Configs(agent, wire)
        task = await caller.send("PERMISSION")
        named = {"contextId": task.context_id, "taskId": task.id}
        for number in range(32):
            await configs.set(task.id, {"url": HOOK, "id": f"c{number}"})
        too_many = with_message(wire, {"url": HOOK, "id": "one-more"})
        refused = await caller.refused("send", "once", configuration=too_many, **named)
        assert "configuration" in str(refused)
        bad = with_message(wire, {"url": "ftp://8.8.8.8/hook", "id": "c1"})
        assert "url" in str(await caller.refused("send", "once", configuration=bad, **named))

        assert (await caller.get(task.id)).status.state is TaskState.INPUT_REQUIRED
        ended = await caller.send("once", configuration=with_message(wire, {"url": HOOK, "id": "c0"}), **named)

    assert ended.status.state is TaskState.COMPLETED


def states(receiver: PushReceiver) -> list[str]:
    """The states that a receiver of 1.0 was notified about, in order."""
    return [one.json["statusUpdate"]["status"]["state"] for one in receiver.received if "statusUpdate" in one.json]


async def test_a_configuration_of_an_answer_hears_what_follows_the_answer(serving: Serving) -> None:
    async with receiving() as receiver, serving_private(serving) as agent:
        caller = agent.caller(RPC_10)
        task = await caller.send("PERMISSION")
        config = with_message(RPC_10, {"url": receiver.url("/answered"), "id": "mine"})
        await caller.send("once", taskId=task.id, configuration=config)
        await receiver.until(lambda: "TASK_STATE_COMPLETED" in states(receiver))

    assert states(receiver)[0] == "TASK_STATE_WORKING"


async def test_a_configuration_is_the_same_seen_from_every_wire(serving: Serving) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(RPC_10).send("hi")
        for number, wire in enumerate(WIRES):
            await Configs(agent, wire).set(task.id, {**FULL, "id": f"c{number}"})

        found = [await Configs(agent, wire).list(task.id) for wire in WIRES]

    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 4


@one_codec
async def test_configurations_survive_a_restart(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_private(serving_on_disk) as agent:
        task = await agent.caller(wire).send("hi")
        await Configs(agent, wire).set(task.id, FULL)
        await Configs(agent, wire).set(task.id, {"url": HOOK, "id": "gone"})
        await Configs(agent, wire).delete(task.id, "gone")
    async with serving_private(serving_on_disk) as agent:
        assert await Configs(agent, wire).list(task.id) == [FULL]


@pytest.mark.parametrize("wire", [RPC_10, REST_10], ids=str)
async def test_version_1_0_lists_them_in_pages(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)
        for name in ("a", "b", "c"):
            await configs.set(task.id, {"url": HOOK, "id": name})
        pages = [await configs.page(task.id, pageSize=2)]
        pages.append(await configs.page(task.id, pageSize=2, pageToken=pages[0]["nextPageToken"]))
        bad = await configs.refused("push-list", configs.naming(task.id) | {"pageToken": "x"})

    assert [len(page["configs"]) for page in pages] == [2, 1]
    assert sorted(one["id"] for page in pages for one in page["configs"]) == ["a", "b", "c"]
    assert pages[1]["nextPageToken"] == ""
    assert bad == wrong(wire, "pageToken")


async def test_version_0_3_reads_one_that_is_not_named(serving: Serving) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(RPC_03).send("hi")
        made = await Configs(agent, RPC_03).set(task.id, FULL)
        answer = await agent.caller(RPC_03).ask("push-get", {"id": task.id})

    assert Configs(agent, RPC_03).read(task.id, answer.json()["result"]) == made


# --- the bodies version 0.3's clients send over HTTP ---------------------------------------------------------


@pytest.mark.parametrize("shape", ["proto", "named", "json"])
async def test_version_0_3_takes_every_body_its_clients_send(serving: Serving, shape: str) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(REST_03).send("hi")
        config, name = in_old_form(FULL), f"tasks/{task.id}/pushNotificationConfigs/mine"
        unnamed = {key: value for key, value in config.items() if key != "id"}
        body: dict[str, Any] = {
            "proto": {
                "parent": f"tasks/{task.id}",
                "configId": "mine",
                "config": {"name": name, "pushNotificationConfig": unnamed},
            },
            "named": {"name": name, "pushNotificationConfig": unnamed},
            "json": {"taskId": task.id, "pushNotificationConfig": config},
        }[shape]

        answer = await agent.http.post(f"/v1/tasks/{task.id}/pushNotificationConfigs", json=body)
        configs = Configs(agent, REST_03)

        assert answer.status_code == 200, answer.text
        assert configs.read(task.id, answer.json()) == FULL
        assert await configs.list(task.id) == [FULL]


# --- deleted ----------------------------------------------------------------------------------------------


@every_codec
async def test_what_is_deleted_is_gone_and_may_be_deleted_again(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)
        kept = await configs.set(task.id, {"url": HOOK, "id": "kept"})
        await configs.set(task.id, FULL)

        for _ in range(2):
            await configs.delete(task.id, "mine")
            assert await configs.list(task.id) == [kept]
            assert await configs.refused("push-get", configs.naming(task.id, "mine")) == not_found(wire)
        await configs.delete(task.id, "never-made")

        assert await configs.set(task.id, FULL) == FULL


# --- whose they are ---------------------------------------------------------------------------------------


@every_codec
async def test_the_configurations_of_anothers_task_do_not_exist(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        ours, theirs = Configs(agent, wire), Configs(agent, wire, bob=True)
        await ours.set(task.id, FULL)

        for task_id in (task.id, "no-such-task"):
            asked = {
                "push-set": theirs.setting(task_id, {"url": HOOK, "id": "mine"}),
                "push-get": theirs.naming(task_id, "mine"),
                "push-list": theirs.naming(task_id),
                "push-delete": theirs.naming(task_id, "mine"),
            }
            for operation, params in asked.items():
                error = await theirs.error(operation, params)
                assert refusal(wire, error) == not_found(wire), operation
                assert TOKEN not in str(error)
                assert CREDENTIALS not in str(error)

        assert await ours.list(task.id) == [FULL]


@every_codec
async def test_a_configuration_that_was_never_made_is_not_found(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)

        assert await configs.list(task.id) == []
        assert await configs.refused("push-get", configs.naming(task.id, "never-made")) == not_found(wire)


# --- what is refused --------------------------------------------------------------------------------------

BAD_URLS = [
    "http://127.0.0.1/hook",
    "https://127.0.0.1/hook",
    "https://[::1]/hook",
    "https://10.1.2.3/hook",
    "https://192.168.0.9/hook",
    "https://169.254.169.254/latest/meta-data",
    "https://[::ffff:10.1.2.3]/hook",
    "https://0.0.0.0/hook",
    "ftp://8.8.8.8/hook",
    "http://8.8.8.8/hook",
    "https://name:word-771@8.8.8.8/hook",
    "https://8.8.8.8:99999/hook",
    "https:///hook",
    "hook-771",
    "",
]


@every_codec
async def test_a_url_that_must_not_be_notified_is_refused_by_name_and_not_repeated(
    serving: Serving, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    field = "url" if wire.version == "1.0" else "pushNotificationConfig.url"
    caplog.set_level(logging.DEBUG)
    async with serving() as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)

        for url in BAD_URLS:
            error = await configs.error("push-set", configs.setting(task.id, {**FULL, "url": url}))
            assert refusal(wire, error) == wrong(wire, field), url
            for secret in ("771", TOKEN, CREDENTIALS):
                assert secret not in str(error)

        assert await configs.list(task.id) == []
    for secret in ("word-771", TOKEN, CREDENTIALS):
        assert secret not in caplog.text


@every_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
async def test_a_message_with_such_a_url_is_refused_before_there_is_a_task(
    serving: Serving, wire: Wire, operation: str
) -> None:
    name = "taskPushNotificationConfig" if wire.version == "1.0" else "pushNotificationConfig"
    async with serving() as agent:
        caller = agent.caller(wire)
        for url in BAD_URLS:
            error = await caller.refused(operation, configuration={name: {"url": url}})
            assert refusal(wire, error) == wrong(wire, f"configuration.{name}.url"), url

        assert agent.asked("POST", "/session") == 0
        assert (await caller.page())["totalSize"] == 0


@every_json_codec
async def test_wrong_fields_of_a_configuration_are_named(serving: Serving, wire: Wire) -> None:
    old = wire.version == "0.3"
    prefix = "pushNotificationConfig." if old else ""
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)

        async def fields(config: dict[str, Any]) -> tuple[str, ...]:
            return (await configs.refused("push-set", configs.setting(task.id, config))).fields

        assert await fields({}) == (f"{prefix}url",)
        assert await fields({"url": 5}) == (f"{prefix}url",)
        assert await fields({"url": HOOK, "token": "two\r\nlines"}) == (f"{prefix}token",)
        bad = {"scheme": "Bearer", "credentials": "two\nlines"}
        assert await fields({"url": HOOK, "authentication": bad}) == (f"{prefix}authentication.credentials",)
        bad = {"scheme": "no scheme", "credentials": "c"}
        scheme = "schemes.0" if old else "scheme"
        assert await fields({"url": HOOK, "authentication": bad}) == (f"{prefix}authentication.{scheme}",)
        assert await configs.list(task.id) == []


async def test_version_1_0_says_what_a_deletion_lacks(serving: Serving) -> None:
    async with serving() as agent:
        errors = [
            refusal(RPC_10, await agent.caller(RPC_10).refused("push-delete", taskId="t")),
            refusal(RPC_10, await agent.caller(RPC_10).refused("push-get", id="c")),
            refusal(RPC_03, await agent.caller(RPC_03).refused("push-delete", id="t")),
            refusal(RPC_03, await agent.caller(RPC_03).refused("push-list")),
        ]

    assert errors == [
        wrong(RPC_10, "id"),
        wrong(RPC_10, "taskId"),
        wrong(RPC_03, "pushNotificationConfigId"),
        wrong(RPC_03, "id"),
    ]


@every_codec
async def test_without_credentials_nothing_is_told(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)
        await configs.set(task.id, FULL)
        async with client(agent.url, None) as http:
            answer = await Caller(http, wire).ask("push-list", configs.naming(task.id))

    assert answer.status_code == 401
    assert TOKEN not in answer.text
