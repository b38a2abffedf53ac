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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define

from tests.shell.ports import free_port

_STARTING = 60.0
_STOPPING = 20.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OPTIONS = ("fsync=off", "synchronous_commit=off", "unix_socket_directories=", "shared_buffers=16MB")


class ServerFailedError(Exception):
    """The server did not start; the text is the end of its log."""


@define(eq=False)
class PostgresqlServer:
    """A server with its files, which can be stopped and started again on the same port."""

    installed: Path
    folder: Path
    account: Mapping[str, Any]
    port: int
    options: Sequence[str] = _OPTIONS
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it. On Linux it ends with the thread that does so: that has to be one that lasts."""
        data, log = self.folder / "data", self.folder / "log"
        options = [word for option in ("listen_addresses=127.0.0.1", *self.options) for word in ("-c", option)]
        command = [str(self.installed / "bin" / "postgres"), "-D", str(data), "-p", str(self.port), *options]
        (data / "postmaster.pid").unlink(missing_ok=True)  # of a server that has crashed, which says that it is ready
        with log.open("ab") as output:
            ending = _ending_with_parent()
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=output, preexec_fn=ending, **self.account
            )

    def wait_until_ready(self) -> None:
        """Return once its own file says that it is ready. Raises `ServerFailedError`."""
        assert self._process is not None
        _wait_until_ready(self._process, self.folder / "data" / "postmaster.pid", self.folder / "log")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it. SIGINT is a fast shutdown: it does not wait for clients; SIGQUIT is as good as a crash."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def running_postgresql(package: Path, *more: str) -> Iterator[str]:
    """Run the server whose binaries are in the folder of a `package`; gives the URL of an empty database.

    `more`: settings of the server, each `name=value`.
    """
    with postgresql_server(package, (*_OPTIONS, *more)) as server:
        yield server.url


@contextmanager
def postgresql_server(
    package: Path, options: Sequence[str] = _OPTIONS, port: int | None = None
) -> Iterator[PostgresqlServer]:
    """Run the server whose binaries are in the folder of a `package`, with an empty database.

    `port`: None for one of this test process.

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
                    _copy_tree(source, folder / source.name)
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
        server = PostgresqlServer(installed, folder, account, port or free_port(), options)
        try:
            server.start()
            server.wait_until_ready()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a folder, but for what only compilers read. Files become links to the originals where that is possible."""

    def copy(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:  # another file system, or one without links
            shutil.copy2(one, other)

    shutil.copytree(source, target, symlinks=True, copy_function=copy, ignore=shutil.ignore_patterns("include"))


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


def _wait_until_ready(server: subprocess.Popen[bytes], status: Path, log: Path) -> None:
    """Return once the server's own file says that it is ready."""
    deadline = time.monotonic() + _STARTING
    while not (status.exists() and "ready" in status.read_text("utf-8")):
        if server.poll() is not None or time.monotonic() > deadline:
            raise ServerFailedError(log.read_text("utf-8", "replace")[-2000:])
        time.sleep(0.02)
