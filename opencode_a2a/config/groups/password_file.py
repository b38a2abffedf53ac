"""A password in a file of its own, as secret stores and orchestrators give it. Blocks."""

from __future__ import annotations

import os
from typing import Final

from opencode_a2a.config.settings_values import SettingRefusedError
from opencode_a2a.regular_files import read_regular

LARGEST_PASSWORD_FILE: Final = 65_536
"""Bytes. A file that is larger holds something else."""


def password_of_file(path: str) -> tuple[str, os.stat_result]:
    """Return the first line of a file without its end, white space and all, and the file's status.

    Raises `SettingRefusedError`.
    """
    try:
        content, status = read_regular(path, LARGEST_PASSWORD_FILE + 1)
    except OSError as error:
        raise SettingRefusedError(f"{path!r} cannot be read: {error.strerror}") from None
    try:
        password = content.split(b"\n", 1)[0].removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        password = ""
    if not password or len(content) > LARGEST_PASSWORD_FILE:
        raise SettingRefusedError(f"{path!r} has no password in its first line")
    return password, status
