"""Bounds hold for many requests at once: whoever takes a place takes it before waiting for anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from opencode_a2a.fake_opencode import Say
from opencode_a2a.server.store import TaskQuery
from sansio.access import Credential, CredentialSet, PasswordHash
from sansio.guards.proxies import parse_networks
from tests.shell.harness import CREDENTIALS, DEADLINE, RPC_10, Agent, Serving, quick

pytestmark = pytest.mark.anyio

MANY = 50


async def all_at_once(requests: Iterable[Callable[[], Awaitable[httpx.Response]]]) -> list[httpx.Response]:
    """Make all requests at once; return their answers in the order in which these came."""
    answers: list[httpx.Response] = []

    async def one(request: Callable[[], Awaitable[httpx.Response]]) -> None:
        answers.append(await request())

    with anyio.fail_after(3 * DEADLINE):
        async with anyio.create_task_group() as tasks:
            for request in requests:
                tasks.start_soon(one, request)
    return answers


async def send_many(agent: Agent, *, bob: bool = False) -> list[dict[str, Any]]:
    caller = agent.caller(RPC_10, bob=bob)
    params = [
        {"message": RPC_10.message(f"text {number}"), "configuration": RPC_10.at_once()} for number in range(MANY)
    ]
    answers = await all_at_once([partial(caller.ask, "send", given) for given in params])
    return [answer.json() for answer in answers]


async def stored(agent: Agent, principal: str) -> int:
    return (await agent.running.tasks.store.tasks(TaskQuery(principal=principal, limit=1))).total


@pytest.mark.parametrize("place", ["memory", "disk"])
async def test_simultaneous_messages_do_not_exceed_the_tasks_of_a_principal(
    serving: Serving, serving_on_disk: Serving, place: str
) -> None:
    fake_opencode = quick()
    fake_opencode.hold(Say)
    start = serving if place == "memory" else serving_on_disk
    async with start(fake_opencode, max_tasks_per_principal=7) as agent:
        answers = await send_many(agent)
        count = await stored(agent, "alice")
        others = await send_many(agent, bob=True)
        fake_opencode.release()

    refused = [answer["error"]["data"][0]["reason"] for answer in answers if "error" in answer]
    assert refused == ["RATE_LIMITED"] * (MANY - 7)
    assert count == 7
    assert sum("result" in answer for answer in others) == 7


async def test_simultaneous_messages_take_the_places_of_tasks_that_ended(serving_on_disk: Serving) -> None:
    async with serving_on_disk(max_tasks_per_principal=7) as agent:
        for number in range(7):
            await agent.caller(RPC_10).send(f"first {number}")
        agent.fake_opencode.hold(Say)
        answers = await send_many(agent)
        count = await stored(agent, "alice")
        agent.fake_opencode.release()

    assert sum("result" in answer for answer in answers) == 7
    assert count == 7


async def test_simultaneous_streams_do_not_exceed_their_number(serving: Serving) -> None:
    fake_opencode = quick()
    fake_opencode.hold(Say)
    async with serving(fake_opencode, max_concurrent_streams=7) as agent:
        caller = agent.caller(RPC_10)
        requests = [caller.request("stream", caller.params(f"text {number}", {})) for number in range(MANY)]
        answers = await all_at_once([partial(agent.http.send, request, stream=True) for request in requests])
        kinds = [answer.headers["content-type"].partition(";")[0] for answer in answers]
        number = agent.running.tasks.open_streams
        for answer in answers:
            await answer.aclose()
        fake_opencode.release()

    assert kinds.count("text/event-stream") == number == 7


async def test_simultaneous_push_configurations_do_not_exceed_those_of_a_task(serving_on_disk: Serving) -> None:
    fake_opencode = quick()
    fake_opencode.hold(Say)
    async with serving_on_disk(fake_opencode, push_allow_private_hosts=True) as agent:
        caller = agent.caller(RPC_10)
        task = await caller.send("hi", configuration=RPC_10.at_once())
        configs = [
            {"taskId": task.id, "id": f"c{number}", "url": "http://127.0.0.1:9/hook"} for number in range(MANY)
        ]
        answers = await all_at_once([partial(caller.ask, "push-set", config) for config in configs])
        kept = await agent.running.tasks.store.push_configs(task.id)
        fake_opencode.release()

    assert sum("result" in answer.json() for answer in answers) == len(kept) == 32


async def test_simultaneous_guesses_of_a_password_do_not_exceed_the_failures_of_an_address(serving: Serving) -> None:
    hashed = PasswordHash.of(b"right-pw-71", b"0123456789abcdef")
    credentials = CredentialSet((*CREDENTIALS.credentials, Credential.basic("dora", hashed)))
    limits: dict[str, Any] = {
        "rate_limit_enabled": True,
        "rate_limit_public_max_requests": 3,
        "rate_limit_window_seconds": 600,
        "trusted_proxies": parse_networks(["127.0.0.1"]),
    }
    async with serving(credentials=credentials, **limits) as agent, httpx.AsyncClient(base_url=agent.url) as http:
        address = {"x-forwarded-for": "203.0.113.7"}
        answers = await all_at_once(
            [
                partial(http.get, "/health", auth=("dora", f"wrong-{number}"), headers=address, timeout=DEADLINE)
                for number in range(MANY)
            ]
        )
        elsewhere = await http.get(
            "/health", auth=("dora", "right-pw-71"), headers={"x-forwarded-for": "203.0.113.8"}, timeout=DEADLINE
        )

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(401) == 3
    assert statuses.count(429) == MANY - 3
    assert elsewhere.status_code == 200
