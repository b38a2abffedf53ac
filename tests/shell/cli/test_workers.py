"""`serve --workers 2` as an operator meets it: processes that share a port and a database, and survive each other."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from opencode_a2a.cli.main import main
from tests.interop.fake_opencode_server import HOLD, RELEASE
from tests.shell.cli.test_commands import BOTH, CREDENTIALS, DEADLINE, Run, Serving, Starter
from tests.shell.cli.test_commands import run as run_fixture
from tests.shell.cli.test_signals import HEADERS, MESSAGE, opencode
from tests.shell.store_cases import postgresql_url

run, postgresql = run_fixture, postgresql_url
LEASE = 2.0
PATIENCE = 60.0  # several processes start, and others may have the cores
METRICS = {"A2A_METRICS_ENABLED": "true", "A2A_METRICS_PORT": "0"}


def until(happened: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(server: Serving) -> dict[int, int]:
    """The process of each worker, as it was started last."""
    return {int(number): int(pid) for number, pid in re.findall(r"worker (\d) is process (\d+)", server.said)}


def are_gone(pids: Iterable[int]) -> bool:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            return False
    return True


def arguments(runtime: str, url: str) -> tuple[str, ...]:
    return ("serve", "--runtime", runtime, "--port", "0", "--workers", "2", "--opencode", url, "--log-level", "INFO")


def variables(database: str, **more: str) -> dict[str, str]:
    return {
        "A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS,
        "A2A_TASK_STORE_DATABASE_URL": database,
        "A2A_REPLICA_LEASE_SECONDS": str(LEASE),
        "A2A_SHUTDOWN_GRACE_SECONDS": "0",
        "A2A_TOOL_ENABLED": "false",
        "A2A_RATE_LIMIT_ENABLED": "false",
        **more,
    }


def who_answers(server: Serving) -> set[str]:
    """Ask over two connections at once; return the numbers of the workers that the log has for the requests."""
    before = len(server.said)
    clients = [httpx.Client(base_url=server.url, headers=HEADERS, timeout=DEADLINE) for _ in range(8)]
    for http in clients:
        assert http.get("/health").status_code == 200

    def logged() -> list[str]:
        return re.findall(r"GET /health 200 .*worker=(\d)", server.said[before:])

    until(lambda: len(logged()) == len(clients))
    for http in clients:
        http.close()
    return set(logged())


def one_task_at_work(server: Serving, opencode_url: str) -> tuple[int, str]:
    """Begin a task that is held in the middle of its answer; return the number of its worker, and its id."""
    httpx.post(f"{opencode_url}{HOLD}", timeout=DEADLINE)
    message = {**MESSAGE, "parts": [{"text": "LONG 40"}]}
    body = {"message": message, "configuration": {"returnImmediately": True}}
    sent = httpx.post(f"{server.url}/message:send", json=body, headers=HEADERS, timeout=DEADLINE)
    task = sent.json()["task"]["id"]
    until(lambda: "w4" in str(task_of(server, task).get("artifacts")))
    return int(server.find(rf"begun after.*task={task}.*worker=(\d)")), task


def task_of(server: Serving, task: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/tasks/{task}", headers=HEADERS, timeout=DEADLINE).json()
    return found


@BOTH
def test_two_workers_serve_one_port_and_go_on_for_each_other(tmp_path: Path, runtime: str, postgresql: str) -> None:
    with (
        opencode(runtime, tmp_path) as url,
        Starter(tmp_path)(*arguments(runtime, url), **variables(postgresql, **METRICS, A2A_CONSOLE="true")) as one,
    ):
        until(lambda: "listening on" in one.said)
        assert one.find(r"the console is at (\S+)") == f"{one.url}/console"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+ .*2 workers\)", one.find(r"listening on (.*)"))
        first = workers_of(one)
        assert len(first) == 2
        assert who_answers(one) == {"1", "2"}
        for number in (1, 2):
            text = httpx.get(one.find(rf"worker {number}: metrics on (http://\S+)"), timeout=DEADLINE).text
            assert "a2a_http_requests_total" in text

        one.process.send_signal(signal.SIGHUP)
        until(lambda: one.said.count("SIGHUP is ignored") == 2)

        owner, task = one_task_at_work(one, url)
        killed = first[owner]
        os.kill(killed, signal.SIGKILL)
        one.find(rf"(worker {owner} has ended \(exit code 137\); it is started again at once)")
        # The one that was started again may be the first to see it, where the other has no core.
        until(lambda: f"worker {owner}) was over: its tasks are taken over" in one.said)
        httpx.post(f"{url}{RELEASE}", timeout=DEADLINE)
        until(lambda: task_of(one, task)["status"]["state"] == "TASK_STATE_COMPLETED")
        texts = [part["text"] for artifact in task_of(one, task)["artifacts"] for part in artifact["parts"]]
        assert "".join(texts).split() == [f"w{number}" for number in range(40)]
        until(lambda: workers_of(one)[owner] != killed)

        other = first[3 - owner]
        os.kill(other, signal.SIGTERM)  # as an operator does, or systemd: it drains, and is replaced
        os.kill(other, signal.SIGTERM)
        one.find(rf"(worker {3 - owner} has ended \(exit code 0\))")
        assert who_answers(one)

        assert one.stop(signal.SIGTERM) == 0
    assert "Traceback" not in one.said


@BOTH
def test_workers_end_with_their_parent(tmp_path: Path, runtime: str, postgresql: str) -> None:
    away = "http://127.0.0.1:9"
    with Starter(tmp_path)(*arguments(runtime, away), **variables(postgresql)) as server:
        until(lambda: "listening on" in server.said)
        workers = workers_of(server)
        server.process.kill()
        server.process.wait(DEADLINE)
        until(lambda: are_gone(workers.values()))

    assert len(workers) == server.said.count("the parent process is gone") == 2


def test_a_port_in_use_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A2A_TASK_STORE_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--workers", "2", "--port", str(port)]) == 1

    assert f"opencode-a2a: 127.0.0.1:{port} is in use already" in capsys.readouterr().err


def test_a_database_that_is_away_ends_the_start_with_one_error(run: Run) -> None:
    away = "postgresql://nobody@127.0.0.1:9/none?connect_timeout=2"
    done = run("serve", "--workers", "2", "--port", "0", A2A_TASK_STORE_DATABASE_URL=away)

    assert done.returncode == 2
    assert done.stderr.count("doctor") == 1
    assert "listening" not in done.stderr
    assert "Traceback" not in done.stderr
