"""Spans of requests, turns and what is done for them, as a collector gets them."""

from __future__ import annotations

import anyio
import pytest

from opencode_a2a.fake_opencode import Say
from opencode_a2a.tool.endpoint_span import EndpointSpan
from opencode_a2a.tracing.opentelemetry_switch import tracing
from opencode_a2a.tracing.spans import NO_TRACER
from sansio.a2a.bindings.trace_context import TraceContext
from tests.shell.cases import one_codec
from tests.shell.harness import DEADLINE, RPC_10, Wire, client, quick, served
from tests.shell.push_receiver import OK, answer, receiving
from tests.shell.tracing.collector import Collector, Received
from tests.shell.tracing.conftest import Traced, came

pytestmark = pytest.mark.anyio

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
SECRET_WORDS = "a message that nobody may record"


def only(spans: list[Received]) -> Received:
    [span] = spans
    return span


def servers(collector: Collector) -> list[Received]:
    """The spans of requests to the agent's main endpoints, oldest first."""
    found = [span for span in collector.spans if span.kind == "SERVER"]
    return sorted(found, key=lambda span: span.started)


@one_codec
async def test_the_spans_of_one_turn(traced: Traced, collector: Collector, wire: Wire) -> None:
    async with traced() as agent:
        caller = agent.caller(wire)
        request = caller.request("stream", caller.params(SECRET_WORDS, {}), **HEADERS)
        response = await agent.http.send(request)
        named = response.headers["traceparent"]
        session = agent.running.bus  # the server is at work still: spans come while it is
        assert session.connected
        await came(collector, lambda: collector.named("invoke_agent") and collector.named("POST ")[2:])
        [task] = (await caller.page())["tasks"]

    server = only([span for span in collector.spans if span.kind == "SERVER" and span.trace_id == TRACE])
    turn = only(collector.named("invoke_agent"))
    calls = [span for span in collector.spans if span.kind == "CLIENT"]
    commits = collector.named("store commit")

    assert named == f"00-{TRACE}-{server.span_id}-01"
    assert server.name == {"rpc": "POST SendStreamingMessage", "rest": f"POST {request.url.path}"}[wire.binding]
    assert server.attributes["http.route"] == request.url.path
    assert server.parent_id == SPAN
    assert server.attributes["http.request.method"] == "POST"
    assert server.attributes["url.path"] == request.url.path
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["server.address"] == "127.0.0.1"
    assert server.attributes["server.port"] == request.url.port
    assert server.attributes["a2a.task.id"] == task["id"]
    assert not server.failed

    assert turn.parent_id == server.span_id
    assert turn.kind == "INTERNAL"
    assert turn.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert turn.name == f"invoke_agent {turn.attributes['gen_ai.agent.name']}"
    assert turn.attributes["gen_ai.conversation.id"] == task["contextId"]
    assert turn.attributes["a2a.task.state"] == "completed"
    assert turn.attributes["opencode.session.id"]
    assert int(turn.attributes["gen_ai.usage.output_tokens"]) > 0

    prompt = only([span for span in calls if span.name == "POST /session/{id}/prompt_async"])
    assert prompt.parent_id == turn.span_id
    assert prompt.attributes["http.response.status_code"] == 204
    [asked] = [one for one in agent.fake_opencode.requests if one.path.endswith("/prompt_async")]
    assert asked.traceparent == f"00-{TRACE}-{prompt.span_id}-01"
    assert asked.tracestate == "vendor=1"

    assert commits
    assert {commit.parent_id for commit in commits} == {turn.span_id}
    assert {span.trace_id for span in (turn, *calls, *commits)} == {TRACE}
    assert {span.resource["service.name"] for span in collector.spans} == {"opencode-a2a"}


async def test_nothing_of_a_message_and_no_credential_is_in_a_span(traced: Traced, collector: Collector) -> None:
    async with receiving() as receiver, traced(push_allow_private_hosts=True) as agent:
        config = {"url": receiver.url("/secret-path?token=secret-query"), "token": "secret-token"}
        configuration = {"taskPushNotificationConfig": config}
        await agent.caller().send(SECRET_WORDS, configuration=configuration)
        await agent.http.get("/tasks/none?secret=query")
        await receiver.until(lambda: len(receiver.received) >= 3)

    found = repr([(span.name, span.attributes, span.resource) for span in collector.spans])
    assert "push notification" in found
    for words in (SECRET_WORDS, "secret", "alice-5f0c9e", "Bearer"):
        assert words not in found


