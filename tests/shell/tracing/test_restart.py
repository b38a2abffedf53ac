"""A server that is killed at work, and started again: the turn goes on in its trace."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.interop.fake_opencode_server import HOLD, RELEASE
from tests.shell.cli.test_commands import BOTH, CREDENTIALS, DEADLINE, Serving, Starter
from tests.shell.cli.test_signals import HEADERS, opencode
from tests.shell.tracing.collector import Collector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MESSAGE = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "LONG 30"}]}
BODY = {"message": MESSAGE, "configuration": {"returnImmediately": True}}


@BOTH
def test_a_killed_servers_turn_goes_on_in_its_trace(tmp_path: Path, runtime: str, collector: Collector) -> None:
    with opencode(runtime, tmp_path) as url:
        start = Starter(tmp_path)
        arguments = ("serve", "--runtime", runtime, "--port", "0", "--opencode", url)
        variables = {
            "A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS,
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{tmp_path / 'tasks.db'}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        httpx.post(url + HOLD).raise_for_status()
        with start(*arguments, **variables) as server:
            answer = asked(server)
            collector.wait(lambda: collector.named("POST /session/{id}/prompt_async"))
            collector.wait(lambda: collector.named("POST /message:send"))
            server.process.kill()
            server.process.wait(DEADLINE)
        assert not collector.named("invoke_agent")

        httpx.post(url + RELEASE).raise_for_status()
        with start(*arguments, **variables):
            collector.wait(lambda: collector.named("invoke_agent"))

    [request] = collector.named("POST /message:send")
    [turn] = collector.named("invoke_agent")
    assert answer.headers["traceparent"] == f"00-{TRACE}-{request.span_id}-01"
    assert (turn.trace_id, turn.parent_id) == (TRACE, request.span_id)
    assert turn.attributes["a2a.task.state"] == "completed"


def asked(server: Serving) -> httpx.Response:
    """The answer to a message that belongs to a trace."""
    headers = {**HEADERS, "traceparent": f"00-{TRACE}-{SPAN}-01"}
    return httpx.post(f"{server.url}/message:send", json=BODY, headers=headers, timeout=DEADLINE).raise_for_status()


def test_a_missing_extra_does_not_keep_the_server_from_starting(tmp_path: Path) -> None:
    shadow = tmp_path / "opentelemetry"
    shadow.mkdir()
    (shadow / "__init__.py").write_text("raise ImportError('shadowed')")
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "PYTHONPATH": str(tmp_path)}

    with Starter(tmp_path)("serve", "--port", "0", "--opencode", "http://127.0.0.1:9", **variables) as server:
        assert server.url
        assert "need an extra" in server.log.read_text()
