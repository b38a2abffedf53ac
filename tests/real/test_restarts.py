"""A real OpenCode or the server before it is started again: what is sent then is answered, what ran has an end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.adapter import running_adapter
from tests.real.conftest import connected
from tests.real.deadline import Deadline
from tests.real.model_server import running_model
from tests.real.opencode import running_opencode
from tests.real.turn import check_record
from tests.real.wire import TERMINAL, Folded
from tests.shell.ports import free_port

# A start of OpenCode is 6 s of CPU, and a busy machine has several others at once.
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

RESTARTS = 2
TICKS = 100  # of each text; they take 10 s
SOON = 60.0  # seconds: a start of OpenCode and a turn on a busy machine; its patience with one that is away is 120


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    with running_model() as url:
        yield url


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_what_is_sent_after_a_restart_is_answered_within_seconds(
    binary: Path, tmp_path: Path, model_url: str, runtime: str
) -> None:
    port, folder = free_port(), tmp_path / "opencode"
    folder.mkdir()
    server = tmp_path / "server"
    server.mkdir()
    waited: list[float] = []
    with running_adapter(runtime, server, f"http://127.0.0.1:{port}") as adapter:
        client = connected(adapter, "1.0", "jsonrpc")
        with client.http:
            for _ in range(RESTARTS):
                with running_opencode(binary, folder, model_url, port=port):
                    started = time.monotonic()
                    task = client.send("hi")
                    waited.append(time.monotonic() - started)
                    assert task.state == "completed", task

    assert max(waited) < SOON, waited


def words(name: str) -> str:
    return name + "".join(f" {number}" for number in range(TICKS))


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_a_server_that_is_restarted_in_mid_text_sends_all_of_it_and_later_texts_as_they_come(
    binary: Path, tmp_path: Path, model_url: str, runtime: str
) -> None:
    folder, server = tmp_path / "opencode", tmp_path / "server"
    folder.mkdir()
    server.mkdir()
    at_once = {"A2A_SHUTDOWN_GRACE_SECONDS": "0"}
    with running_opencode(binary, folder, model_url) as opencode:
        with running_adapter(runtime, server, opencode.url, at_once) as adapter:
            client = connected(adapter, "1.0", "jsonrpc")
            with client.http:
                folded = Folded()
                for event in client.stream(f"TWOTEXTS {TICKS}"):
                    folded.take(event)
                    if "tick 0 1 2" in folded.said:
                        break
        stored = [message["parts"] for message in opencode.messages(session_of(folded))]
        with running_adapter(runtime, server, opencode.url, at_once) as adapter:
            client = connected(adapter, "1.0", "jsonrpc")
            with client.http:
                seen = set[tuple[str, ...]]()
                deadline = Deadline.within(TICKS)
                while (task := client.task(folded.task_id)).state not in TERMINAL and not deadline.passed:
                    seen.update(artifact.texts for artifact in task.artifact_stream("text"))
                record = opencode.record(task.session_id)

    unfinished = [part["text"] for parts in stored for part in parts if part["type"] == "text" and "time" in part]
    assert unfinished == [""], "OpenCode stores texts that are not complete: docs/streams.md says that it does not"
    assert task.state == "completed"
    assert record.texts == (words("tick"), words("tock"))
    check_record(task, record)
    assert all(words("tick").startswith(texts[0]) for texts in seen)
    assert len({texts[1] for texts in seen if len(texts) == 2}) > 10, seen


def session_of(folded: Folded) -> str:
    [session_id] = folded.session_ids
    return session_id
