"""`opencode-a2a tasks`: listing, reading, cancelling and watching the tasks of an agent, on every interface."""

from __future__ import annotations

import io
from typing import Any

import anyio
import orjson
import pytest
from attrs import frozen

from opencode_a2a.cli.main import main, parser
from opencode_a2a.cli.tasks import run_from_arguments
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import Say
from sansio.redact import Secret
from tests.shell.harness import ALICE, DEADLINE, RPC_10, Agent, Serving, until

pytestmark = pytest.mark.anyio
each_way = pytest.mark.parametrize(
    ("version", "binding"), [(version, binding) for version in ("0.3", "1.0") for binding in ("jsonrpc", "http+json")]
)


@frozen
class Seen:
    code: int
    out: str
    err: str


async def tasks(agent: Agent, *arguments: str, out: Any = None) -> Seen:
    options = parser("tasks").parse_args(["tasks", agent.url, *arguments])
    out, err = io.StringIO() if out is None else out, io.StringIO()
    settings = Settings(client_bearer_token=Secret(ALICE))
    with anyio.fail_after(DEADLINE):
        code = await run_from_arguments(options, settings, out, err)
    return Seen(code, out.getvalue(), err.getvalue())


def ways(version: str, binding: str) -> list[str]:
    return ["--protocol-version", version, "--binding", binding]


@each_way
async def test_tasks_are_listed_newest_first(serving: Serving, version: str, binding: str) -> None:
    async with serving() as agent:
        first = await agent.caller(RPC_10).send("one")
        second = await agent.caller(RPC_10).send("two", contextId="other")
        found = await tasks(agent, *ways(version, binding))
        other = await tasks(agent, "--context", "other", *ways(version, binding))
        none = await tasks(agent, "--state", "failed", *ways(version, binding))
        as_json = await tasks(agent, "--json", "--limit", "1", *ways(version, binding))

    assert (found.code, found.err) == (0, "")
    assert [line.split()[:2] for line in found.out.splitlines()] == [
        [second.id, "completed"],
        [first.id, "completed"],
    ]
    assert [line.split()[0] for line in other.out.splitlines()] == [second.id]
    assert none.out == ""
    assert [orjson.loads(line)["id"] for line in as_json.out.splitlines()] == [second.id]


async def test_a_list_that_the_binding_has_not_is_no_refusal_of_the_agent(serving: Serving) -> None:
    async with serving() as agent:
        seen = await tasks(agent, *ways("0.3", "grpc"))

    assert (seen.code, seen.out) == (4, "")
    assert "refused" not in seen.err
    assert "ListTasks is no operation of version 0.3 over gRPC; nothing was sent. Choose another" in seen.err
    assert "--binding" in seen.err


@each_way
async def test_a_task_is_shown_whole(serving: Serving, version: str, binding: str) -> None:
    async with serving() as agent:
        task = await agent.caller(RPC_10).send("LONG 3", contextId="c")
        seen = await tasks(agent, "get", task.id, *ways(version, binding))
        missing = await tasks(agent, "get", "nothing", *ways(version, binding))

    assert (seen.code, seen.err) == (0, "")
    assert seen.out.splitlines()[0].split()[:2] == [task.id, "completed"]
    assert "  response: w0 w1 w2" in seen.out
    assert missing.code == 4
    assert "refused" in missing.err


@each_way
async def test_a_task_is_canceled_and_one_that_has_ended_is_not(serving: Serving, version: str, binding: str) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=2)
        task = await agent.caller(RPC_10).send("LONG 9", configuration=RPC_10.at_once())
        seen = await tasks(agent, "cancel", task.id, *ways(version, binding))
        agent.fake_opencode.release()
        ended = await agent.caller(RPC_10).send("hi")
        refused = await tasks(agent, "cancel", ended.id, *ways(version, binding))
        shown = await tasks(agent, "get", task.id, *ways(version, binding))

    assert (seen.code, seen.out.split()[:2]) == (0, [task.id, "canceled"])
    assert refused.code == 4
    assert shown.code == 5


@each_way
async def test_a_task_is_watched_to_its_end(serving: Serving, version: str, binding: str) -> None:
    out, seen = io.StringIO(), []
    async with serving() as agent, anyio.create_task_group() as group:
        agent.fake_opencode.hold(Say, tokens=2)
        task = await agent.caller(RPC_10).send("LONG 9", configuration=RPC_10.at_once())
        await agent.fake_opencode.held()

        async def watch() -> None:
            seen.append(await tasks(agent, "watch", task.id, *ways(version, binding), out=out))

        group.start_soon(watch)
        await until(lambda: "w0" in out.getvalue())
        agent.fake_opencode.release()
        await until(lambda: seen)
        again = await tasks(agent, "watch", task.id, *ways(version, binding))

    assert seen[0].code == 0
    assert out.getvalue().split() == [f"w{index}" for index in range(9)]
    assert (again.code, again.out.split()) == (0, [f"w{index}" for index in range(9)])


async def test_of_a_watched_task_a_tool_is_not_the_answer(serving: Serving) -> None:
    async with serving() as agent:
        task = await agent.caller(RPC_10).send("TOOL")
        seen = await tasks(agent, "watch", task.id, "--protocol-version", "1.0")

    assert (seen.code, seen.out) == (0, "Now I know.\n")
    assert "[completed]" in seen.err


async def test_a_task_that_waits_for_its_user_ends_the_watch(serving: Serving) -> None:
    async with serving() as agent:
        task = await agent.caller(RPC_10).send("PERMISSION")
        seen = await tasks(agent, "watch", task.id)
        shown = await tasks(agent, "get", task.id)

    assert (seen.code, shown.code) == (3, 3)
    assert f" --task {task.id} TEXT]" in seen.err


async def test_a_watch_of_an_ended_task_resumes_no_stream(serving: Serving) -> None:
    async with serving() as agent:
        task = await agent.caller(RPC_10).send("TOOL")
        seen = await tasks(agent, "watch", task.id, "--verbose", "--protocol-version", "1.0")

    assert seen.code == 0
    assert "resuming the stream" not in seen.err


async def test_of_a_task_that_is_unknown_nothing_is_said_but_the_refusal(serving: Serving) -> None:
    async with serving() as agent:
        seen = await tasks(agent, "watch", "nonsense")

    assert seen.code == 4
    assert "the task is nonsense" not in seen.err


async def test_what_makes_no_sense_is_refused(serving: Serving) -> None:
    async with serving() as agent:
        without = await tasks(agent, "cancel")
        more = await tasks(agent, "list", "x")

    assert [(one.code, one.out) for one in (without, more)] == [(2, ""), (2, "")]
    assert "cancel needs an ID" in without.err


def test_the_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["tasks", "--help"])

    assert caught.value.code == 0
    assert "{list,get,cancel,watch}" in capsys.readouterr().out
