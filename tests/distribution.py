"""Checks what users install: `python -m tests.distribution`.

Builds the source distribution, and the wheel from that; installs the wheel into an empty environment, with the
versions of the lock and nothing else; starts the server there on each runtime, asks whether it lives, and stops it.
Ends with 1 and the reason where a step fails.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import venv
from collections.abc import Mapping
from pathlib import Path

from opencode_a2a import __version__
from tests.paths import ROOT
from tests.real.deadline import Deadline
from tests.real.process import Process, StartError

RUNTIMES = ("asyncio", "trio")
_STEP_SECONDS = 300.0
_START_SECONDS = 30.0
_PINNED = re.compile(r"^[A-Za-z0-9._-]+==[^\s\\]+(?: ;[^\\]*)?", re.MULTILINE)


class BrokenDistributionError(Exception):
    """A step failed; the text says which, and what it printed."""


def run(title: str, *command: str | Path, cwd: Path) -> str:
    """Run a step; return what it printed. Raises `BrokenDistributionError`."""
    print(f"{title} ...", flush=True)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_STEP_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BrokenDistributionError(f"{title}: exit code {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def constraints(lock: str) -> str:
    """Return the versions that a lock pins, without the hashes: the wheel itself has none there."""
    return "\n".join(match[0].rstrip() for match in _PINNED.finditer(lock)) + "\n"


def build(folder: Path) -> Path:
    """Build both distributions; return the wheel's path."""
    run("build", sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    (source,) = folder.glob("*.tar.gz")
    for found in (wheel, source):
        print(f"  {found.name}: {found.stat().st_size / 1024:.0f} kB")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel into an environment of its own; return the folder of its programs."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    programs = environment / "bin"
    pins = folder / "constraints.txt"
    pins.write_text(constraints((ROOT / "requirements.lock").read_text()))
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run("install", *pip, "--constraint", pins, wheel, cwd=folder)
    run("check", programs / "python", "-m", "pip", "check", cwd=folder)
    size = sum(file.stat().st_size for file in environment.rglob("*") if file.is_file() and not file.is_symlink())
    print(f"  environment: {size / 1_000_000:.0f} MB")
    return programs


def start(programs: Path, runtime: str, folder: Path) -> None:
    """Start the installed server, ask whether it lives, and stop it. Raises `BrokenDistributionError`."""
    print(f"start on {runtime} ...", flush=True)
    command = [str(programs / "opencode-a2a"), "serve", "--runtime", runtime, "--port", "0"]
    process = Process.start(command, cwd=folder, env=_environment())
    try:
        found = process.output.wait_for(r"listening on (http://\S+)", Deadline.within(_START_SECONDS))
        with urllib.request.urlopen(f"{found[1]}/livez", timeout=10) as answer:
            if answer.status != 200:
                raise BrokenDistributionError(f"/livez on {runtime}: HTTP {answer.status}")
    except (StartError, OSError) as error:
        raise BrokenDistributionError(f"start on {runtime}: {error}\n{process.output.tail()}") from None
    finally:
        process.stop()
    if process.popen.returncode != 0:
        raise BrokenDistributionError(f"stop on {runtime}: exit code {process.popen.returncode}")


def _environment() -> Mapping[str, str]:
    """The environment without settings of ours, and without a way to this checkout's packages."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("A2A_", "OPENCODE_")) and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }


def main() -> int:
    """Build, install and start; return the exit code."""
    argparse.ArgumentParser(prog="python -m tests.distribution", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            programs = install(build(folder), folder)
            said = run("version", programs / "opencode-a2a", "--version", cwd=folder)
            if f"opencode-a2a {__version__} " not in said or str(ROOT) in said:
                raise BrokenDistributionError(f"version: {said}")
            for runtime in RUNTIMES:
                start(programs, runtime, folder)
        except BrokenDistributionError as error:
            print(error, file=sys.stderr)
            return 1
    print("the distribution works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
