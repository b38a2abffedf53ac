"""Where a turn happens: a directory or a workspace that a message asks for, on the real file system, and what each
request to OpenCode says of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode, Say
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import each_value, every_codec, one_codec
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import (
    CLAIMS,
    CREDENTIALS,
    DEADLINE,
    RPC_10,
    Agent,
    Caller,
    Serving,
    Wire,
    agent_at,
    failure_of,
    served,
)
from tests.shell.method_calls import Methods
from tests.shell.refusals import refusal, wrong

pytestmark = pytest.mark.anyio

FIELD = "metadata.opencode.directory"
# the event stream, and what the server asks at its root to see whether OpenCode is ready
OF_THE_SERVER = ("/global/event", "/path", "/file", "/config", "/config/providers")
Starting = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with two directories, a file, and links; beside it something that is none of its business."""
    workspace = tmp_path / "deployment" / "workspace"
    for folder in ("sub/deep", "other"):
        (workspace / folder).mkdir(parents=True)
    (workspace / "file.txt").write_text("x")
    (tmp_path / "deployment" / "outside").mkdir()
    (workspace / "leads-out").symlink_to(tmp_path / "deployment" / "outside")
    (workspace / "leads-in").symlink_to(workspace / "sub")
    (workspace / "circle").symlink_to(workspace / "circle")
    return workspace


def standin_in(directory: Path) -> FakeOpenCode:
    return FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, directory=str(directory))


def at(directory: object) -> dict[str, Any]:
    return {"opencode": {"directory": directory}}


def where(agent: Agent, *, since: int = 0) -> dict[str, list[tuple[str | None, str | None]]]:
    """Each kind of request about a session, with the directories and workspaces it named."""
    found: dict[str, list[tuple[str | None, str | None]]] = {}
    for one in agent.fake_opencode.requests[since:]:
        if one.path not in OF_THE_SERVER:
            kind = f"{one.method} {one.path.rstrip('/').rsplit('/', 1)[-1]}"
            kind = f"{one.method} session" if "ses_" in kind else kind
            found.setdefault(kind, []).append((one.asked_directory, one.query.get("workspace")))
    return found


def session_of(task: Task) -> str:
    return str((task.metadata or {})["shared"]["session"]["id"])


def directory_of(agent: Agent, task: Task) -> str:
    return agent.fake_opencode.sessions[session_of(task)].directory


# --- what is granted --------------------------------------------------------------------------------------


@one_codec
@pytest.mark.parametrize("configured", [True, False])
async def test_a_directory_below_the_root_is_where_the_turn_happens(
    serving: Serving, root: Path, wire: Wire, configured: bool
) -> None:
    settings = {"workspace_root": str(root)} if configured else {}
    async with serving(standin_in(root), **settings) as agent:
        task = await agent.caller(wire).send("PERMISSION", metadata=at(str(root / "sub")))
        ended = await agent.caller(wire).send("once", taskId=task.id)

        assert ended.status.state is TaskState.COMPLETED
        assert directory_of(agent, ended) == str(root / "sub")
        asked = where(agent)
        assert {"POST session", "POST prompt_async", "POST reply"} <= asked.keys()
        assert {location for locations in asked.values() for location in locations} == {(str(root / "sub"), None)}


@each_value("given", ["sub", "./sub/../sub/", "leads-in", "other/../leads-in"])
async def test_any_way_to_say_it_means_the_same_directory(serving: Serving, root: Path, given: str) -> None:
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        for directory in (given, f"{root}/{given}"):
            task = await agent.caller().send("hi", metadata=at(directory))
            assert directory_of(agent, task) == str(root / "sub")


@pytest.mark.parametrize("location", ["request", "message"])
async def test_it_may_be_said_in_the_request_or_in_the_message(serving: Serving, root: Path, location: str) -> None:
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        caller = agent.caller()
        params: dict[str, Any] = {"message": RPC_10.message("hi")}
        (params if location == "request" else params["message"])["metadata"] = at("sub")
        assert (await caller.ask("send", params)).status_code == 200
        [session] = agent.fake_opencode.sessions.values()

    assert session.directory == str(root / "sub")


