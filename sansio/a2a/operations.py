"""The operations of the protocol, a row each: their names on both lines and both bindings.

Dispatch, the REST routes and the list of supported methods are made from this table.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen


@frozen(kw_only=True)
class OperationRow:
    """One operation. ``path`` is a template below the interface's root: ``{id}`` stands for one segment."""

    rpc_0_3: str
    rpc_1_0: str
    http_method: str
    path: str
    streaming: bool = False


class Operation(Enum):
    """The table of operations."""

    SEND = OperationRow(rpc_0_3="message/send", rpc_1_0="SendMessage", http_method="POST", path="/message:send")
    STREAM = OperationRow(
        rpc_0_3="message/stream",
        rpc_1_0="SendStreamingMessage",
        http_method="POST",
        path="/message:stream",
        streaming=True,
    )
    GET_TASK = OperationRow(rpc_0_3="tasks/get", rpc_1_0="GetTask", http_method="GET", path="/tasks/{id}")

    @property
    def row(self) -> OperationRow:
        """The row of the table."""
        return self.value


RPC_0_3 = {operation.row.rpc_0_3: operation for operation in Operation}
RPC_1_0 = {operation.row.rpc_1_0: operation for operation in Operation}


def operation_of(method: str) -> tuple[Operation | None, str | None]:
    """The operation a JSON-RPC method names, and the line that alone has that name.

    A name that no line has gives ``(None, None)``. Both names work on both lines: a gateway that only
    rewrites the version header is understood.
    """
    if method in RPC_1_0:
        return RPC_1_0[method], "1.0"
    if method in RPC_0_3:
        return RPC_0_3[method], "0.3"
    return None, None


def methods_of(line: str) -> list[str]:
    """The JSON-RPC method names of a line, in the table's order."""
    return list(RPC_1_0 if line == "1.0" else RPC_0_3)
