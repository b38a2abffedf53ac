"""The stand-in for OpenCode behaves on the wire as the recorded OpenCode did, and fails where a test asks it to.

Over real loopback sockets, on both event loops; the expectations are the recorded turns, in short.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import anyio
import httpx
import hypercorn.asyncio
import hypercorn.trio
import orjson
import pytest
from attrs import define, field
from hypercorn.config import Config

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO, SPACED, CallTool, FakeOpenCode, Say
from sansio.a2a.bindings.sse import SseDecoder
from tests.shell.cases import each_value

pytestmark = pytest.mark.anyio
DEADLINE = 20.0
Event: TypeAlias = dict[str, Any]


@define(eq=False)
class Caller:
    """Talks to a stand-in and writes down what one event stream says."""

    app: FakeOpenCode
    http: httpx.AsyncClient
    wire: list[Event] = field(factory=list)
    changed: anyio.Event = field(factory=anyio.Event)
    cut: bool = False
    ended: bool = False

    async def listen(self, path: str = "/global/event") -> None:
        decoder = SseDecoder()
        try:
            async with self.http.stream("GET", path) as answer:
                async for chunk in answer.aiter_bytes():
                    self.wire.extend(orjson.loads(event.data) for event in decoder.feed(chunk))
                    self.notify()
        except httpx.RemoteProtocolError:
            self.cut = True
        self.ended = True
        self.notify()

    def notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits, with a deadline, for what the stream says to make a condition true."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                await self.changed.wait()

    @property
    def events(self) -> list[Event]:
        """The events so far, without their `sync` copies."""
        payloads = (line.get("payload", line) for line in self.wire)
        return [payload for payload in payloads if payload["type"] != "sync"]

    def said(self, type: str) -> list[Event]:
        return [event["properties"] for event in self.events if event["type"] == type]

    async def session(self, **query: str) -> str:
        answer = await self.http.post("/session", json={}, params=query)
        return str(answer.json()["id"])

    async def prompt(self, session: str, text: str, **more: object) -> httpx.Response:
        body = {"parts": [{"type": "text", "text": text}], **more}
        return await self.http.post(f"/session/{session}/prompt_async", json=body)

    async def at_rest(self, session: str, times: int = 1) -> None:
        await self.until(lambda: self.said("session.idle").count({"sessionID": session}) >= times)

    async def turn(self, text: str) -> str:
        """A whole turn in a new session."""
        session = await self.session()
        assert (await self.prompt(session, text)).status_code == 204
        await self.at_rest(session)
        return session

    async def messages(self, session: str) -> list[Event]:
        return list((await self.http.get(f"/session/{session}/message")).json())

    async def output(self, session: str) -> str:
        """The text of all assistant messages, from the REST read."""
        answers = [one for one in await self.messages(session) if one["info"]["role"] == "assistant"]
        return "".join(part.get("text", "") for one in answers for part in one["parts"] if part["type"] == "text")


@asynccontextmanager
async def calling(
    backend: str, app: FakeOpenCode, path: str = "/global/event", auth: tuple[str, str] | None = None
) -> AsyncIterator[Caller]:
    """Serves a stand-in with the loop's own Hypercorn, and has a stream of its events open."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.graceful_timeout = 0.05
    config.loglevel = "WARNING"
    stop = anyio.Event()
    serve: Any = hypercorn.trio.serve if backend == "trio" else hypercorn.asyncio.serve

    async def run() -> None:
        await serve(app, config, shutdown_trigger=stop.wait)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        async with httpx.AsyncClient(base_url=url, timeout=DEADLINE, auth=auth) as http:
            caller = Caller(app, http)
            tasks.start_soon(caller.listen, path)
            try:
                await caller.until(lambda: caller.wire)
                yield caller
            finally:
                app.drop_streams()
                await caller.until(lambda: caller.ended)
        stop.set()


Dial: TypeAlias = Callable[..., AbstractAsyncContextManager[Caller]]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dial(anyio_backend: str) -> Dial:
    """Starts a stand-in that never pauses, and calls it."""

    def open_line(app: FakeOpenCode | None = None, **options: Any) -> AbstractAsyncContextManager[Caller]:
        quick = FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01)
        return calling(anyio_backend, app or quick, **options)

    return open_line


