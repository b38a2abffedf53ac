"""Whoever misses a piece of a text in its midst sends all of it in the end, and every later text as it comes.

OpenCode stores a text once it is complete, and the fake one does so too: nobody can ask for the text so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import CallTool, FakeOpenCode, Say, Script
from opencode_a2a.fake_opencode.scripts import Think
from sansio.a2a.model import ArtifactUpdate, StreamItem, TextPart
from tests.shell.agent.test_servers import several
from tests.shell.cases import every_http_json_codec, one_codec
from tests.shell.folding import artifacts_of, folded, text_of
from tests.shell.harness import CREDENTIALS, Serving, Stream, Wire, agent_at, served
from tests.shell.store_cases import postgresql_url

__all__ = ["postgresql_url"]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    # httpx's generators of a stream that is left early
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]


def numbered(prefix: str, count: int = 20) -> tuple[str, ...]:
    return tuple(f"{prefix}{index} " for index in range(count))


def start_of(prefix: str, count: int) -> str:
    return "".join(numbered(prefix, count))


FIRST, SECOND = start_of("a", 20), start_of("b", 20)
BASH = CallTool(tool="bash", input={"command": "ls"}, title="ls", output="it")
TWO_TEXTS = Script(((Say(numbered("a")), BASH), (Think(("why",)), Say(numbered("b")))))


def fake() -> FakeOpenCode:
    """A fake OpenCode that never pauses, and writes two texts with a tool call and a thought between them."""
    scripts = {"TWO": lambda prompt: TWO_TEXTS, "ONE": lambda prompt: Script(((Say(numbered("a")),),))}
    return FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, scripts=scripts)


async def holding(opencode: FakeOpenCode, at: type[Any], tokens: int = 0) -> None:
    """Let the turn go on up to here."""
    opencode.release()
    opencode.hold(at, tokens=tokens)
    await opencode.held()


def texts(items: Sequence[StreamItem]) -> list[str]:
    """The texts of the chunks that add to an artifact which is there."""
    chunks = [item for item in items if isinstance(item, ArtifactUpdate) and item.append]
    return [part.text for chunk in chunks for part in chunk.artifact.parts if isinstance(part, TextPart)]


def response(*streams: Stream) -> str:
    """The answer that these streams add up to, one after the other."""
    items = [item for stream in streams for item in stream.items]
    return next((one.text for one in folded(items) if one.name == "response"), "")


@every_http_json_codec
async def test_after_a_restart_in_mid_text_later_texts_are_live_and_nothing_comes_twice(
    anyio_backend: str, tmp_path: Path, wire: Wire
) -> None:
    opencode = fake()
    store = f"sqlite:///{tmp_path / 'tasks.db'}"
    async with served(anyio_backend, opencode) as url:
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store
        )
        opencode.hold(Say, tokens=5)
        async with (
            agent_at(anyio_backend, opencode, settings) as agent,
            agent.caller(wire).open("TWO") as before,
        ):
            await before.until(lambda: before.text == start_of("a", 5))
            await agent.running.tasks.drain(0)
        await holding(opencode, Say, 10)  # five words that no server has received
        async with agent_at(anyio_backend, opencode, settings) as agent:
            task_id, last = before.task.id, before.events[-1].number
            async with agent.caller(wire).subscribed(task_id, last) as after:
                await holding(opencode, CallTool)  # the text is written, and not complete
                opencode.release()
                opencode.hold(Say, tokens=3)
                await after.until(lambda: response(before, after) == FIRST + start_of("b", 3))
                opencode.release()
                await after.whole()
            task = await agent.caller(wire).get(task_id)

    items = [*before.items, *after.items]
    assert (after.state, text_of(task)) == ("completed", FIRST + SECOND)
    assert folded(items) == artifacts_of(task)
    assert all(event.number > last for event in after.events[1:])  # the first is the task as it was then
    assert texts(after.items)[0] == FIRST.removeprefix(start_of("a", 5))


@one_codec
async def test_after_the_bus_broke_in_mid_text_later_texts_are_live(serving: Serving, wire: Wire) -> None:
    opencode = fake()
    async with serving(opencode) as agent:
        opencode.hold(Say, tokens=5)
        async with agent.caller(wire).open("TWO") as stream:
            await stream.until(lambda: stream.text == start_of("a", 5))
            connections = agent.running.bus.reconnects
            with opencode.mute():
                opencode.drop_streams()
                await holding(opencode, Say, 10)
            await agent.until(lambda: agent.running.bus.reconnects > connections)
            await holding(opencode, CallTool)
            opencode.release()
            opencode.hold(Say, tokens=3)
            await stream.until(lambda: stream.text == FIRST + start_of("b", 3))
            opencode.release()
            await stream.whole()
        task = await agent.caller(wire).get(stream.task.id)

    assert (stream.state, text_of(task)) == ("completed", FIRST + SECOND)
    assert folded(stream.items) == artifacts_of(task)


@every_http_json_codec
async def test_a_server_that_takes_over_in_mid_text_sends_what_was_missed_and_then_every_word(
    anyio_backend: str, postgresql: str, wire: Wire
) -> None:
    opencode = fake()
    async with several(anyio_backend, postgresql, 2, opencode) as [one, other]:
        opencode.hold(Say, tokens=5)
        async with one.agent.caller(wire).open("ONE") as before:
            await before.until(lambda: before.text == start_of("a", 5))
            await one.agent.running.tasks.drain(0)
            await holding(opencode, Say, 8)  # three words while nobody works on the task
        task_id, last = before.task.id, before.events[-1].number
        await one.close()
        async with other.agent.caller(wire).subscribed(task_id, last) as after:
            await after.until(lambda: response(before, after) == start_of("a", 8))
            for count in (9, 12):
                await holding(opencode, Say, count)
                await after.until(lambda: response(before, after) == start_of("a", count))  # noqa: B023
            opencode.release()
            await after.whole()
        task = await other.agent.caller(wire).get(task_id)

    assert (after.state, text_of(task)) == ("completed", FIRST)
    assert folded([*before.items, *after.items]) == artifacts_of(task)
    assert all(event.number > last for event in after.events[1:])  # the first is the task as it was then
    assert "".join(texts(after.items)) == FIRST.removeprefix(start_of("a", 5))
