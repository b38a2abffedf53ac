"""Every input that ever broke an invariant keeps it now; `python -m fuzz` adds the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.running import REGRESSIONS
from fuzz.targets import TARGETS

KEPT = sorted(REGRESSIONS.glob("*/*.bin"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_input_that_once_broke_an_invariant_keeps_it(path: Path) -> None:
    TARGETS[path.parent.name].check(path.read_bytes())


def test_regressions_belong_to_targets() -> None:
    assert KEPT
    assert {path.parent.name for path in KEPT} <= set(TARGETS)