def label(event: Event) -> str | None:
    """An event in short; None for the book-keeping whose place varies from one recording to the next."""
    kind, properties = event["type"], event["properties"]
    if kind in ("session.updated", "session.diff", "server.connected"):
        return None
    if kind == "session.status":
        return str(properties["status"]["type"])
    if kind == "message.updated":
        info = properties["info"]
        end = "!" if "error" in info else "." if "completed" in info["time"] else info.get("finish", "")
        return f"{info['role']}{' ' + end if end else ''}" if info["role"] == "assistant" else None
    if kind == "message.part.updated":
        part = properties["part"]
        state = part.get("state", {}).get("status") or ("end" if "end" in part.get("time", {}) else "")
        return f"{part['type']} {part.get('tool', '')} {state}".replace("  ", " ").strip()
    return str(kind).removeprefix("message.part.")


def trace(events: list[Event]) -> list[str]:
    """Labels in order; deltas in a row are one."""
    labels = [found for found in map(label, events) if found]
    pairs = zip(labels, [None, *labels], strict=False)
    return [found for found, before in pairs if not found == before == "delta"]


def expected(*lines: str) -> list[str]:
    return [one.strip() for line in lines for one in line.split(",") if one.strip()]


BEGIN = "session.created, text, busy, assistant, busy"
TEXT = "step-start, text, delta, text end"
STOP = "step-finish, assistant stop, assistant ."
CALLED = "step-finish, assistant tool-calls, assistant ."
END = "busy, idle, session.idle"
AGAIN = "busy, assistant, busy"
BASH_RUNS = "tool bash running, tool bash running, tool bash completed"
FAILED = "session.error, idle, session.idle, assistant !, idle, session.idle"

TURNS = {
    "hi there": expected(BEGIN, TEXT, STOP, END),
    "ECHO  as is ": expected(BEGIN, TEXT, STOP, END),
    "LONG 50": expected(BEGIN, TEXT, STOP, END),
    "SPACE": expected(BEGIN, TEXT, STOP, END),
    "EMPTY": expected(BEGIN, "step-start", STOP, END),
    "THINK": expected(BEGIN, "step-start, reasoning, delta, reasoning end, text, delta, text end", STOP, END),
    "TOOL": expected(
        BEGIN,
        "step-start, tool bash pending, tool bash running",
        BASH_RUNS,
        CALLED,
        AGAIN,
        TEXT,
        STOP,
        END,
    ),
    "STEPS": expected(
        BEGIN,
        "step-start, text, delta, tool bash pending, tool bash running, text end",
        BASH_RUNS,
        CALLED,
        AGAIN,
        TEXT,
        STOP,
        END,
    ),
    "BADTOOL": expected(
        BEGIN,
        "step-start, tool read pending, tool read running, tool read error",
        CALLED,
        AGAIN,
        TEXT,
        STOP,
        END,
    ),
    "WRITE it.txt": expected(
        BEGIN,
        "step-start, text, delta, tool write pending, tool write running, text end",
        "file.edited, file.watcher.updated, tool write completed",
        "step-finish, assistant tool-calls, patch, assistant .",
        AGAIN,
        TEXT,
        STOP,
        END,
    ),
    "RETRY": expected(BEGIN, "retry, busy", TEXT, STOP, END),
    "FAIL401": expected(BEGIN, FAILED),
}


@each_value("text", TURNS)
async def test_turn_tells_what_the_recorded_one_told(dial: Dial, text: str) -> None:
    async with dial() as caller:
        session = await caller.turn(text)
        await caller.until(lambda: len(trace(caller.events)) >= len(TURNS[text]))
        assert trace(caller.events) == TURNS[text]
        assert {event["sessionID"] for event in caller.said("session.status")} == {session}


@each_value(
    "text, output",
    [
        ("hi there", HELLO),
        ("ECHO  as is \n", " as is \n"),
        ("SPACE", SPACED),
        ("LONG 3", "w0 w1 w2 "),
        ("EMPTY", ""),
        ("STEPS", "First I look. " + AFTER_TOOL),
        ("COUNT", "You have said 1 things."),
    ],
)
async def test_rest_reads_and_deltas_agree_to_the_letter(dial: Dial, text: str, output: str) -> None:
    async with dial() as caller:
        session = await caller.turn(text)
        deltas = "".join(event["delta"] for event in caller.said("message.part.delta"))
        assert await caller.output(session) == output == deltas


