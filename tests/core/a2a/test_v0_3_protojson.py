"""Version 0.3's ProtoJSON: what its HTTP+JSON clients send is read, and answered in what they read."""

from __future__ import annotations

import pytest
from hypothesis import given

from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.registry import rest_codec, rest_codec_of_task
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    FilePart,
    JsonObject,
    Message,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from tests import strategies

CAMEL: JsonObject = {
    "message": {
        "messageId": "m",
        "contextId": "c",
        "role": "ROLE_USER",
        "content": [{"text": "hi"}, {"file": {"fileWithUri": "https://e/x", "mimeType": "text/plain"}}],
    },
    "configuration": {"blocking": True, "acceptedOutputModes": ["text/plain"], "historyLength": 3},
}
SNAKE: JsonObject = {
    "request": {
        "message_id": "m",
        "context_id": "c",
        "role": "ROLE_USER",
        "content": [{"text": "hi"}, {"file": {"file_with_uri": "https://e/x", "mime_type": "text/plain"}}],
    },
    "configuration": {"blocking": True, "accepted_output_modes": ["text/plain"], "history_length": 3},
}
TAGGED: JsonObject = {
    "message": {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
}


@pytest.mark.parametrize("body", [CAMEL, SNAKE])
def test_both_spellings_of_a_send_are_read(body: JsonObject) -> None:
    request = v0_3_gateway.parse_send(body)

    assert request.message == Message(
        message_id="m",
        context_id="c",
        role=Role.USER,
        parts=(TextPart(text="hi"), FilePart(url="https://e/x", media_type="text/plain")),
    )
    assert request.configuration.accepted_output_modes == ("text/plain",)
    assert (request.configuration.history_length, request.configuration.blocking) == (3, True)


@pytest.mark.parametrize(
    ("configuration", "blocking"),
    [({}, False), ({"blocking": True}, True), ({"blocking": False}, False), (None, True)],
)
def test_a_configuration_that_says_nothing_of_blocking_does_not_want_it(
    configuration: JsonObject | None, blocking: bool
) -> None:
    body = {"message": CAMEL["message"]} | ({} if configuration is None else {"configuration": configuration})

    assert v0_3_gateway.parse_send(body).configuration.blocking is blocking


def test_wrong_fields_are_named() -> None:
    with pytest.raises(ProtocolError) as refused:
        v0_3_gateway.parse_send({"message": {"content": [{"text": 5}], "role": "ROLE_USER"}})

    assert {violation.field for violation in refused.value.violations} == {
        "message.messageId",
        "message.content[0].text",
    }


@pytest.mark.parametrize(
    ("body", "spoken"), [(CAMEL, True), (SNAKE, True), (TAGGED, False), ([], False), ({}, False)]
)
def test_the_form_of_a_send_is_told_by_its_body(body: object, spoken: bool) -> None:
    assert v0_3_gateway.recognizes(body) is spoken
    assert ("0.3-gateway" if spoken else "0.3") == rest_codec("0.3", body).NAME
    assert rest_codec("1.0", body).NAME == "1.0"


@pytest.mark.parametrize(
    ("version", "spoken", "codec"),
    [
        ("0.3", None, "0.3-gateway"),
        ("0.3", "0.3-gateway", "0.3-gateway"),
        ("0.3", "1.0", "0.3-gateway"),
        ("0.3", "0.3", "0.3"),
        ("1.0", "0.3", "1.0"),
    ],
)
def test_a_task_is_read_in_the_form_its_client_has_shown(version: str, spoken: str | None, codec: str) -> None:
    assert codec == rest_codec_of_task(version, spoken).NAME


def test_values_have_the_shapes_of_the_proto() -> None:
    message = Message(message_id="a", role=Role.AGENT, parts=(TextPart(text="no"),), reference_task_ids=("t",))
    parts = (DataPart(data={"n": 1}), FilePart(raw="aGk=", filename="f"), TextPart(text="x"))
    task = Task(
        id="T",
        context_id="C",
        status=TaskStatus(state=TaskState.CANCELED, message=message),
        artifacts=(Artifact(artifact_id="A", parts=parts, name="response"),),
    )

    assert v0_3_gateway.render_send_result(task) == {
        "task": {
            "id": "T",
            "contextId": "C",
            "status": {
                "state": "TASK_STATE_CANCELLED",
                "message": {"messageId": "a", "role": "ROLE_AGENT", "content": [{"text": "no"}]},
            },
            "artifacts": [
                {
                    "artifactId": "A",
                    "name": "response",
                    "parts": [
                        {"data": {"data": {"n": 1}}},
                        {"file": {"fileWithBytes": "aGk=", "name": "f"}},
                        {"text": "x"},
                    ],
                }
            ],
        }
    }


def test_stream_events_are_wrapped_and_say_whether_they_are_final() -> None:
    status = StatusUpdate(task_id="T", context_id="C", status=TaskStatus(state=TaskState.COMPLETED), final=True)
    chunk = ArtifactUpdate(
        task_id="T", context_id="C", artifact=Artifact(artifact_id="A", parts=(TextPart(text="x"),)), append=True
    )

    assert v0_3_gateway.render_item(status) == {
        "statusUpdate": {
            "taskId": "T",
            "contextId": "C",
            "status": {"state": "TASK_STATE_COMPLETED"},
            "final": True,
        }
    }
    assert v0_3_gateway.render_item(chunk) == {
        "artifactUpdate": {
            "taskId": "T",
            "contextId": "C",
            "artifact": {"artifactId": "A", "parts": [{"text": "x"}]},
            "append": True,
        }
    }


@given(strategies.tasks("0.3"))
def test_what_is_written_is_read_again(task: Task) -> None:
    again = v0_3_gateway.parse_item(v0_3_gateway.render_item(task))

    assert isinstance(again, Task)
    assert v0_3_gateway.render_task(again) == v0_3_gateway.render_task(task)