async def test_the_model_and_a_failure_are_named(traced: Traced, collector: Collector) -> None:
    async with traced() as agent:
        metadata = {"shared": {"model": {"providerID": "nobody", "modelID": "nothing"}}}
        await agent.caller().send("FAIL401", metadata=metadata)

    turn = only(collector.named("invoke_agent"))
    assert turn.failed
    assert turn.attributes["error.type"] == "auth-required"
    assert turn.attributes["gen_ai.provider.name"] == "nobody"
    assert turn.attributes["gen_ai.request.model"] == "nothing"


async def test_a_refusal_has_a_span_and_a_probe_none(traced: Traced, collector: Collector) -> None:
    async with traced() as agent, client(agent.url, None) as http:
        refused = await http.post("/message:send", json={}, headers=HEADERS)
        unknown = await agent.http.post("/", json={"jsonrpc": "2.0", "id": 1, "method": "Made/Up"}, headers=HEADERS)
        await agent.http.get("/health", headers=HEADERS)
        await agent.http.get("/livez", headers=HEADERS)
        await agent.http.get("/metrics", headers=HEADERS)

    spans = collector.named("POST")
    assert [span.attributes["http.response.status_code"] for span in spans] == [401, 200]
    assert [f"00-{TRACE}-{span.span_id}-01" for span in spans] == [
        answer.headers["traceparent"] for answer in (refused, unknown)
    ]
    assert [span.name for span in spans] == ["POST /message:send", "POST /"]
    assert spans[1].attributes["a2a.error.reason"] == "METHOD_NOT_FOUND"
    assert not any(span.failed for span in spans)
    assert not collector.named("GET")


async def test_spans_of_requests_are_named_by_routes_and_never_by_what_callers_write(
    traced: Traced, collector: Collector
) -> None:
    async with traced() as agent:
        task = await agent.caller().send("hi")
        before = len(collector.spans)
        for method, path in (
            ("GET", f"/tasks/{task.id}"),
            ("HEAD", f"/v1/tasks/{task.id}"),
            ("POST", f"/tenant/tasks/{task.id}:cancel"),
            ("PUT", "/tasks/none"),
            ("GET", "/.well-known/agent-card.json"),
            ("GET", "/made/up/path"),
            ("BREW", "/tasks"),
        ):
            await agent.http.request(method, path, json={} if method == "POST" else None)
        rpc = {"jsonrpc": "2.0", "id": 1, "method": "Made/Up"}
        await agent.http.post("/", json=rpc, headers={"a2a-version": "9.9"})
        await agent.http.post("/", json=rpc)
        await agent.http.get("/tasks", headers=[(b"host", b"example.test:\xb2")])
        await came(collector, lambda: len(servers(collector)) >= 11)

    assert len(collector.spans) > before
    assert [span.name for span in servers(collector)[1:]] == [
        "GET /tasks/{id}",
        "HEAD /v1/tasks/{id}",
        "POST /{tenant}/tasks/{id}:cancel",
        "PUT /tasks/{id}",
        "GET /.well-known/agent-card.json",
        "GET",
        "HTTP /tasks",
        "POST /",
        "POST /",
        "GET /tasks",
    ]
    assert "http.route" not in servers(collector)[6].attributes


async def test_an_attempt_to_push_has_a_span_and_its_receiver_the_trace(traced: Traced, collector: Collector) -> None:
    async with receiving() as receiver, traced(push_allow_private_hosts=True) as agent:
        url = receiver.plan("/push", answer(503, "retry-after: 0"), OK)
        configuration = {"taskPushNotificationConfig": {"url": url}}
        params = agent.caller().params("hi", {"configuration": configuration})
        await agent.http.send(agent.caller().request("send", params, **HEADERS))
        await receiver.until(lambda: len(receiver.received) >= 4)

    attempts = collector.named("POST push notification")
    turn = only(collector.named("invoke_agent"))
    sent = [f"00-{TRACE}-{span.span_id}-01" for span in attempts]
    got = [one.headers["traceparent"] for one in receiver.received]
    assert got == sent[: len(got)]
    assert {span.parent_id for span in attempts} == {turn.span_id}
    assert (attempts[0].failed, attempts[0].attributes["error.type"]) == (True, "503")
    assert attempts[1].attributes["http.request.resend_count"] == 1
    assert attempts[0].attributes["server.port"] == receiver.port