async def test_stored_parts_are_the_last_that_was_told_of_them(dial: Dial) -> None:
    async with dial() as caller:
        session = await caller.turn("STEPS")
        told = {event["part"]["id"]: event["part"] for event in caller.said("message.part.updated")}
        messages = await caller.messages(session)
        assert [part for one in messages for part in one["parts"]] == list(told.values())
        assert [one["info"]["role"] for one in messages] == ["user", "assistant", "assistant"]
        assert {one["info"]["parentID"] for one in messages[1:]} == {messages[0]["info"]["id"]}


async def test_durable_events_come_a_second_time_as_numbered_sync(dial: Dial) -> None:
    async with dial() as caller:
        session = await caller.turn("hi")
        payloads = [line["payload"] for line in caller.wire]
        copies = [payload["syncEvent"] for payload in payloads if payload["type"] == "sync"]
        assert [copy["seq"] for copy in copies] == list(range(len(copies)))
        assert {copy["aggregateID"] for copy in copies} == {session}
        originals = {event["id"]: event for event in caller.events}
        assert all(originals[copy["id"]]["properties"] == copy["data"] for copy in copies)
        assert {copy["type"] for copy in copies} == {
            "session.created.1",
            "session.updated.1",
            "message.updated.1",
            "message.part.updated.1",
        }


async def test_one_directorys_stream_is_bare_and_hears_of_no_other(dial: Dial) -> None:
    async with dial(path="/event?directory=/here") as caller:
        await caller.session(directory="/there")
        session = await caller.session(directory="/here")
        await caller.until(lambda: caller.said("session.created"))
        assert [event["sessionID"] for event in caller.said("session.created")] == [session]
        assert all(set(line) == {"id", "type", "properties"} for line in caller.wire)
        assert len((await caller.http.get("/session", params={"directory": "/there"})).json()) == 1


async def test_ids_ascend_and_sessions_descend(dial: Dial) -> None:
    async with dial() as caller:
        first, second = await caller.turn("hi"), await caller.turn("hi")
        ids = [event["id"] for event in caller.events]
        assert ids == sorted(ids)
        assert second < first
        assert [len(one) for one in (first, ids[0])] == [30, 30]


async def test_silent_stream_has_heartbeats(dial: Dial) -> None:
    async with dial(FakeOpenCode(heartbeat=0.01)) as caller:
        await caller.until(lambda: len(caller.said("server.heartbeat")) >= 2)
        assert caller.wire[-1]["payload"]["type"] == "server.heartbeat"


@pytest.mark.parametrize(
    ("reply", "tail"),
    [
        ({"reply": "once"}, expected(BASH_RUNS, CALLED, AGAIN, TEXT, STOP, END)),
        ({"reply": "reject"}, expected("tool bash error", CALLED, "idle, session.idle")),
        (
            {"reply": "reject", "message": "not there"},
            expected("tool bash error", CALLED, AGAIN, TEXT, STOP, END),
        ),
    ],
)
async def test_permission_waits_for_its_reply(dial: Dial, reply: Event, tail: list[str]) -> None:
    async with dial() as caller:
        session = await caller.session()
        await caller.prompt(session, "PERMISSION")
        await caller.until(lambda: "tool bash running" in trace(caller.events))
        (asked,) = caller.said("permission.asked")
        assert (await caller.http.get("/permission")).json() == [asked]
        assert (await caller.http.get("/session/status")).json() == {session: {"type": "busy"}}
        answer = await caller.http.post(f"/permission/{asked['id']}/reply", json=reply)
        await caller.at_rest(session)
        assert answer.json() is True
        begun = "step-start, tool bash pending, permission.asked, tool bash running, permission.replied"
        assert trace(caller.events) == expected(BEGIN, begun) + tail
        assert (await caller.http.get("/permission")).json() == []
        assert (await caller.http.get("/session/status")).json() == {}
        late = await caller.http.post(f"/permission/{asked['id']}/reply", json=reply)
        assert (late.status_code, late.json()["_tag"]) == (404, "PermissionNotFoundError")


