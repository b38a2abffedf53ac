"""The operations of the protocol, a row each: their names on both versions and both bindings.

Dispatch, the REST routes and the list of supported methods are made from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import frozen

from sansio.a2a.dialects import DIALECTS


@frozen(kw_only=True)
class HttpRoute:
    """A method and a path template, in which `{id}` and `{config_id}` stand for one segment.

    `versions`: which have it. Version 0.3 has its paths below `/v1`, but for those that are not `prefixed`.
    """

    method: str
    path: str
    versions: tuple[str, ...] = tuple(DIALECTS)
    prefixed: bool = True


@frozen(kw_only=True)
class OperationRow:
    """One operation. `routes`: over HTTP+JSON.

    `ids_0_3`, `ids_1_0`: what the ids in the path, in their order there, are called among the parameters.
    `needs_params`: a JSON-RPC request without parameters makes no sense. `grpc_0_3`: the name over gRPC, None where
    there is no such method; version 1.0 has the names of JSON-RPC.
    """

    rpc_0_3: str
    rpc_1_0: str
    grpc_0_3: str | None
    routes: tuple[HttpRoute, ...]
    ids_0_3: tuple[str, ...] = ("id", "pushNotificationConfigId")
    ids_1_0: tuple[str, ...] = ("id",)
    streaming: bool = False
    needs_params: bool = True

    @property
    def rpc_names(self) -> Mapping[str, str]:
        """The JSON-RPC method names by version."""
        return {"0.3": self.rpc_0_3, "1.0": self.rpc_1_0}

    @property
    def grpc_names(self) -> Mapping[str, str | None]:
        """The names of the gRPC methods by version."""
        return {"0.3": self.grpc_0_3, "1.0": self.rpc_1_0}

    @property
    def ids(self) -> Mapping[str, tuple[str, ...]]:
        """The parameters' names of the ids in the path, by version."""
        return {"0.3": self.ids_0_3, "1.0": self.ids_1_0}

    def route(self, version: str) -> HttpRoute:
        """Return the route that our own client takes: the first that this version alone has, or the first of all."""
        own = (route for route in self.routes if route.versions == (version,))
        return next(own, self.routes[0])

    @property
    def reads_query(self) -> bool:
        """Whether the query has parameters too: the request has no body."""
        return any(route.method != "POST" for route in self.routes)

    @property
    def sends_body(self) -> bool:
        """Whether its parameters come in the body alone, so that there must be one."""
        return all(route.method == "POST" and "{" not in route.path for route in self.routes)


_CONFIGS = "/tasks/{id}/pushNotificationConfigs"
_CONFIG_IDS = ("taskId", "id")


