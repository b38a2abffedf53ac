"""Runs a target for a time: mutation and generation by turns, and what to keep of a failure.

The order of inputs depends on the seed alone; the time only decides how far it gets.
"""

from __future__ import annotations

import hashlib
import time
from itertools import count
from pathlib import Path
from random import Random

from attrs import frozen
from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.mutation import mutated, reduced
from fuzz.target import Target

REGRESSIONS = Path(__file__).parent.parent / "tests" / "regressions"

_MUTATIONS = 200
_EXAMPLES = 20


@frozen(kw_only=True)
class Failure:
    """An input that breaks a target's invariant, as small as could be found."""

    data: bytes
    error: Exception


@frozen(kw_only=True)
class Run:
    """What a target's time was spent on."""

    runs: int
    seconds: float
    failure: Failure | None = None


def failure_of(target: Target, data: bytes) -> Failure | None:
    """The failure the input is, if it is one."""
    try:
        target.check(data)
    except Exception as error:  # whatever a check raises is what fuzzing looks for
        return Failure(data=data, error=error)
    return None


def _smallest(target: Target, found: Failure) -> Failure:
    def fails_alike(data: bytes) -> bool:
        failure = failure_of(target, data)
        return failure is not None and type(failure.error) is type(found.error)

    return failure_of(target, reduced(found.data, fails_alike)) or found


def _mutate(target: Target, random: Random) -> Failure | None:
    for _ in range(_MUTATIONS):
        found = failure_of(target, mutated(target.documents, random))
        if found is not None:
            return _smallest(target, found)
    return None


def _generate(target: Target, number: int) -> Failure | None:
    """A batch of generated inputs; Hypothesis shrinks what fails, and reports the smallest last."""
    found: list[Failure] = []

    @seed(number)
    @settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(target.strategy)
    def batch(data: bytes) -> None:
        failure = failure_of(target, data)
        if failure is not None:
            found.append(failure)
            raise failure.error

    try:
        batch()
    except Exception:
        if not found:
            raise
    return found[-1] if found else None


def run(target: Target, seconds: float, number: int) -> Run:
    """Look for a failure for `seconds`, if any in one batch at least; `number` seeds all chance.

    The good documents are checked first.
    """
    begun = time.monotonic()
    runs = 0
    for document in target.documents:
        runs += 1
        failure = failure_of(target, document)
        if failure is not None:
            return Run(runs=runs, seconds=time.monotonic() - begun, failure=_smallest(target, failure))
    random = Random(f"{target.name}:{number}")
    for turn in count():
        if (turn or not seconds) and time.monotonic() - begun >= seconds:
            break
        if turn % 2:
            failure, size = _generate(target, random.getrandbits(32)), _EXAMPLES
        else:
            failure, size = _mutate(target, random), _MUTATIONS
        runs += size
        if failure is not None:
            return Run(runs=runs, seconds=time.monotonic() - begun, failure=failure)
    return Run(runs=runs, seconds=time.monotonic() - begun)


def keep(target: Target, failure: Failure, folder: Path = REGRESSIONS) -> Path:
    """Write the failure where the regression tests find it; returns the file."""
    path = folder / target.name / f"{hashlib.sha256(failure.data).hexdigest()[:16]}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(failure.data)
    return path