@pytest.mark.parametrize(
    ("action", "body", "tail"),
    [
        (
            "reply",
            {"answers": [["B"]]},
            expected("question.replied, tool question completed", CALLED, AGAIN, TEXT, STOP, END),
        ),
        ("reject", None, expected("question.rejected, tool question error", CALLED, "idle, session.idle")),
    ],
)
async def test_question_waits_for_its_answers(dial: Dial, action: str, body: Event | None, tail: list[str]) -> None:
    async with dial() as caller:
        session = await caller.session()
        await caller.prompt(session, "QUESTION")
        await caller.until(lambda: "tool question running" in trace(caller.events))
        (asked,) = (await caller.http.get("/question")).json()
        assert caller.said("question.asked") == [asked]
        answer = await caller.http.post(f"/question/{asked['id']}/{action}", json=body)
        await caller.at_rest(session)
        assert answer.json() is True
        begun = "step-start, tool question pending, question.asked, tool question running"
        assert trace(caller.events) == expected(BEGIN, begun) + tail
        late = await caller.http.post(f"/question/{asked['id']}/reject")
        assert (late.status_code, late.json()["_tag"]) == (404, "QuestionNotFoundError")


async def test_subtask_runs_in_a_session_of_its_own(dial: Dial) -> None:
    async with dial() as caller:
        parent = await caller.turn("SUBTASK ECHO from below")
        child = caller.said("session.created")[1]["info"]
        assert child["parentID"] == parent
        assert await caller.output(child["id"]) == "from below"
        assert await caller.output(parent) == AFTER_TOOL
        task = caller.said("message.part.updated")
        (done,) = [event["part"]["state"] for event in task if _status(event) == "completed"]
        assert done["metadata"]["sessionId"] == child["id"]
        assert "from below" in done["output"]


def _status(event: Event) -> object:
    return event["part"].get("state", {}).get("status")


async def test_subtasks_permission_carries_the_childs_session(dial: Dial) -> None:
    async with dial() as caller:
        parent = await caller.session()
        await caller.prompt(parent, "SUBTASK PERMISSION")
        await caller.until(lambda: caller.said("permission.asked"))
        (asked,) = caller.said("permission.asked")
        assert asked["sessionID"] == caller.said("session.created")[1]["sessionID"] != parent
        await caller.http.post(f"/permission/{asked['id']}/reply", json={"reply": "once"})
        await caller.at_rest(parent)


@pytest.mark.parametrize("text", ["SLOW", "SUBTASK SLOW"])
async def test_abort_stops_a_turn_where_it_is(dial: Dial, text: str) -> None:
    async with dial() as caller:
        session = await caller.session()
        await caller.prompt(session, text)
        await caller.until(lambda: len(caller.said("message.part.delta")) >= 3)
        answer = await caller.http.post(f"/session/{session}/abort")
        await caller.at_rest(session, times=2)
        assert answer.json() is True
        told = [event for event in caller.events if event["properties"].get("sessionID") == session]
        assert trace(told)[-7:-6] == ["session.error"]
        assert trace(told)[-3:] == expected("assistant !, idle, session.idle")
        last = (await caller.messages(session))[-1]
        assert last["info"]["error"]["name"] == "MessageAbortedError"
        assert (await caller.http.get("/session/status")).json() == {}


@pytest.mark.parametrize("kind", ["permission", "question"])
async def test_a_request_whose_turn_is_aborted_is_listed_until_it_is_rejected(dial: Dial, kind: str) -> None:
    async with dial() as caller:
        session = await caller.session()
        await caller.prompt(session, kind.upper())
        await caller.until(lambda: caller.said(f"{kind}.asked"))
        await caller.http.post(f"/session/{session}/abort")
        await caller.at_rest(session, times=2)
        [asked] = (await caller.http.get(f"/{kind}")).json()
        path = f"/{kind}/{asked['id']}/{'reply' if kind == 'permission' else 'reject'}"
        answer = await caller.http.post(path, json={"reply": "reject"} if kind == "permission" else {})
        assert answer.status_code == 200
        assert (await caller.http.get(f"/{kind}")).json() == []


