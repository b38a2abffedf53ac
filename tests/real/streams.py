"""Server-sent events as these tests read them, apart from every decoder of the project.

Must not know what the data means.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from tests.real.deadline import Deadline


def data_lines(response: httpx.Response, deadline: Deadline) -> Iterator[str]:
    """What follows `data:` in each event, as it arrives. Lines end at LF or CRLF: JSON may hold U+2028."""
    rest = b""
    for block in response.iter_raw():
        deadline.check("the end of a stream")
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip().decode()
