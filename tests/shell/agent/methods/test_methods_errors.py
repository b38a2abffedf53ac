"""What the extension methods answer when something is wrong: with the request, with the session, with OpenCode."""

from __future__ import annotations

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from opencode_a2a.fake_opencode import FakeOpenCode
from sansio.extensions.methods.method_rows import Scope
from sansio.extensions.methods.method_table import METHODS
from tests.paths import FIXTURES
from tests.shell.cases import each_value, one_version
from tests.shell.harness import RPC_10, Serving
from tests.shell.method_calls import CALLABLE, EVERYTHING_ON, Methods, world_of
from tests.shell.ports import free_port

pytestmark = pytest.mark.anyio

RECORDED = FIXTURES / "methods"
ACCEPTED_NOW = {"sessions.command"}
"""Recorded requests that 0.7.1 refused: a command without arguments is one that OpenCode takes."""
UPSTREAM = [name for name in CALLABLE if METHODS[name].scope is Scope.UPSTREAM]


def recorded(kind: str) -> list[dict[str, Any]]:
    """The recorded answers of version 0.7.1 with a result, or with an error: their keys and types."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDED.glob("*.json"))}
    kept = {name: value for name, value in found.items() if kind in value and name not in ACCEPTED_NOW}
    return [{**value, "name": name} for name, value in kept.items()]


def has_shape(value: object, shape: object) -> bool:
    """Whether every key of the shape is there, with a value of its type."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return False
        if "*" in shape:
            return bool(value) and all(has_shape(member, shape["*"]) for member in value.values())
        return all(name in value and has_shape(value[name], inner) for name, inner in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and (not shape or (bool(value) and has_shape(value[0], shape[0])))
    kinds: dict[object, type | tuple[type, ...]] = {"string": str, "boolean": bool, "number": (int, float)}
    return isinstance(value, kinds[shape]) and (shape != "number" or not isinstance(value, bool))


@each_value("shape", recorded("result"), ids=itemgetter("name"))
async def test_every_key_of_version_0_7_1s_result_is_there(serving: Serving, shape: dict[str, Any]) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        result = await world.methods.result(shape["method"], world.params(shape["method"]))

        assert has_shape(result, shape["result"]), (result, shape["result"])


@each_value("shape", recorded("error"), ids=itemgetter("name"))
async def test_errors_are_those_of_version_0_7_1(serving: Serving, shape: dict[str, Any]) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        params = json.loads(json.dumps(shape["params"]).replace("SESSION", world.session_id))
        if shape["method"] == "opencode.sessions.share":
            agent.fake_opencode.fail_next(
                "POST", "/session/", 500, {"name": "UnknownError", "data": {"message": "no"}}
            )

        error = await world.methods.error(shape["method"], params)

        expected = shape["error"]
        assert error["code"] == expected["code"]
        assert has_shape(error["data"], expected["data"])
        if expected["type"] != "METHOD_NOT_SUPPORTED":  # a method that is switched off says so nowadays
            assert error["data"]["type"] == expected["type"]


async def test_a_missing_field_is_named_on_both_versions(serving: Serving) -> None:
    async with serving() as agent:
        old = await Methods(agent.http, "0.3").error("opencode.sessions.get", {})
        new = await Methods(agent.http, "1.0").error("opencode.sessions.get", {})

        assert old == {
            "code": -32602,
            "message": "Missing required params.session_id",
            "data": {"type": "MISSING_FIELD", "field": "session_id"},
        }
        assert new["code"] == -32602
        bad_request, info = new["data"]
        assert bad_request == {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "session_id", "description": "is required"}],
        }
        assert info["reason"] == "INVALID_PARAMS"


async def test_a_directory_that_cannot_be_chosen_is_refused_by_the_name_it_came_by(
    serving: Serving, tmp_path: Path
) -> None:
    async with serving(workspace_root=str(tmp_path)) as agent:
        methods = Methods(agent.http, "0.3")
        outside = {"opencode": {"directory": "/etc"}}

        plain = await methods.error("opencode.sessions.list", {"directory": "/etc"})
        wrapped = await methods.error("opencode.sessions.list", {"metadata": outside})

        assert plain["data"] == {"type": "INVALID_FIELD", "field": "directory"}
        assert wrapped["data"] == {"type": "INVALID_FIELD", "field": "metadata.opencode.directory"}
        assert not [one for one in agent.fake_opencode.requests if one.path == "/session"]


@one_version
@pytest.mark.parametrize("session_id", ["ses_nope", "nope"])
async def test_an_unknown_session_is_not_found(serving: Serving, version: str, session_id: str) -> None:
    async with serving(**EVERYTHING_ON) as agent, world_of(agent, version) as world:
        for name in CALLABLE:
            params = world.params(name)
            if "session_id" in params:
                error = await world.methods.error(name, {**params, "session_id": session_id})

                assert error["code"] == -32001
                if version == "0.3":
                    assert error["data"] == {"type": "SESSION_NOT_FOUND", "session_id": session_id}
                else:
                    assert error["data"] == [
                        {
                            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                            "reason": "SESSION_NOT_FOUND",
                            "domain": "opencode-a2a",
                            "metadata": {"sessionId": session_id},
                        }
                    ]


async def test_an_unknown_message_is_told_as_opencode_tells_it(serving: Serving) -> None:
    async with serving() as agent, world_of(agent, "0.3") as world:
        params = {"session_id": world.session_id, "message_id": "msg_nope"}

        error = await world.methods.error("opencode.sessions.messages.get", params)

        assert error["code"] == -32003
        assert error["data"] == {
            "type": "UPSTREAM_HTTP_ERROR",
            "upstream_status": 404,
            "method": "opencode.sessions.messages.get",
            "session_id": world.session_id,
            "detail": "Message not found: msg_nope",
        }


