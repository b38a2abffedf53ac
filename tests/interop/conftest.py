"""What the interop tests share: a server for each runtime, a driver for each client, and every way between them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.choosing import in_turn, keep, number_of, parameters_of
from tests.interop.agent import READY_MADE, SOCKETS, WAYS, Agent, Way, meets
from tests.interop.driver import BROWSER, Driver, running_driver
from tests.interop.matrix import OPERATION, WAY
from tests.interop.server import OVER_HTTP, SERVERS, Served, running_replicas, running_server
from tests.real.adapter import Adapter
from tests.real.installation import UnavailableError

_INSTALLING = 600.0  # seconds: the first test that needs a client or an agent installs it, within its own time


PAGES = "tests/interop/console/"
_EVERY_WAY = (*WAYS, *READY_MADE, *SOCKETS)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "operation(name): what the test is about, for the matrix of clients and operations"
    )


def is_chosen(test: str, way: Way, server: str) -> bool:
    """Whether a client's test runs with a server: with one of the two runtimes, and with replicas wherever it can.

    Each test sees both runtimes, and so does each way: what lies behind a binding does not know its client, and
    `tests/shell` has the product of runtimes and codecs.
    """
    if server not in SERVERS:
        return meets(way, server)
    met = [one for one in SERVERS if meets(way, one)]
    return bool(met) and server == met[(number_of(test, len(met)) + _EVERY_WAY.index(way)) % len(met)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the report say which way a test went and what it is about; leave out what no client meets."""
    for item in items:
        if item.get_closest_marker("interop") is not None:
            item.add_marker(pytest.mark.timeout(_INSTALLING))
        parameters = parameters_of(item)
        mark = item.get_closest_marker("operation")
        operation = mark.args[0] if mark is not None else parameters.get("operation")
        way = _way_of(parameters)
        if way is not None and operation is not None:
            item.user_properties += [(WAY, str(way)), (OPERATION, operation)]
    # A page sees HTTP, and no event loop.
    of_pages = [item for item in items if item.nodeid.startswith(PAGES)]
    left_out = frozenset(of_pages) - in_turn(of_pages)
    keep(config, items, lambda item: item not in left_out and _is_kept(item))


def _way_of(parameters: Mapping[str, object]) -> Way | None:
    return next((value for value in parameters.values() if isinstance(value, Way)), None)


def _is_kept(item: pytest.Item) -> bool:
    parameters = parameters_of(item)
    way, server = _way_of(parameters), parameters.get("served", parameters.get("server"))
    return way is None or server is None or is_chosen(item.nodeid.partition("[")[0], way, str(server))


@pytest.fixture(scope="session")
def driver_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Driver]]:
    """The running driver of a client, started when it is first wanted."""
    drivers: dict[str, Driver] = {}
    missing: dict[str, str] = {}

    with ExitStack() as stack:

        def driver(client: str) -> Driver:
            if client not in drivers and client not in missing:
                home = tmp_path_factory.mktemp(client)
                try:
                    drivers[client] = stack.enter_context(running_driver(client, home))
                except UnavailableError as unavailable:
                    missing[client] = str(unavailable)
            if client in missing:
                # `.ci/run` says so where it cannot have a browser
                is_left_out = client == BROWSER and os.environ.get("INTEROP_WITHOUT_BROWSER") == "1"
                if os.environ.get("TEST_REQUIRE_INTEROP") == "1" and not is_left_out:
                    pytest.fail(missing[client], pytrace=False)
                pytest.skip(missing[client])
            return drivers[client]

        yield driver


@pytest.fixture(scope="session", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    runtime = str(request.param)
    if runtime == "replicas":
        yield request.getfixturevalue("replicas")
        return
    with running_server(runtime, tmp_path_factory.mktemp(f"server-{runtime}")) as running:
        yield running


@pytest.fixture(scope="session")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Three servers on one PostgreSQL behind nginx, each request to the next of them."""
    with running_replicas(tmp_path_factory.mktemp("replicas"), OVER_HTTP) as running:
        yield running


@pytest.fixture(scope="session")
def server(served: Served) -> Adapter:
    return served.adapter


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """A client, a version and a binding."""
    assert isinstance(request.param, Way)
    return request.param


@pytest.fixture
def agent(way: Way, server: Adapter, driver_of: Callable[[str], Driver]) -> Agent:
    """The server as one client sees it."""
    return Agent(way=way, driver=driver_of(way.client), server=server)
