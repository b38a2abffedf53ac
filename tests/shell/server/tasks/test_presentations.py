"""How a client sees what there is: in the modes it takes, with the metadata it negotiated, on a card made for it."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from opencode_a2a.fake_opencode import Say
from opencode_a2a.fake_opencode.scripts import TOOL_OUTPUT
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import Artifact, DataPart, Task, TextPart
from tests.shell.cases import each_value, every_codec, every_http_json_codec, every_json_codec
from tests.shell.folding import text_of
from tests.shell.harness import REST_03, REST_10, RPC_03, RPC_10, Agent, Caller, Serving, Stream, Wire, client
from tests.shell.refusals import refusal, unsupported, wrong

pytestmark = pytest.mark.anyio


# --- output modes -----------------------------------------------------------------------------------------

NO_TEXT = [["image/png"], ["application/json"], ["text/html", "audio/*"], ["json"], ["texts"], [""]]
TEXT_ONLY = [
    ["text/plain"],
    ["text"],
    ["Text"],
    ["text/*"],
    ["text/plain; charset=utf-8"],
    ["image/png", "TEXT/Plain"],
]
WITH_DATA: list[list[str]] = [
    [],
    ["text/plain", "application/json"],
    ["*/*"],
    ["*"],
    ["Text", "Data"],
    ["text", "JSON"],
    ["text/plain", "application/*"],
    ["application/json;v=1", "text/plain"],
]


def modes(accepted: list[str]) -> dict[str, Any]:
    return {"configuration": {"acceptedOutputModes": accepted}}


def tool_of(task: Task) -> Artifact:
    [found] = [one for one in task.artifacts if one.name not in ("response", "reasoning")]
    return found


def check_text(artifact: Artifact) -> None:
    """The call told as compact JSON, in parts that each are a text."""
    states = []
    for part in artifact.parts:
        assert isinstance(part, TextPart)
        states.append(orjson.loads(part.text))
        assert part.text == orjson.dumps(states[-1]).decode()
    assert (states[-1]["tool"], states[-1]["status"], states[-1]["output"]) == ("bash", "completed", TOOL_OUTPUT)


def check_data(artifact: Artifact) -> None:
    part = artifact.parts[-1]
    assert isinstance(part, DataPart)
    assert (part.data["tool"], part.data["status"], part.data["output"]) == ("bash", "completed", TOOL_OUTPUT)


def tools_in(stream: Stream) -> list[Artifact]:
    return [one.artifact for one in stream.chunks if one.artifact.name not in (None, "response", "reasoning")]


async def listed(caller: Caller, task_id: str) -> Task:
    page = await caller.page(includeArtifacts="true")
    [found] = [task for task in page["tasks"] if task["id"] == task_id]
    return CODECS[caller.wire.version].parse_task(found)


@every_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
async def test_modes_without_text_are_refused_before_there_is_a_task(
    serving: Serving, wire: Wire, operation: str
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        for accepted in NO_TEXT:
            error = await caller.refused(operation, **modes(accepted))
            assert refusal(wire, error) == unsupported(wire), accepted
            assert "text/plain" in error["message"]

        assert agent.asked("POST", "/session") == 0
        assert (await caller.page())["totalSize"] == 0


async def test_a_refusal_tells_the_modes_on_both_sides(serving: Serving) -> None:
    async with serving() as agent:
        old = await agent.caller(RPC_03).refused(**modes(["image/png"]))
        old_rest = await agent.caller(REST_03).refused(**modes(["image/png"]))
        new = await agent.caller(RPC_10).refused(**modes(["image/png"]))

    supported = ["text/plain", "application/json"]
    told = {"accepted_output_modes": ["image/png"], "supported_output_modes": supported}
    assert old["data"] == told
    assert {name: old_rest[name] for name in told} == told
    assert new["data"][0]["metadata"] == {
        "acceptedOutputModes": "image/png",
        "supportedOutputModes": ", ".join(supported),
    }


@every_json_codec
@pytest.mark.parametrize("accepted", [5, "text/plain", [5]], ids=str)
async def test_modes_that_are_no_list_of_texts_are_refused_by_name(
    serving: Serving, wire: Wire, accepted: object
) -> None:
    field = "configuration.acceptedOutputModes" + (".0" if isinstance(accepted, list) else "")
    async with serving() as agent:
        error = await agent.caller(wire).refused(configuration={"acceptedOutputModes": accepted})

    assert refusal(wire, error) == wrong(wire, field)


@every_codec
async def test_who_takes_only_text_is_told_tool_calls_as_text(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        for accepted in TEXT_ONLY:
            sent = await caller.send("STEPS", **modes(accepted))
            streamed = await caller.stream("STEPS", **modes(accepted))
            read = await caller.get(streamed.task.id)

            for task in (sent, read, await listed(caller, sent.id), await listed(caller, read.id)):
                check_text(tool_of(task))
                assert [part for one in task.artifacts for part in one.parts if isinstance(part, DataPart)] == []
            chunks = tools_in(streamed)
            assert [part for one in chunks for part in one.parts if not isinstance(part, TextPart)] == []
            check_text(chunks[-1])
            assert text_of(sent) == text_of(read) == streamed.text
    async with serving_on_disk() as agent:
        check_text(tool_of(await agent.caller(wire).get(sent.id)))


@every_codec
async def test_who_takes_data_is_told_tool_calls_as_data(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        for accepted in WITH_DATA:
            sent = await caller.send("STEPS", **modes(accepted))
            streamed = await caller.stream("STEPS", **modes(accepted))

            for task in (sent, await caller.get(streamed.task.id), await listed(caller, sent.id)):
                check_data(tool_of(task))
            check_data(tools_in(streamed)[-1])


@every_codec
async def test_the_choice_of_modes_stays_with_the_task(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        task = await caller.send("TOOL", configuration={"acceptedOutputModes": ["text/plain"], **wire.at_once()})
        await agent.fake_opencode.held()
        async with caller.subscribed(task.id) as stream:
            await stream.until(lambda: stream.items)
            check_text(tool_of(stream.task))  # what was said before
            answer = await caller.cancel(task.id)
            await stream.whole()
        other = await caller.send("PERMISSION")

        check_text(tool_of(answer))
        assert isinstance(tool_of(other).parts[-1], DataPart)


async def test_version_1_0_says_that_the_text_is_json(serving: Serving) -> None:
    async with serving() as agent:
        task = await agent.caller(RPC_10).send("TOOL", **modes(["text/plain"]))

    assert {part.media_type for part in tool_of(task).parts} == {"application/json"}


# --- extensions -------------------------------------------------------------------------------------------

BINDING, MODEL, HINTS, RESUME = (
    f"urn:opencode-a2a:extension:{name}:v1"
    for name in ("session-binding", "model-selection", "stream-hints", "stream-resume")
)
UNKNOWN = "https://example.org/extensions/unknown/v1"
GIVEN = {
    "": set(),
    UNKNOWN: set(),
    MODEL: set(),
    BINDING: {"session"},
    HINTS: {"stream", "progress", "session", "usage"},
    RESUME: {"resume"},
    f"{BINDING}, {RESUME}": {"session", "resume"},
    f"{HINTS},{UNKNOWN} ,{BINDING}": {"stream", "progress", "session", "usage"},
}
"""What of `metadata.shared` the extensions of a request give over a whole turn."""


def shared_in(json: Any) -> set[str]:
    """The members of every `metadata.shared` anywhere in a document."""
    found: set[str] = set()
    if isinstance(json, dict):
        metadata = json.get("metadata")
        if isinstance(metadata, dict) and "shared" in metadata:
            assert metadata["shared"]  # an empty one tells nothing
            found |= set(metadata["shared"])
        json = list(json.values())
    if isinstance(json, list):
        found = found.union(*(shared_in(one) for one in json))
    return found


def caller_with(agent: Agent, wire: Wire, extensions: str) -> Caller:
    return Caller(agent.http, wire, extensions)


async def answered(caller: Caller, operation: str, params: dict[str, Any]) -> Any:
    response = await caller.ask(operation, params)
    assert response.status_code == 200, response.text
    assert "error" not in response.json()
    return response.json()


@each_value("extensions", GIVEN, ids=lambda text: text.replace("urn:opencode-a2a:extension:", ""))
@pytest.mark.parametrize("wire", [RPC_10, REST_10], ids=str)
async def test_version_1_0_gives_the_metadata_of_what_was_activated(
    serving: Serving, wire: Wire, extensions: str
) -> None:
    async with serving() as agent:
        caller = caller_with(agent, wire, extensions)
        streamed = await caller.stream("STEPS")
        task_id = streamed.task.id
        waiting = await caller.send("PERMISSION")
        calls = {
            "get": {"id": task_id},
            "list": {"includeArtifacts": "true"},
            "cancel": {"id": waiting.id},
            "send": caller.params("STEPS", {}),
        }
        seen = {name: shared_in(await answered(caller, name, params)) for name, params in calls.items()}

    wanted = GIVEN[extensions]
    assert shared_in([event.json for event in streamed.events]) == wanted
    of_ended = wanted & {"session", "stream", "usage"}
    of_waiting = {"interrupts"} if HINTS in extensions else set[str]()
    of_resolved = {"resolved_interrupts"} if HINTS in extensions else set[str]()
    assert seen == {
        "get": of_ended,
        "list": of_ended | of_waiting,
        "cancel": wanted & {"session", "stream"} | of_waiting | of_resolved,
        "send": of_ended,
    }


@each_value("extensions", ["", BINDING, UNKNOWN])
@pytest.mark.parametrize("wire", [RPC_03, REST_03], ids=str)
async def test_version_0_3_gives_everything_unasked(serving: Serving, wire: Wire, extensions: str) -> None:
    async with serving() as agent:
        if extensions:
            agent.http.headers["X-A2A-Extensions"] = extensions
        caller = agent.caller(wire)
        streamed = await caller.stream("STEPS")
        read = await answered(caller, "get", {"id": streamed.task.id})

    assert shared_in([event.json for event in streamed.events]) == {"stream", "progress", "session", "usage"}
    assert shared_in(read) == {"stream", "session", "usage"}


async def asked(stream: Stream) -> None:
    await stream.until(lambda: stream.statuses and stream.state == "input-required")


@pytest.mark.parametrize("wire", [RPC_10, REST_10], ids=str)
async def test_an_interrupt_is_told_to_who_negotiated_hints(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        for extensions, told in (("", False), (BINDING, False), (HINTS, True)):
            caller = caller_with(agent, wire, extensions)
            async with caller.open("PERMISSION") as stream:
                await asked(stream)
                await caller.cancel(stream.task.id)
                await stream.whole()
                assert ("interrupt" in shared_in([event.json for event in stream.events])) is told


@every_http_json_codec
async def test_a_task_says_what_it_waits_for_to_who_negotiated_hints(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        waiting = await caller.send("PERMISSION")
        hidden = await caller_with(agent, wire, BINDING).get(waiting.id)
        read = await caller.get(waiting.id)
        [listed] = await pending_of(agent)
        await caller.send("once", taskId=waiting.id)
        done = await caller.finished(waiting.id)

    [asked] = interrupts_in(read)
    assert (asked["request_id"], asked["type"], asked["details"]["permission"]) == (listed, "permission", "bash")
    assert interrupts_in(waiting) == interrupts_in(read)
    assert interrupts_in(done) == []
    assert (interrupts_in(hidden) is None) == (wire.version == "1.0")


def interrupts_in(task: Task) -> Any:
    return ((task.metadata or {}).get("shared") or {}).get("interrupts")


async def pending_of(agent: Agent) -> list[str]:
    return [str(one["id"]) for one in (await agent.opencode.get("/permission")).json()]


@pytest.mark.parametrize("wire", [RPC_10, REST_10], ids=str)
async def test_readers_of_one_task_each_get_what_they_negotiated(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say)
        async with caller_with(agent, wire, HINTS).open("STEPS") as full:
            await full.until(lambda: full.items)
            task_id = full.task.id
            bare_caller, bound_caller = caller_with(agent, wire, ""), caller_with(agent, wire, BINDING)
            async with bare_caller.subscribed(task_id) as bare, bound_caller.subscribed(task_id) as bound:
                await bare.until(lambda: bare.items)
                await bound.until(lambda: bound.items)
                agent.fake_opencode.release()
                for stream in (full, bare, bound):
                    await stream.whole()

    assert shared_in([event.json for event in bare.events]) == set()
    assert shared_in([event.json for event in bound.events]) == {"session"}
    assert shared_in([event.json for event in full.events]) == {"stream", "progress", "session", "usage"}
    assert bare.events[-1].number == bound.events[-1].number == full.events[-1].number
    assert full.text == bare.text == bound.text


@every_codec
async def test_what_a_client_said_itself_is_left_to_it(serving: Serving, wire: Wire) -> None:
    metadata = {"mine": {"a": [1, None]}, "other": "x"}
    async with serving() as agent:
        caller = caller_with(agent, wire, "")
        task = await caller.send("hi", messageId="m", contextId="c")
        params = {"message": wire.message("hi", metadata=metadata, contextId="d")}
        await answered(caller, "send", params)
        page = await caller.page(contextId="d")

    assert task.history[0].metadata is None
    assert page["tasks"][0]["history"][0]["metadata"] == metadata


@every_codec
async def test_resuming_clients_find_each_events_number_in_its_metadata(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.http.headers["X-A2A-Extensions" if wire.version == "0.3" else "A2A-Extensions"] = RESUME
        caller = caller_with(agent, wire, RESUME)
        streamed = await caller.stream("STEPS")
        again = await caller.subscribe(streamed.task.id, after=streamed.events[3].number)

    for stream in (streamed, again):
        for event in stream.events:
            [body] = [event.json] if wire.version == "0.3" else event.json.values()
            assert body["metadata"]["shared"]["resume"] == {"event_id": str(event.number)}
    assert len(streamed.events) > 5
    assert [event.json for event in again.events[1:]] == [event.json for event in streamed.events[4:]]


# --- how extensions are asked for -------------------------------------------------------------------------


async def sent_with(agent: Agent, wire: Wire, *lines: tuple[str, str], stream: bool = False) -> httpx.Response:
    """The answer to a message that is sent with these header lines."""
    caller = caller_with(agent, wire, "")
    request = caller.request("stream" if stream else "send", caller.params("hi", {}))
    request.headers = httpx.Headers([*request.headers.multi_items(), *lines])
    answer = await agent.http.send(request, stream=True)
    try:
        await answer.aread()
    finally:
        await answer.aclose()
    return answer


def activated(response: httpx.Response) -> dict[str, list[str]]:
    """The extensions an answer echoes, by header."""
    names = ("a2a-extensions", "x-a2a-extensions")
    return {
        name: [uri.strip() for uri in response.headers[name].split(",")] for name in names if name in response.headers
    }


@every_codec
@pytest.mark.parametrize("header", ["A2A-Extensions", "X-A2A-Extensions", "a2a-EXTENSIONS"])
@pytest.mark.parametrize("stream", [False, True])
async def test_either_header_is_understood_and_what_was_activated_comes_back(
    serving: Serving, wire: Wire, header: str, stream: bool
) -> None:
    async with serving() as agent:
        line = (header, f"{UNKNOWN}, {BINDING},{HINTS} ,{BINDING}")
        answer = await sent_with(agent, wire, line, stream=stream)

    assert answer.status_code == 200
    assert activated(answer) == {header.lower(): [BINDING, HINTS]}
    assert b'"session"' in answer.content


@every_codec
async def test_several_header_lines_are_one_list(serving: Serving, wire: Wire) -> None:
    lines = [("A2A-Extensions", BINDING), ("A2A-Extensions", UNKNOWN), ("A2A-Extensions", f"{RESUME},")]
    async with serving() as agent:
        answer = await sent_with(agent, wire, *lines)
        both = await sent_with(agent, wire, ("A2A-Extensions", BINDING), ("X-A2A-Extensions", HINTS))

    assert activated(answer) == {"a2a-extensions": [BINDING, RESUME]}
    assert activated(both) == {"a2a-extensions": [BINDING], "x-a2a-extensions": [HINTS]}
    if wire.version == "1.0":
        assert shared_in(answer.json()) == {"session"}
        assert shared_in(both.json()) == {"session", "stream", "usage"}


@every_codec
@pytest.mark.parametrize("value", ["", ", ,", UNKNOWN, BINDING.upper(), f"{BINDING}#x"])
async def test_what_is_unknown_is_ignored_and_not_echoed(serving: Serving, wire: Wire, value: str) -> None:
    async with serving() as agent:
        answer = await sent_with(agent, wire, ("A2A-Extensions", value))

    assert answer.status_code == 200
    assert activated(answer) == {}
    if wire.version == "1.0":
        assert shared_in(answer.json()) == set()


@every_codec
async def test_nothing_is_echoed_unasked(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        answer = await sent_with(agent, wire)

    assert answer.status_code == 200
    assert activated(answer) == {}


async def test_the_uris_of_both_versions_mean_the_same(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        card = (await http.get("/.well-known/agent-card.json")).json()
        uris = [one["uri"] for one in card["capabilities"]["extensions"]]
        found: dict[str, set[str]] = {}
        for uri in uris:
            answer = await sent_with(agent, RPC_10, ("A2A-Extensions", uri))
            assert activated(answer) == {"a2a-extensions": [uri]}
            found[uri] = shared_in(answer.json())

    assert {BINDING, MODEL, HINTS, RESUME} <= found.keys()
    bindings = [uri for uri in uris if "session-binding" in uri]
    assert len(bindings) == 2
    assert [found[uri] for uri in bindings] == [{"session"}] * 2


# --- the extended card ------------------------------------------------------------------------------------

ROUTES = ("/extendedAgentCard", "/v1/extendedAgentCard", "/v1/card", "/agent/authenticatedExtendedCard")
METHODS = ("agent/getAuthenticatedExtendedCard", "GetExtendedAgentCard")


@pytest.mark.parametrize("path", ROUTES)
async def test_only_the_callers_own_cache_may_keep_the_extended_card(serving: Serving, path: str) -> None:
    async with serving() as agent:
        first, theirs = await agent.http.get(path), await agent.bob.get(path)
        again = await agent.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        not_theirs = await agent.bob.get(path, headers={"If-None-Match": first.headers["etag"]})
        head = await agent.http.head(path)

    assert (first.status_code, again.status_code, not_theirs.status_code) == (200, 304, 200)
    for answer in (first, theirs, again, head):
        assert "private" in answer.headers["cache-control"]
        assert "public" not in answer.headers["cache-control"]
        assert {"authorization", "a2a-version"} <= set(answer.headers["vary"].lower().split(", "))
    assert first.headers["etag"] != theirs.headers["etag"]
    assert (head.content, head.headers["etag"]) == (b"", first.headers["etag"])
    assert again.content == b""


async def test_every_way_leads_to_one_card_for_each_version(serving: Serving) -> None:
    async with serving() as agent:
        for version in ("0.3", "1.0"):
            asks = {"A2A-Version": version}
            cards = [(await agent.http.get(path, headers=asks)).json() for path in ROUTES]
            for method in METHODS:
                body = {"jsonrpc": "2.0", "id": "x", "method": method}
                answer = await agent.http.post("/", json=body, headers=asks)
                assert answer.json()["id"] == "x"
                cards.append(answer.json()["result"])
            public = (await agent.http.get("/.well-known/agent-card.json")).json()

            assert all(card == cards[0] for card in cards)
            kept = "url" if version == "0.3" else "supportedInterfaces"
            assert {name: public[name] for name in ("name", kept)} == {
                name: cards[0][name] for name in ("name", kept)
            }
            assert public["supportsAuthenticatedExtendedCard"] is True
            assert public["capabilities"]["extendedAgentCard"] is True


@pytest.mark.parametrize("header", [None, "Bearer wrong-771", "Basic YTpi", "Nonsense"])
async def test_an_extended_card_needs_credentials_that_are_known(serving: Serving, header: str | None) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        headers = {} if header is None else {"Authorization": header}
        answers = [await http.get(path, headers=headers) for path in ROUTES]
        for method in METHODS:
            body = {"jsonrpc": "2.0", "id": 1, "method": method}
            answers.append(await http.post("/", json=body, headers=headers))

    for answer in answers:
        assert answer.status_code == 401
        assert "www-authenticate" in answer.headers
        assert "771" not in answer.text
        assert "capabilities" not in answer.text


@pytest.mark.parametrize("path", ROUTES)
async def test_extensions_are_negotiated_for_the_card_too(serving: Serving, path: str) -> None:
    async with serving() as agent:
        answer = await agent.http.get(path, headers=[("A2A-Extensions", f"{UNKNOWN}, {BINDING}")])

    assert activated(answer) == {"a2a-extensions": [BINDING]}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_there_are_no_keys_where_nothing_is_signed(serving: Serving, method: str) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        answer = await http.request(method, "/.well-known/jwks.json")

    assert answer.status_code == 404
