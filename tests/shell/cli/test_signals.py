"""Signals to a server in a process of its own, with tasks and streams at work: what it says, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.shell.cli.test_commands import BOTH, CREDENTIALS, DEADLINE, Serving, Starter, environment

MESSAGE = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "SLOW"}]}
HEADERS = {"authorization": "Bearer tok-31e5a0", "a2a-version": "1.0"}


@contextmanager
def opencode(runtime: str, folder: Path) -> Iterator[str]:
    """A scripted OpenCode in a process of its own, whose SLOW does not end by itself; its URL."""
    log = folder / "opencode.log"
    command = [sys.executable, "-m", "tests.interop.fake_opencode_server", runtime]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment(), stdout=out, stderr=out)
    try:
        yield Serving(process, log).url
    finally:
        process.kill()
        process.wait(DEADLINE)


@contextmanager
def serving(runtime: str, folder: Path, *, grace: str = "60") -> Iterator[Serving]:
    variables = {
        "A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS,
        "A2A_TASK_STORE_BACKEND": "memory",
        "A2A_SHUTDOWN_GRACE_SECONDS": grace,
    }
    with opencode(runtime, folder) as url:
        arguments = ("serve", "--runtime", runtime, "--port", "0", "--opencode", url, "--log-level", "INFO")
        with Starter(folder)(*arguments, **variables) as server:
            yield server


@contextmanager
def streaming(server: Serving) -> Iterator[Iterator[str]]:
    """An open stream of a task that does not end."""
    body = {"message": MESSAGE}
    with (
        httpx.Client(base_url=server.url, headers=HEADERS, timeout=DEADLINE) as http,
        http.stream("POST", "/message:stream", json=body) as response,
    ):
        lines = response.iter_lines()
        assert any("TASK_STATE_WORKING" in line for line in lines)
        yield lines


@BOTH
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_says_what_is_waited_for_and_the_second_ends_at_once(
    tmp_path: Path, runtime: str, number: signal.Signals
) -> None:
    with serving(runtime, tmp_path) as server, streaming(server):
        server.process.send_signal(number)
        told = server.find(r"(stopping: .*)")
        assert server.process.poll() is None
        started = time.monotonic()
        code = server.stop(number)

    assert re.match(r"stopping: waiting up to 60 s for 1 task and 1 stream; .* again ends it at once", told)
    assert code == 128 + number
    assert time.monotonic() - started < 20
    assert f"ended at once by {number.name}" in server.said
    assert "Traceback" not in server.said


@BOTH
def test_a_hangup_is_ignored_with_a_line_and_the_stream_goes_on(tmp_path: Path, runtime: str) -> None:
    with serving(runtime, tmp_path, grace="0") as server, streaming(server) as lines:
        server.process.send_signal(signal.SIGHUP)
        line = server.find(r"(.*SIGHUP is ignored.*)")
        assert "WARNING" in line
        assert any("artifactUpdate" in line for line in lines)
        server.process.send_signal(signal.SIGTERM)
        server.find(r"(stopping)")
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(DEADLINE) == 0


@contextmanager
def signalled(runtime: str, case: str, folder: Path) -> Iterator[Serving]:
    """The program that waits for signals, once it does."""
    log = folder / "signalled.log"
    command = [sys.executable, "-m", "tests.shell.cli.signalled", runtime, case]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment(), stdout=out, stderr=out)
    try:
        program = Serving(process, log)
        program.find(r"(ready)")
        yield program
    finally:
        process.kill()
        process.wait(DEADLINE)


@BOTH
@pytest.mark.parametrize("case", ["thread", "slow"])
def test_the_first_signal_begins_the_drain_whatever_a_reload_waits_for(
    tmp_path: Path, runtime: str, case: str
) -> None:
    with signalled(runtime, case, tmp_path) as program:
        program.process.send_signal(signal.SIGHUP)
        program.find(r"(reload 1)")
        started = time.monotonic()
        assert program.stop(signal.SIGTERM) == 0

    assert time.monotonic() - started < 20
    assert program.said.endswith("draining\ndrained\n")
    assert "Traceback" not in program.said


@BOTH
@pytest.mark.parametrize("case", ["loop", "drain"])
def test_the_second_signal_ends_the_process_whatever_holds_its_loop(tmp_path: Path, runtime: str, case: str) -> None:
    with signalled(runtime, case, tmp_path) as program:
        program.process.send_signal(signal.SIGHUP)
        program.find(r"(reload 1)")
        program.process.send_signal(signal.SIGTERM)
        if case == "drain":
            program.find(r"(draining)")
        else:
            time.sleep(0.2)  # the process takes the first signal, and shows nothing of it
        started = time.monotonic()
        assert program.stop(signal.SIGINT) == 128 + signal.SIGINT

    assert time.monotonic() - started < 20
    assert "ended at once by SIGINT" in program.said


@BOTH
def test_hangups_that_come_while_files_are_read_make_them_read_once_more(tmp_path: Path, runtime: str) -> None:
    with signalled(runtime, "while", tmp_path) as program:
        program.process.send_signal(signal.SIGHUP)
        program.find(r"(reload 1)")
        for _ in range(5):
            program.process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
        program.find(r"(reload 2)")
        time.sleep(0.5)  # a third would come after 0.3 s
        assert program.stop(signal.SIGTERM) == 0

    assert "reload 3" not in program.said


@BOTH
def test_a_reload_that_takes_too_long_is_given_up_with_a_line(tmp_path: Path, runtime: str) -> None:
    with signalled(runtime, "slow", tmp_path) as program:
        program.process.send_signal(signal.SIGHUP)
        program.find(r"(could not be read again within 0.2 s)")
        program.process.send_signal(signal.SIGHUP)
        program.find(r"(reload 2)")
        assert program.stop(signal.SIGTERM) == 0

    assert "Traceback" not in program.said


@BOTH
def test_a_second_signal_ends_the_process_where_nobody_reads_what_it_prints(runtime: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * 4096)
    os.set_blocking(writer, True)
    command = [sys.executable, "-m", "tests.shell.cli.signalled", runtime, "drain"]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=writer)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"draining\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)
        os.close(reader)
        os.close(writer)


@BOTH
def test_an_idle_server_has_nothing_to_wait_for(tmp_path: Path, runtime: str) -> None:
    with serving(runtime, tmp_path) as server:
        assert httpx.get(f"{server.url}/health", headers=HEADERS, timeout=DEADLINE).status_code == 200
        assert server.stop(signal.SIGINT) == 0

    assert "stopping\n" in server.said
    [line] = [line for line in server.said.splitlines() if "GET /health" in line]
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO opencode_a2a.server.http.request_log: "
        r"GET /health 200 \d+\.\d ms principal=me trace=[0-9a-f]{32}",
        line,
    )


@BOTH
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_that_is_taken_is_named_with_what_to_do(tmp_path: Path, runtime: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        command = ["serve", "--runtime", runtime, "--host", host, "--port", str(port)]
        done = subprocess.run(
            [sys.executable, "-m", "opencode_a2a", *command],
            env=environment(A2A_STATIC_AUTH_CREDENTIALS="", A2A_TASK_STORE_DATABASE_URL="sqlite:///tasks.db"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert done.returncode == 1
    assert f"opencode-a2a: {where} is in use already: stop what listens there, or choose another port" in done.stderr
    assert "Traceback" not in done.stderr
    assert "token" not in done.stderr  # that would be of no use
    assert not list(tmp_path.iterdir())


def test_a_metrics_port_that_is_taken_is_named_with_its_settings(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "opencode_a2a", "serve", "--port", "0"],
            env=environment(A2A_TASK_STORE_BACKEND="memory", A2A_METRICS_ENABLED="true", A2A_METRICS_PORT=port),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    assert done.returncode == 1
    assert f"127.0.0.1:{port} is in use already" in done.stderr
    assert "choose another address with A2A_METRICS_HOST and A2A_METRICS_PORT" in done.stderr
