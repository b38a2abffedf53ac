"""Requests for input and typed answers: which line picks what, and what is asked again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.client.input_requests import (
    PERMISSION_REPLIES,
    InputRequest,
    Option,
    Permission,
    Question,
    Reply,
    UnclearAnswer,
    permission_answer,
    question_answer,
    question_reply,
    read_input_request,
)
from tests.strategies import json_values

STATUS = ("text", None, None)
DRINKS = tuple(Option(label=label) for label in ("Green tea", "Black tea", "Milk"))


def asked(interrupt: Any) -> InputRequest:
    return read_input_request("text", STATUS, interrupt)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        *(("1", "once"), ("2", "always"), ("3", "reject"), ("o", "once"), ("ALW", "always"), ("rej", "reject")),
        *(("yes", "once"), ("y", "once"), ("No.", "reject"), ("n", "reject"), (" once ", "once"), ("d", "reject")),
        *(("reject use ls", "no: use ls"), ("no, use ls", "no: use ls"), ("3 yes", "no: yes"), ("r: ok", "no: ok")),
    ],
)
def test_a_line_picks_the_reply_to_a_permission(line: str, reply: str) -> None:
    assert permission_answer(line) == reply


@pytest.mark.parametrize("line", ["", "  ", "0", "4", "a", "maybe", "yes but only once", "always allow", "12"])
def test_a_line_that_is_no_clear_reply_is_asked_again(line: str) -> None:
    assert isinstance(permission_answer(line), UnclearAnswer)


@given(st.text())
def test_any_line_is_a_reply_a_rejection_with_a_reason_or_unclear(line: str) -> None:
    reply = permission_answer(line)

    assert isinstance(reply, UnclearAnswer) or reply in PERMISSION_REPLIES or reply.startswith("no: ")


@pytest.mark.parametrize(
    ("line", "picked"),
    [
        *(("1", "Green tea"), ("3", "Milk"), ("milk", "Milk"), ("gr", "Green tea"), ("", "Green tea")),
        *(("Black Tea", "Black tea"), ("a glass of water", "a glass of water"), ("tea", "tea")),
    ],
)
def test_a_line_picks_an_option(line: str, picked: str) -> None:
    assert question_answer(Question(text="What?", options=DRINKS), line) == (picked,)


@pytest.mark.parametrize(
    ("line", "picked"),
    [
        ("1, 3", ("Green tea", "Milk")),
        ("3 1", ("Milk", "Green tea")),
        ("m; bl", ("Milk", "Black tea")),
        ("2,2", ("Black tea",)),
        ("2", ("Black tea",)),
        ("water, milk", ("water, milk",)),
    ],
)
def test_a_line_picks_several_options_where_a_question_takes_several(line: str, picked: tuple[str, ...]) -> None:
    assert question_answer(Question(text="What?", options=DRINKS, multiple=True), line) == picked


@pytest.mark.parametrize(
    ("question", "line"),
    [
        (Question(text="?", options=DRINKS), "4"),
        (Question(text="?", options=DRINKS), "1, 2"),
        (Question(text="?", options=DRINKS, free_text=False), "water"),
        (Question(text="?", options=DRINKS, free_text=False), "e"),
        (Question(text="?", options=DRINKS, multiple=True), ""),
        (Question(text="?", options=DRINKS, multiple=True), "1, 4"),
        (Question(text="?", options=DRINKS, multiple=True, free_text=False), "1, water"),
        (Question(text="?"), ""),
    ],
)
def test_what_picks_nothing_is_asked_again_with_a_hint(question: Question, line: str) -> None:
    answer = question_answer(question, line)

    assert isinstance(answer, UnclearAnswer)
    assert answer.hint.startswith("type ")


def test_numbers_are_an_answer_where_options_are_numbers() -> None:
    counts = Question(text="How many?", options=(Option(label="2"), Option(label="4")))

    assert [question_answer(counts, line) for line in ("4", "2", "1", "7")] == [("4",), ("2",), ("2",), ("7",)]


@given(st.builds(Question, text=st.just("?"), options=st.just(DRINKS), multiple=st.booleans()), st.text())
def test_any_line_is_an_answer_or_asked_again(question: Question, line: str) -> None:
    answer = question_answer(question, line)

    assert isinstance(answer, UnclearAnswer) or (answer and all(answer))


def test_answers_become_a_line_for_each_question_and_data_where_lines_could_be_misread() -> None:
    request = asked({"type": "question", "request_id": "que_1"})

    assert question_reply(request, [("A",)]) == Reply(text="A")
    assert question_reply(request, [("A", "B"), ("C",)]) == Reply(text="A, B\nC")
    ambiguous = question_reply(request, [("A, or B", "C")])
    assert ambiguous.data == {"request_id": "que_1", "answers": [["A, or B", "C"]]}


def test_choices_are_read_from_the_details() -> None:
    details = {
        "questions": [
            {
                "question": "What?",
                "header": "Drink",
                "multiple": True,
                "custom": False,
                "options": [{"label": "Tea"}],
            },
            {
                "question": "Why?",
                "options": [{"description": "lost"}, "x", {"label": "Thirst", "description": "dry"}],
            },
        ]
    }
    permission = {"permission": "bash", "patterns": ["ls *"], "metadata": {"command": "ls -l"}, "always": ["ls *"]}

    assert asked({"type": "question", "details": details}).questions == (
        Question(text="What?", header="Drink", options=(Option(label="Tea"),), multiple=True, free_text=False),
        Question(text="Why?", options=(Option(label="Thirst", description="dry"),)),
    )
    assert asked({"type": "permission", "details": permission}).permission == Permission(
        action="bash", subjects=("ls -l",), always=("ls *",)
    )
    assert asked({"type": "permission", "details": {"patterns": ["a", "b"]}}).permission == Permission(
        action="", subjects=("a", "b")
    )
    assert asked({}) == InputRequest(text="text", status=STATUS)


@given(json_values)
def test_any_metadata_is_read(interrupt: Any) -> None:
    assert asked(interrupt).text == "text"
    assert asked({"type": "question", "details": interrupt}).kind == "question"
    assert asked({"type": "permission", "details": interrupt}).permission is not None
