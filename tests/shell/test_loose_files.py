"""Files that may block for ever: what is no regular file is refused, and who is cancelled waits for no thread."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

import anyio
import pytest

from opencode_a2a.loose_thread import BlockedError, LooseThread
from opencode_a2a.regular_files import read_regular
from tests.shell.cases import each_value

pytestmark = pytest.mark.anyio

DEADLINE = 10


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    """A pipe that nobody writes to."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    return path


def test_a_regular_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    file.chmod(0o640)

    content, status = read_regular(str(file), 4)

    assert content == b"cont"
    assert status.st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("pipe", "Not a regular file"),
        ("/dev/zero", "Not a regular file"),
        (".", "Is a directory"),
        ("missing", "No such file or directory"),
        ("nul\0", "No such file or directory"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, pipe: str, path: str, said: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=said):
        read_regular(str(tmp_path / path), 100)

    assert len(os.listdir("/proc/self/fd")) == before


@each_value("wanted", [7, None])
async def test_a_thread_gives_what_its_function_returns(anyio_backend: str, wanted: int | None) -> None:
    thread = LooseThread("test")

    assert [await thread.run(lambda: wanted) for _ in range(3)] == [wanted] * 3
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(threading.get_ident) != threading.get_ident()


async def test_who_is_cancelled_leaves_one_thread_behind(anyio_backend: str, pipe: str) -> None:
    thread = LooseThread("test")
    reading = partial(os.open, pipe, os.O_RDONLY)
    with anyio.fail_after(DEADLINE):
        with anyio.move_on_after(0.1):
            await thread.run(reading)
        for _ in range(3):
            with pytest.raises(BlockedError):
                await thread.run(reading)
        assert [one.name for one in threading.enumerate()].count("test") == 1
        writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # what hung returns
        while True:
            try:
                assert await thread.run(lambda: 7) == 7
                break
            except BlockedError:
                await anyio.sleep(0.01)
    os.close(writer)
