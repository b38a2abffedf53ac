"""Chooses among tests by their names, and leaves tests out. Knows no test."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest


def number_of(test: str, count: int) -> int:
    """A number below `count` that a test's name gives: the same in every process, unlike `hash`."""
    return zlib.crc32(test.encode()) % count


def parameters_of(item: pytest.Item) -> dict[str, object]:
    """The parameters of a collected test by their names; none where it has none."""
    return dict(item.callspec.params) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def keep(config: pytest.Config, items: list[pytest.Item], is_kept: Callable[[pytest.Item], bool]) -> None:
    """Leave out of a collection what is not kept, and have pytest count it as deselected."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        (kept if is_kept(item) else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
