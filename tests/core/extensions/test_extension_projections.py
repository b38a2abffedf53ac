"""OpenCode's answers as the methods tell them, and the decoding of those that are large."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.json_output import encoded_pieces
from sansio.a2a.codecs.fields import DEEPEST
from sansio.a2a.model import DataPart, FilePart, Role, TaskState, TextPart
from sansio.extensions.methods.method_rows import Reply
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.parameters import Arguments
from sansio.extensions.methods.rendering import for_version
from sansio.large_json import decoded
from sansio.opencode.projections.provider_catalogue import models_of, providers_of, shrunk
from sansio.opencode.projections.session_projections import (
    as_it_is,
    diffs_of,
    message_of,
    shell_message_of,
    statuses_of,
    summary_of,
    task_of,
    todos_of,
)
from sansio.opencode.upstream.requests import Location
from tests.steps import counted, taken
from tests.strategies import json_values

T = TypeVar("T")
BASH: dict[str, Any] = {
    "type": "tool",
    "callID": "call_1",
    "tool": "bash",
    "state": {"status": "completed", "input": {"command": "ls"}, "output": "a\n", "title": ""},
}


def message(*parts: dict[str, Any], role: str = "assistant") -> dict[str, Any]:
    return {"info": {"id": "msg_1", "role": role}, "parts": list(parts)}


# --- sessions and messages --------------------------------------------------------------------------------


def test_a_session_is_a_finished_task() -> None:
    task = task_of({"id": "ses_1", "title": "t", "projectID": "p"})

    assert (task.id, task.context_id) == ("ses_1", "ctx:opencode-session:ses_1")
    assert task.status.state is TaskState.COMPLETED
    assert task.metadata == {"shared": {"session": {"id": "ses_1", "title": "t"}}}


def test_a_message_has_one_text_and_then_its_files_and_tool_calls() -> None:
    told = message_of(
        "ses_1",
        message(
            {"type": "step-start"},
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "a"},
            BASH,
            {"type": "file", "mime": "image/png", "url": "data:image/png;base64,eA==", "filename": "x.png"},
            {"type": "file", "mime": "text/plain", "url": "file:///secret"},
            {"type": "text", "text": "b"},
            {"type": "text", "text": "hidden", "ignored": True},
        ),
    )

    text, call, file = told.parts
    assert text == TextPart(text="ab")
    assert isinstance(call, DataPart)
    assert (call.data["call_id"], call.data["output"]) == ("call_1", "a\n")
    assert file == FilePart(url="data:image/png;base64,eA==", media_type="image/png", filename="x.png")
    assert told.role is Role.AGENT


def test_a_message_without_a_word_has_an_empty_text() -> None:
    assert message_of("ses_1", message(role="user")).parts == (TextPart(text=""),)


def test_a_shell_commands_message_says_what_it_wrote() -> None:
    failed = {**BASH, "state": {"status": "error", "input": {}, "error": "not found"}}

    assert shell_message_of("ses_1", message(BASH)).parts[0] == TextPart(text="a\n")
    assert shell_message_of("ses_1", message(failed)).parts[0] == TextPart(text="not found")


def test_a_summary_has_what_there_is_to_tell() -> None:
    session = {
        "id": "ses_1",
        "projectID": "p",
        "directory": "/d",
        "parentID": "ses_0",
        "version": "1",
        "share": {"url": "https://x"},
        "revert": {"messageID": "msg_1", "snapshot": "s"},
        "cost": 1,
    }

    assert summary_of(session) == {
        "id": "ses_1",
        "title": "",
        "project_id": "p",
        "directory": "/d",
        "parent_id": "ses_0",
        "version": "1",
        "share_url": "https://x",
        "revert": {"message_id": "msg_1", "snapshot": "s"},
    }


def test_statuses_are_told_by_session() -> None:
    again = {"type": "retry", "attempt": 2, "message": "slow down", "next": 5}

    assert statuses_of({"ses_b": {"type": "busy"}, "ses_a": again}) == [
        {"session_id": "ses_a", **again},
        {"session_id": "ses_b", "type": "busy"},
    ]


def test_todos_have_an_id_even_where_opencode_gives_none() -> None:
    assert todos_of([{"content": "a", "status": "pending", "priority": "high"}, {"id": "x", "content": "b"}]) == [
        {"id": "1", "content": "a", "status": "pending", "priority": "high"},
        {"id": "x", "content": "b"},
    ]


def test_diffs_are_told_in_the_old_form_and_the_new() -> None:
    old = {"file": "a", "before": "x", "after": "y", "additions": 1, "deletions": 1}
    new = {"file": "b", "patch": "@@", "status": "added", "additions": 1, "deletions": 0}

    assert diffs_of([old, new]) == [old, new]


@pytest.mark.parametrize("version", ["0.3", "1.0"])
def test_tasks_and_messages_are_written_in_the_form_of_the_line(version: str) -> None:
    result = for_version({"items": [task_of({"id": "ses_1"})], "item": message_of("ses_1", message())}, version)

    assert result["items"][0].get("kind") == ("task" if version == "0.3" else None)
    assert result["items"][0]["status"]["state"] == ("completed" if version == "0.3" else "TASK_STATE_COMPLETED")
    assert result["item"]["role"] == ("agent" if version == "0.3" else "ROLE_AGENT")


@given(st.sampled_from(sorted(METHODS)), json_values)
def test_any_answer_gives_a_result_that_was_declared_or_is_refused(method: str, answer: object) -> None:
    row = METHODS[method]
    if row.project is None:
        return
    try:
        result = taken(row.projected(Reply(answer), Arguments({"session_id": "ses_1"})))
    except ValueError:
        return
    assert result.keys() == row.result.members.keys()
    orjson.dumps(for_version(result, "1.0"))


def test_many_messages_of_a_session_are_made_in_steps() -> None:
    said = [{"info": {"id": f"msg_{number}", "role": "user"}, "parts": []} for number in range(20)]

    result, steps = counted(
        METHODS["opencode.sessions.messages.list"].projected(Reply(said), Arguments({"session_id": "ses_1"}))
    )

    assert [message.message_id for message in result["items"]] == [f"msg_{number}" for number in range(20)]
    assert steps == 3


@pytest.mark.parametrize(
    "location", [Location(), Location(directory="/a b"), Location(directory="/x", workspace="wrk_1")]
)
def test_calls_are_made_for_a_place(location: Location) -> None:
    row = METHODS["opencode.sessions.list"]
    assert row.call is not None

    call = row.call(Arguments({"limit": 5, "roots": True, "search": "a&b"}), location)

    where = {"": ""} if not location.query else {"": location.query[1:] + "&"}
    assert call.target == f"/session?{where['']}limit=5&roots=true&search=a%26b"


# --- the catalogue ----------------------------------------------------------------------------------------

MODEL = {
    "name": "Model 1",
    "status": "active",
    "limit": {"context": 10, "output": 5},
    "capabilities": {"reasoning": True, "toolcall": True, "attachment": False},
    "cost": {"input": 1},
}
CATALOGUE: dict[str, Any] = {
    "all": [
        {"id": "a", "name": "A", "source": "config", "models": {"m": MODEL, "n": {}}},
        {"id": "b", "models": {}},
    ],
    "default": {"a": "m"},
    "connected": ["a"],
}


def test_models_are_told_with_what_they_can() -> None:
    result = models_of(CATALOGUE, "a")

    assert result["items"] == [
        {
            "provider_id": "a",
            "model_id": "m",
            "name": "Model 1",
            "status": "active",
            "context_window": 10,
            "max_output_tokens": 5,
            "supports_reasoning": True,
            "supports_tool_call": True,
            "supports_attachments": False,
            "default": True,
            "connected": True,
        },
        {"provider_id": "a", "model_id": "n", "name": "n", "default": False, "connected": True},
    ]
    assert (result["default_by_provider"], result["connected"]) == ({"a": "m"}, ["a"])
    assert len(models_of(CATALOGUE, None)["items"]) == 2
    assert models_of(CATALOGUE, "b")["items"] == []


def test_providers_are_told_with_their_number_of_models() -> None:
    assert providers_of(CATALOGUE)["items"] == [
        {
            "provider_id": "a",
            "name": "A",
            "connected": True,
            "model_count": 2,
            "source": "config",
            "default_model_id": "m",
        },
        {"provider_id": "b", "name": "b", "connected": False, "model_count": 0},
    ]


@pytest.mark.parametrize("project", [providers_of, lambda value: models_of(value, None)])
def test_a_catalogue_that_was_made_less_of_tells_the_same(project: Any) -> None:
    assert project({**CATALOGUE, "all": [shrunk(one) for one in CATALOGUE["all"]]}) == project(CATALOGUE)


@pytest.mark.parametrize("wrong", [[], {}, {**CATALOGUE, "all": [5]}, {**CATALOGUE, "connected": None}])
def test_what_is_no_catalogue_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="catalogue"):
        providers_of(wrong)


def test_a_provider_of_another_form_is_left_for_the_catalogue_to_refuse() -> None:
    for malformed in (5, {}, {"id": "a", "models": []}, {"id": "", "models": {}}, {"id": 7, "models": {}}):
        assert shrunk(malformed) is malformed


def test_a_message_without_an_id_is_refused() -> None:
    for none in (None, "", 7):
        with pytest.raises(ValueError, match="has no id"):
            message_of("ses_1", {"info": {"id": none, "role": "user"}, "parts": []})


def test_what_is_passed_on_is_nested_up_to_a_depth() -> None:
    deep: Any = []
    for _ in range(DEEPEST):
        deep = [deep]

    assert as_it_is(deep[0]) == deep[0]
    with pytest.raises(ValueError, match="nested too deep"):
        as_it_is(deep)


# --- large answers ----------------------------------------------------------------------------------------


@given(json_values, st.integers(0, 40), st.booleans())
def test_a_text_decoded_in_slices_gives_the_same_value(value: object, size: int, wide: bool) -> None:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 if wide else None)

    assert counted(decoded(body, size=size))[0] == orjson.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":{"b":1}{"c":2}}',
        b'[{"a":1},]',
        b'[{"a":1},,{"b":2}]',
        b'{"a":{},"b"{}}',
        b"[[1][2]]",
        b'[{"a":1},{"b":2]]',
        b"[[1},[2]]",
        b'[{"a":"x},[1]]',
        b'[{"a":1}{"b":2},{"c":{"d":1}}]',
        b'[{"a":1}] x',
        b'x [{"a":1}]',
        b'{"a":{"b":1}',
        b'[{"a":1}}',
        b'{{}:{"a":1}}',
        b'["a',
        b'[{"a":1}, ]',
        b'[{"a":[1]},{"b":[2]},]',
        b'[{"a":[1]} 5,{"b":[2]}]',
        b'[{"a":[1]}{"b":[2]}]',
    ],
)
def test_what_is_no_json_is_refused_in_slices_too(body: bytes) -> None:
    for size in (0, 3, 1000):
        with pytest.raises(ValueError, match=r".+"):
            counted(decoded(body, size=size))


def test_what_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        counted(decoded(b"[" * 200 + b"]" * 200, size=0))


def test_a_large_answer_is_decoded_and_written_in_many_steps() -> None:
    items = [{"id": f"p{number}", "models": {f"m{index}": MODEL for index in range(40)}} for number in range(200)]
    body = orjson.dumps({**CATALOGUE, "all": items})

    value, steps = counted(decoded(body, shrunk))
    result = models_of(value, None)
    pieces, written = counted(encoded_pieces(result))

    assert len(body) > 1_000_000
    assert steps > len(body) / 64 / 1024
    assert written > 4
    assert orjson.loads(b"".join(pieces)) == models_of(orjson.loads(body), None)


def test_a_small_answer_takes_one_step() -> None:
    assert counted(decoded(b'{"a":[1]}')) == ({"a": [1]}, 1)