async def test_a_call_of_another_agent_joins_both_in_one_trace(traced: Traced, collector: Collector) -> None:
    async with traced(task_store_backend="memory") as peer, traced(task_store_backend="memory") as agent:
        caller = agent.caller()
        await agent.http.send(caller.request("send", caller.params(f"PEER {peer.url} hi", {}), **HEADERS))

    call = only(collector.named("execute_tool a2a_call"))
    assert not call.failed, call
    first, second = collector.named("invoke_agent")
    requests = [span for span in collector.spans if span.kind == "SERVER" and span.parent_id == call.span_id]
    request = only([span for span in collector.named("POST /internal/mcp") if span.trace_id == TRACE])
    assert (request.kind, request.parent_id) == ("SERVER", first.span_id)
    assert request.attributes["http.route"] == "/internal/mcp"
    assert request.attributes["http.response.status_code"] == 200
    assert request.started < call.started
    assert request.seconds >= call.seconds
    assert call.parent_id == request.span_id
    assert call.attributes["gen_ai.operation.name"] == "execute_tool"
    assert call.attributes["gen_ai.tool.name"] == "a2a_call"
    assert call.attributes["server.port"] == int(peer.url.rpartition(":")[2])
    assert second.parent_id in {span.span_id for span in requests}
    assert second.trace_id == TRACE


async def test_a_request_to_the_tools_endpoint_without_a_call_has_a_span_in_its_callers_trace(
    traced: Traced, collector: Collector
) -> None:
    async with traced() as agent:
        assert agent.running.tool is not None
        secret = agent.running.tool.endpoint.secret.reveal()
        headers = {"authorization": f"Bearer {secret}", "accept": "application/json, text/event-stream", **HEADERS}
        await agent.http.get("/internal/mcp", headers=headers)
        await agent.http.get("/internal/mcp", headers=HEADERS)  # whoever lacks the secret finds nothing there
        await came(collector, lambda: [span for span in servers(collector) if span.parent_id == SPAN][1:])

    known, unknown = (span for span in servers(collector) if span.parent_id == SPAN)
    assert (known.name, known.attributes["http.response.status_code"]) == ("GET /internal/mcp", 405)
    assert unknown.name == "GET"
    assert "secret" not in repr(known.attributes)


def test_a_request_with_calls_of_two_turns_belongs_to_the_first() -> None:
    first, second = TraceContext("a" * 32, "1" * 16), TraceContext("b" * 32, "2" * 16)
    scope = {"method": "POST", "scheme": "http", "http_version": "1.1"}
    with EndpointSpan(NO_TRACER, scope, {}, "/internal/mcp") as span:
        own = span.within(first)

        assert (own.trace_id, own.span_id == first.span_id) == (first.trace_id, False)
        assert span.within(None) == own
        assert span.within(second) == second


async def test_a_client_that_passes_the_turns_trace_on_is_the_parent_itself(collector: Collector) -> None:
    turn = TraceContext(TRACE, "1" * 16)
    scope = {"method": "POST", "scheme": "http", "http_version": "1.1"}
    async with tracing("1", {}, pytest.fail) as tracer:
        for headers in (HEADERS, {"traceparent": f"00-{'c' * 32}-{SPAN}-01"}):
            with EndpointSpan(tracer, scope, headers, "/internal/mcp") as span:
                span.within(turn)

    assert [(one.trace_id, one.parent_id) for one in servers(collector)] == [(TRACE, SPAN), (TRACE, turn.span_id)]
    assert [one.attributes.get("error.type") for one in servers(collector)] == ["client_left"] * 2


async def test_a_recovered_turn_has_another_span_in_its_trace(
    anyio_backend: str, traced: Traced, collector: Collector
) -> None:
    fake_opencode = quick()
    fake_opencode.hold(Say, tokens=1)
    async with served(anyio_backend, fake_opencode) as url:
        async with traced(fake_opencode, url) as agent:
            params = agent.caller().params("hi", {"configuration": RPC_10.at_once()})
            response = await agent.http.send(agent.caller().request("send", params, **HEADERS))
            with anyio.fail_after(DEADLINE):
                await fake_opencode.held()
        async with traced(fake_opencode, url) as agent:
            fake_opencode.release()
            await agent.caller().finished(response.json()["result"]["task"]["id"])

    turns = collector.named("invoke_agent")
    parent = response.headers["traceparent"].split("-")[2]
    assert [(turn.trace_id, turn.parent_id) for turn in turns] == [(TRACE, parent), (TRACE, parent)]
    assert [turn.attributes["a2a.task.state"] for turn in turns] == ["working", "completed"]
    assert [span.parent_id for span in collector.named("GET /session/{id}/message")][-1] == turns[1].span_id


async def test_a_trace_that_is_not_sampled_is_passed_on_and_not_sent(traced: Traced, collector: Collector) -> None:
    async with traced() as agent:
        params = agent.caller().params("hi", {})
        request = agent.caller().request("send", params, traceparent=f"00-{TRACE}-{SPAN}-00")
        response = await agent.http.send(request)

    [asked] = [one for one in agent.fake_opencode.requests if one.path.endswith("/prompt_async")]
    assert response.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert response.headers["traceparent"].endswith("-00")
    assert (asked.traceparent or "").startswith(f"00-{TRACE}-")
    assert not [span for span in collector.spans if span.trace_id == TRACE]