def failing(fake_opencode: FakeOpenCode, status: int, body: object) -> None:
    """The next request is answered with this, whichever it is."""
    for method in ("GET", "POST", "DELETE"):
        fake_opencode.fail_next(method, "/", status, body)


@one_version
async def test_every_method_tells_of_a_status_it_did_not_expect(serving: Serving, version: str) -> None:
    async with serving(**EVERYTHING_ON) as agent, world_of(agent, version) as world:
        for name in UPSTREAM:
            failing(agent.fake_opencode, 503, {"message": "not now"})

            error = await world.methods.error(name, world.params(name))
            agent.fake_opencode.forgive()

            assert error["code"] == -32003, (name, error)
            if version == "0.3":
                assert error["data"]["upstream_status"] == 503
                assert error["data"]["detail"] == "not now"


@each_value("body", [7, "text", [{"id": 5}], {"id": 5, "info": 3, "all": 1}, [[[]]]])
async def test_every_method_tells_of_an_answer_it_did_not_expect(serving: Serving, body: object) -> None:
    async with serving(**EVERYTHING_ON) as agent, world_of(agent, "0.3") as world:
        for name in UPSTREAM:
            failing(agent.fake_opencode, 200, body)

            answer = await world.methods.answer(name, world.params(name))
            agent.fake_opencode.forgive()

            told = answer.get("error", {}).get("data", {}).get("type")
            assert told in (None, "UPSTREAM_PAYLOAD_ERROR"), (name, answer)
            if name in ("opencode.sessions.get", "opencode.providers.list", "opencode.sessions.fork"):
                assert told == "UPSTREAM_PAYLOAD_ERROR"


async def test_no_answer_that_is_no_json_gets_through(serving: Serving) -> None:
    async with serving() as agent:
        methods = Methods(agent.http, "0.3")
        for path, name in (("/provider", "opencode.providers.list"), ("/project", "opencode.projects.list")):
            agent.fake_opencode.fail_next("GET", path, 200, b"<!doctype html>")

            error = await methods.error(name, {})

            assert error["code"] == -32005
            assert error["data"]["method"] == name


@one_version
async def test_an_opencode_that_is_away_is_told_as_such(serving: Serving, version: str) -> None:
    async with serving(opencode_url=f"http://127.0.0.1:{free_port()}") as agent:
        error = await Methods(agent.http, version).error("opencode.projects.list", {})

        assert error["code"] == -32002
        assert await Methods(agent.http, version).reason("opencode.projects.list", {}) == "UPSTREAM_UNREACHABLE"


# --- answering what a task waits for ----------------------------------------------------------------------


@one_version
async def test_a_permission_is_found_again_and_answered(serving: Serving, version: str) -> None:
    async with serving() as agent:
        methods = Methods(agent.http, version)
        task = await agent.caller(RPC_10).send("PERMISSION")

        [waiting] = (await methods.result("opencode.permissions.list", {}))["items"]
        result = await methods.result(
            "a2a.interrupt.permission.reply", {"request_id": waiting["request_id"], "reply": " Once "}
        )

        assert waiting["task_id"] == task.id
        assert result == {"ok": True, "request_id": waiting["request_id"]}
        assert (await agent.caller(RPC_10).finished(task.id)).status.state.value == "completed"
        assert (await methods.result("opencode.permissions.list", {}))["items"] == []


@one_version
@pytest.mark.parametrize("answered", [True, False])
async def test_a_question_is_answered_or_rejected(serving: Serving, version: str, answered: bool) -> None:
    async with serving() as agent:
        methods = Methods(agent.http, version)
        task = await agent.caller(RPC_10).send("QUESTION")
        [waiting] = (await methods.result("opencode.questions.list", {}))["items"]
        asked = {"request_id": waiting["request_id"]}

        if answered:
            option = waiting["details"]["questions"][0]["options"][0]["label"]
            await methods.result("a2a.interrupt.question.reply", {**asked, "answers": [[option]]})
        else:
            await methods.result("a2a.interrupt.question.reject", asked)

        assert (await agent.caller(RPC_10).finished(task.id)).status.state.terminal


async def test_what_waits_is_nobody_elses_business(serving: Serving) -> None:
    async with serving() as agent:
        bob = Methods(agent.bob, "0.3")
        await agent.caller(RPC_10).send("PERMISSION")
        [waiting] = (await Methods(agent.http, "0.3").result("opencode.permissions.list", {}))["items"]

        reply = {"request_id": waiting["request_id"], "reply": "once"}

        assert (await bob.result("opencode.permissions.list", {}))["items"] == []
        assert await bob.reason("a2a.interrupt.permission.reply", reply) == "INTERRUPT_REQUEST_NOT_FOUND"


async def test_a_wrong_answer_is_refused_by_name_and_the_request_waits_on(serving: Serving) -> None:
    async with serving() as agent:
        methods = Methods(agent.http, "0.3")
        await agent.caller(RPC_10).send("PERMISSION")
        [waiting] = (await methods.result("opencode.permissions.list", {}))["items"]
        asked = {"request_id": waiting["request_id"]}

        wrong = await methods.error("a2a.interrupt.permission.reply", {**asked, "reply": "maybe"})
        mixed = await methods.error("a2a.interrupt.question.reply", {**asked, "answers": [["a"]]})

        assert wrong["code"] == -32602
        assert wrong["data"] == {"type": "INVALID_FIELD", "field": "reply", **asked}
        assert mixed["code"] == -32008
        assert mixed["data"] == {
            "type": "INTERRUPT_TYPE_MISMATCH",
            **asked,
            "expected_interrupt_type": "question",
            "actual_interrupt_type": "permission",
        }
        assert (await methods.result("opencode.permissions.list", {}))["items"] == [waiting]
