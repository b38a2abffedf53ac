"""Fixtures of the tests at a terminal: the agents of the client's tests, and one runtime for each test."""

from __future__ import annotations

import pytest

from tests.shell.cases import runtime_in_turn
from tests.shell.client.conftest import scene, serving

__all__ = ["anyio_backend", "scene", "serving"]


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """A runtime in turn: each test starts a process of a second, and what is drawn does not depend on its loop.

    `tests/shell/client/test_call.py` and `test_call_answers.py` run the same command on both.
    """
    return runtime_in_turn(request.node.name)
