"""HTTP/2 frames counted: floods are found, clients that work are not disturbed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.transport.frames import LARGEST_FRAME, PREFACE, FrameBudget

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION, UNKNOWN = 0, 1, 2, 3, 4, 6, 8, 9, 77


def frame(kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + b"\0\0\0\1" + payload


@pytest.mark.parametrize(
    "flood",
    [
        frame(SETTINGS),
        frame(PING, b"12345678"),
        frame(PRIORITY, b"12345"),
        frame(WINDOW_UPDATE, b"\0\0\0\1"),
        frame(CONTINUATION, b"x" * 20),
        frame(UNKNOWN, b"x"),
        frame(DATA),
        frame(DATA, b"x"),
        frame(DATA, b"x" * 63),
        frame(DATA, b"\xff" + bytes(255), 8),
        frame(DATA, bytes(319), 8),
        frame(SETTINGS, bytes(60)),
        frame(HEADERS, b"x" * 10, 5) + frame(RST_STREAM, b"\0\0\0\0"),
    ],
    ids=[
        "settings",
        "ping",
        "priority",
        "window",
        "continuation",
        "unknown",
        "empty data",
        "data of a byte",
        "small data",
        "data of padding",
        "small data that may be padding",
        "settings, many at once",
        "rapid reset",
    ],
)
def test_a_flood_is_found_in_its_first_kilobytes(flood: bytes) -> None:
    budget = FrameBudget(0.0)

    assert budget.take(PREFACE + flood * 90, 0.0)
    assert not budget.take(flood * 120, 0.1)


def test_faults_that_make_the_server_reset_streams_are_found() -> None:
    budget = FrameBudget(0.0)

    assert [budget.provoked() for _ in range(101)] == [True] * 100 + [False]
    assert not budget.take(PREFACE + frame(SETTINGS), 0.0)


@pytest.mark.parametrize(("length", "good"), [(LARGEST_FRAME, True), (LARGEST_FRAME + 1, False), (2**24 - 1, False)])
def test_a_frame_that_is_too_large_is_found_by_its_head(length: int, good: bool) -> None:
    head = length.to_bytes(3, "big") + frame(HEADERS)[3:]

    assert FrameBudget(0.0).take(PREFACE + head, 0.0) is good


def test_requests_with_bodies_cost_nothing() -> None:
    budget = FrameBudget(0.0)
    work = frame(HEADERS, b"x" * 30, 4) + frame(DATA, b"y" * 1000) + frame(DATA, b"y" * 64) + frame(DATA, b"z", 1)
    work += frame(DATA, bytes(320), 8)

    assert budget.take(PREFACE + frame(SETTINGS) + work * 2000, 0.0)


def test_who_reads_long_answers_may_acknowledge_them() -> None:
    budget = FrameBudget(0.0)
    assert budget.take(PREFACE, 0.0)
    for _ in range(2000):
        budget.sent()
        assert budget.take(frame(WINDOW_UPDATE, b"\0\0\1\0") * 2, 0.0)


def test_a_ping_now_and_then_is_welcome() -> None:
    budget = FrameBudget(0.0)
    assert budget.take(PREFACE, 0.0)
    assert all(budget.take(frame(PING, b"12345678"), float(second)) for second in range(1000))


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(0, 300))
def test_frames_are_counted_alike_however_they_are_cut(cuts: list[int], pings: int) -> None:
    data = PREFACE + (frame(PING, b"12345678") + frame(DATA, b"z" * 64)) * pings
    whole, cut = FrameBudget(0.0), FrameBudget(0.0)
    at, ok = 0, True
    for size in [*cuts, len(data)]:
        ok = ok and cut.take(data[at : at + size], 0.0)
        at += size

    assert whole.take(data, 0.0) is ok is (pings <= 200)
