"""What every test shares: Hypothesis profiles and the switch for tests that need a real OpenCode.

Must not know any of our packages, so that a broken import shows up in the test that needs it.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=60, deadline=None)
settings.register_profile(
    "ci",
    max_examples=100,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


def real_is_wanted(mark_expression: str, environment: dict[str, str]) -> bool:
    """Whether tests marked `real` run: by environment, or because `-m` speaks of them."""
    asked = ("OPENCODE_A2A_REAL", "OPENCODE_A2A_REQUIRE_REAL")
    return "real" in mark_expression.split() or any(environment.get(name) == "1" for name in asked)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if real_is_wanted(config.getoption("markexpr") or "", dict(os.environ)):
        return
    left_out = [item for item in items if item.get_closest_marker("real")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("real") is None]
