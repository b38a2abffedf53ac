"""What every test shares: Hypothesis profiles and the switches for tests that need other people's programs.

Must not know any of our packages, so that a broken import shows up in the test that needs it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, settings

from tests.choosing import keep

# A module of asserts that is no test. It is named here and not in its package, as what installs other people's
# programs imports that before pytest is there.
pytest.register_assert_rewrite("tests.real.turn")

settings.register_profile("default", max_examples=60, deadline=None)
settings.register_profile(
    "ci",
    max_examples=25,  # the same in each run: what others find is the fuzzer's, which draws anew
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


OPT_IN = {"real": "TEST_REAL", "interop": "TEST_INTEROP"}
"""The marks of tests that install other people's programs, and the variables that ask for them.

They have no prefix of the product, which would warn of them where its output is tested.
"""


def is_wanted(mark: str, mark_expression: str, environment: Mapping[str, str]) -> bool:
    """Whether tests with such a mark run: by environment, or because `-m` speaks of them."""
    asked = (OPT_IN[mark], OPT_IN[mark].replace("TEST_", "TEST_REQUIRE_"))
    return mark in mark_expression.split() or any(environment.get(name) == "1" for name in asked)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_auto_num_workers() -> int:
    """Count the processes of `-n auto`: one more than cores, because tests wait for a tenth of their time."""
    usable = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cores = len(usable(0)) if usable is not None else os.cpu_count() or 1
    return cores + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    expression = config.getoption("markexpr") or ""
    unwanted = [mark for mark in OPT_IN if not is_wanted(mark, expression, os.environ)]
    keep(config, items, lambda item: not any(item.get_closest_marker(mark) for mark in unwanted))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Freeze what there is by now: each full garbage collection would look at all of it, and finds nothing."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `tests/shell`, which have to be known before it is collected."""
    parser.addoption(
        "--replicas",
        choices=("sample", "whole"),
        help="run the shell's tests on three servers of one database: a case of every third, or all cases",
    )
