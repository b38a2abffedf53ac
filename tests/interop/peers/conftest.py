"""Fixtures of the tests with other people's agents: each is started when it is first wanted, once a session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.interop.peers.peer import OF_NAME
from tests.real.installation import UnavailableError


@pytest.fixture(scope="session")
def url_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The URL of a running agent by its name."""
    urls: dict[str, str] = {}

    with ExitStack() as stack:

        def url(name: str) -> str:
            if name not in urls:
                folder = tmp_path_factory.mktemp("peer")
                try:
                    urls[name] = stack.enter_context(OF_NAME[name].start(folder))
                except UnavailableError as unavailable:
                    if os.environ.get("TEST_REQUIRE_INTEROP") == "1":
                        pytest.fail(str(unavailable), pytrace=False)
                    pytest.skip(str(unavailable))
            return urls[name]

        yield url
