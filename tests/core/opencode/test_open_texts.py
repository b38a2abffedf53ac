"""Texts that are being written, collected from the bus: as they stand when somebody asks, and never too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.opencode.turns.open_texts import OpenTexts
from sansio.opencode.upstream.events import BusEvent, InstanceDisposed, PartSeen, SessionDeleted, SessionStatus
from tests.core.opencode.test_turn import ANSWER, IDLE, SESSION, delta, message, part, tool, whole

STARTED = part("prt_1", text="", time={"start": 1})


def taken(texts: OpenTexts) -> list[tuple[str, str]]:
    return [(one.part_id, one.body["text"]) for one in texts.take(SESSION)]


def noted(*events: BusEvent, limit: int = 10_000) -> OpenTexts:
    texts = OpenTexts(limit)
    for event in events:
        texts.note(event)
    return texts


def test_a_text_is_taken_once_as_it_stands() -> None:
    texts = noted(STARTED, delta("prt_1", "Hel"), part("prt_2", "reasoning", text="why"), delta("prt_1", "lo"))

    [first, second] = texts.take(SESSION)

    assert (first.part_id, first.type, first.message_id) == ("prt_1", "text", ANSWER)
    assert first.body == {"text": "Hello", "time": {"start": 1}}
    assert (second.type, second.body["text"]) == ("reasoning", "why")
    assert (texts.take(SESSION), texts.size) == ([], 0)


def test_a_text_that_is_sent_whole_again_takes_the_place_of_its_pieces() -> None:
    assert taken(noted(STARTED, delta("prt_1", "Hel"), part("prt_1", text="Hello"), delta("prt_1", "!"))) == [
        ("prt_1", "Hello!")
    ]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(whole("prt_1", "Hello"), id="complete"),
        pytest.param(part("prt_1", text="", synthetic=True), id="not to be read"),
        pytest.param(IDLE, id="session at rest"),
        pytest.param(SessionDeleted(session_id=SESSION), id="session deleted"),
    ],
)
def test_a_text_that_is_over_is_forgotten(end: BusEvent) -> None:
    texts = noted(STARTED, delta("prt_1", "Hello"), end, delta("prt_1", "late"))

    assert texts.size == 0
    assert taken(texts) == []


def test_what_is_no_text_is_not_collected() -> None:
    busy = SessionStatus(session_id=SESSION, type="busy")
    texts = noted(
        delta("prt_0", "beginning missed"),
        tool("running"),
        part("prt_s", "step-start"),
        message(),
        InstanceDisposed(),
        STARTED,
        delta("prt_1", "{", field="raw"),
        busy,
    )

    assert taken(texts) == [("prt_1", "")]


def test_nothing_is_known_after_a_gap() -> None:
    texts = noted(STARTED, delta("prt_1", "Hel"))

    texts.clear()
    texts.note(delta("prt_1", "lo"))

    assert (texts.size, taken(texts)) == (0, [])


def test_beyond_the_bound_the_oldest_text_is_given_up() -> None:
    other = PartSeen(session_id="ses_other", message_id="msg_o", part_id="prt_o", type="text", body={"text": ""})
    texts = noted(other, STARTED, limit=600)

    texts.note(delta("prt_1", "x" * 100))

    assert texts.take("ses_other") == []
    assert taken(texts) == [("prt_1", "x" * 100)]


def test_a_text_that_is_too_long_is_given_up_and_stays_so() -> None:
    texts = noted(STARTED, delta("prt_1", "x" * 1000), delta("prt_1", "y"), limit=600)

    assert (texts.size, taken(texts)) == (0, [])


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=200)), max_size=60))
def test_the_bound_holds_and_what_is_left_is_whole(pieces: list[tuple[int, str]]) -> None:
    texts, written = OpenTexts(1000), dict[str, str]()
    for number, piece in pieces:
        part_id = f"prt_{number}"
        if part_id not in written:
            written[part_id] = ""
            texts.note(part(part_id, text=""))
        written[part_id] += piece
        texts.note(delta(part_id, piece))
        assert texts.size <= 1000

    assert all(written[part_id] == text for part_id, text in taken(texts))
    assert texts.size == 0
