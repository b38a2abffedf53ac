"""What a person's words, a client's data, and a method's parameters come to as answers to OpenCode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import DataPart, FilePart, Message, Part, Role, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import LogEvent, MessageAdded, MetadataChanged, StatusChanged
from sansio.opencode.interrupts.render import answered_unseen
from sansio.opencode.interrupts.replies import (
    Answer,
    expired,
    permission_reply,
    question_reject,
    question_reply,
    request_named,
    texts_of,
    understand,
)
from sansio.opencode.interrupts.tracker import LONGEST_TEXT, MOST_RESOLVED
from sansio.opencode.turns.recovery import RecoveredOutput
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import InterruptAsked, InterruptEnded
from sansio.opencode.upstream.requests import Location
from tests import strategies

DEFAULT_LOCATION = Location()
NOW = "2026-01-02T03:04:05.000Z"
LATER = "2026-01-02T03:05:06.000Z"


def permission(**body: Any) -> InterruptAsked:
    return InterruptAsked(
        session_id="ses", kind="permission", request_id="per_1", body={"permission": "bash", **body}
    )


def choice(*labels: str, **more: Any) -> dict[str, Any]:
    return {"question": "Which one?", "options": [{"label": label} for label in labels], **more}


def question(*questions: Any) -> InterruptAsked:
    return InterruptAsked(session_id="ses", kind="question", request_id="que_1", body={"questions": list(questions)})


def message(*parts: Part | str, **more: Any) -> Message:
    found = tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts)
    return Message(message_id="m", role=Role.USER, parts=found, **more)


def body_of(answer: Answer) -> Any:
    return orjson.loads(answer.call.body or b"null")


def answered(asked: InterruptAsked, *parts: Part | str) -> Any:
    return body_of(understand(asked, message(*parts), DEFAULT_LOCATION))


def refused(asked: InterruptAsked, *parts: Part | str) -> tuple[str, str]:
    with pytest.raises(ProtocolError) as caught:
        understand(asked, message(*parts), DEFAULT_LOCATION)
    [violation] = caught.value.violations
    return ".".join(str(step) for step in violation.path), violation.message


# ------------------------------------------------------------------------------------------- permissions

ONCE = [
    "once",
    "yes",
    "Yes.",
    "y",
    "OK",
    "okay",
    "sure!",
    "go ahead",
    " allow  once ",
    "do it",
    "Yes, please.",
    '"once"',
]
ALWAYS = ["always", "Always!", "yes, always", "always allow", "every time", "forever"]
REJECT = ["reject", "no", "No.", "n", "nope", "deny", "don't", "do not", "not now", "No, thanks", "stop"]


@pytest.mark.parametrize(
    ("text", "reply"),
    [(text, reply) for reply, texts in (("once", ONCE), ("always", ALWAYS), ("reject", REJECT)) for text in texts],
)
def test_everyday_words_answer_a_permission(text: str, reply: str) -> None:
    assert answered(permission(), text) == {"reply": reply}


@pytest.mark.parametrize("text", ["use ls instead", "yes but only once", "1", "nein", "always?", "go on\nthen"])
def test_any_other_words_are_a_rejection_that_tells_the_model(text: str) -> None:
    assert answered(permission(), f" {text} ") == {"reply": "reject", "message": text}


def test_words_may_come_in_several_parts() -> None:
    assert answered(permission(), "do", "not") == {"reply": "reject"}


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({"reply": "once"}, {"reply": "once"}),
        ({"reply": "always", "request_id": "per_1"}, {"reply": "always"}),
        ({"reply": "reject", "message": "why?"}, {"reply": "reject", "message": "why?"}),
    ],
)
def test_data_answers_a_permission(data: Any, body: Any) -> None:
    assert answered(permission(), "for people", DataPart(data=data)) == body


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "message.parts.0"),
        ({}, "message.parts.0.reply"),
        ({"reply": "yes"}, "message.parts.0.reply"),
        ({"reply": ["once"]}, "message.parts.0.reply"),
        ({"reply": "reject", "message": 7}, "message.parts.0.message"),
    ],
)
def test_wrong_data_for_a_permission_is_named(data: Any, field: str) -> None:
    assert refused(permission(), DataPart(data=data))[0] == field


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (permission_reply(permission(), "once", None, DEFAULT_LOCATION), "Allowed once: bash."),
        (permission_reply(permission(), "always", None, DEFAULT_LOCATION), "Allowed from now on: bash."),
        (permission_reply(permission(), "reject", None, DEFAULT_LOCATION), "Rejected: bash."),
        (
            permission_reply(permission(), "reject", "no ls", DEFAULT_LOCATION),
            "Rejected: bash. Told the model: no ls",
        ),
        (permission_reply(permission(permission=None), "once", None, DEFAULT_LOCATION), "Allowed once: the action."),
        (question_reply(question(choice("A")), [["A", "B"]], DEFAULT_LOCATION), "Answered: A, B."),
        (question_reply(question(choice("A"), choice("B")), [[], ["B"]], DEFAULT_LOCATION), "Answered: nothing; B."),
        (question_reject(question(), DEFAULT_LOCATION), "The question was rejected."),
        (expired(permission(), DEFAULT_LOCATION), "Nobody answered in time, so it was rejected."),
        (expired(question(), DEFAULT_LOCATION), "Nobody answered in time, so it was rejected."),
    ],
)
def test_what_was_understood_is_put_in_words(answer: Answer, said: str) -> None:
    assert answer.understood == said


# --------------------------------------------------------------------------------------------- questions

AB = choice("Apples", "Blueberry pie")
SEVERAL = choice("A", "B", "C", multiple=True)


@pytest.mark.parametrize(
    ("asked", "text", "answer"),
    [
        (AB, "Apples", "Apples"),
        (AB, "  apples. ", "Apples"),
        (AB, "BLUEBERRY PIE", "Blueberry pie"),
        (AB, "2", "Blueberry pie"),
        (AB, "#1", "Apples"),
        (AB, "1)", "Apples"),
        (AB, "1.", "Apples"),
        (AB, "0", "0"),
        (AB, "3", "3"),
        (AB, "-1", "-1"),
        (AB, "0001", "0001"),
        (AB, "²", "²"),
        (AB, "neither of them", "neither of them"),
        (AB, "Apples, Blueberry pie", "Apples, Blueberry pie"),
        (AB, "one\ntwo", "one\ntwo"),
        (choice("2", "1"), "1", "1"),
        (choice(), "1", "1"),
        ({"question": "Your name?"}, "Ada", "Ada"),
        ({"options": "none"}, "Ada", "Ada"),
    ],
)
def test_a_label_a_number_or_free_text_answers_one_question(asked: Any, text: str, answer: str) -> None:
    assert answered(question(asked), text) == {"answers": [[answer.strip()]]}


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("A", ["A"]),
        ("a, c", ["A", "C"]),
        ("1; 3", ["A", "C"]),
        ("A\nB\n", ["A", "B"]),
        ("a, 1", ["A"]),
        ("A, something else", ["A, something else"]),
    ],
)
def test_several_options_where_the_question_takes_several(text: str, answers: list[str]) -> None:
    assert answered(question(SEVERAL), text) == {"answers": [answers]}


@pytest.mark.parametrize("text", ["1\nC", "Apples\n\nc", "1. Apples\n2. c", "1) 1\n2) 3", "1: apples\n2: C"])
def test_several_questions_are_answered_by_line(text: str) -> None:
    assert answered(question(AB, SEVERAL), text) == {"answers": [["Apples"], ["C"]]}


@pytest.mark.parametrize("text", ["Apples", "a\nb\nc"])
def test_lines_that_do_not_fit_the_questions_are_refused(text: str) -> None:
    field, told = refused(question(AB, SEVERAL), text)

    assert field == "message.parts"
    assert "2 questions" in told


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({"answers": [["Apples"], ["A", "C"]]}, {"answers": [["Apples"], ["A", "C"]]}),
        ({"answers": ["Apples", []]}, {"answers": [["Apples"], []]}),
        ({"reject": True}, {}),
    ],
)
def test_data_answers_questions(data: Any, body: Any) -> None:
    answer = understand(question(AB, SEVERAL), message(DataPart(data=data)), DEFAULT_LOCATION)

    assert body_of(answer) == body
    assert answer.call.target.endswith("/reject" if "reject" in data else "/reply")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ("A", "message.parts.0"),
        ({}, "message.parts.0.answers"),
        ({"answers": "A"}, "message.parts.0.answers"),
        ({"answers": [["A"]]}, "message.parts.0.answers"),
        ({"answers": [["A"], 7]}, "message.parts.0.answers.1"),
        ({"answers": [["A"], [7]]}, "message.parts.0.answers.1"),
        ({"reject": "yes"}, "message.parts.0.answers"),
    ],
)
def test_wrong_data_for_questions_is_named(data: Any, field: str) -> None:
    assert refused(question(AB, SEVERAL), DataPart(data=data))[0] == field


# -------------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize("asked", [permission(), question(AB)], ids=["permission", "question"])
def test_nothing_and_files_are_no_answers(asked: InterruptAsked) -> None:
    assert refused(asked, " \n ") == ("message.parts", "hold no answer")
    assert refused(asked, "yes", FilePart(url="https://a.example/b"))[0] == "message.parts.1"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (message("once"), None),
        (message("once", metadata={"shared": {"interrupt": {"request_id": "per_1"}}}), "per_1"),
        (message(DataPart(data={"request_id": "per_2", "reply": "once"})), "per_2"),
        (message(DataPart(data=["request_id"]), metadata={"shared": {"interrupt": "per_1"}}), None),
        (message("once", metadata={"shared": {"interrupt": {"request_id": 7}}}), None),
    ],
)
def test_a_message_may_name_the_request_it_answers(asked: Message, named: str | None) -> None:
    assert request_named(asked) == named


def test_the_resolution_tells_yes_from_no() -> None:
    def resolutions(*answers: Answer) -> list[str]:
        return [answer.ended.resolution for answer in answers]

    replies = [
        permission_reply(permission(), reply, None, DEFAULT_LOCATION) for reply in ("once", "always", "reject")
    ]
    assert resolutions(*replies) == ["replied", "replied", "rejected"]
    assert resolutions(
        question_reply(question(AB), [["x"]], DEFAULT_LOCATION),
        question_reject(question(AB), DEFAULT_LOCATION),
        expired(permission(), DEFAULT_LOCATION),
    ) == ["replied", "rejected", "rejected"]


# ----------------------------------------------------------------------------------------- taking effect


def waiting_turn(asked: InterruptAsked | None = None) -> Turn:
    turn = Turn(task_id="t", context_id="c", session_id="ses", prompt_id="msg_1")
    turn.begin(NOW)
    turn.feed(asked or permission(), NOW)
    return turn


def progress(events: Sequence[LogEvent]) -> list[str]:
    """The messages and states among events, in order."""
    return [
        event.message.message_id if isinstance(event, MessageAdded) else event.status.state.value
        for event in events
        if isinstance(event, MessageAdded | StatusChanged)
    ]


def test_an_answer_is_told_once_with_its_message_whoever_tells_of_it_first() -> None:
    answer = permission_reply(permission(), "once", None, DEFAULT_LOCATION)
    for bus_first in (True, False):
        turn = waiting_turn()
        turn.interrupt_tracker.note("per_1", answer, message("yes"))
        ways = (turn.feed, turn.answered) if bus_first else (turn.answered, turn.feed)

        first, second = [way(answer.ended, NOW) for way in ways]

        assert (progress(first), progress(second)) == (["m", "working"], [])


def test_an_answer_that_did_not_take_effect_is_not_told() -> None:
    turn = waiting_turn()
    answer = permission_reply(permission(), "once", None, DEFAULT_LOCATION)
    turn.interrupt_tracker.note("per_1", answer, message("yes"))
    turn.interrupt_tracker.note("per_1", None)

    events = turn.feed(permission_reply(permission(), "reject", None, DEFAULT_LOCATION).ended, NOW)

    assert progress(events) == ["working"]
    assert "Allowed" not in str(events)


@pytest.mark.parametrize(("reply", "resolution"), [("reject", "rejected"), ("always", "replied")])
def test_an_answer_that_was_later_than_another_one_is_not_told(reply: str, resolution: str) -> None:
    turn = waiting_turn()
    answer = permission_reply(permission(), "once", None, DEFAULT_LOCATION)
    turn.interrupt_tracker.note("per_1", answer, message("yes"))

    events = turn.feed(permission().ended(resolution, by="opencode", reply=reply), NOW)

    assert progress(events) == ["working"]
    [record] = turn.interrupt_tracker.resolved
    assert (record["by"], record["reply"]) == ("opencode", reply)


def test_an_answer_to_a_question_that_was_later_than_another_one_is_not_told() -> None:
    asked = question(AB)
    turn = waiting_turn(asked)
    mine = question_reply(asked, [["Apples"]], DEFAULT_LOCATION)
    turn.interrupt_tracker.note(asked.request_id, mine, message("Apples"))

    events = turn.feed(asked.ended("replied", by="opencode", answer="Blueberry pie"), NOW)

    assert progress(events) == ["working"]
    [record] = turn.interrupt_tracker.resolved
    assert (record["by"], record["answer"]) == ("opencode", "Blueberry pie")


def ways_to_end() -> list[tuple[InterruptAsked, InterruptEnded, dict[str, str]]]:
    asked, several = permission(patterns=["ls"]), question(AB, {"question": "Why?"})
    of_client = {"by": "client"}
    return [
        (asked, permission_reply(asked, "once", "dropped", DEFAULT_LOCATION).ended, {**of_client, "reply": "once"}),
        (
            asked,
            permission_reply(asked, "reject", "not now", DEFAULT_LOCATION).ended,
            {**of_client, "reply": "reject", "answer": "not now"},
        ),
        (
            several,
            question_reply(several, [["A", "B"], []], DEFAULT_LOCATION).ended,
            {**of_client, "answer": "A, B; nothing"},
        ),
        (several, question_reject(several, DEFAULT_LOCATION).ended, of_client),
        (several, expired(several, DEFAULT_LOCATION).ended, {"by": "timeout"}),
        (asked, expired(asked, DEFAULT_LOCATION).ended, {"by": "timeout"}),
        (asked, answered_unseen(asked), {}),
    ]


@pytest.mark.parametrize(("asked", "ended", "members"), ways_to_end())
def test_a_request_that_has_ended_stays_in_the_task_and_its_event(
    asked: InterruptAsked, ended: InterruptEnded, members: dict[str, str]
) -> None:
    turn = waiting_turn(asked)

    listed, event = turn.answered(ended, LATER)

    record = {
        "request_id": asked.request_id,
        "type": asked.kind,
        "subject": "bash: ls" if asked.kind == "permission" else "Which one?; Why?",
        "resolution": ended.resolution,
        **members,
        "asked_at": NOW,
        "resolved_at": LATER,
    }
    assert isinstance(listed, MetadataChanged)
    assert listed.metadata == {"shared": {"interrupts": [], "resolved_interrupts": [record]}}
    assert isinstance(event, StatusChanged)
    assert event.metadata is not None
    assert event.metadata["shared"]["interrupt"] == {**record, "phase": "resolved"}


def test_a_request_that_waits_as_its_turn_ends_is_recorded_so() -> None:
    turn = waiting_turn()

    turn.cancel(LATER)

    [record] = turn.interrupt_tracker.resolved
    assert (record["resolution"], record["by"]) == ("rejected", "end")


def test_the_list_of_ended_requests_is_bounded_and_keeps_the_newest() -> None:
    turn = waiting_turn()
    for number in range(MOST_RESOLVED + 3):
        asked = evolve(permission(metadata={"command": "x" * 1000}), request_id=f"more_{number}")
        turn.feed(asked, NOW)
        turn.feed(asked.ended("rejected", answer="y" * 1000), NOW)

    resolved = turn.interrupt_tracker.resolved
    assert [one["request_id"] for one in resolved] == [f"more_{number}" for number in range(3, MOST_RESOLVED + 3)]
    assert {len(one[name]) for one in resolved for name in ("subject", "answer")} == {LONGEST_TEXT}
    assert resolved[0]["subject"].startswith("bash: xxx")
    assert resolved[0]["subject"].endswith("x…")


def test_an_answer_to_a_turn_that_was_taken_up_is_told_before_its_session_was_read() -> None:
    status = TaskStatus(state=TaskState.INPUT_REQUIRED, timestamp=NOW)
    turn = Turn(task_id="t", context_id="c", session_id="ses", prompt_id="msg_1")
    turn.recover(
        RecoveredOutput(
            texts={},
            tools={},
            files=frozenset(),
            progress=frozenset(),
            pending={"per_1": permission()},
            asked_at={"per_1": NOW},
            resolved=[],
            sequence=0,
            status=status,
        )
    )

    assert progress(turn.answered(permission_reply(permission(), "once", None, DEFAULT_LOCATION).ended, NOW)) == [
        "working"
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
QUESTIONS = st.lists(
    st.one_of(
        st.builds(lambda labels, several: choice(*labels, multiple=several), st.lists(TEXTS), st.booleans()),
        strategies.json_values,
    ),
    max_size=4,
)
BODIES = st.one_of(
    st.builds(lambda questions: {"questions": questions}, QUESTIONS),
    st.dictionaries(st.sampled_from(["permission", "questions", "patterns"]), strategies.json_values),
)
PARTS = st.one_of(
    st.builds(lambda text: TextPart(text=text), st.one_of(TEXTS, st.sampled_from([*ONCE, *ALWAYS, *REJECT, "1\n2"]))),
    st.builds(
        lambda data: DataPart(data=data),
        st.one_of(
            strategies.json_values,
            st.dictionaries(st.sampled_from(["reply", "message", "answers", "reject"]), strategies.json_values),
        ),
    ),
    st.just(FilePart(url="https://a.example/b")),
)


@given(st.sampled_from(["permission", "question"]), BODIES, st.lists(PARTS, max_size=4))
def test_whatever_is_said_is_an_answer_or_a_refusal(kind: str, body: dict[str, Any], parts: Sequence[Part]) -> None:
    asked = InterruptAsked(session_id="ses", kind=kind, request_id="req_1", body=body)
    said = message(*parts)
    request_named(said)
    try:
        answer = understand(asked, said, DEFAULT_LOCATION)
    except ProtocolError:
        return
    assert answer.ended.request_id == "req_1"
    assert answer.understood
    assert answer.call.target.startswith(f"/{kind}/req_1/")
    progress = body_of(answer)
    if kind == "permission":
        assert progress["reply"] in ("once", "always", "reject")
    elif "answers" in progress:
        assert texts_of(progress["answers"], ()) == progress["answers"]
