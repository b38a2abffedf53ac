"""`opencode-a2a doctor`: six broken set-ups with the finding that names the cause, and a server that runs."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from opencode_a2a.cli.main import main
from opencode_a2a.cli.operator import doctor
from opencode_a2a.cli.operator.doctor import examine
from opencode_a2a.cli.operator.local_checks import LoadedSettings, load_what_can_be
from opencode_a2a.cli.operator.upstream_checks import judge_version
from opencode_a2a.cli.serve import serve
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.server.store import open_store
from sansio.doctor.finding import Finding, Outcome, exit_code
from sansio.guards.hosts import ServedHosts
from sansio.redact import Secret
from tests.shell.harness import CREDENTIALS, DEADLINE, RUNTIMES, quick, served, until
from tests.shell.ports import free_port
from tests.shell.raw_server import SILENCE, answering

pytestmark = pytest.mark.anyio


def settings_of(folder: Path, opencode: str, **more: Any) -> Settings:
    url = f"sqlite:///{folder}/tasks.db"
    values: dict[str, Any] = {"port": free_port(), "credentials": CREDENTIALS, "task_store_database_url": url}
    return Settings(opencode_url=opencode, **{**values, **more})


async def findings_of(settings: Settings) -> list[Finding]:
    with anyio.fail_after(DEADLINE):
        return await examine(LoadedSettings(settings, (), ()))


def failures(findings: list[Finding]) -> dict[str, str]:
    """Detail and remedy of what fails, by check."""
    return {one.check: f"{one.detail} -> {one.remedy}" for one in findings if one.outcome is Outcome.FAIL}


def row(findings: list[Finding], check: str) -> Finding:
    [found] = [one for one in findings if one.check == check]
    return found


async def test_a_public_url_whose_host_is_not_served_is_found_offline_and_while_the_server_runs(
    anyio_backend: str, tmp_path: Path
) -> None:
    async with served(anyio_backend, quick()) as opencode:
        settings = settings_of(tmp_path, opencode, allowed_hosts=ServedHosts.of(["agent.example"]))
        offline = await findings_of(settings)
        async with running(anyio_backend, settings):
            beside = evolve(settings, allowed_hosts=ServedHosts())  # as in another environment than the server's
            refused = await findings_of(beside)

    assert "A2A_ALLOWED_HOSTS does not have 127.0.0.1" in failures(offline)["public URL"]
    assert "-> add 127.0.0.1 to the server's A2A_ALLOWED_HOSTS" in failures(refused)["public URL"]
    assert "status 400" in failures(refused)["public URL"]


async def test_a_set_up_that_is_right_fails_nothing(anyio_backend: str, tmp_path: Path) -> None:
    async with served(anyio_backend, quick()) as opencode:
        findings = await findings_of(settings_of(tmp_path, opencode))

    assert failures(findings) == {}
    assert exit_code(findings) == 0
    assert row(findings, "OpenCode").outcome is Outcome.OK
    assert row(findings, "model").outcome is Outcome.OK
    assert row(findings, "port").detail.endswith("is free")
    assert row(findings, "public URL").outcome is Outcome.SKIPPED
    assert not (tmp_path / "tasks.db").exists()  # nothing is made


async def test_an_opencode_that_is_not_there(anyio_backend: str, tmp_path: Path) -> None:
    findings = await findings_of(settings_of(tmp_path, f"http://127.0.0.1:{free_port()}"))

    assert list(failures(findings)) == ["OpenCode"]
    assert "opencode serve" in failures(findings)["OpenCode"]
    assert row(findings, "model").outcome is Outcome.SKIPPED
    assert exit_code(findings) == 1


async def test_a_wrong_password_of_opencode(anyio_backend: str, tmp_path: Path) -> None:
    fake_opencode = FakeOpenCode(pause=0, tick=0.001, password="theirs-77")
    async with served(anyio_backend, fake_opencode) as opencode:
        settings = settings_of(tmp_path, opencode, opencode_password=Secret("mine-4c1d"))
        findings = await findings_of(settings)

    assert list(failures(findings)) == ["OpenCode"]
    assert "OPENCODE_SERVER_PASSWORD" in failures(findings)["OpenCode"]
    assert "mine-4c1d" not in str(findings)


async def test_a_database_of_a_newer_release(anyio_backend: str, tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/tasks.db"):
        pass
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as database:
        database.execute("UPDATE opencode_a2a_schema SET version_num = '9999'")
        database.commit()
    async with served(anyio_backend, quick()) as opencode:
        findings = await findings_of(settings_of(tmp_path, opencode))

    assert list(failures(findings)) == ["store schema"]
    assert "9999 is newer" in failures(findings)["store schema"]


async def test_a_file_that_is_no_database(anyio_backend: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.db").write_bytes(b"no database at all" * 100)
    async with served(anyio_backend, quick()) as opencode:
        findings = await findings_of(settings_of(tmp_path, opencode))

    assert list(failures(findings)) == ["store"]
    assert "A2A_TASK_STORE_DATABASE_URL" in failures(findings)["store"]


async def test_a_port_that_another_program_has(anyio_backend: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        async with served(anyio_backend, quick()) as opencode:
            findings = await findings_of(settings_of(tmp_path, opencode, port=other.getsockname()[1]))

    assert failures(findings)["port"].endswith(
        "is taken by another program -> set A2A_PORT (--port), or stop that one"
    )


@asynccontextmanager
async def running(backend: str, settings: Settings) -> AsyncGenerator[None]:
    stop = anyio.Event()
    urls: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await serve(settings, RUNTIMES[backend], stop=stop.wait, ready=urls.append)

        tasks.start_soon(run)
        await until(lambda: urls)
        yield
        stop.set()


async def test_a_server_that_runs_is_seen_and_its_streams_come_through(anyio_backend: str, tmp_path: Path) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as opencode:
        settings = settings_of(tmp_path, opencode)
        async with running(anyio_backend, settings):
            findings = await findings_of(settings)
        fake_opencode.drop_streams()

    assert failures(findings) == {}
    assert "own server" in row(findings, "port").detail
    assert "in use by a server that runs (process" in row(findings, "store").detail
    assert row(findings, "public URL").outcome is Outcome.OK
    assert row(findings, "streams").detail == "events come through as they are sent"
    assert not [one for one in fake_opencode.requests if one.path.endswith("prompt_async")]


async def test_a_public_url_that_the_running_server_does_not_know(anyio_backend: str, tmp_path: Path) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as opencode:
        settings = settings_of(tmp_path, opencode)
        there = f"http://127.0.0.1:{free_port()}"
        async with running(anyio_backend, settings):
            findings = await findings_of(evolve(settings, public_url_override=there))
        fake_opencode.drop_streams()

    assert list(failures(findings)) == ["public URL"]
    assert "A2A_PUBLIC_URL" in failures(findings)["public URL"]


class Buffering:
    """A proxy that hands on an answer once it is whole."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        accept = dict(scope["headers"]).get(b"accept", b"*/*")
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            host = b"host: 127.0.0.1:%d\r\naccept: %b\r\nconnection: close\r\n\r\n" % (self.port, accept)
            await stream.send(b"GET %b HTTP/1.0\r\n%b" % (scope["path"].encode(), host))
            answer = b"".join([chunk async for chunk in stream])
        head, _, body = answer.partition(b"\r\n\r\n")
        pairs = [tuple(line.lower().split(b": ", 1)) for line in head.split(b"\r\n")[1:]]
        kept = [pair for pair in pairs if pair[0] == b"content-type"]
        await send({"type": "http.response.start", "status": 200, "headers": kept})
        await send({"type": "http.response.body", "body": body})


async def test_a_proxy_that_buffers_streams(anyio_backend: str, tmp_path: Path) -> None:
    fake_opencode = quick()
    port = free_port()
    async with served(anyio_backend, fake_opencode) as opencode, served(anyio_backend, Buffering(port)) as proxy:
        settings = settings_of(tmp_path, opencode, port=port, public_url_override=proxy)
        async with running(anyio_backend, settings):
            findings = await findings_of(settings)
        fake_opencode.drop_streams()

    assert list(failures(findings)) == ["streams"]
    assert "proxy_buffering off" in failures(findings)["streams"]


async def test_a_group_that_hangs_is_a_finding(
    anyio_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "SECONDS", 0.3)
    async with answering([SILENCE]) as server:
        findings = await findings_of(settings_of(tmp_path, f"http://127.0.0.1:{server.port}"))

    assert "no answer within 0.3 s" in failures(findings)["OpenCode"]


def test_wrong_settings_are_findings_and_the_others_are_checked_all_the_same() -> None:
    environ = {"A2A_PORT": "many", "A2A_HOST": "0.0.0.0", "A2A_TASK_STORE_BACKEND": "cloud", "OPENCODE_AGENT": "plan"}

    loaded = load_what_can_be(environ, None)

    assert sorted(problem.partition(":")[0] for problem in loaded.problems) == [
        "A2A_PORT",
        "A2A_STATIC_AUTH_CREDENTIALS",
        "A2A_TASK_STORE_BACKEND",
    ]
    assert (loaded.settings.port, loaded.settings.agent) == (8000, "plan")


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ("1.18.33", Outcome.OK),
        ("1.18.2", Outcome.OK),
        ("1.19.0", Outcome.WARN),
        ("2.0.1", Outcome.WARN),
        (None, Outcome.WARN),
    ],
)
def test_versions_of_opencode_are_judged(found: str | None, outcome: Outcome) -> None:
    assert judge_version(found).outcome is outcome


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_the_command_prints_json_and_exits_with_1(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"A2A_PORT": "x", "OPENCODE_BASE_URL": f"http://127.0.0.1:{free_port()}"}.items():
        monkeypatch.setenv(name, value)

    code = main(["doctor", "--json", "--runtime", runtime])

    document = json.loads(capsys.readouterr().out)
    assert (code, document["outcome"]) == (1, "fail")
    found = {(one["check"], one["outcome"]) for one in document["findings"]}
    assert {("settings", "fail"), ("OpenCode", "fail")} <= found
    assert all(one["remedy"] for one in document["findings"] if one["outcome"] in ("warn", "fail"))


def test_the_command_prints_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    code = main(["doctor", "--opencode", f"http://127.0.0.1:{free_port()}"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert any(line.startswith("fail     OpenCode ") for line in lines)
    assert any(line.strip().startswith("-> start it with `opencode serve`") for line in lines)
