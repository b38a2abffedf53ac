"""The capabilities that a credential can have: the one table, which settings, commands and documents read."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from sansio.http import METRICS_CAPABILITY


@frozen(kw_only=True)
class Capability:
    """One capability. `allows`: what its callers may do, in words. `setting`: the variable that has to be on as well.

    `of_logins`: whether a login has it unless its entry lists others.
    """

    name: str
    allows: str
    setting: str
    of_logins: bool


TABLE: Final = (
    Capability(
        name="session_shell",
        allows="run shell commands, by the method `opencode.sessions.shell`",
        setting="A2A_ENABLE_SESSION_SHELL",
        of_logins=True,
    ),
    Capability(
        name="workspace_mutation",
        allows="make, reset and remove workspaces and worktrees",
        setting="A2A_ENABLE_WORKSPACE_MUTATIONS",
        of_logins=True,
    ),
    Capability(
        name=METRICS_CAPABILITY,
        allows="read `/metrics` on the main port",
        setting="A2A_METRICS_ENABLED",
        of_logins=False,
    ),
)

CAPABILITIES: Final = frozenset(row.name for row in TABLE)
"""The names of all capabilities."""

OF_LOGINS: Final = frozenset(row.name for row in TABLE if row.of_logins)
"""Those of a login whose entry lists none. Deployments rely on it: a login is a person's, a token a program's."""
