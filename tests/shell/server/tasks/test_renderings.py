"""Readers who keep up share the rendering of an event; one who is behind gets the same bytes, and nothing stays."""

from __future__ import annotations

from typing import Any, cast

from attrs import define, field

from opencode_a2a.server.tasks.renderings import Renderings
from sansio.a2a.model import StreamItem, TaskState, TaskStatus
from sansio.a2a.server import Call
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.tasks.task_log import Entry, StatusChanged, TaskLog

VIEW = Presentation.of_key("1.0")


@define
class Encoding:
    """A call that counts what it encodes."""

    encoding: str = "counted"
    made: list[int] = field(factory=list)

    def encode(self, item: StreamItem, number: int, presentation: Presentation) -> bytes:
        self.made.append(number)
        return b"%d" % number


def entries(count: int) -> list[Entry]:
    log = TaskLog("t", "c")
    for _ in range(count):
        log.append(StatusChanged(status=TaskStatus(state=TaskState.WORKING, timestamp="2026-01-01T00:00:00Z")))
    return [entry for entry in log.since(0) if entry.item is not None]


def rendered(renderings: Renderings, call: Encoding, which: list[Entry]) -> list[bytes]:
    return [renderings.encoded(entry, VIEW, cast(Call, cast(Any, call)), ends=False) for entry in which]


def test_readers_who_keep_up_share_a_rendering() -> None:
    renderings, call, log = Renderings(), Encoding(), entries(100)
    for entry in log:
        first, second = (rendered(renderings, call, [entry]) for _ in range(2))
        assert first == second == [b"%d" % entry.number]

    assert call.made == [entry.number for entry in log]


def test_the_newest_stay_whoever_reads_what_is_older() -> None:
    renderings, call, log = Renderings(), Encoding(), entries(100)
    whole = rendered(renderings, call, log)
    call.made.clear()

    assert rendered(renderings, call, log) == whole
    assert call.made == [entry.number for entry in log[:-64]]
    call.made.clear()
    assert rendered(renderings, call, log[-64:]) == whole[-64:]
    assert call.made == []
    renderings.forget(log[-2].number)
    rendered(renderings, call, log[-2:])
    assert call.made == [log[-2].number]
