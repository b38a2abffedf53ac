"""What the tests against a real OpenCode share: one OpenCode, and one server for each runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from tests.choosing import keep, number_of, parameters_of
from tests.real.adapter import Adapter, running_adapter
from tests.real.installation import UnavailableError, opencode_binary
from tests.real.model_server import running_model
from tests.real.opencode import OpenCode, running_opencode
from tests.real.turn import Caller
from tests.real.wire import CALL_SECONDS, Client

SHARED = "urn:opencode-a2a:extension:session-binding:v1, urn:opencode-a2a:extension:stream-hints:v1"
"""The extensions by which version 1.0 tells what version 0.3 tells unasked."""


FACTORS: Mapping[str, Sequence[str]] = {
    "adapter": ("asyncio", "trio"),
    "version": ("0.3", "1.0"),
    "mode": ("send", "stream"),
}
"""Parameters with two values each, of which OpenCode sees nothing."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep half of the combinations of a test: each pair of values of two of three factors, each value of two.

    `tests/shell` has the same turns on all of them before a scripted OpenCode.
    """
    here = Path(__file__).parent  # the items are those of all folders
    keep(config, items, lambda item: not item.path.is_relative_to(here) or _is_kept(item))


def _is_kept(item: pytest.Item) -> bool:
    parameters = parameters_of(item)
    places = [values.index(str(parameters[name])) for name, values in FACTORS.items() if name in parameters]
    return len(places) < 2 or (sum(places) + number_of(item.nodeid.partition("[")[0], 2)) % 2 == 0


@pytest.fixture(scope="session")
def binary() -> Path:
    try:
        return opencode_binary()
    except UnavailableError as unavailable:
        if os.environ.get("TEST_REQUIRE_REAL") == "1":
            pytest.fail(str(unavailable), pytrace=False)
        pytest.skip(str(unavailable))


@pytest.fixture(scope="session")
def opencode(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenCode]:
    with (
        running_model() as model_url,
        running_opencode(binary, tmp_path_factory.mktemp("opencode"), model_url) as running,
    ):
        yield running


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def adapter(
    request: pytest.FixtureRequest, opencode: OpenCode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Adapter]:
    runtime = str(request.param)
    with running_adapter(runtime, tmp_path_factory.mktemp(f"server-{runtime}"), opencode.url) as running:
        yield running


def connected(adapter: Adapter, version: str, binding: str) -> Client:
    """A client of `adapter`. Version 0.3 is what a server assumes of a client that names no version."""
    headers = {"authorization": f"Bearer {adapter.token}"}
    if version != "0.3":
        headers |= {"a2a-version": version, "a2a-extensions": SHARED}
    http = httpx.Client(base_url=adapter.url, headers=headers, timeout=CALL_SECONDS, trust_env=False)
    return Client(http=http, version=version, binding=binding)


@pytest.fixture(params=["0.3", "1.0"])
def version(request: pytest.FixtureRequest) -> str:
    """A protocol version."""
    return str(request.param)


@pytest.fixture
def client(adapter: Adapter, version: str) -> Iterator[Client]:
    """JSON-RPC."""
    connection = connected(adapter, version, "jsonrpc")
    with connection.http:
        yield connection


@pytest.fixture
def rest_client(adapter: Adapter, version: str) -> Iterator[Client]:
    """HTTP+JSON."""
    connection = connected(adapter, version, "rest")
    with connection.http:
        yield connection


@pytest.fixture(params=["send", "stream"])
def mode(request: pytest.FixtureRequest) -> str:
    """Whether the answer is wanted whole or as a stream."""
    return str(request.param)


@pytest.fixture
def caller(client: Client, mode: str) -> Caller:
    return Caller(client=client, mode=mode)


@pytest.fixture
def rest_caller(rest_client: Client, mode: str) -> Caller:
    return Caller(client=rest_client, mode=mode)
