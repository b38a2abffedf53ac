"""Push configurations that name interrupts only: how they are made and shown, and what their receivers get."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest
from attrs import evolve

from opencode_a2a.server import open_agent
from opencode_a2a.server.push.notifier import Counters
from opencode_a2a.server.store import MemoryStore, PushRow, Store
from sansio.a2a.bindings.extension_headers import HEADER_OF, HEADERS
from sansio.a2a.model import TaskState
from sansio.a2a.tasks.push_notifications import encode_config
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS_URI
from tests.shell.cases import each_value, every_codec, one_codec
from tests.shell.harness import CREDENTIALS, RPC_10, Agent, Caller, Serving, Wire, client, served
from tests.shell.push_receiver import OK, PushReceiver, answer, receiving
from tests.shell.raw_server import SILENCE
from tests.shell.refusals import not_found, refusal
from tests.shell.server.push import test_push_delivery as delivery
from tests.shell.server.push.test_push_configs import FULL, HOOK, Configs, serving_private, with_message
from tests.shell.server.push.test_push_delivery import (
    BEGINNING,
    END,
    MIDDLE,
    TOLD_1_0,
    bench_with,
    config,
    numbers,
    status,
)
from tests.shell.server.replicas.test_servers import LAST, PUSHING, postgresql_url, push, several
from tests.shell.server.test_any_agent import CARD, Scripted

store = delivery.store
__all__ = ["postgresql_url", "store"]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


async def answered(
    agent: Agent, wire: Wire, operation: str, params: dict[str, Any], *, limited: bool
) -> httpx.Response:
    """The answer to a request that activates the extension, or does not."""
    headers = {HEADER_OF["0.3"]: PUSH_INTERRUPTS_URI} if limited else {}
    caller = evolve(agent.caller(wire), extensions="")
    return await caller.http.send(caller.request(operation, params, **headers))


async def asked(agent: Agent, wire: Wire, operation: str, params: dict[str, Any], *, limited: bool) -> httpx.Response:
    """The same, which is no error."""
    response = await answered(agent, wire, operation, params, limited=limited)
    assert response.status_code == 200, response.text
    assert "error" not in response.json(), response.text
    return response


def error_in(response: httpx.Response, wire: Wire) -> dict[str, Any]:
    """The error of an answer, as `refusal` takes it."""
    body: dict[str, Any] = response.json()
    inner: dict[str, Any] = body.get("error", body)
    return inner if wire.binding == "rpc" else {"http": response.status_code, **inner}


def is_reported(response: httpx.Response) -> bool:
    """Whether an answer reports the extension."""
    return any(PUSH_INTERRUPTS_URI in response.headers.get(header, "") for header in HEADERS)


def waiting_of(receiver: PushReceiver, path: str = "/") -> list[str]:
    """The states that a receiver of either version was notified of."""
    found = [one.json for one in receiver.at(path) if "artifactUpdate" not in one.json]
    tasks = [one.get("statusUpdate") or one.get("task", one) for one in found]
    return [task["status"]["state"].removeprefix("TASK_STATE_").lower().replace("_", "-") for task in tasks]


# --- made and shown ---------------------------------------------------------------------------------------


@every_codec
async def test_a_configuration_that_is_limited_is_shown_as_that(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)

        made = await asked(agent, wire, "push-set", configs.setting(task.id, FULL), limited=True)
        plain = await asked(
            agent, wire, "push-set", configs.setting(task.id, {"url": HOOK, "id": "all"}), limited=False
        )
        shown = {
            name: await asked(agent, wire, "push-get", configs.naming(task.id, name), limited=False)
            for name in ("mine", "all")
        }
        again = await asked(agent, wire, "push-get", configs.naming(task.id, "mine"), limited=True)

        assert is_reported(made)
        assert not is_reported(plain)
        assert {name: is_reported(response) for name, response in shown.items()} == {"mine": True, "all": False}
        assert is_reported(again)
        assert await configs.get(task.id, "mine") == FULL
        assert is_reported(await asked(agent, wire, "push-list", configs.naming(task.id), limited=False))
        assert [one["id"] for one in await configs.list(task.id)] == ["mine", "all"]


@every_codec
async def test_who_reads_with_the_extension_sees_the_limited_ones_alone(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)
        await configs.set(task.id, {"url": HOOK, "id": "all"})
        await asked(agent, wire, "push-set", configs.setting(task.id, FULL), limited=True)

        listed = await asked(agent, wire, "push-list", configs.naming(task.id), limited=True)

        found = await answered(agent, wire, "push-get", configs.naming(task.id, "all"), limited=True)

        assert "mine" in listed.text
        assert '"all"' not in listed.text
        assert refusal(wire, error_in(found, wire)) == not_found(wire)


@every_codec
async def test_to_replace_it_without_the_extension_ends_the_limit(serving: Serving, wire: Wire) -> None:
    async with serving_private(serving) as agent:
        task = await agent.caller(wire).send("hi")
        configs = Configs(agent, wire)
        await asked(agent, wire, "push-set", configs.setting(task.id, FULL), limited=True)

        await asked(agent, wire, "push-set", configs.setting(task.id, FULL), limited=False)

        assert not is_reported(await asked(agent, wire, "push-get", configs.naming(task.id, "mine"), limited=False))


@one_codec
async def test_the_limit_survives_a_restart(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_private(serving_on_disk) as agent:
        task = await agent.caller(wire).send("hi")
        await asked(agent, wire, "push-set", Configs(agent, wire).setting(task.id, FULL), limited=True)
    async with serving_private(serving_on_disk) as agent:
        found = await asked(agent, wire, "push-get", Configs(agent, wire).naming(task.id, "mine"), limited=False)

    assert is_reported(found)


# --- what arrives -----------------------------------------------------------------------------------------


@every_codec
async def test_a_message_whose_configuration_is_limited_notifies_of_the_permission_alone(
    serving: Serving, wire: Wire
) -> None:
    async with receiving() as receiver, serving_private(serving) as agent:
        caller = agent.caller(wire)
        limited = {"configuration": with_message(wire, {"url": receiver.url("/asked"), "id": "asked"})}
        everything = {"url": receiver.url("/all"), "id": "all"}
        response = await asked(agent, wire, "send", caller.params("PERMISSION", limited), limited=True)
        body = response.json()
        sent = body["result"] if wire.binding == "rpc" else body
        task_id = sent.get("task", sent)["id"]
        await Configs(agent, wire).set(task_id, everything)
        await caller.send("once", taskId=task_id)
        await receiver.until(lambda: "completed" in waiting_of(receiver, "/all")[-1:])
        await receiver.until(lambda: receiver.at("/asked"))

    assert waiting_of(receiver, "/asked") == ["input-required"]
    [notification] = receiver.at("/asked")
    assert notification.headers[HEADER_OF[wire.version]] == PUSH_INTERRUPTS_URI
    assert notification.id == f"{task_id}/asked/{notification.number}"
    assert not [one for one in receiver.at("/all") if HEADER_OF[wire.version] in one.headers]


@pytest.mark.parametrize("form", ["1.0", "0.3"])
async def test_a_receiver_gets_what_the_task_waits_with_and_its_end_costs_no_request(store: Store, form: str) -> None:
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        active = bench.task()
        notifier.begin(active, config(receiver.url(), interrupts_only=True), form, 0)
        more = (status(TaskState.AUTH_REQUIRED, "log in"), status(TaskState.WORKING))
        for events in (BEGINNING, MIDDLE, more, END):
            await bench.say(active, *events)
        row = await bench.finished()

        assert numbers(receiver.received) == [5, 9]
        assert waiting_of(receiver) == ["input-required", "auth-required"]
        assert row.cursor == active.log.last
        assert receiver.connections == 2
        assert notifier.counters == Counters(deliveries=2)


async def test_a_question_that_cannot_be_delivered_at_once_is_tried_again_though_the_task_goes_on(
    store: Store,
) -> None:
    async with bench_with(store) as bench, receiving() as receiver, bench.notifying() as notifier:
        url = receiver.plan("/", answer(503), answer(503), OK)
        active = bench.task()
        notifier.begin(active, config(url, interrupts_only=True), "1.0", 0)
        await bench.say(active, *BEGINNING, *MIDDLE, *END)
        await bench.finished()

        assert numbers(receiver.received) == [5, 5, 5]
        assert len({one.id for one in receiver.received}) == 1
        assert notifier.counters == Counters(deliveries=1, retries=2)


@each_value("answered", [True, False])
async def test_a_killed_server_goes_on_where_it_was(store: Store, answered: bool) -> None:
    async with bench_with(store) as bench, receiving() as receiver:
        url = receiver.plan("/", OK if answered else [SILENCE], OK)
        active = bench.task()
        async with bench.notifying() as notifier:
            notifier.begin(active, config(url, interrupts_only=True), "1.0", 0)
            await bench.say(active, *BEGINNING, MIDDLE[0])
            await receiver.until(lambda: receiver.received)
            if answered:
                await delivery.eventually(lambda: _is_at(bench, 5))
        again = (status(TaskState.WORKING), status(TaskState.INPUT_REQUIRED, "and this?"), *MIDDLE[1:], *END)
        await bench.say(active, *again)
        bench.lives.clear()
        async with bench.notifying() as notifier:
            await notifier.recover()
            await bench.finished()

        assert numbers(receiver.received) == ([5, 7] if answered else [5, 5, 7])


async def _is_at(bench: delivery.Bench, cursor: int) -> bool:
    return (await bench.row()).cursor == cursor


@each_value("waits", [True, False])
async def test_a_receiver_whose_events_are_gone_gets_the_task_where_it_waits(waits: bool) -> None:
    async with (
        bench_with(MemoryStore()) as bench,
        receiving() as receiver,
        bench.notifying() as notifier,
    ):
        active = bench.task()
        await bench.say(active, *BEGINNING, *(MIDDLE[:1] if waits else ()))
        notifier.begin(active, config(receiver.url(), interrupts_only=True), "1.0", 1000)
        if waits:
            await receiver.until(lambda: receiver.received)
        else:
            await anyio.wait_all_tasks_blocked()
            await bench.say(active, *MIDDLE[:1])
            await receiver.until(lambda: receiver.received)
        await bench.say(active, *MIDDLE[1:], *END)
        await bench.finished()

        assert [list(one.json) for one in receiver.received] == [["task" if waits else "statusUpdate"]]
        assert waiting_of(receiver) == ["input-required"]


# --- as it is kept ----------------------------------------------------------------------------------------


async def test_rows_of_an_earlier_release_are_notified_of_everything(store: Store) -> None:
    async with bench_with(store) as bench, receiving() as receiver:
        active = bench.task()
        await bench.say(active, *BEGINNING, *MIDDLE, *END)
        bodies = {
            "old": b'{"url":"%s","id":"old","taskId":"t"}' % receiver.url("/old").encode(),
            "new": encode_config(config(receiver.url("/new"), "new", interrupts_only=True)),
        }
        rows = [
            PushRow(task_id="t", config_id=name, form="1.0", created_at=1, cursor=0, finished=False, body=body)
            for name, body in bodies.items()
        ]
        await bench.store.commit(rows)
        async with bench.notifying() as notifier:
            await notifier.recover()
            await bench.finished(config_id="old")
            await bench.finished(config_id="new")
            kept = await notifier.configs("t")

        assert numbers(receiver.at("/old")) == TOLD_1_0
        assert numbers(receiver.at("/new")) == [5]
        assert {one.id: one.interrupts_only for one in kept} == {"old": False, "new": True}


async def test_the_limit_holds_whichever_server_a_request_comes_to(anyio_backend: str, postgresql: str) -> None:
    async with (
        receiving() as receiver,
        several(anyio_backend, postgresql, 3, options=PUSHING) as (model, (one, other, third)),
    ):
        task = await one.caller.send("ASK", contextId="c", configuration=RPC_10.at_once())
        limiting = evolve(other.caller, extensions=PUSH_INTERRUPTS_URI)
        hook = {"taskId": task.id, "id": "a", "url": receiver.url("/a")}
        made = await limiting.ask("push-set", hook)
        await push(third, "set", task.id, id="all", url=receiver.url("/all"))
        seen = await third.caller.ask("push-get", {"taskId": task.id, "id": "a"})
        await one.caller.until_waiting(task.id)
        brought = with_message(RPC_10, {"id": "b", "url": receiver.url("/b")})
        named = {"taskId": task.id, "configuration": {**brought, **RPC_10.at_once()}}
        await limiting.send("this", **named)
        listed = await limiting.ask("push-list", {"taskId": task.id})
        model.allow(LAST)
        await receiver.until(lambda: "completed" in waiting_of(receiver, "/all")[-1:])

    assert is_reported(made)
    assert is_reported(seen)
    assert [one["id"] for one in listed.json()["result"]["configs"]] == ["a", "b"]
    assert receiver.at("/b") == []
    assert set(waiting_of(receiver, "/a")) <= {"input-required"}


# --- any agent --------------------------------------------------------------------------------------------


async def test_an_agent_of_another_kind_offers_it_too(anyio_backend: str) -> None:
    async with (
        receiving() as receiver,
        open_agent(Scripted(), card=CARD, credentials=CREDENTIALS, options=PUSHING) as server,
        served(anyio_backend, server.asgi) as url,
        client(url) as http,
    ):
        caller = Caller(http, RPC_10, extensions=PUSH_INTERRUPTS_URI)
        card = (await http.get("/.well-known/agent-card.json")).json()
        hook = with_message(RPC_10, {"id": "a", "url": receiver.url("/a")})
        await caller.send("LOGIN", configuration=hook)
        await receiver.until(lambda: receiver.at("/a"))
        await caller.send("WORDS one two", configuration=hook)

    assert PUSH_INTERRUPTS_URI in [one["uri"] for one in card["capabilities"]["extensions"]]
    assert waiting_of(receiver, "/a") == ["auth-required"]
