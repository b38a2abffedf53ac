"""A PostgreSQL server for the tests, on loopback, from a package. On Linux it ends with its parent."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.shell.harness import free_port

_STARTING = 60.0
_STOPPING = 20.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OPTIONS = ("fsync=off", "synchronous_commit=off", "unix_socket_directories=", "shared_buffers=16MB")


class ServerFailedError(Exception):
    """The server did not start; the text is the end of its log."""


@contextmanager
def running_postgresql(package: Path) -> Iterator[str]:
    """Run the server whose binaries are in the folder of a `package`; gives the URL of an empty database.

    PostgreSQL refuses to run as root. Then a copy of it runs as `nobody`, who may not be able to read the original.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        account: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            libraries = package.with_name(f"{package.name}.libs")
            for source in (package, libraries):  # the binaries look for their libraries beside the package
                if source.exists():
                    shutil.copytree(source, folder / source.name, symlinks=True)
            package = folder / package.name
            folder.chmod(0o755)
        installed = package / "pginstall"
        data = folder / "data"
        data.mkdir(mode=0o700)
        if account:
            os.chown(data, account["user"], account["group"])
        made = ["--auth=trust", "--username=tests", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        command = [str(installed / "bin" / "initdb"), "-D", str(data), *made]
        ended = {"preexec_fn": _ending_with_parent()} | account
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=_STARTING, **ended)
        yield from _served(installed, folder, data, account)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ending_with_parent() -> Callable[[], None] | None:
    """What a child does before it is a program, so that it ends fast even where its parent is killed. Linux only."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()  # loaded here: little is safe to do between fork and exec

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))  # a change of user would undo it: this comes after that
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _served(installed: Path, folder: Path, data: Path, account: dict[str, Any]) -> Iterator[str]:
    port = free_port()
    log = folder / "log"
    options = [word for option in ("listen_addresses=127.0.0.1", *_OPTIONS) for word in ("-c", option)]
    command = [str(installed / "bin" / "postgres"), "-D", str(data), "-p", str(port), *options]
    with log.open("wb") as output:
        ending = _ending_with_parent()
        server = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, preexec_fn=ending, **account)
    try:
        _wait_until_ready(server, data / "postmaster.pid", log)
        yield f"postgresql://tests@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: it does not wait for clients
        try:
            server.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_ready(server: subprocess.Popen[bytes], status: Path, log: Path) -> None:
    """Return once the server's own file says that it is ready."""
    deadline = time.monotonic() + _STARTING
    while not (status.exists() and "ready" in status.read_text("utf-8")):
        if server.poll() is not None or time.monotonic() > deadline:
            raise ServerFailedError(log.read_text("utf-8", "replace")[-2000:])
        time.sleep(0.02)
