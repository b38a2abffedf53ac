"""What the tests of the page share: one Chromium, and a server on each runtime before a fake OpenCode."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import httpx
import pytest

from tests.interop.console.browser import Browser, Page, Person, running_browser
from tests.interop.driver import ROOT
from tests.real.adapter import environment, listening
from tests.real.deadline import Deadline
from tests.real.installation import UnavailableError
from tests.real.process import Process, StartError
from tests.shell.ports import free_port

TOKEN = "a-token-for-the-console"
PASSWORD = "a-password-for-the-console"
KEY = "a-key-for-the-console-itself"
_CREDENTIALS = [
    {"scheme": "bearer", "token": TOKEN, "principal": "ada", "capabilities": ["metrics"]},
    {"scheme": "basic", "username": "bob", "password": PASSWORD},
    {"scheme": "api_key", "key": KEY, "principal": "cleo"},
]
_START_SECONDS = 90


@attrs.define(eq=False)
class Server:
    """A server that can be stopped and started again, at the same URL and on the same database.

    `prefix`: the path of its public URL. `more`: settings of its own.
    """

    runtime: str
    folder: Path
    opencode: str
    port: int
    prefix: str = ""
    more: dict[str, str] = attrs.field(factory=dict)
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def start(self) -> None:
        command = ["-m", "opencode_a2a", "serve", "--runtime", self.runtime, "--host", "127.0.0.1"]
        env = environment(self.folder) | {
            "A2A_STATIC_AUTH_CREDENTIALS": json.dumps(_CREDENTIALS),
            "A2A_CONSOLE": "true",
            "A2A_METRICS_ENABLED": "true",
            "A2A_SHUTDOWN_GRACE_SECONDS": "1",
            "A2A_PUBLIC_URL": self.url,
            **self.more,
        }
        where = ["--port", str(self.port), "--opencode", self.opencode]
        self.process = Process.start([sys.executable, *command, *where], cwd=self.folder, env=env)
        try:
            self.process.output.wait_for(r"listening on", Deadline.within(_START_SECONDS))
        except StartError:
            self.process.stop()
            raise

    def stop(self) -> None:
        assert self.process is not None
        self.process.stop()

    def send(self, text: str, token: str = TOKEN, *, context: dict[str, str] | None = None) -> str:
        """Send a message as somebody else's program would; return the id of its task.

        `context`: what it goes on with, by `taskId` or `contextId`.
        """
        message = {
            "messageId": os.urandom(8).hex(),
            "role": "ROLE_USER",
            "parts": [{"text": text}],
            **(context or {}),
        }
        params = {"message": message, "configuration": {"returnImmediately": True}}
        return str(self.call("SendMessage", params, token)["task"]["id"])

    def call(self, method: str, params: dict[str, object], token: str = TOKEN) -> dict[str, dict[str, object]]:
        headers = {"authorization": f"Bearer {token}", "a2a-version": "1.0"}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(f"{self.url}/", json=body, headers=headers, trust_env=False)
        result: dict[str, dict[str, object]] = answer.json()["result"]
        return result


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    try:
        with running_browser(tmp_path_factory.mktemp("browser")) as running:
            yield running
    except UnavailableError as error:
        # `.ci/run` says so where it cannot have a browser
        is_left_out = os.environ.get("INTEROP_WITHOUT_BROWSER") == "1"
        if os.environ.get("TEST_REQUIRE_INTEROP") == "1" and not is_left_out:
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@contextmanager
def running_server(
    runtime: str, folder: Path, *, prefix: str = "", more: dict[str, str] | None = None
) -> Iterator[Server]:
    """A server before a fake OpenCode, until the end of the block."""
    fake_opencode = ["tests.interop.console.fake_opencode_server", runtime]
    with listening(fake_opencode, folder, environment(folder) | {"PYTHONPATH": str(ROOT)}) as opencode:
        server = Server(runtime, folder, opencode, free_port(), prefix, more or {})
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(request.param, tmp_path_factory.mktemp(f"console-{request.param}")) as server:
        yield server


@pytest.fixture
def person(browser: Browser) -> Iterator[Person]:
    """Somebody who has never been here."""
    person = browser.person()
    yield person
    person.leave()


def logged_in(person: Person, server: Server, path: str = "", *, width: int = 1200) -> Page:
    """A page of somebody who has logged in with the token."""
    page = person.page(f"{server.url}/console{path}", width=width)
    page.fill("textbox", "Token", TOKEN)
    page.press("Enter")
    page.until("!document.querySelector('dialog') && document.querySelector('main h1') !== null")
    return page


@pytest.fixture
def page(person: Person, server: Server) -> Iterator[Page]:
    """A page of somebody who has logged in. No script may fail in it, and nothing be refused by its policy."""
    page = logged_in(person, server)
    yield page
    # Answers that are errors, and connections that break, are reported by the browser itself.
    assert [trouble for trouble in page.troubles if "Failed to load resource" not in trouble] == []
    own = server.url.removeprefix("http://")
    assert [url for url in page.requests if own not in url and " blob:" not in url and " data:" not in url] == []
