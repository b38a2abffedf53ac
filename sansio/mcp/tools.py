"""Tools as values: their descriptions, calls and results, and their JSON in each version. Knows no tool."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from attrs import field, frozen

from sansio.mcp.messages import ErrorCode, Fault, Id, is_id
from sansio.mcp.versions import McpVersion

PROGRESS_TEXT: Final = 500
"""Characters of the text of one progress notification."""


@frozen(kw_only=True)
class Tool:
    """A tool as a client sees it. `input_schema`: the JSON Schema of its arguments, an object."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any] = field(repr=False)

    def render(self) -> dict[str, Any]:
        """Return the JSON in a list of tools."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input_schema,
        }


@frozen(kw_only=True)
class ToolCall:
    """A call of a tool. Its arguments stay out of its `repr`, which may be logged."""

    id: Id
    name: str
    arguments: dict[str, Any] = field(repr=False)
    progress_token: Id | None = None


@frozen
class Text:
    """Text content."""

    text: str


@frozen(kw_only=True)
class Link:
    """A file that the result refers to."""

    url: str
    name: str
    media_type: str | None = None


Content: TypeAlias = Text | Link


@frozen(kw_only=True)
class ToolResult:
    """The outcome of a call. `structured`: the same for programs. `failed`: the tool could not do it."""

    content: tuple[Content, ...]
    structured: dict[str, Any] | None = None
    failed: bool = False

    def render(self, version: McpVersion) -> dict[str, Any]:
        """Return the JSON of a result in a version; a version without links gets them as text."""
        result: dict[str, Any] = {"content": [_render(one, version) for one in self.content]}
        if self.structured is not None and version.structured:
            result["structuredContent"] = self.structured
        if self.failed:
            result["isError"] = True
        return result


def _render(content: Content, version: McpVersion) -> dict[str, Any]:
    if isinstance(content, Text):
        return {"type": "text", "text": content.text}
    if not version.links:
        return {"type": "text", "text": f"{content.name}: {content.url}"}
    link = {"type": "resource_link", "uri": content.url, "name": content.name}
    return link if content.media_type is None else {**link, "mimeType": content.media_type}


def parse_call(request_id: Id, params: dict[str, Any]) -> ToolCall | Fault:
    """Read the parameters of `tools/call`."""
    name, arguments, meta = params.get("name"), params.get("arguments", {}), params.get("_meta", {})
    if not isinstance(name, str) or not name:
        return Fault(ErrorCode.INVALID_PARAMS, "name must be a string", request_id)
    if not isinstance(arguments, dict):
        return Fault(ErrorCode.INVALID_PARAMS, "arguments must be an object", request_id)
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return ToolCall(id=request_id, name=name, arguments=arguments, progress_token=token if is_id(token) else None)
