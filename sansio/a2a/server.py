"""The server side of the protocol: an HTTP request becomes a `Call`, and a call renders whatever answers it.

The counterpart of `sansio.a2a.client`, for every binding and both versions. Pure: who calls, and what is done, is
decided elsewhere. A request that cannot be understood raises `CallRefusedError`, which holds the finished answer.

    request -> check_target (before the body) -> check_body -> understand -> Call -> respond | stream frames | refuse
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.bindings.json_output import Steps
from sansio.a2a.cards.parse import GRPC, HTTP_JSON, JSONRPC
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.serving import rest_call
from sansio.a2a.serving.call import Call
from sansio.a2a.serving.served import CallRefusedError, ServedProtocol

__all__ = [
    "Call",
    "CallRefusedError",
    "ServedProtocol",
    "brings_json",
    "check_body",
    "check_target",
    "is_grpc",
    "load_bindings",
    "refuse",
    "understand",
]


class _Binding(Protocol):
    """A binding as it is served: a module. `JSON_BODY`: whether what its requests bring is JSON."""

    @property
    def JSON_BODY(self) -> bool: ...

    def takes(self, request: Request, /) -> bool: ...

    def check_target(self, request: Request, served: ServedProtocol, /) -> None: ...

    def understand(self, request: Request, served: ServedProtocol, /) -> Call: ...

    def refuse(self, error: ProtocolError, request: Request, served: ServedProtocol, login: str, /) -> Response: ...


_MODULES: Mapping[str, str] = {GRPC: "grpc_call", JSONRPC: "rpc_call", HTTP_JSON: "rest_call"}
"""The modules of the bindings by their names on cards. The first one that is served and takes a request has it."""


@cache
def _loaded(name: str) -> _Binding:
    """Return a binding, which is imported when it is first used: not everybody has the libraries of each."""
    return cast(_Binding, import_module(f"sansio.a2a.serving.{_MODULES[name]}"))


def load_bindings(served: ServedProtocol) -> None:
    """Import what the bindings that are served need, so that no request waits for it: some 50 ms for gRPC."""
    for name in _MODULES:
        if name in served.bindings:
            _loaded(name)


def _binding_of(request: Request, served: ServedProtocol) -> _Binding | None:
    for name in _MODULES:
        if name in served.bindings and _loaded(name).takes(request):
            return _loaded(name)
    return None


def is_grpc(request: Request, served: ServedProtocol) -> bool:
    """Return whether a request is one of gRPC, and that is served."""
    return GRPC in served.bindings and _loaded(GRPC).takes(request)


def brings_json(request: Request, served: ServedProtocol) -> bool:
    """Return whether the body of a request is to be JSON, and to be declared as such."""
    return (_binding_of(request, served) or rest_call).JSON_BODY


def check_target(request: Request, served: ServedProtocol) -> None:
    """Refuse a request by its method, path and version, before its body is read.

    Raises `ProtocolError`: NOT_FOUND, METHOD_NOT_FOUND, METHOD_NOT_ALLOWED, VERSION_NOT_SUPPORTED.
    """
    binding = _binding_of(request, served)
    if binding is None:
        raise ProtocolError(ErrorKind.NOT_FOUND, "This path belongs to a binding that is not served")
    binding.check_target(request, served)


def check_body(request: Request, served: ServedProtocol) -> Steps[None]:
    """Refuse a body with more values than `understand` should meet at once, in steps. Raises `CallRefusedError`.

    For large bodies: JSON is counted by `understand` itself, which takes a thousandth of decoding it.
    """
    if is_grpc(request, served):
        from sansio.a2a.serving.grpc_call import check_message  # needs the library `protobuf`

        yield from check_message(request, served)


def understand(request: Request, served: ServedProtocol) -> Call:
    """Return the call of a request that has passed `check_target`. Raises `CallRefusedError`."""
    return (_binding_of(request, served) or rest_call).understand(request, served)


def refuse(error: ProtocolError, request: Request, served: ServedProtocol, challenge: str = "") -> Response:
    """Render the refusal of a request that has not been understood, in the shape of its binding and version.

    `challenge`: the value of `WWW-Authenticate` for a caller who is not known.
    """
    return (_binding_of(request, served) or rest_call).refuse(error, request, served, challenge)
