"""Renders the table of metrics as Markdown."""

from __future__ import annotations

from sansio.metrics import METERS


def metrics_table() -> str:
    """Render every metric: its name, kind, labels and meaning."""
    lines = ["| metric | kind | labels | what it is |", "| --- | --- | --- | --- |"]
    for meter in METERS:
        labels = ", ".join(f"`{label}`" for label in meter.labels)
        lines.append(f"| `{meter.name}` | {meter.kind.value} | {labels} | {meter.help} |")
    return "\n".join(lines)