class Operation(Enum):
    """The table of operations."""

    SEND = OperationRow(
        rpc_0_3="message/send",
        rpc_1_0="SendMessage",
        grpc_0_3="SendMessage",
        routes=(HttpRoute(method="POST", path="/message:send"),),
    )
    STREAM = OperationRow(
        rpc_0_3="message/stream",
        rpc_1_0="SendStreamingMessage",
        grpc_0_3="SendStreamingMessage",
        routes=(HttpRoute(method="POST", path="/message:stream"),),
        streaming=True,
    )
    GET_TASK = OperationRow(
        rpc_0_3="tasks/get",
        rpc_1_0="GetTask",
        grpc_0_3="GetTask",
        routes=(HttpRoute(method="GET", path="/tasks/{id}"),),
    )
    LIST_TASKS = OperationRow(  # version 0.3 has no such operation: there it is an addition of ours
        rpc_0_3="tasks/list",
        rpc_1_0="ListTasks",
        grpc_0_3=None,
        routes=(HttpRoute(method="GET", path="/tasks"),),
        needs_params=False,
    )
    CANCEL = OperationRow(
        rpc_0_3="tasks/cancel",
        rpc_1_0="CancelTask",
        grpc_0_3="CancelTask",
        routes=(HttpRoute(method="POST", path="/tasks/{id}:cancel"),),
    )
    SUBSCRIBE = OperationRow(  # the documents have POST, the proto files GET, and clients use both
        rpc_0_3="tasks/resubscribe",
        rpc_1_0="SubscribeToTask",
        grpc_0_3="TaskSubscription",
        routes=(
            HttpRoute(method="POST", path="/tasks/{id}:subscribe"),
            HttpRoute(method="GET", path="/tasks/{id}:subscribe"),
        ),
        streaming=True,
    )
    SET_PUSH_CONFIG = OperationRow(
        rpc_0_3="tasks/pushNotificationConfig/set",
        rpc_1_0="CreateTaskPushNotificationConfig",
        grpc_0_3="CreateTaskPushNotificationConfig",
        routes=(HttpRoute(method="POST", path=_CONFIGS),),
        ids_0_3=("taskId",),
        ids_1_0=_CONFIG_IDS,
    )
    GET_PUSH_CONFIG = OperationRow(
        rpc_0_3="tasks/pushNotificationConfig/get",
        rpc_1_0="GetTaskPushNotificationConfig",
        grpc_0_3="GetTaskPushNotificationConfig",
        routes=(HttpRoute(method="GET", path=f"{_CONFIGS}/{{config_id}}"),),
        ids_1_0=_CONFIG_IDS,
    )
    LIST_PUSH_CONFIGS = OperationRow(
        rpc_0_3="tasks/pushNotificationConfig/list",
        rpc_1_0="ListTaskPushNotificationConfigs",
        grpc_0_3="ListTaskPushNotificationConfig",
        routes=(HttpRoute(method="GET", path=_CONFIGS),),
        ids_1_0=_CONFIG_IDS,
    )
    DELETE_PUSH_CONFIG = OperationRow(
        rpc_0_3="tasks/pushNotificationConfig/delete",
        rpc_1_0="DeleteTaskPushNotificationConfig",
        grpc_0_3="DeleteTaskPushNotificationConfig",
        routes=(HttpRoute(method="DELETE", path=f"{_CONFIGS}/{{config_id}}"),),
        ids_1_0=_CONFIG_IDS,
    )
    EXTENDED_CARD = OperationRow(
        rpc_0_3="agent/getAuthenticatedExtendedCard",
        rpc_1_0="GetExtendedAgentCard",
        grpc_0_3="GetAgentCard",
        routes=(
            HttpRoute(method="GET", path="/extendedAgentCard"),
            HttpRoute(method="GET", path="/card", versions=("0.3",)),
            HttpRoute(method="GET", path="/agent/authenticatedExtendedCard", versions=("0.3",), prefixed=False),
        ),
        needs_params=False,
    )

    @property
    def row(self) -> OperationRow:
        """The row of the table."""
        return self.value

    def rpc_params(self, params: object) -> object:
        """Return the parameters of a JSON-RPC request, which some operations may do without."""
        return {} if params is None and not self.row.needs_params else params


RPC_0_3 = {operation.row.rpc_0_3: operation for operation in Operation}
RPC_1_0 = {operation.row.rpc_1_0: operation for operation in Operation}


def _grpc_paths() -> dict[str, tuple[str, Operation]]:
    found: dict[str, tuple[str, Operation]] = {}
    for version, dialect in DIALECTS.items():
        for operation in Operation:
            name = operation.row.grpc_names[version]
            if name is not None:
                found[f"/{dialect.grpc_service}/{name}"] = (version, operation)
    return found


GRPC_PATHS: Mapping[str, tuple[str, Operation]] = _grpc_paths()
"""The paths of the operations over gRPC, each with its version."""


def operation_of(method: str) -> tuple[Operation | None, str | None]:
    """Return the operation that a JSON-RPC method names, and the version that alone has that name.

    A name that no version has gives `(None, None)`. Both names work on both versions: a gateway that only
    rewrites the version header is understood.
    """
    if method in RPC_1_0:
        return RPC_1_0[method], "1.0"
    if method in RPC_0_3:
        return RPC_0_3[method], "0.3"
    return None, None


def methods_of(version: str) -> list[str]:
    """Return the JSON-RPC method names of a version, in the table's order."""
    return [operation.row.rpc_names[version] for operation in Operation]
