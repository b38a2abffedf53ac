"""Fixtures of the tests at a terminal: the agents of the client's tests."""

from __future__ import annotations

from tests.shell.client.conftest import scene, serving

__all__ = ["scene", "serving"]
