"""The example of another agent, `docs/examples/echo_agent.py`, with both official Python clients."""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.agent import Agent, Way, states, texts_of
from tests.interop.driver import ROOT, Driver
from tests.real.adapter import TOKEN, Adapter, environment
from tests.real.deadline import Deadline
from tests.real.process import Process

pytestmark = pytest.mark.interop

EXAMPLE = ROOT / "docs" / "examples" / "echo_agent.py"
START_SECONDS = 90
WAYS = (
    Way("python-0.3", "0.3", "jsonrpc"),
    Way("python-0.3", "0.3", "rest"),
    Way("python-1", "1.0", "jsonrpc"),
    Way("python-1", "1.0", "rest"),
)


class _Words(socketserver.StreamRequestHandler):
    """The agent behind the example: a line in, its words out, a line each, and a dot."""

    def handle(self) -> None:
        words = self.rfile.readline().split()
        self.wfile.write(b"".join(word + b"\n" for word in words) + b".\n")


@contextmanager
def running_words() -> Iterator[int]:
    """The port of that agent."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Words) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running_example(runtime: str, folder: Path) -> Iterator[Adapter]:
    """The example as a process, started as its own documentation says."""
    with running_words() as port:
        command = [sys.executable, str(EXAMPLE), "--runtime", runtime, "--port", "0"]
        process = Process.start(
            [*command, "--agent-port", str(port)], cwd=folder, env=environment(folder) | {"A2A_TOKEN": TOKEN}
        )
        try:
            ready = process.output.wait_for(r"listening on (http://127\.0\.0\.1:\d+)", Deadline.within(START_SECONDS))
            yield Adapter(url=ready.group(1), token=TOKEN)
        finally:
            process.stop()


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def echo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    with running_example(str(request.param), tmp_path_factory.mktemp(f"echo-{request.param}")) as adapter:
        yield adapter


@pytest.fixture(params=WAYS, ids=str)
def agent(request: pytest.FixtureRequest, echo: Adapter, driver_of: Callable[[str], Driver]) -> Agent:
    """The example as one client sees it."""
    return Agent(way=request.param, driver=driver_of(request.param.client), server=echo)


def test_the_card_names_the_agent(agent: Agent) -> None:
    card = agent.card()

    assert card["streaming"] is True
    assert card["schemes"] == {"bearerAuth": "bearer"}
    assert list(card["skills"]) == ["echo"]


def test_a_send_waits_for_the_answer(agent: Agent) -> None:
    task = agent.send("hello big world")

    assert task["state"] == "completed"
    assert list(texts_of(task).values()) == ["hello\nbig\nworld\n"]


def test_a_stream_has_the_answer_and_its_end(agent: Agent) -> None:
    items = agent.stream("hello big world")
    task = agent.get(items[0]["task"])

    assert states(items)[-2:] == ["working", "completed"]
    assert agent.texts(items) == texts_of(task)
    assert list(texts_of(task).values()) == ["hello\nbig\nworld\n"]
