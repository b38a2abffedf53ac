"""The versions of the Model Context Protocol that are served, one row for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen


@frozen(kw_only=True)
class McpVersion:
    """The differences that a server of tools meets.

    `batches`: a body may hold a list of messages. `structured`: a result has `structuredContent`. `links`: content
    may be a `resource_link`.
    """

    name: str
    batches: bool
    structured: bool
    links: bool


MCP_VERSIONS: Final[Mapping[str, McpVersion]] = {
    row.name: row
    for row in (
        McpVersion(name="2025-03-26", batches=True, structured=False, links=False),
        McpVersion(name="2025-06-18", batches=False, structured=True, links=True),
        McpVersion(name="2025-11-25", batches=False, structured=True, links=True),
    )
}
"""Oldest first."""

LATEST: Final = MCP_VERSIONS["2025-11-25"]
"""Offered to a client that asks for a version that is not served."""


def negotiated(requested: object) -> McpVersion:
    """Return the version to speak with a client that asks for one in `initialize`: that one, or else the latest."""
    return MCP_VERSIONS.get(requested, LATEST) if isinstance(requested, str) else LATEST
