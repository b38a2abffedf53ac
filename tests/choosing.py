"""Chooses among tests by their names, and leaves tests out. Knows no test."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import pytest

RUNTIMES = ("asyncio", "trio")


def number_of(test: str, count: int) -> int:
    """A number below `count` that a test's name gives: the same in every process, unlike `hash`."""
    return zlib.crc32(test.encode()) % count


def parameters_of(item: pytest.Item) -> dict[str, object]:
    """The parameters of a collected test by their names; none where it has none."""
    return dict(item.callspec.params) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def in_turn(items: Sequence[pytest.Item]) -> frozenset[pytest.Item]:
    """Of two cases that differ in their runtime alone, the one that their name gives; and every other case.

    So a table of cases goes to both runtimes.
    """
    cases: dict[str, dict[str, pytest.Item]] = {}
    kept: set[pytest.Item] = set()
    for item in items:
        runtime = next((str(value) for value in parameters_of(item).values() if value in RUNTIMES), None)
        if runtime is None:
            kept.add(item)
        else:
            test, _, case = item.nodeid.partition("[")
            cases.setdefault(f"{test}[{case.replace(runtime, '')}", {})[runtime] = item
    for name, by_runtime in cases.items():
        chosen = RUNTIMES[number_of(name, len(RUNTIMES))]
        kept |= {by_runtime[chosen]} if len(by_runtime) == len(RUNTIMES) else set(by_runtime.values())
    return frozenset(kept)


def keep(config: pytest.Config, items: list[pytest.Item], is_kept: Callable[[pytest.Item], bool]) -> None:
    """Leave out of a collection what is not kept, and have pytest count it as deselected."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        (kept if is_kept(item) else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
