"""Reads a refusal in whichever shape its line and binding give it, so that tests say once what they expect."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from tests.shell.harness import GRPC_03, GRPC_10, REST_10, Wire

_WITHOUT_CODE = (REST_10, GRPC_03, GRPC_10)  # of JSON-RPC
_IN_SCHEMA = {
    "configuration.pushNotification.url": "configuration.pushNotificationConfig.url",
    "config.pushNotificationConfig.url": "pushNotificationConfig.url",
}
"""Fields that version 0.3 names otherwise in its messages: their names in its JSON schema, which the policy has."""


@frozen(kw_only=True)
class Refusal:
    """`code`: JSON-RPC's; `http`: the status of HTTP+JSON; `name`: the reason, or 0.3's type over HTTP+JSON;
    `fields`: the wrong ones, with dots alone between their steps."""

    code: int | None = None
    http: int | None = None
    name: str | None = None
    fields: tuple[str, ...] = ()


def _is_flat(wire: Wire) -> bool:
    """Whether an error is a flat object, without a list of typed details."""
    return wire.version == "0.3" and wire.binding != "grpc"


def refusal(wire: Wire, error: dict[str, Any]) -> Refusal:
    """What `Caller.refused` gave."""
    if _is_flat(wire):
        found = error.get("data") if isinstance(error.get("data"), list) else None
        steps = [[str(step) for step in one["loc"]] for one in found or ()]
        fields = [".".join(one[1:] if wire.binding == "rpc" else one) for one in steps]
        return Refusal(code=error["code"], http=error.get("http"), name=error.get("type"), fields=tuple(fields))
    details = error["data" if wire.binding == "rpc" else "details"]
    reasons = [one["reason"] for one in details if "reason" in one]
    violations = [one["field"] for each in details for one in each.get("fieldViolations", ())]
    fields = [field.replace("[", ".").replace("]", "") for field in violations]
    return Refusal(
        code=None if wire in _WITHOUT_CODE else error["code"],
        http=error.get("http"),
        name=reasons[0] if reasons else None,
        fields=tuple(_IN_SCHEMA.get(field, field) if wire == GRPC_03 else field for field in fields),
    )


def expected(wire: Wire, *, code: int, http: tuple[int, int], names: tuple[str, str]) -> Refusal:
    """A refusal as it should look on this wire; `http` and `names`: first of a flat error, then of another."""
    old = _is_flat(wire)
    over_http = wire.binding != "rpc"
    return Refusal(
        code=None if wire in _WITHOUT_CODE else code,
        http=http[0 if old else 1] if over_http else None,
        name=(names[0] if over_http else None) if old else names[1],
    )


def not_found(wire: Wire) -> Refusal:
    """There is no such task, or not for this caller."""
    return expected(wire, code=-32001, http=(404, 404), names=("TaskNotFoundError", "TASK_NOT_FOUND"))


def unsupported(wire: Wire) -> Refusal:
    """The request is understood, and not done."""
    return expected(wire, code=-32004, http=(400, 400), names=("UnsupportedOperationError", "UNSUPPORTED_OPERATION"))


def wrong(wire: Wire, *fields: str) -> Refusal:
    """These fields are wrong."""
    code = None if wire in _WITHOUT_CODE else -32602
    if wire.binding == "rpc":
        return Refusal(code=code, name="INVALID_PARAMS" if wire.version == "1.0" else None, fields=fields)
    return Refusal(code=code, http=400, name="INVALID_PARAMS", fields=fields)
