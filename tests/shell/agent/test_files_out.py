"""Files that OpenCode produces become file parts on every line and binding, and are told once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode, Say
from sansio.a2a.model import ArtifactUpdate, FilePart, StreamItem, Task, TaskState
from tests.shell.cases import one_codec
from tests.shell.harness import CREDENTIALS, DEADLINE, Agent, Serving, Stream, Wire, agent_at, quick, served

pytestmark = pytest.mark.anyio

TEXT = {"mime": "text/plain", "filename": "a.txt", "url": "data:text/plain;base64,aGk="}
PICTURE = {"mime": "image/png", "url": "https://example.test/a.png"}
SECRET = {"mime": "text/plain", "filename": "passwd", "url": "file:///etc/passwd"}
FILES = [
    FilePart(raw="aGk=", media_type="text/plain", filename="a.txt"),
    FilePart(url="https://example.test/a.png", media_type="image/png"),
]


async def produced(fake_opencode: FakeOpenCode) -> None:
    """The turn that is held produces file parts, and a tool call with attachments."""
    with anyio.fail_after(DEADLINE):
        await fake_opencode.held()
    [session] = fake_opencode.sessions.values()
    answer = session.messages[-1]
    memory = fake_opencode.memory
    for file in (TEXT, PICTURE, SECRET):
        memory.add_part(session, answer, type="file", **file)
    attachments = [{"type": "file", **file} for file in (TEXT, PICTURE, SECRET)]
    state = {"status": "completed", "input": {}, "output": "read", "title": "t", "attachments": attachments}
    memory.add_part(session, answer, type="tool", tool="read", callID="call_1", state=state)


def files_of(task: Task) -> list[FilePart]:
    return [part for one in task.artifacts for part in one.parts if isinstance(part, FilePart)]


def told(items: list[StreamItem]) -> list[FilePart]:
    """The files a stream tells, as often as it tells them."""
    updates = [one for one in items if isinstance(one, ArtifactUpdate)]
    return [part for one in updates for part in one.artifact.parts if isinstance(part, FilePart)]


async def until_told(stream: Stream) -> None:
    await stream.until(lambda: len(told(stream.items)) == 4)


@one_codec
async def test_files_are_file_parts_and_paths_of_opencodes_are_left_out(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with agent.caller(wire).open("LONG 5") as stream:
            await produced(agent.fake_opencode)
            await until_told(stream)
            agent.fake_opencode.release()
            await stream.whole()
        task = await agent.caller(wire).get(stream.task.id)

        assert task.status.state is TaskState.COMPLETED
        assert told(stream.items) == files_of(task) == FILES * 2
        assert "passwd" not in str([stream.events, task])


@one_codec
async def test_a_file_is_not_told_again_after_a_gap(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with agent.caller(wire).open("LONG 5") as stream:
            await produced(agent.fake_opencode)
            await until_told(stream)
            agent.fake_opencode.drop_streams()
            await agent.until(lambda: agent.running.bus.reconnects == 2 and agent.asked("GET", "/message"))
            agent.fake_opencode.release()
            await stream.whole()

        assert stream.state == "completed"
        assert told(stream.items) == FILES * 2


@one_codec
async def test_files_of_which_nobody_heard_are_read_afterwards(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with agent.caller(wire).open("LONG 5") as stream:
            await stream.until(lambda: stream.text)
            with agent.fake_opencode.mute():
                await produced(agent.fake_opencode)
            agent.fake_opencode.drop_streams()
            await until_told(stream)
            agent.fake_opencode.release()
            await stream.whole()

        assert stream.state == "completed"
        assert told(stream.items) == FILES * 2


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Agent]]:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str) -> AbstractAsyncContextManager[Agent]:
        store: dict[str, Any] = {"task_store_database_url": f"sqlite:///{tmp_path / 'tasks.db'}"}
        return agent_at(
            anyio_backend,
            fake_opencode,
            Settings(rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, **store),
        )

    return start


@one_codec
async def test_a_file_is_not_told_again_after_a_restart(
    anyio_backend: str, starting: Callable[..., AbstractAsyncContextManager[Agent]], wire: Wire
) -> None:
    fake_opencode = quick()
    fake_opencode.hold(Say, tokens=1)
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            begun = await agent.caller(wire).send("LONG 5", configuration=wire.at_once())
            await produced(fake_opencode)
            with anyio.fail_after(DEADLINE):
                while files_of(await agent.caller(wire).get(begun.id)) != FILES * 2:
                    pass
        async with starting(fake_opencode, url) as agent:
            fake_opencode.release()
            task = await agent.caller(wire).finished(begun.id)
            everything = await agent.caller(wire).subscribe(task.id, after=2)

    assert task.status.state is TaskState.COMPLETED
    assert files_of(task) == told(everything.items) == FILES * 2
