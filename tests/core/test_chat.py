"""What a typed line means, what Ctrl-C does, and where the next message of a conversation goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.model import TaskState
from sansio.chat import (
    COMMANDS,
    KEYS,
    LINE_LIMIT,
    ChatState,
    Interruption,
    Interruptions,
    Mistake,
    Run,
    Say,
    complete,
    help_lines,
    parse_line,
)


@pytest.mark.parametrize(
    ("typed", "meaning"),
    [
        ("", None),
        (" \n\t", None),
        ("hello", Say("hello")),
        ("two\nlines", Say("two\nlines")),
        ("/quit", Run("quit")),
        ("/quit  ", Run("quit")),
        ("/file  my plan.pdf ", Run("file", "my plan.pdf")),
        ("/model a/b", Run("model", "a/b")),
        ("/etc/hosts is wrong", Say("/etc/hosts is wrong")),
        ("/* a comment */", Say("/* a comment */")),
        ("/quit\nis what I typed", Say("/quit\nis what I typed")),
        ("//quit", Say("/quit")),
        (" /quit", Say(" /quit")),
        ("/", Say("/")),
    ],
)
def test_a_line_is_a_message_or_a_command(typed: str, meaning: Say | Run | None) -> None:
    assert parse_line(typed) == meaning


@pytest.mark.parametrize(
    ("typed", "reason"),
    [("/exit", "no command /exit"), ("/quit now", "takes nothing"), ("x" * (LINE_LIMIT + 1), "/file")],
)
def test_what_is_nearly_a_command_is_not_sent(typed: str, reason: str) -> None:
    meaning = parse_line(typed)

    assert isinstance(meaning, Mistake)
    assert reason in meaning.reason


@given(st.text())
def test_any_text_has_a_meaning_and_a_message_loses_nothing(typed: str) -> None:
    meaning = parse_line(typed)

    assert (meaning is None) is (not typed.strip())
    if isinstance(meaning, Say):
        assert typed in (meaning.text, f"/{meaning.text}")


def test_every_command_is_completed_and_in_the_help() -> None:
    assert list(complete("/")) == list(COMMANDS)
    assert [one.name for one in complete("/c")] == ["context", "cancel"]
    assert list(complete("c")) == list(complete("/quit now")) == []
    assert all(any(f"/{command.name}" in line for line in help_lines()) for command in COMMANDS)
    assert all(parse_line(f"/{command.name}") == Run(command.name) for command in COMMANDS)


def test_a_task_that_waits_gets_the_next_message() -> None:
    state = ChatState().after(context_id="c", task_id="t", state=TaskState.INPUT_REQUIRED)

    assert state == ChatState(context_id="c", task_id="t")
    assert state.after(context_id=None, task_id="t", state=TaskState.COMPLETED) == ChatState(context_id="c")
    assert state.after(context_id="d", task_id=None, state=None) == ChatState(context_id="d")
    assert state.refused() == ChatState(context_id="c")


def test_ctrl_c_while_a_task_is_at_work_cancels_it_and_twice_leaves() -> None:
    interruptions = Interruptions()

    assert [interruptions.while_running(), interruptions.while_running()] == [Interruption.CANCEL, Interruption.LEAVE]
    interruptions.reset()
    assert interruptions.while_running() is Interruption.CANCEL


def test_ctrl_c_drops_a_line_and_leaves_from_an_empty_one_only_if_it_comes_again() -> None:
    interruptions = Interruptions()
    effects = [interruptions.while_typing(text) for text in ("abc", "", "abc", "", "")]

    assert [effect.name for effect in effects] == ["DROP", "EXPLAIN", "DROP", "EXPLAIN", "LEAVE"]


def test_the_help_has_a_line_for_each_command_and_key() -> None:
    lines = list(help_lines())

    assert len(lines) == len(COMMANDS) + len(KEYS)
    assert all(any(key in line and about in line for line in lines) for key, about in KEYS)
