"""Renders the errors of the model's tool as a Markdown table."""

from __future__ import annotations

from sansio.a2a.tool.tool_errors import ERROR_ROWS, ToolErrorCode


def markdown() -> str:
    """Render every code with its sentence, and the exceptions of the client library that it stands for."""
    lines = ["| code | meaning | of the client library |", "| --- | --- | --- |"]
    for code in ToolErrorCode:
        errors = ", ".join(f"`{error.__name__}`" for error, stands_for in ERROR_ROWS if stands_for is code)
        lines.append(f"| `{code.name}` | {code.value} | {errors or '-'} |")
    return "\n".join(lines)