@pytest.mark.parametrize("given", [".", "", "link"])
async def test_the_root_by_any_name_is_where_turns_happen_anyway(serving: Serving, root: Path, given: str) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    named = str(link) if given == "link" else str(root / given)
    async with serving(standin_in(root), workspace_root=str(root), allow_directory_override=False) as agent:
        first = await agent.caller().send("COUNT")
        second = await agent.caller().send("COUNT", contextId=first.context_id, metadata=at(named))

    assert text_of(second) == "You have said 2 things."
    assert session_of(first) == session_of(second)


@pytest.mark.parametrize("by", ["link", "root"])
async def test_a_root_that_is_a_link_is_the_directory_it_leads_to(serving: Serving, root: Path, by: str) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    async with serving(standin_in(link), workspace_root=str(link)) as agent:
        task = await agent.caller().send("hi", metadata=at(str((link if by == "link" else root) / "sub")))
        error = await agent.caller().refused(metadata=at("../outside"))

        assert directory_of(agent, task) == str(root / "sub")
    assert FIELD in str(error)


# --- what is refused --------------------------------------------------------------------------------------


@each_value(
    "given",
    [
        "..",
        "sub/../..",
        "../workspace-2",
        "/",
        "/etc",
        "../outside",
        "leads-out",
        "leads-out/../outside",
        "no-such-directory",
        "file.txt",
        "circle",
        "x" * 300,
        "",
        "sub\0",
        "x/" * 2049,
        5,
        ["sub"],
        True,
    ],
    wire=True,
    ids=lambda given: repr(given)[:24],
)
async def test_anything_else_is_refused_by_name_and_tells_no_path(
    serving: Serving, root: Path, wire: Wire, given: object
) -> None:
    (root.parent / "workspace-2").mkdir()
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        error = await agent.caller(wire).refused(metadata=at(given))

        assert refusal(wire, error) == wrong(wire, FIELD)
        assert "deployment" not in str(error).replace("this deployment", "")
        assert agent.fake_opencode.sessions == {}


@every_codec
async def test_a_deployment_may_allow_its_root_alone(serving: Serving, root: Path, wire: Wire) -> None:
    async with serving(standin_in(root), workspace_root=str(root), allow_directory_override=False) as agent:
        error = await agent.caller(wire).refused(metadata=at("sub"))
        allowed = await agent.caller(wire).send("hi", metadata=at(str(root)))

        assert refusal(wire, error) == wrong(wire, FIELD)
        assert "A2A_ALLOW_DIRECTORY_OVERRIDE" in str(error)
        assert directory_of(agent, allowed) == str(root)
        assert len(agent.fake_opencode.sessions) == 1


# --- names that mean something else once they are decoded -------------------------------------------------


@each_value("name", ["100%", "%", "%2", "%zz", "a+b", "ü 🌱", "q?x#y&z=1", "new\nline", "back\\slash"])
async def test_a_directory_is_the_one_of_that_name_however_it_is_written(
    serving: Serving, root: Path, name: str
) -> None:
    (root / name).mkdir()
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        task = await agent.caller().send("COUNT", metadata=at(name))
        again = await agent.caller().send("COUNT", contextId=task.context_id)
        listed = await Methods(agent.http, "1.0").result("opencode.sessions.list", {"directory": name})

        assert works_in(agent) == {str(root / name)}
        assert text_of(again) == "You have said 2 things."
        assert {location for locations in where(agent).values() for location in locations} == {
            (str(root / name), None)
        }
        assert [one["id"] for one in listed["items"]] == [session_of(task)]


DECODED = ("%2e%2e%2foutside", "..%2foutside", "100%25", "a%20b", "%252e%252e%252foutside", "é%C3%A9", "a%00b", "%ff")
"""OpenCode works elsewhere than in a directory of such a name, whatever it says of it."""


def works_in(agent: Agent) -> set[str]:
    """Where the stand-in has run turns."""
    answers = (one for session in agent.fake_opencode.sessions.values() for one in session.messages)
    return {one.info["path"]["cwd"] for one in answers if one.info["role"] == "assistant"}


@each_value("name", DECODED, wire=True)
async def test_a_directory_that_opencode_takes_for_another_is_refused(
    serving: Serving, root: Path, wire: Wire, name: str
) -> None:
    (root / name / "below").mkdir(parents=True)
    (root / "alias").symlink_to(root / name)
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        for given in (name, f"{name}/below", "alias", str(root / name)):
            error = await agent.caller(wire).refused(metadata=at(given))
            assert refusal(wire, error) == wrong(wire, FIELD)

        assert works_in(agent) == set()
        assert agent.fake_opencode.sessions == {}


