"""Databases that earlier releases have written, once a session, beside the OpenCode that goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.interop.upgrade.earlier import Written, written_by
from tests.real.installation import UnavailableError


@pytest.fixture(scope="session")
def written_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Written]]:
    """The database of a release, by its version."""
    made: dict[str, Written] = {}

    with ExitStack() as stack:

        def written(version: str) -> Written:
            if version not in made:
                folder = tmp_path_factory.mktemp("earlier").resolve()
                try:
                    made[version] = stack.enter_context(written_by(version, folder, signal.SIGTERM))
                except UnavailableError as unavailable:
                    if os.environ.get("TEST_REQUIRE_INTEROP") == "1":
                        pytest.fail(str(unavailable), pytrace=False)
                    pytest.skip(str(unavailable))
            return made[version]

        yield written
