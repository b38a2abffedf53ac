"""Fields of the extensions: the schema of what a client may send accepts what its reader accepts, and no more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from sansio.a2a.bindings.last_event_id import cursor_in
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import Message, Role, SendRequest, TextPart
from sansio.a2a.tasks.shared_metadata import (
    INTERACTIVE_INTERRUPT,
    SESSION_BINDING,
    SHARED_BY,
    STREAM_HINTS,
    STREAM_RESUME,
)
from sansio.a2a.tasks.task_log import StatusChanged
from sansio.opencode.extension_names import MODEL_SELECTION
from sansio.opencode.interrupts.replies import request_named
from sansio.opencode.metadata_fields import FIELDS, Carrier, metadata_schema
from sansio.opencode.send_options import send_options_of
from sansio.opencode.turns.blocks import BlockType
from sansio.opencode.turns.event_metadata import EventMetadata
from sansio.opencode.turns.turn import Turn

OF_MESSAGES = [
    Draft202012Validator(metadata_schema(extension, Carrier.REQUEST))
    for extension in (SESSION_BINDING, MODEL_SELECTION)
]
OF_RESUMING = Draft202012Validator(metadata_schema(STREAM_RESUME, Carrier.RESUMING))

BORDERS = ["ses_1", "ses", "wrk_1", "a", "", ".", "../x", "ses_1\n", "ses_\0", "a b", "a\0b", "é"]
TEXTS = st.sampled_from(BORDERS) | st.text(max_size=6) | st.integers(60, 66).map("a".__mul__)
LONG = st.sampled_from([(first, count) for first in ("ses", "/") for count in (252, 253, 254, 4095, 4096)])
LEAVES: st.SearchStrategy[Any] = (
    TEXTS | LONG.map(lambda one: one[0] + "a" * one[1]) | st.just(5) | st.just([]) | st.just({}) | st.just(True)
)


def objects(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects of some of these members, and now and then something else."""
    return st.fixed_dictionaries({}, optional=members) | st.just("x")


MODELS = st.fixed_dictionaries({"providerID": LEAVES}, optional={"modelID": LEAVES}) | st.just("x")
METADATA = objects(
    shared=objects(session=objects(id=LEAVES), model=MODELS),
    opencode=objects(directory=LEAVES, workspace=objects(id=LEAVES), instance=LEAVES),
).filter(lambda value: isinstance(value, dict))


def read(metadata: Any, *, of_message: bool) -> bool:
    """Return whether the reader of messages accepts the metadata."""
    message = Message(
        message_id="m", role=Role.USER, parts=(TextPart(text="hi"),), metadata=metadata if of_message else None
    )
    try:
        send_options_of(SendRequest(message=message, metadata=None if of_message else metadata), ())
    except ProtocolError:
        return False
    return True


@given(METADATA, st.booleans())
def test_the_schemas_of_a_messages_metadata_accept_what_its_reader_accepts(metadata: Any, of_message: bool) -> None:
    assert all(schema.is_valid(metadata) for schema in OF_MESSAGES) == read(metadata, of_message=of_message)


DIGITS = st.from_regex(r"\A[0-9]{0,20}\Z") | st.sampled_from(["-1", "1.0", "٣", "7\n", " 7"])
CURSORS = (
    DIGITS
    | st.integers(-1, 10**19)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([True, [], {}])
)


@given(st.fixed_dictionaries({"shared": st.fixed_dictionaries({"resume": objects(last_event_id=CURSORS)})}))
def test_the_schema_of_a_cursor_accepts_what_its_reader_accepts(metadata: Any) -> None:
    try:
        cursor_in(None, metadata)
    except ProtocolError:
        assert not OF_RESUMING.is_valid(metadata)
    else:
        assert OF_RESUMING.is_valid(metadata)


def test_a_whole_number_is_a_cursor_however_it_is_written() -> None:
    assert cursor_in(None, {"shared": {"resume": {"last_event_id": 7.0}}}) == 7


def test_a_choice_of_opencodes_that_is_an_object_is_refused() -> None:
    assert not read({"opencode": {"directory": {"value": "/x"}}}, of_message=True)
    assert not read({"opencode": {"workspace": "wrk_1"}}, of_message=True)


def test_the_request_that_an_answer_names_is_where_its_field_is() -> None:
    schema = metadata_schema(INTERACTIVE_INTERRUPT, Carrier.ANSWER)
    metadata = {"shared": {"interrupt": {"request_id": "per_1"}}}
    message = Message(message_id="m", role=Role.USER, parts=(TextPart(text="once"),), metadata=metadata)

    assert Draft202012Validator(schema).is_valid(metadata)
    assert not Draft202012Validator(schema).is_valid({"shared": {"interrupt": {"request_id": 5}}})
    assert request_named(message) == "per_1"


def test_the_report_of_a_tool_and_a_file_are_of_the_schemas() -> None:
    turn = Turn(task_id="t", context_id="c", session_id="ses_1", prompt_id="msg_1")
    turn.begin("2026-01-01T00:00:00Z")
    [report] = turn.tool_progress("a2a_call", "call_1", "msg_2", "half of it")
    of_file = EventMetadata(task_id="t", context_id="c", session_id="ses_1").chunk(BlockType.FILE, "file_part", "m")

    assert isinstance(report, StatusChanged)
    Draft202012Validator(metadata_schema(STREAM_HINTS, Carrier.STATUS)).validate(report.metadata)
    Draft202012Validator(metadata_schema(STREAM_HINTS, Carrier.ARTIFACT)).validate(of_file)


@pytest.mark.parametrize("extension", SHARED_BY)
def test_the_fields_that_are_sent_are_in_the_members_that_activation_gives(extension: str) -> None:
    received = {Carrier.REQUEST, Carrier.RESUMING, Carrier.ANSWER}
    sent = {row.path[2] for row in FIELDS[extension] if not received.issuperset(row.carriers)}

    assert sent == SHARED_BY[extension]
