"""The trace of a request: where it goes, and what names it. Nothing records it here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode, Say
from sansio.a2a.bindings.trace_context import TraceContext, trace_context_of
from sansio.outbound import parse_allowed_hosts
from tests.shell.cases import every_codec
from tests.shell.harness import CREDENTIALS, DEADLINE, RPC_10, Serving, Wire, agent_at, quick, served
from tests.shell.push_receiver import receiving

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
STATE = "vendor=t61rcWkgMzE,other=1"
HEADERS = {"traceparent": PARENT, "tracestate": STATE}


def named_in(headers: Any) -> TraceContext:
    """The trace that the headers of an answer name."""
    found = trace_context_of(headers)
    assert found is not None
    return found


def traces_at(fake_opencode: FakeOpenCode, ending: str) -> list[TraceContext | None]:
    """The traces of the requests that OpenCode got for a path."""
    asked = [one for one in fake_opencode.requests if one.path.endswith(ending)]
    return [trace_context_of({"traceparent": one.traceparent, "tracestate": one.tracestate}) for one in asked]


@every_codec
async def test_the_trace_of_a_message_goes_on_to_opencode_and_is_named_in_the_answer(
    serving: Serving, wire: Wire
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        for operation in ("send", "stream"):
            answer = await agent.http.send(caller.request(operation, caller.params("hi", {}), **HEADERS))
            assert answer.status_code == 200
            named = named_in(answer.headers)

            assert (named.trace_id, named.sampled) == (TRACE, True)
            assert named.span_id != "00f067aa0ba902b7"
            assert traces_at(agent.fake_opencode, "/prompt_async")[-1] == TraceContext(
                TRACE, named.span_id, state=STATE
            )
        assert {one.trace_id for one in traces_at(agent.fake_opencode, "/session") if one} == {TRACE}


@every_codec
async def test_a_request_without_a_valid_trace_begins_one(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        named = []
        for headers in ({}, {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01", "tracestate": STATE}):
            answer = await agent.http.send(caller.request("send", caller.params("hi", {}), **headers))
            named.append(named_in(answer.headers))

        assert len({TRACE, *(one.trace_id for one in named)}) == 3
        assert traces_at(agent.fake_opencode, "/prompt_async") == named


async def test_refusals_and_documents_name_their_trace(serving: Serving) -> None:
    async with serving() as agent:
        answers = [
            await agent.http.get(path, headers={**HEADERS, **more})
            for path, more in (
                ("/nowhere", {}),
                ("/tasks/none", {"a2a-version": "1.0"}),
                ("/tasks/none", {"authorization": "Bearer wrong"}),
                ("/tasks/none", {"host": "evil.example"}),
                ("/.well-known/agent-card.json", {}),
                ("/health", {}),
            )
        ]
        answers += [
            await agent.http.post("/", json={"jsonrpc": "2.0", "id": 1, "method": "Nothing"}, headers=HEADERS),
            await agent.http.post("/", content=b"{", headers={**HEADERS, "content-type": "application/json"}),
            await agent.http.options("/", headers=HEADERS),
        ]

    assert {named_in(answer.headers).trace_id for answer in answers} == {TRACE}
    assert len({named_in(answer.headers).span_id for answer in answers}) == len(answers)


async def test_an_unsampled_trace_stays_unsampled(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller()
        request = caller.request("send", caller.params("hi", {}), traceparent=PARENT[:-2] + "00")
        answer = await agent.http.send(request)

        assert answer.headers["traceparent"].endswith("-00")
        [passed_on] = traces_at(agent.fake_opencode, "/prompt_async")
        assert passed_on is not None
        assert not passed_on.sampled


async def test_what_nobody_asked_for_has_no_trace(serving: Serving) -> None:
    async with serving() as agent:
        await agent.caller().send("hi")

        assert set(traces_at(agent.fake_opencode, "/global/event")) == {None}
        assert set(traces_at(agent.fake_opencode, "/global/health")) <= {None}


async def test_the_trace_goes_on_to_a_receiver_of_push_notifications(serving: Serving) -> None:
    async with (
        receiving() as receiver,
        serving(push_allow_private_hosts=True, push_allowed_hosts=parse_allowed_hosts("127.0.0.1")) as agent,
    ):
        caller = agent.caller()
        configuration = {"taskPushNotificationConfig": {"url": receiver.url("/push")}}
        params = caller.params("hi", {"configuration": configuration})
        answer = await agent.http.send(caller.request("send", params, **HEADERS))
        await receiver.until(lambda: len(receiver.at("/push")) >= 3)

    span = named_in(answer.headers).span_id
    traces = {trace_context_of(one.headers) for one in receiver.at("/push")}
    assert traces == {TraceContext(TRACE, span, state=STATE)}


async def test_a_turn_that_is_recovered_continues_its_trace(anyio_backend: str, tmp_path: Path) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store
        )
        fake_opencode.hold(Say, tokens=1)
        async with agent_at(anyio_backend, fake_opencode, settings) as agent:
            caller = agent.caller(RPC_10)
            params = caller.params("hi", {"configuration": RPC_10.at_once()})
            answer = await agent.http.send(caller.request("send", params, **HEADERS))
            task_id = answer.json()["result"]["task"]["id"]
            with anyio.fail_after(DEADLINE):
                await fake_opencode.held()
        fake_opencode.requests.clear()
        async with agent_at(anyio_backend, fake_opencode, settings) as agent:
            fake_opencode.release()
            await agent.caller().finished(task_id)

    traces = traces_at(fake_opencode, "/message")
    assert set(traces) == {TraceContext(TRACE, named_in(answer.headers).span_id, state=STATE)}
