"""Names in the environment that are no settings: whose they are, and which setting may have been meant.

Knows names alone: no value, and no meaning of a setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Final

_PREFIXES: Final = ("A2A_", "OPENCODE_")
_ALIKE: Final = 0.7

# A slip must not open a door: such a setting is never proposed.
_WIDENING_WORDS: Final = frozenset({"ALLOW", "ALLOWED", "ENABLE", "EXPOSE"})
_WIDENING: Final = frozenset({"A2A_HOST", "A2A_IMPORT_PRINCIPALS"})

# What OpenCode 1.18 and its installer read. Its own process may well share an environment with this one.
_OPENCODE_FAMILIES: Final = ("OPENCODE_DISABLE_", "OPENCODE_ENABLE_", "OPENCODE_EXPERIMENTAL_")
_OPENCODE_NAMES: Final = frozenset(
    {
        "OPENCODE_ACP_PROFILE",
        "OPENCODE_ALWAYS_NOTIFY_UPDATE",
        "OPENCODE_API_KEY",
        "OPENCODE_AUTH_CONTENT",
        "OPENCODE_AUTO_HEAP_SNAPSHOT",
        "OPENCODE_AUTO_SHARE",
        "OPENCODE_BIN_PATH",
        "OPENCODE_CLIENT",
        "OPENCODE_CONFIG",
        "OPENCODE_CONFIG_CONTENT",
        "OPENCODE_CONFIG_DIR",
        "OPENCODE_CONSOLE_TOKEN",
        "OPENCODE_DB",
        "OPENCODE_DIRECT_TRACE",
        "OPENCODE_EDITOR_SSE_PORT",
        "OPENCODE_EXPERIMENTAL",
        "OPENCODE_FAKE_VCS",
        "OPENCODE_FAST_BOOT",
        "OPENCODE_GITLAB_AUTH_CLIENT_ID",
        "OPENCODE_GIT_BASH_PATH",
        "OPENCODE_INSTALL_DIR",
        "OPENCODE_LOG_LEVEL",
        "OPENCODE_MODELS_PATH",
        "OPENCODE_MODELS_URL",
        "OPENCODE_PERMISSION",
        "OPENCODE_PHOTON_WASM_PATH",
        "OPENCODE_PID",
        "OPENCODE_PLUGIN_META_FILE",
        "OPENCODE_PRINT_LOGS",
        "OPENCODE_PURE",
        "OPENCODE_REPO_CLONE_GITHUB_BASE_URL",
        "OPENCODE_ROUTE",
        "OPENCODE_RUN_ID",
        "OPENCODE_SHOW_TTFD",
        "OPENCODE_SKILL_DESCRIPTION",
        "OPENCODE_TERMINAL",
        "OPENCODE_TEST_HOME",
        "OPENCODE_TEST_MANAGED_CONFIG_DIR",
        "OPENCODE_TUI_CONFIG",
        "OPENCODE_VERSION",
        "OPENCODE_WEBSEARCH_PROVIDER",
        "OPENCODE_WORKSPACE_ID",
        "OPENCODE_ZED_DB",
    }
)


def unknown(given: Iterable[str], settings: Collection[str]) -> list[str]:
    """A warning for each name that is neither a setting nor OpenCode's own, with the setting that it resembles."""
    warnings = []
    for name in sorted(set(given).difference(settings)):
        prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)
        if prefix is None or name in _OPENCODE_NAMES or name.startswith(_OPENCODE_FAMILIES):
            continue
        near = _nearest(name, prefix, settings)
        hint = "" if near is None else f"; did you mean {near}?"
        warnings.append(f"{name} is not a known variable{hint}")
    return warnings


def _nearest(name: str, prefix: str, settings: Collection[str]) -> str | None:
    """The setting of the same family that the name resembles, unless that widens access."""
    wanted = name.removeprefix(prefix)
    ends = [one.removeprefix(prefix) for one in settings if one.startswith(prefix) and not widens(one)]
    related = [end for end in ends if _same_family(wanted, end)]
    # Without the prefix, which would make any two names look alike.
    near = difflib.get_close_matches(wanted, related, n=1, cutoff=_ALIKE)
    return f"{prefix}{near[0]}" if near else None


def widens(name: str) -> bool:
    """Whether a setting can let more callers in, or let them do or see more."""
    return name in _WIDENING or not _WIDENING_WORDS.isdisjoint(name.split("_"))


def _same_family(one: str, other: str) -> bool:
    """Whether two names begin with the same word, give or take a slip."""
    first, second = one.partition("_")[0], other.partition("_")[0]
    if first.startswith(second) or second.startswith(first):
        return True
    return difflib.SequenceMatcher(None, first, second).ratio() >= _ALIKE
