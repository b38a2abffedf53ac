"""The table of targets: adding one is adding a row to a module's `TARGETS`."""

from __future__ import annotations

from fuzz import a2a, access, answers, grpc, guards, mcp, methods, opencode, outbound, replicas, transport
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *a2a.TARGETS,
        *grpc.TARGETS,
        *opencode.TARGETS,
        *access.TARGETS,
        *answers.TARGETS,
        *guards.TARGETS,
        *outbound.TARGETS,
        *replicas.TARGETS,
        *mcp.TARGETS,
        *methods.TARGETS,
        *transport.TARGETS,
    )
}