async def test_prompt_to_a_busy_session_waits_and_an_abort_drops_it(dial: Dial) -> None:
    async with dial() as caller:
        caller.app.hold(Say)
        queued, dropped = await caller.session(), await caller.session()
        for session in (queued, dropped):
            await caller.prompt(session, "hi")
            await caller.prompt(session, "COUNT")
        with anyio.fail_after(DEADLINE):
            await caller.app.held(2)
        await caller.http.post(f"/session/{dropped}/abort")
        caller.app.release()
        await caller.at_rest(queued)
        await caller.at_rest(dropped, times=2)
        assert await caller.output(queued) == HELLO + "You have said 2 things."
        assert await caller.output(dropped) == ""


async def test_chosen_message_id_is_the_answers_parent_and_runs_once(dial: Dial) -> None:
    async with dial() as caller:
        session = await caller.session()
        chosen = "msg_1fd1bc322001TAGi95XUXl7UWa"
        await caller.prompt(session, "hi", messageID=chosen)
        await caller.at_rest(session)
        await caller.prompt(session, "hi", messageID=chosen)
        await caller.at_rest(session, times=2)
        user, answer = await caller.messages(session)
        assert user["info"]["id"] == answer["info"]["parentID"] == chosen
        assert [part["text"] for part in user["parts"]] == ["hi", "hi"]


@pytest.mark.parametrize("text", ["INSTANT", "INSTANT STEPS", "INSTANT SUBTASK"])
async def test_instant_turn_is_over_before_its_prompt_is_answered(dial: Dial, text: str) -> None:
    async with dial(FakeOpenCode(pause=math.inf)) as caller:
        session = await caller.session()
        await caller.prompt(session, text)
        assert (await caller.http.get("/session/status")).json() == {}
        assert (await caller.messages(session))[-1]["info"]["finish"] == "stop"


@pytest.mark.parametrize("text", ["PERMISSION", "SUBTASK QUESTION"])
async def test_instant_turn_that_needs_somebody_still_has_its_prompt_answered(dial: Dial, text: str) -> None:
    async with dial(FakeOpenCode(pause=math.inf, answer_before_first_event=True)) as caller:
        session = await caller.session()
        assert (await caller.prompt(session, text)).status_code == 204
        pending = [(await caller.http.get(path)).json() for path in ("/permission", "/question")]
        assert len(pending[0] + pending[1]) == 1


@each_value(
    "method, path, body, status, told",
    [
        ("GET", "/session/ses_nope", None, 404, "NotFoundError"),
        ("GET", "/session/ses_nope/message", None, 404, "NotFoundError"),
        ("POST", "/session/ses_nope/prompt_async", {"parts": []}, 404, "Session not found: ses_nope"),
        ("POST", "/session/ses_nope/prompt_async", {}, 400, "parts"),
        ("POST", "/session/ses_nope/prompt_async", {"parts": 1}, 400, "parts"),
        ("POST", "/session/ses_nope/prompt_async", [], 400, "BadRequest"),
        ("POST", "/session/ses_nope/prompt_async", {"parts": [{"type": "text"}]}, 400, "text"),
        ("POST", "/session/ses_nope/prompt_async", {"parts": [{"type": "data"}]}, 400, "parts"),
        ("POST", "/session/ses_nope/prompt_async", {"messageID": "x", "parts": []}, 400, "messageID"),
        ("POST", "/session/ses_nope/abort", None, 200, "true"),
        ("POST", "/session", {"title": 5}, 400, "BadRequest"),
        ("POST", "/permission/per_nope/reply", {"reply": "maybe"}, 400, "reply"),
        ("POST", "/permission/per_nope/reply", {"reply": "once"}, 404, "PermissionNotFoundError"),
        ("POST", "/question/que_nope/reply", {"answers": ["A"]}, 400, "answers"),
        ("POST", "/question/que_nope/reply", {"answers": [["A"]]}, 404, "QuestionNotFoundError"),
        ("GET", "/global/health", None, 200, "1.18.33"),
        ("GET", "/path", None, 200, "/workspace"),
        ("GET", "/project/current", None, 200, "global"),
        ("GET", "/config/providers", None, 200, "scripted"),
        ("GET", "/nobody/knows", None, 200, "<!doctype html>"),
    ],
)
async def test_answer_has_opencodes_status_and_shape(
    dial: Dial, method: str, path: str, body: object, status: int, told: str
) -> None:
    async with dial() as caller:
        answer = await caller.http.request(method, path, json=body)
        assert (answer.status_code, told in answer.text) == (status, True)


