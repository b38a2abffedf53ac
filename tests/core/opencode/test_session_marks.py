"""The mark by which a session is known to be made for a principal."""

from __future__ import annotations

import pytest

from sansio.a2a.model import JsonObject
from sansio.opencode.session_marks import created_at, mark_in, mark_of, marked_for


def test_a_marked_session_names_its_principal_and_nobody_else() -> None:
    session: JsonObject = {"id": "ses_1", "metadata": {"theirs": 1, **marked_for("alice")}}

    assert mark_in(session) == mark_of("alice") != mark_of("bob")
    assert "alice" not in str(marked_for("alice"))


@pytest.mark.parametrize(
    "metadata", [None, [], {}, {"opencode-a2a": None}, {"opencode-a2a": {}}, {"opencode-a2a": {"owner": 5}}]
)
def test_what_is_no_mark_marks_nothing(metadata: object) -> None:
    assert mark_in({"id": "ses_1", "metadata": metadata}) is None
    assert mark_in({"id": "ses_1"}) is None


@pytest.mark.parametrize(("time", "when"), [({"created": 7}, 7), ({}, None), (None, None), ({"created": "7"}, None)])
def test_when_a_session_was_made(time: object, when: int | None) -> None:
    assert created_at({"time": time}) == when