@each_value("name", DECODED)
async def test_a_session_that_is_in_such_a_directory_is_not_used(serving: Serving, root: Path, name: str) -> None:
    (root / name).mkdir()
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        session_id = await made(agent, quote(str(root / name), safe=""))
        task = await agent.caller().send("hi", metadata={"shared": {"session": {"id": session_id}}})
        error = await Methods(agent.http, "1.0").error(
            "opencode.sessions.prompt_async",
            {"session_id": session_id, "request": {"parts": [{"type": "text", "text": "hi"}]}},
        )

        assert agent.fake_opencode.sessions[session_id].directory == str(root / name)
        assert task.status.state is TaskState.FAILED
        assert "SESSION_FORBIDDEN" in str(error)
        assert works_in(agent) == set()


@pytest.mark.parametrize("configured", [True, False])
async def test_a_root_that_opencode_takes_for_another_runs_nothing(
    serving: Serving, root: Path, configured: bool
) -> None:
    odd = root / "%2e%2e%2fother"
    odd.mkdir()
    async with serving(standin_in(odd), **({"workspace_root": str(odd)} if configured else {})) as agent:
        task = await agent.caller().send("hi")

        assert task.status.state is TaskState.FAILED
        assert "for another one" in reason_of(task)
        assert works_in(agent) == set()


