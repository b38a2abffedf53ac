"""Facts about the installed program: its version, the code that runs, and how to add an extra.

Knows no setting and no protocol.
"""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path

from opencode_a2a import __version__

RUNTIMES_GROUP = "opencode_a2a.runtimes"
"""The entry points under which runtimes are installed."""


def version_text() -> str:
    """One line for `--version`: name, version, Python, and the folder that the code runs from."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"opencode-a2a {__version__} ({python}, {Path(__file__).resolve().parent.parent})"


def is_installed(library: str) -> bool:
    """Return whether a library can be imported, without importing it.

    A dotted name is in a package, which may be absent, too: `find_spec` alone raises then.
    """
    try:
        return find_spec(library) is not None
    except (ImportError, ValueError):  # ValueError: what is loaded under the name is no module of a file
        return False


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, for error messages.

    The bare distribution name is never used: package indexes have another product under it.
    """
    return f"in the checkout of this server, run pip install '.[{extra}]'"
