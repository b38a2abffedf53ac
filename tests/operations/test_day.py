"""A short day of an operator, on both runtimes; `python -m tests.operations` has a longer one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operations.day import Plan, day
from tests.operations.records import Connection, End, Record, Row, table

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_no_stream_is_lost_whatever_the_operator_does(anyio_backend: str, tmp_path: Path) -> None:
    plan = Plan(runtime=anyio_backend, streams=8, leaving=2, tokens=30, pause=0.05, grace=0.3, retention=4.0)
    async with day(plan, tmp_path) as found:
        await found.run()

    rows = {row.step: row for row in found.rows}
    assert found.wrong == [], table(found.rows)
    assert [len(row.streams) for row in found.rows[:-1]] == [10, 10, 8, 8, 8]
    assert {row.count(End.LOST) for row in found.rows} == {0}
    assert [row.count(End.REVOKED) for row in found.rows] == [0, 2, 0, 0, 0, 2]
    assert {one.principal for one in rows["rotate credentials"].streams if one.was_cut} == {"team"}
    assert sum(rows[step].resumed for step in ("upgrade", "backup, restore", "retention, doctor")) > 0


def record(*connections: Connection, replayed: list[int]) -> Record:
    return Record(
        tag="t",
        message_id="m",
        wire="1.0 JSONRPC",
        principal="team",
        end=End.WHOLE,
        connections=[*connections],
        replayed=replayed,
    )


def test_events_that_are_missing_or_come_again_are_counted() -> None:
    def heard(after: int | None, *ids: int) -> Connection:
        connection = Connection(after)
        body = b"".join(b"id: %d\ndata: {}\n\n" % number for number in ids) + b': \n\ndata: {"error": 1}\n\n'
        for start in range(0, len(body), 7):
            connection.feed(body[start : start + 7])
        return connection

    good = record(heard(None, 2, 4), heard(4, 4, 900, 901), replayed=[4, 900, 901])
    again = record(heard(None, 2, 4), heard(4, 4, 4, 5), replayed=[4, 5])
    behind = record(heard(None, 2, 5, 4), replayed=[4, 5])
    missing = record(heard(None, 2, 4), heard(4, 4, 6), replayed=[4, 5, 6])

    found = [(one.duplicates, one.gaps, one.is_wrong) for one in (good, again, behind, missing)]
    assert found == [(0, 0, False), (1, 0, True), (1, 0, True), (0, 1, True)]
    assert record(heard(None), heard(None, 2, 4), replayed=[4]).first_id == 2  # the first was cut at its beginning
    lines = table([Row(step="upgrade", streams=(good, missing), stopped=1.0, ready=2.04)]).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")] == (
        ["", "upgrade", "2", "0", "2", "0", "0", "1", "1.0", "2.0", "", ""]
    )
