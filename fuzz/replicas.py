"""The target of what servers that share a store notify each other of."""

from __future__ import annotations

from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.a2a.replicas.changes import MOST_BYTES, changes_text, parse_changes

_UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def check_changes(data: bytes) -> None:
    """Any text has a meaning, which a text of ours within its bound says again, or that everything changed."""
    sender, changes = parse_changes(data.decode("utf-8", "replace"))
    text = changes_text("sender", changes)
    again = parse_changes(text)[1]
    require(" " not in sender, "a sender of several words")
    require(len(text.encode()) <= MOST_BYTES, "a text too long")
    require(again.orphans == changes.orphans, "orphans are lost")
    require(again.everything or again.task_ids == changes.task_ids, "a task is lost")


_words = st.sampled_from(("*", "!", "=a", "=", "~", "~AAAAAAAAAAAAAAAAAAAAAA", "~Dw4NDAsKSQiHBgUEAwIBAA", "", "?x"))

TARGETS = (
    Target(
        name="changes",
        check=check_changes,
        documents=(b"a =task-1 =task-2", b"a !", b"a *", f"a ={_UUID}".encode(), b"a ~Dw4NDAsKSQiHBgUEAwIBAA"),
        strategy=st.lists(_words | st.text(max_size=30), max_size=400).map(lambda words: " ".join(words).encode())
        | st.binary(max_size=200),
    ),
)
