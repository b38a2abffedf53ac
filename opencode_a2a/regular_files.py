"""Reads a regular file, and nothing else: a pipe or a device in its place neither waits nor never ends."""

from __future__ import annotations

import errno
import os
import stat


def read_regular(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """Read at most `most` bytes of a regular file. Return them, and the status of the very file that was read.

    Blocks, for as long as the file system does. Raises `OSError`, whose `strerror` says why, also for what is no
    regular file and for a path that names none.
    """
    try:
        # opened so that a pipe does not wait for somebody who writes
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:  # a path with NUL in it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most), status
    finally:
        os.close(descriptor)


def is_open_to_others(status: os.stat_result) -> bool:
    """Return whether somebody can read or write a secret file who need not.

    Its group may where another user owns the file: that is how root, or Kubernetes, gives a file to a server.
    """
    shared = 0o077 if status.st_uid == os.geteuid() else 0o007
    return bool(status.st_mode & shared)