async def test_body_that_is_not_json_is_an_error_of_the_server(dial: Dial) -> None:
    async with dial() as caller:
        answer = await caller.http.post("/session/ses_x/prompt_async", content=b"{")
        assert (answer.status_code, answer.json()["name"]) == (500, "UnknownError")


async def test_password_is_asked_for_and_not_shown(dial: Dial) -> None:
    app = FakeOpenCode(password="hush-hush")
    async with dial(app, auth=("opencode", "hush-hush")) as caller:
        welcome = await caller.http.get("/global/health")
        refused = await caller.http.get("/global/health", auth=("opencode", "wrong"))
        assert (welcome.status_code, refused.status_code) == (200, 401)
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert "hush-hush" not in repr(app)


async def test_requests_are_written_down(dial: Dial) -> None:
    async with dial() as caller:
        session = await caller.session(directory="/else where")
        await caller.prompt(session, "hi")
        _, created, prompted = caller.app.requests
        assert created.query == {"directory": "/else where"}
        assert (prompted.method, prompted.path) == ("POST", f"/session/{session}/prompt_async")
        assert prompted.json == {"parts": [{"type": "text", "text": "hi"}]}


async def test_dropped_streams_are_cut_after_what_was_told(dial: Dial) -> None:
    async with dial() as caller:
        await caller.turn("hi")
        caller.app.drop_streams()
        await caller.until(lambda: caller.cut)
        assert caller.app.open_streams == 0
        assert (await caller.http.get("/global/health")).status_code == 200


async def test_muted_bus_swallows_what_the_rest_reads_still_hold(dial: Dial) -> None:
    async with dial() as caller:
        session = await caller.session()
        with caller.app.mute():
            await caller.prompt(session, "INSTANT hi")
        await caller.session()
        await caller.until(lambda: len(caller.said("session.created")) == 2)
        assert trace(caller.events) == ["session.created", "session.created"]
        assert await caller.output(session) == HELLO


@pytest.mark.parametrize(
    ("at", "tokens", "last"),
    [(CallTool, 0, "busy"), (Say, 2, "delta")],
)
async def test_held_turn_stands_still_until_released(
    dial: Dial, at: type[CallTool | Say], tokens: int, last: str
) -> None:
    async with dial() as caller:
        caller.app.hold(at, tokens=tokens)
        session = await caller.session()
        await caller.prompt(session, "TOOL" if at is CallTool else "hi")
        with anyio.fail_after(DEADLINE):
            await caller.app.held()
        await caller.until(
            lambda: trace(caller.events)[-1:] == [last] and len(caller.said("message.part.delta")) >= tokens
        )
        assert len(caller.said("message.part.delta")) == tokens
        assert not caller.said("session.idle")
        caller.app.release()
        await caller.at_rest(session)


async def test_next_request_fails_once_as_told(dial: Dial) -> None:
    async with dial() as caller:
        caller.app.fail_next("POST", "/session", 503, {"name": "Busy"})
        failed = await caller.http.post("/session", json={})
        worked = await caller.http.post("/session", json={})
        assert (failed.status_code, failed.json(), worked.status_code) == (503, {"name": "Busy"}, 200)


@pytest.mark.parametrize(("late", "sessions"), [(False, 0), (True, 1)])
async def test_next_request_is_never_answered(dial: Dial, late: bool, sessions: int) -> None:
    async with dial() as caller:
        caller.app.stall_next("POST", "/session", late=late)
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await caller.http.post("/session", json={}, timeout=None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            with anyio.fail_after(DEADLINE):
                while not any(one.method == "POST" for one in caller.app.requests):  # noqa: ASYNC110 - no event tells
                    await anyio.sleep(0.005)
                while len((await caller.http.get("/session")).json()) != sessions:
                    pass
            assert answers == []
            tasks.cancel_scope.cancel()
