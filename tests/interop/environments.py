"""Makes each official client an environment of its own, in a cache folder outside the repository, once per machine.

Only the files in `clients/`, and in `peers/pins/` for other people's agents, say which versions those are. They
contradict each other, and maybe us.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.real.installation import UnavailableError, cache_folder, exclusive, run

DEFAULT_LOCATION = Path(__file__).parent
PINS = DEFAULT_LOCATION / "clients"
NPM_FILES = ("package.json", "package-lock.json")


def python_of(client: str, pins: Path = PINS) -> Path:
    """The interpreter that has the Python client, or what `pins` has by this name. Raises `UnavailableError`."""
    requirements = pins / f"{client}.txt"
    python = f"{sys.implementation.cache_tag}-{sys.platform}"
    home = made(f"{client}-{python}", [requirements], lambda partial: make_venv(partial, requirements))
    return home / "bin" / "python"


def node_folder() -> Path:
    """The folder whose `node_modules` has both JavaScript clients. Raises `UnavailableError`."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed, and the JavaScript clients come as npm packages")
    return made("javascript", [PINS / name for name in NPM_FILES], make_npm_project)


def browser_path() -> str:
    """The path of Chromium, or of a browser that is one. Raises `UnavailableError`."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    raise UnavailableError("Chromium is not installed, and a page is tested in it")


def made(name: str, pins: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The folder these pins make; `make` fills a partial one, which is renamed at the end."""
    digest = hashlib.sha256()
    for pin in pins:
        digest.update(pin.read_bytes())
    machine = os.uname()
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"interop-{name}-{machine.machine}-{digest.hexdigest()[:16]}"
    with exclusive(cache / f"{home.name}.lock"):
        if not home.exists():
            partial = home.with_name(f"{home.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(home)
    return home


def make_venv(folder: Path, requirements: Path) -> None:
    # Our own pip works on it: to install another takes longer than to make the environment.
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)], cwd=folder, env=os.environ)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet"]
    # Every package is pinned, so none is to be looked for beyond them.
    run([*pip, "install", "--no-compile", "--no-deps", "-r", str(requirements)], cwd=folder, env=os.environ)
    run([*pip, "check"], cwd=folder, env=os.environ)


def make_npm_project(folder: Path) -> None:
    for name in NPM_FILES:
        shutil.copy(PINS / name, folder / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run(command, cwd=folder, env=os.environ)