class Elsewhere(FakeOpenCode):
    """An OpenCode that decodes a directory once less, or takes it for another one in some way not known today."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "query_string": scope["query_string"].replace(b"sub", b"other")}
        await super().__call__(scope, receive, send)


@one_codec
async def test_nothing_is_done_where_opencode_takes_a_directory_for_another(
    serving: Serving, root: Path, wire: Wire
) -> None:
    async with serving(Elsewhere(pause=0, directory=str(root)), workspace_root=str(root)) as agent:
        error = await agent.caller(wire).refused(metadata=at("sub"))

        assert refusal(wire, error) == wrong(wire, FIELD)
        assert agent.fake_opencode.sessions == {}
        assert agent.asked("POST", "/prompt_async") == 0


async def test_a_directory_is_looked_at_again_before_the_prompt(serving: Serving, root: Path) -> None:
    async with serving(Elsewhere(pause=0, directory=str(root)), workspace_root=str(root)) as agent:
        agent.fake_opencode.fail_next("GET", "/path", 503)
        task = await agent.caller().send("hi", metadata=at("sub"))

        assert task.status.state is TaskState.FAILED
        assert "another" in reason_of(task)
        assert agent.asked("POST", "/prompt_async") == 0


async def test_a_directory_of_which_opencode_says_nothing_is_looked_at_again(serving: Serving, root: Path) -> None:
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        agent.fake_opencode.fail_next("GET", "/path", 200, {"worktree": str(root)})
        task = await agent.caller().send("hi", metadata=at("sub"))

        assert task.status.state is TaskState.COMPLETED
        assert directory_of(agent, task) == str(root / "sub")


async def test_a_directory_is_asked_about_once(serving: Serving, root: Path) -> None:
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        for _ in range(3):
            await agent.caller().send("hi", metadata=at("sub"))

        assert agent.asked("GET", "/path") == 1


# --- workspaces -------------------------------------------------------------------------------------------


@one_codec
async def test_a_workspace_goes_before_a_directory(serving: Serving, root: Path, wire: Wire) -> None:
    metadata = {"opencode": {"workspace": {"id": "wrk_1"}, "directory": "/not/looked/at"}}
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        caller = agent.caller(wire)
        task = await caller.send("COUNT", metadata=metadata)
        asked = where(agent)
        again = await caller.send("COUNT", contextId=task.context_id)
        elsewhere = await caller.refused(contextId=task.context_id, metadata={"opencode": {"workspace": {"id": "w"}}})

        assert {location for locations in asked.values() for location in locations} == {(None, "wrk_1")}
        assert where(agent)["POST prompt_async"] == [(None, "wrk_1")] * 2
    assert text_of(again) == "You have said 2 things."
    assert refusal(wire, elsewhere) == wrong(wire, "metadata.opencode.workspace.id")


@each_value(
    "workspace",
    [{"id": ""}, {"id": 5}, {}, "wrk", {"id": "x" * 257}, {"id": "\0"}, {"id": ".."}, {"id": "wrk/x"}, {"id": "%2e"}],
    wire=True,
    ids=repr,
)
async def test_a_workspace_that_is_none_is_refused_by_name(serving: Serving, wire: Wire, workspace: object) -> None:
    async with serving() as agent:
        error = await agent.caller(wire).refused(metadata={"opencode": {"workspace": workspace}})

        assert refusal(wire, error) == wrong(wire, "metadata.opencode.workspace.id")
        assert agent.fake_opencode.sessions == {}


# --- a conversation stays where it is ---------------------------------------------------------------------


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path, root: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str, **more: Any) -> AbstractAsyncContextManager[Agent]:
        given: dict[str, Any] = {"workspace_root": str(root), **CLAIMS, **more}
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        return agent_at(
            anyio_backend,
            fake_opencode,
            Settings(
                rate_limit_enabled=False,
                opencode_url=url,
                credentials=CREDENTIALS,
                task_store_database_url=store,
                **given,
            ),
        )

    return start


async def stays_put(agent: Agent, caller: Caller, first: Task, count: int) -> None:
    """A message without metadata goes on where the context is; one with another place is refused."""
    since = len(agent.fake_opencode.requests)
    later = await caller.send("COUNT", contextId=first.context_id)
    for elsewhere in ("other", ".", "sub/deep"):
        refused = await caller.refused(contextId=first.context_id, metadata=at(elsewhere))
        assert refusal(caller.wire, refused) == wrong(caller.wire, FIELD)
    same = await caller.send("COUNT", contextId=first.context_id, metadata=at("leads-in"))

    assert [text_of(one) for one in (later, same)] == [f"You have said {count + n} things." for n in (1, 2)]
    asked = where(agent, since=since)
    assert {location for locations in asked.values() for location in locations} == {
        (directory_of(agent, first), None)
    }


@one_codec
async def test_a_context_stays_in_its_directory_also_after_a_restart(
    anyio_backend: str, starting: Starting, root: Path, wire: Wire
) -> None:
    fake_opencode = standin_in(root)
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            first = await agent.caller(wire).send("COUNT", metadata=at("sub"))
            await stays_put(agent, agent.caller(wire), first, 1)
        async with starting(fake_opencode, url) as agent:
            await stays_put(agent, agent.caller(wire), first, 3)


@one_codec
async def test_a_context_of_the_root_is_not_moved(serving: Serving, root: Path, wire: Wire) -> None:
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        first = await agent.caller(wire).send("COUNT")

        error = await agent.caller(wire).refused(contextId=first.context_id, metadata=at("sub"))

    assert refusal(wire, error) == wrong(wire, FIELD)


async def test_a_context_that_has_no_session_yet_is_in_one_place(serving: Serving, root: Path) -> None:
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        caller = agent.caller()
        agent.fake_opencode.hold(Say)
        at_once = {"configuration": RPC_10.at_once(), "contextId": "c"}
        agent.fake_opencode.stall_next("POST", "/session", late=True)
        first = await caller.send("hi", metadata=at("sub"), **at_once)
        second = await caller.send("hi", metadata=at("other"), **at_once)
        await caller.cancel(first.id)
        agent.fake_opencode.release()
        await caller.finished(second.id)
        third = await caller.send("hi", contextId="c", metadata=at("other"))

        assert [where(agent)["POST prompt_async"]] == [[(str(root / "other"), None)] * 2]
        assert directory_of(agent, third) == str(root / "other")


class Gate:
    """Holds the making of sessions on its way to OpenCode."""

    def __init__(self, fake_opencode: FakeOpenCode) -> None:
        self.fake_opencode = fake_opencode
        self.arrived = 0
        self.open = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/session"):
            self.arrived += 1
            await self.open.wait()
        await self.fake_opencode(scope, receive, send)


async def test_of_two_first_messages_the_one_that_wants_to_be_elsewhere_fails(
    anyio_backend: str, starting: Starting, root: Path
) -> None:
    fake_opencode = standin_in(root)
    gate = Gate(fake_opencode)
    async with served(anyio_backend, gate) as url, starting(fake_opencode, url) as agent:
        caller = agent.caller()
        at_once = {"configuration": RPC_10.at_once(), "contextId": "c"}
        first = await caller.send("hi", metadata=at("sub"), **at_once)
        await agent.until(lambda: gate.arrived)
        second = await caller.send("hi", metadata=at("other"), **at_once)
        gate.open.set()

        ended = [await caller.finished(one.id) for one in (first, second)]

        assert [one.status.state for one in ended] == [TaskState.COMPLETED, TaskState.FAILED]
        assert "choose a place in a new context" in reason_of(ended[1])
        assert agent.asked("POST", "/prompt_async") == 1


# --- sessions by their id ---------------------------------------------------------------------------------


async def made(agent: Agent, directory: Path | str) -> str:
    params = {"directory": str(directory)}
    return str((await agent.opencode.post("/session", json={}, params=params)).json()["id"])


@one_codec
@pytest.mark.parametrize("wish", [None, "sub"])
async def test_a_session_outside_the_workspace_is_refused(
    serving: Serving, root: Path, wire: Wire, wish: str | None
) -> None:
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        session_id = await made(agent, root.parent / "outside")
        metadata = {"shared": {"session": {"id": session_id}}} | (at(wish) if wish else {})

        stream = await agent.caller(wire).stream("hi", metadata=metadata)

        assert failure_of(stream) == "SESSION_FORBIDDEN"
        assert agent.asked("POST", "/prompt_async") == 0
        assert "outside/" not in str(stream.items)
        assert str(root.parent) not in str(stream.items)


@one_codec
async def test_a_session_is_gone_on_with_where_it_is(
    anyio_backend: str, starting: Starting, root: Path, wire: Wire
) -> None:
    fake_opencode = standin_in(root)
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            session_id = await made(agent, root / "sub")
            metadata = {"shared": {"session": {"id": session_id}}}
            first = await agent.caller(wire).send("COUNT", metadata=metadata)
            moved = await agent.caller(wire).refused(metadata=metadata | at("other"))
        async with starting(fake_opencode, url) as agent:
            second = await agent.caller(wire).send("COUNT", metadata=metadata)
            third = await agent.caller(wire).send("COUNT", contextId=first.context_id)

            assert where(agent)["POST prompt_async"] == [(str(root / "sub"), None)] * 3
    assert refusal(wire, moved) == wrong(wire, FIELD)
    assert [text_of(one) for one in (first, second, third)] == [f"You have said {n} things." for n in (1, 2, 3)]


# --- turns that wait, are cut off, or are taken up --------------------------------------------------------


async def test_what_is_read_and_stopped_is_where_the_turn_is(serving: Serving, root: Path) -> None:
    async with serving(standin_in(root), workspace_root=str(root)) as agent:
        caller = agent.caller()
        agent.fake_opencode.hold(Say, tokens=2)
        task = await caller.send("LONG 9", metadata=at("sub"), configuration=RPC_10.at_once())
        with anyio.fail_after(DEADLINE):
            await agent.fake_opencode.held()
        agent.fake_opencode.drop_streams()
        await agent.until(lambda: agent.asked("GET", "/message"))
        await caller.cancel(task.id)
        await agent.until(lambda: agent.asked("POST", "/abort"))

        asked = where(agent)
        assert {"GET message", "GET status", "GET permission", "GET question", "GET children", "POST abort"} <= (
            asked.keys()
        )
        assert {location for locations in asked.values() for location in locations} == {(str(root / "sub"), None)}


@one_codec
async def test_turns_in_line_keep_their_place_over_a_restart(
    anyio_backend: str, starting: Starting, root: Path, wire: Wire
) -> None:
    fake_opencode = standin_in(root)
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            caller = agent.caller(wire)
            fake_opencode.hold(Say)
            first = await caller.send("COUNT", contextId="c", metadata=at("sub"), configuration=wire.at_once())
            with anyio.fail_after(DEADLINE):
                await fake_opencode.held()
            queued = [
                await caller.send("COUNT", contextId="c", metadata=metadata, configuration=wire.at_once())
                for metadata in (at("sub"), {})
            ]
            assert [one.status.state for one in queued] == [TaskState.SUBMITTED] * 2
        async with starting(fake_opencode, url) as agent:
            fake_opencode.release()
            ended = [await agent.caller(wire).finished(one.id) for one in (first, *queued)]

            assert [text_of(one) for one in ended] == [f"You have said {n} things." for n in (1, 2, 3)], [
                reason_of(one) for one in ended
            ]
            asked = where(agent)
            assert asked["POST prompt_async"] == [(str(root / "sub"), None)] * 3
            assert {location for locations in asked.values() for location in locations} == {(str(root / "sub"), None)}
