"""Renders the tables of settings as Markdown: the present ones, and those of earlier releases."""

from __future__ import annotations

from itertools import groupby

from opencode_a2a.config.groups.capabilities import TABLE
from opencode_a2a.config.settings_earlier import EARLIER
from opencode_a2a.config.settings_table import VARIABLES


def settings_tables() -> str:
    """Render every setting, a section for each group."""
    lines: list[str] = []
    for group, variables in groupby(VARIABLES, key=lambda variable: variable.group):
        lines += [f"### {group}", "", "| variable | sets | default |", "| --- | --- | --- |"]
        lines += [f"| `{v.name}` | {v.takes} | {v.default} |" for v in variables]
        lines.append("")
    return "\n".join(lines).rstrip()


def capabilities_table() -> str:
    """Render every capability that a credential can have."""
    lines = [
        "| capability | its callers may | if this is on | a login has it by default |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{row.name}` | {row.allows} | `{row.setting}` | {'yes' if row.of_logins else 'no'} |" for row in TABLE
    ]
    return "\n".join(lines)


def earlier_settings_table() -> str:
    """Render the variables of earlier releases, and what happens to each."""
    lines = ["| variable | of | what happens | instead |", "| --- | --- | --- | --- |"]
    for row in EARLIER:
        fate = f"read as `{row.target}`" if row.target is not None else row.fate.value
        if row.harmless:
            fate += f", but for `{row.harmless[0]}`"
        lines.append(f"| `{row.name}` | {row.releases} | {fate} | {row.instead} |")
    return "\n".join(lines)
