"""The list of tasks: whose they are, which of them, in which order, and in pages that lose and repeat nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO, Say
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import Task, TaskState
from tests import schemas
from tests.shell.cases import every_json_codec, every_listing_codec, one_codec
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import REST_03, RPC_03, RPC_10, Agent, Caller, Serving, Wire
from tests.shell.refusals import refusal, wrong

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "disk"])
def storing(request: pytest.FixtureRequest, serving: Serving, serving_on_disk: Serving) -> Serving:
    """Both stores keep lists in their own way."""
    return serving if request.param == "memory" else serving_on_disk


def state_name(wire: Wire, state: TaskState) -> str:
    return state.value if wire.version == "0.3" else f"TASK_STATE_{state.name}"


def tasks_of(wire: Wire, page: dict[str, Any]) -> list[Task]:
    return [CODECS[wire.version].parse_task(task) for task in page["tasks"]]


def ids_of(page: dict[str, Any]) -> list[str]:
    return [task["id"] for task in page["tasks"]]


async def listed(caller: Caller, **params: Any) -> list[Task]:
    return tasks_of(caller.wire, await caller.page(**params))


async def walked(caller: Caller, **params: Any) -> list[dict[str, Any]]:
    """All pages, to the last."""
    pages = [await caller.page(**params)]
    while pages[-1]["nextPageToken"]:
        pages.append(await caller.page(**params, pageToken=pages[-1]["nextPageToken"]))
    return pages


async def sent(caller: Caller, count: int, **more: Any) -> list[str]:
    return [(await caller.send("hi", **more)).id for _ in range(count)]


# --- which tasks ------------------------------------------------------------------------------------------


@one_codec
async def test_everyone_lists_their_own_tasks(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        ours = await sent(agent.caller(wire), 2, contextId="same-name")
        theirs = await sent(agent.caller(wire, bob=True), 1, contextId="same-name")

        for params in ({}, {"contextId": "same-name"}, {"status": state_name(wire, TaskState.COMPLETED)}):
            first = await agent.caller(wire).page(**params)
            second = await agent.caller(wire, bob=True).page(**params)

            assert (set(ids_of(first)), first["totalSize"]) == (set(ours), 2)
            assert (ids_of(second), second["totalSize"]) == (theirs, 1)


@every_listing_codec
async def test_a_list_without_tasks_has_all_its_members(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        page = await agent.caller(wire).page()

    assert page == {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}


@one_codec
async def test_a_list_may_be_of_one_context(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        first, second = await sent(caller, 2, contextId="one"), await sent(caller, 1, contextId="two")

        one, two, none = [await caller.page(contextId=name) for name in ("one", "two", "three")]

    assert (set(ids_of(one)), one["totalSize"]) == (set(first), 2)
    assert (ids_of(two), two["totalSize"]) == (second, 1)
    assert (ids_of(none), none["totalSize"]) == ([], 0)


@every_listing_codec
async def test_a_list_may_be_of_one_state(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.fail_next("POST", "/session", 500)
        there = {
            TaskState.FAILED: await caller.send("hi"),
            TaskState.COMPLETED: await caller.send("hi"),
            TaskState.INPUT_REQUIRED: await caller.send("PERMISSION"),
            TaskState.CANCELED: await caller.cancel((await caller.send("QUESTION")).id),
        }

        for state, task in there.items():
            page = await caller.page(status=state_name(wire, state))
            assert (ids_of(page), page["totalSize"]) == ([task.id], 1)
            assert tasks_of(wire, page)[0].status.state is state
        nothing = await caller.page(status=state_name(wire, TaskState.REJECTED))

    assert (nothing["tasks"], nothing["totalSize"]) == ([], 0)


@one_codec
async def test_filters_hold_together(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.fail_next("POST", "/session", 500)
        await caller.send("hi", contextId="one")
        await caller.send("hi", contextId="two")
        [wanted] = await sent(caller, 1, contextId="one")

        page = await caller.page(contextId="one", status=state_name(wire, TaskState.COMPLETED))

    assert (ids_of(page), page["totalSize"]) == ([wanted], 1)


@every_listing_codec
async def test_a_list_may_begin_at_a_moment(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        for _ in range(4):
            await caller.send("hi")
        every = await listed(caller)
        moments = {task.id: datetime.fromisoformat(task.status.timestamp or "") for task in every}

        for moment in moments.values():
            later = (moment + timedelta(milliseconds=1)).isoformat()
            for text, kept in (
                (moment.isoformat().replace("+00:00", "Z"), {one for one, at in moments.items() if at >= moment}),
                (later, {one for one, at in moments.items() if at > moment}),
            ):
                page = await caller.page(statusTimestampAfter=text)
                assert (set(ids_of(page)), page["totalSize"]) == (kept, len(kept)), text


async def test_a_moment_may_be_told_in_any_time_zone(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller()
        task = await caller.send("hi")
        moment = datetime.fromisoformat(task.status.timestamp or "")
        told = (moment + timedelta(hours=5, minutes=30)).replace(tzinfo=None).isoformat() + "+05:30"

        assert [one.id for one in await listed(caller, statusTimestampAfter=told)] == [task.id]


# --- in which order ---------------------------------------------------------------------------------------


def newest_first(tasks: list[Task]) -> list[str]:
    """As the protocol has it; where two changed in the same millisecond, any fixed order will do."""
    ordered = sorted(tasks, key=lambda task: (task.status.timestamp or "", task.id), reverse=True)
    return [task.id for task in ordered]


@one_codec
async def test_whatever_changed_last_comes_first(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        waiting = [await caller.send("PERMISSION") for _ in range(3)]
        await sent(caller, 2)
        before = await listed(caller)

        await caller.cancel(waiting[1].id)

        after = await listed(caller)
    assert [task.id for task in before] == newest_first(before)
    assert [task.id for task in after] == newest_first(after)
    assert max(after, key=lambda task: task.status.timestamp or "").status.state is TaskState.CANCELED


# --- pages ------------------------------------------------------------------------------------------------


@one_codec
async def test_pages_hold_every_task_once_though_tasks_are_added_meanwhile(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        ours = await sent(caller, 7)
        seen: list[str] = []
        token = ""
        for number in range(4):
            page = await caller.page(pageSize=2, **({"pageToken": token} if token else {}))
            assert page["totalSize"] == 7 + number  # the total is of now
            seen += ids_of(page)
            token = page["nextPageToken"]
            await sent(caller, 1)

    assert token == ""
    assert sorted(seen) == sorted(ours)


@one_codec
async def test_pages_of_a_filtered_list_keep_to_the_filter(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        ours: list[str] = []
        for _ in range(3):
            ours += await sent(caller, 1, contextId="one")
            await sent(caller, 1, contextId="two")

        pages = await walked(caller, contextId="one", pageSize=1)

    assert [page["totalSize"] for page in pages] == [3, 3, 3]
    assert sorted(task_id for page in pages for task_id in ids_of(page)) == sorted(ours)


@one_codec
async def test_a_page_is_as_large_as_asked_for_and_the_last_one_says_so(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        await sent(caller, 3)

        sizes = {
            size: [len(page["tasks"]) for page in await walked(caller, pageSize=size)] for size in (1, 2, 3, 100)
        }
        told = [(await caller.page(pageSize=size))["pageSize"] for size in (1, 100)]

    assert sizes == {1: [1, 1, 1], 2: [2, 1], 3: [3], 100: [3]}
    assert told == [1, 100]


async def test_the_default_page_has_fifty_tasks(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller()
        await sent(caller, 51)

        pages = await walked(caller)

    assert [len(page["tasks"]) for page in pages] == [50, 1]
    assert [page["pageSize"] for page in pages] == [50, 50]


async def test_pages_go_on_after_a_restart(serving_on_disk: Serving) -> None:
    async with serving_on_disk() as agent:
        ours = await sent(agent.caller(), 3)
        first = await agent.caller().page(pageSize=2)
    async with serving_on_disk() as agent:
        second = await agent.caller().page(pageSize=2, pageToken=first["nextPageToken"])

    assert sorted(ids_of(first) + ids_of(second)) == sorted(ours)
    assert second["nextPageToken"] == ""


async def test_a_token_of_somebody_else_shows_nothing_of_theirs(serving: Serving) -> None:
    async with serving() as agent:
        theirs = await sent(agent.caller(bob=True), 2)
        token = (await agent.caller(bob=True).page(pageSize=1))["nextPageToken"]
        ours = await sent(agent.caller(), 1)

        pages = [await agent.caller().page(), await agent.caller().page(pageToken=token)]

    assert not any(set(ids_of(page)) & set(theirs) for page in pages)
    assert ids_of(pages[0]) == ours


# --- what is wrong ----------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any]] = [
    ("pageSize", 0),
    ("pageSize", 101),
    ("pageSize", -1),
    ("pageSize", "x"),
    ("pageToken", "x"),
    ("pageToken", "bm8gdG9rZW4"),
    ("status", "running"),
    ("statusTimestampAfter", "yesterday"),
    ("statusTimestampAfter", "2026-01-02T03:04:05"),
    ("historyLength", -1),
    ("includeArtifacts", "perhaps"),
]


@every_json_codec
async def test_a_wrong_value_is_refused_by_the_name_of_its_field(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        for field, value in WRONG:
            assert refusal(wire, await caller.refused("list", **{field: value})) == wrong(wire, field), (field, value)
        several = refusal(wire, await caller.refused("list", pageSize=0, status="running"))

    assert set(several.fields) == {"pageSize", "status"}


# --- what is told of a task -------------------------------------------------------------------------------


@every_listing_codec
async def test_artifacts_are_listed_only_where_they_are_wanted(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        task = await caller.send("TOOL")

        bare = [await listed(caller), await listed(caller, includeArtifacts="false")]
        [whole] = await listed(caller, includeArtifacts="true")
        read = await caller.get(task.id)

    assert [tasks[0].artifacts for tasks in bare] == [(), ()]
    assert whole == read
    assert text_of(whole) == AFTER_TOOL


@pytest.mark.parametrize("wire", [RPC_03, RPC_10], ids=str)
async def test_artifacts_are_wanted_by_a_true_flag(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        await caller.send("hi")

        counts = [len((await listed(caller, includeArtifacts=flag))[0].artifacts) for flag in (True, False)]

    assert counts == [1, 0]


@every_listing_codec
async def test_history_is_listed_as_long_as_asked_for(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        await caller.send("hi")

        lengths = [len((await listed(caller, **params))[0].history) for params in ({}, {"historyLength": 0})]
        one = len((await listed(caller, historyLength=1))[0].history)

    assert (lengths, one) == ([1, 0], 1)


@pytest.mark.parametrize("wire", [RPC_03, REST_03], ids=str)
async def test_version_0_3_finds_the_answer_in_the_status_though_there_are_no_artifacts(
    serving: Serving, wire: Wire
) -> None:
    async with serving() as agent:
        await agent.caller(wire).send("hi")
        [task] = await listed(agent.caller(wire))

    assert (task.artifacts, reason_of(task)) == ((), HELLO)


@one_codec
async def test_running_tasks_are_listed_as_they_are_now(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=2)
        async with caller.open("LONG 9", contextId="c") as stream:
            await stream.until(lambda: stream.text == "w0 w1 ")
            queued = await caller.send("hi", contextId="c", configuration=wire.at_once())
            waiting = await caller.send("PERMISSION")

            tasks = {task.id: task for task in await listed(caller, includeArtifacts="true")}

            running = tasks[stream.task.id]
            assert (running.status.state, text_of(running)) == (TaskState.WORKING, "w0 w1 ")
            assert tasks[queued.id].status.state is TaskState.SUBMITTED
            assert tasks[waiting.id].status.state is TaskState.INPUT_REQUIRED
            working = await caller.page(status=state_name(wire, TaskState.WORKING))
            assert ids_of(working) == [stream.task.id]
            agent.fake_opencode.release()
            await stream.whole()


# --- ways to ask ------------------------------------------------------------------------------------------


async def by_rpc(agent: Agent, method: str, params: object, version: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method}
    if params is not None:
        body["params"] = params
    headers = {} if version is None else {"A2A-Version": version}
    result: dict[str, Any] = (await agent.http.post("/", json=body, headers=headers)).json()["result"]
    return result


@pytest.mark.parametrize("params", [None, {}])
async def test_a_list_needs_no_parameters(serving: Serving, params: object) -> None:
    async with serving() as agent:
        [only] = await sent(agent.caller(RPC_03), 1)

        old = await by_rpc(agent, "tasks/list", params, "0.3")
        new = await by_rpc(agent, "ListTasks", params, "1.0")

    assert ids_of(old) == ids_of(new) == [only]


async def test_the_name_tells_the_line_where_no_version_does(serving: Serving) -> None:
    async with serving() as agent:
        await sent(agent.caller(RPC_03), 1)

        old, new = await by_rpc(agent, "tasks/list", {}, None), await by_rpc(agent, "ListTasks", {}, None)

    schemas.check("0.3", schemas.TASK, old["tasks"][0])
    assert old["tasks"][0]["kind"] == "task"
    schemas.check("1.0", schemas.TASK_PAGE, new)


async def test_the_path_tells_the_line_where_no_version_does(serving: Serving) -> None:
    async with serving() as agent:
        [only] = await sent(agent.caller(RPC_10), 1)

        old, new = [await agent.http.get(path) for path in ("/v1/tasks?pageSize=1", "/tasks?pageSize=1")]

    assert (old.status_code, new.status_code) == (200, 200)
    assert old.headers["content-type"] == "application/json"
    assert new.headers["content-type"] == "application/a2a+json"
    schemas.check("0.3", schemas.TASK, old.json()["tasks"][0])
    schemas.check("1.0", schemas.TASK_PAGE, new.json())
    assert ids_of(old.json()) == ids_of(new.json()) == [only]
