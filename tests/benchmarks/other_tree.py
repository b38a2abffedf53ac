"""Another commit's tree in a folder of its own, and the proof that a server started on it is that commit's.

Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.processes import ROOT, clean_environment

_NEEDED: Final = ("opencode_a2a", "sansio")
_ASIDE: Final = frozenset({"tests", "fuzz", "tools"})  # packages that no server imports
_GIT_SECONDS: Final = 60.0
_ORIGINS: Final = (
    "import importlib, json, sys; "
    "print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))"
)


class TreeError(RuntimeError):
    """There is no such commit, or a server would not run its code."""


def commit_of(name: str) -> str:
    """Return the id of a commit, from anything that git takes for one. Raises `TreeError`."""
    return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()


def state_of_this() -> str:
    """Return the commit of this tree, in words, and whether its files differ from that. Raises `TreeError`."""
    changed = _git("status", "--porcelain", "--untracked-files=no").strip()
    return _git("rev-parse", "--short", "HEAD").strip() + (", with changes" if changed else "")


def export(commit: str, folder: Path) -> Path:
    """Write the packages of a commit into a new folder below `folder`; return it. Raises `TreeError`."""
    tree = folder / "tree"
    files = _git("ls-tree", "-r", "--name-only", commit).splitlines()
    packages = [name for name in map(_package, files) if name is not None]
    with tempfile.TemporaryFile() as archive:
        done = subprocess.run(
            ["git", "archive", "--format=tar", commit, "--", *packages],
            cwd=ROOT,
            stdout=archive,
            stderr=subprocess.PIPE,
            timeout=_GIT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise TreeError(f"git archive {commit}: {done.stderr.decode(errors='replace').strip()}")
        archive.seek(0)
        with tarfile.open(fileobj=archive) as found:
            found.extractall(tree, filter="data")
    return tree


def check_imports(tree: Path, folder: Path) -> None:
    """Refuse a tree whose code a server would not run. Raises `TreeError`.

    `folder`: where the server is started. It is asked of the same Python, with the environment of the server.
    """
    packages = packages_in(tree)
    if missing := [name for name in _NEEDED if name not in packages]:
        raise TreeError(f"the commit has no {' and no '.join(missing)}: there is no server to measure")
    done = subprocess.run(
        [sys.executable, "-c", _ORIGINS, *packages],
        env=clean_environment({}, root=tree),
        cwd=folder,
        capture_output=True,
        timeout=_GIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise TreeError(f"the commit's packages cannot be imported here: {''.join(last)}")
    if strange := strangers(json.loads(done.stdout), tree):
        raise TreeError(f"a server would not run the commit's code, but {', '.join(strange)}")


def packages_in(tree: Path) -> Sequence[str]:
    """Return the names of the packages in a tree that a server may import."""
    inits = (init.relative_to(tree).as_posix() for init in tree.glob("*/__init__.py"))
    return sorted(name for name in map(_package, inits) if name is not None)


def strangers(origins: Mapping[str, str | None], tree: Path) -> list[str]:
    """Return the files, each by its package, that are not below a tree. `origins`: the file of each package."""
    below = tree.resolve()
    return [
        f"{name} of {origin}"
        for name, origin in origins.items()
        if origin is None or below not in Path(origin).resolve().parents
    ]


def _package(file: str) -> str | None:
    """Return the name of the package that begins with a file, if a server may import it."""
    name, _, rest = file.partition("/")
    return name if rest == "__init__.py" and name not in _ASIDE else None


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, timeout=_GIT_SECONDS, text=True, check=False
        )
    except OSError as error:
        raise TreeError(f"git: {error}") from error
    if done.returncode != 0:
        raise TreeError(done.stderr.strip() or f"git {' '.join(arguments)} found nothing")
    return done.stdout
