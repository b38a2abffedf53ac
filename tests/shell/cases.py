"""Decorators for the runtimes and codecs that a test runs on.

A codec is a protocol version on a binding. `WIRES` on both runtimes, the full product, is for what lies between the
socket and the service: codecs, bindings, dispatch. What lies behind it does not know which codec it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pytest

from sansio.a2a.versions import VERSIONS
from tests.choosing import number_of
from tests.shell.harness import (
    ALL_WIRES,
    GRPC_03,
    HTTP_WIRES,
    JSON_WIRES,
    REST_03,
    REST_10,
    RPC_03,
    RPC_10,
    WEBSOCKET_10,
    WIRES,
    Wire,
)

_Test = TypeVar("_Test", bound=Callable[..., Any])

_RUNTIMES = ("asyncio", "trio")
_OTHER_IN_BOTH = {RPC_03: REST_10, REST_10: RPC_03, RPC_10: REST_03, REST_03: RPC_10}
"""For each codec, the one that differs from it in version and in binding."""

_APART = (RPC_03, REST_10, GRPC_03, WEBSOCKET_10)
"""One of each binding, and two of each version: those that run on one runtime where the others run on the other."""

_IN_TURN = (
    *(("asyncio", RPC_03), ("trio", REST_10), ("asyncio", RPC_10), ("trio", REST_03)),
    *(("trio", RPC_03), ("asyncio", REST_10), ("trio", RPC_10), ("asyncio", REST_03)),
)
"""All runtimes with all codecs; neighbours differ in as much as can be."""


def _number(test: Callable[..., Any], count: int) -> int:
    return number_of(f"{test.__module__}.{test.__name__}", count)


def _run_on(test: _Test, cases: list[tuple[str, Wire]]) -> _Test:
    ids = [f"{runtime}-{wire}" for runtime, wire in cases]
    decorated: _Test = pytest.mark.parametrize(("anyio_backend", "wire"), cases, ids=ids)(test)
    return decorated


def one_codec(test: _Test) -> _Test:
    """Run behaviour on both runtimes, each with one codec; the two differ in version and in binding.

    The test's name chooses, so that both pairs of codecs are seen across the suite, either way round.
    """
    first = WIRES[_number(test, len(WIRES))]
    return _run_on(test, [("asyncio", first), ("trio", _OTHER_IN_BOTH[first])])


def one_version(test: _Test) -> _Test:
    """Run behaviour of a method on both runtimes, each with one `version`; the test's name chooses which."""
    versions = VERSIONS if _number(test, 2) else VERSIONS[::-1]
    cases = [*zip(_RUNTIMES, versions, strict=True)]
    decorated: _Test = pytest.mark.parametrize(("anyio_backend", "version"), cases)(test)
    return decorated


def every_json_codec(test: _Test) -> _Test:
    """Run what no message of Protocol Buffers can say, or no answer of gRPC has, on the other six."""
    return _on_one_runtime(test, JSON_WIRES)


def every_http_codec(test: _Test) -> _Test:
    """Run what a call has that is one HTTP request, on the six whose calls are: all but those over WebSocket."""
    return _on_one_runtime(test, HTTP_WIRES)


def every_http_json_codec(test: _Test) -> _Test:
    """Run the same on the four that are neither over WebSocket nor over gRPC."""
    return _on_one_runtime(test, WIRES)


def every_codec(test: _Test) -> _Test:
    """Run what a codec, its version or its binding could get wrong on all eight, each on one runtime.

    Each version and each binding is seen on both runtimes; the test's name chooses which.
    """
    return _on_one_runtime(test, ALL_WIRES)


def every_listing_codec(test: _Test) -> _Test:
    """Run what is about lists of tasks on the seven that have them: version 0.3 has no such method over gRPC."""
    return _on_one_runtime(test, [wire for wire in ALL_WIRES if wire != GRPC_03])


def _on_one_runtime(test: _Test, wires: Sequence[Wire]) -> _Test:
    swapped = _number(test, 2)
    runtimes = {wire: "trio" if (wire in _APART) == swapped else "asyncio" for wire in wires}
    return _run_on(test, [(runtimes[wire], wire) for wire in wires])


def runtime_in_turn(test: str) -> str:
    """Choose one of the runtimes for a test by its name, where what it shows lies above the event loop."""
    return _RUNTIMES[number_of(test, len(_RUNTIMES))]


full_product = pytest.mark.parametrize("wire", HTTP_WIRES, ids=str)
"""The full product, for codecs, bindings and dispatch. Of WebSocket, which costs a handshake each, it lacks rows."""

json_product = pytest.mark.parametrize("wire", WIRES, ids=str)
"""The same without gRPC, for what its messages cannot say, or its answers do not have."""


def each_value(
    names: str, values: Iterable[Any], *, wire: bool = False, ids: Callable[[Any], str] | None = None
) -> pytest.MarkDecorator:
    """Run a table of values, each value on one runtime in turn: the value makes the difference, not the loop.

    With `wire`, each value has a codec too, in turn as well.
    """
    arguments = [name.strip() for name in names.split(",")]

    def id_of(value: Any) -> str | None:
        if isinstance(value, Wire):
            return str(value)
        return None if ids is None or value in _RUNTIMES else ids(value)

    cases = []
    for number, value in enumerate(values):
        runtime, codec = _IN_TURN[number % len(_IN_TURN)]
        row = value if len(arguments) > 1 else (value,)
        cases.append((runtime, codec, *row) if wire else (runtime, *row))
    leading = ("anyio_backend", "wire") if wire else ("anyio_backend",)
    return pytest.mark.parametrize((*leading, *arguments), cases, ids=id_of)
