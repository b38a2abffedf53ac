"""What the tests against a real OpenCode share: one OpenCode, and one server for each runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.choosing import RUNTIMES, in_turn, keep, number_of, parameters_of
from tests.real.adapter import Adapter, running_adapter
from tests.real.installation import UnavailableError, opencode_binary
from tests.real.model_server import running_model
from tests.real.opencode import OpenCode, running_opencode
from tests.real.turn import Caller
from tests.real.wire import CALL_SECONDS, Client

SHARED = "urn:opencode-a2a:extension:session-binding:v1, urn:opencode-a2a:extension:stream-hints:v1"
"""The extensions by which version 1.0 tells what version 0.3 tells unasked."""


FACTORS: Sequence[Sequence[str]] = (RUNTIMES, ("0.3", "1.0"), ("send", "stream"))
"""What a test may vary of which OpenCode sees nothing: the runtime, the version, and whether an answer streams."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out combinations of these factors, as `tests/shell` has all of them before a scripted OpenCode.

    A test of one factor runs on one runtime in turn; one of several as two cases that differ in every factor.
    """
    here = Path(__file__).parent.relative_to(config.rootpath)  # the items are those of all folders
    ours = [item for item in items if item.nodeid.startswith(f"{here}/")]
    left_out = frozenset(ours) - in_turn([item for item in ours if is_chosen(item)])
    keep(config, items, lambda item: item not in left_out)


def is_chosen(item: pytest.Item) -> bool:
    """Whether a case is one of the two that a test of several factors runs as: it sees each value of each."""
    parameters = parameters_of(item).values()
    places = [values.index(str(value)) for values in FACTORS for value in parameters if value in values]
    flipped = number_of(item.nodeid.partition("[")[0], 2 ** max(len(places) - 1, 0))
    return len({(place ^ (flipped >> bit)) & 1 for bit, place in enumerate(places)}) <= 1


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
