"""Puts the pinned OpenCode into a cache folder outside the repository, once per machine.

Only `package.json` and `package-lock.json` next to this file say which OpenCode that is.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DEFAULT_LOCATION = Path(__file__).parent
PACKAGE_FILES = ("package.json", "package-lock.json")
PACKAGE = Path("node_modules", "opencode-ai")
INSTALL_SECONDS = 400


class UnavailableError(Exception):
    """OpenCode cannot be had on this machine; the message says why."""


def opencode_binary() -> Path:
    """The path of the pinned OpenCode's executable, installed first if need be. Raises `UnavailableError`."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed, and OpenCode comes as an npm package")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / pin()
    with exclusive(cache / f"{home.name}.lock"):
        if not home.exists():
            install(home)
    return home / PACKAGE / "bin" / "opencode.exe"


def cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "opencode-a2a-tests"


def pin() -> str:
    """Names an installation: another lock file or another kind of machine is another installation."""
    digest = hashlib.sha256()
    for name in PACKAGE_FILES:
        digest.update((DEFAULT_LOCATION / name).read_bytes())
    machine = os.uname()
    return f"opencode-{machine.sysname}-{machine.machine}-{digest.hexdigest()[:16]}"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`: parallel test workers install one after the other."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(home: Path) -> None:
    """Install beside `home` and rename at the end, so that half an installation is never taken for one."""
    partial = home.with_name(f"{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name in PACKAGE_FILES:
        shutil.copy(DEFAULT_LOCATION / name, partial / name)
    run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=partial,
        env=os.environ,
    )
    with tempfile.TemporaryDirectory() as scratch:
        # The package's own install script picks the binary for this processor, and runs it to see that it
        # works: run by us, because some versions of npm do not, and with a HOME of its own, because OpenCode
        # writes there.
        script = partial / PACKAGE / "postinstall.mjs"
        run(["node", str(script)], cwd=partial, env={"PATH": os.environ["PATH"], "HOME": scratch})
    partial.rename(home)


def run(command: list[str], *, cwd: Path, env: Mapping[str, str]) -> None:
    try:
        subprocess.run(
            command,
            cwd=cwd,
            env=dict(env),
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"`{' '.join(command)}` failed: {error.stdout[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"`{' '.join(command)}` took more than {INSTALL_SECONDS} s") from error
