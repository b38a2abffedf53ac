"""HTTP/1.1 as most calls to OpenCode have it: a request head, and an answer that came whole in one read.

Any other answer is for a full parser of HTTP, which takes several times as long. Knows no connection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

Fields: TypeAlias = list[tuple[bytes, bytes]]

_REQUEST: Final = re.compile(r"[A-Z]+ [!-~]+ HTTP/1\.1\r\n(?:[a-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)*\r\n")
_ANSWER: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t -~\x80-\xff]*)?\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*)\r\n"
)
_BODILESS: Final = (204, 304)
_DIGITS: Final = 9  # of a length that one read can hold


def request_head(method: str, target: str, fields: Sequence[tuple[str, str]]) -> bytes:
    """Return the head of a request, with the empty line. Raises `ValueError` for what no head can hold.

    `fields`: their names are in lower case.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n"
    if _REQUEST.fullmatch(head) is None or head.count("\n") != len(fields) + 2:  # a value may hold a field of its own
        raise ValueError("a request head cannot hold this")
    return head.encode("ascii")


def whole_answer(data: bytes) -> tuple[int, Fields, bytes] | None:
    """Return the status, the fields and the body of an answer that these bytes are, all of it and nothing else.

    None where they are not, where the answer has a coding, or the connection ends with it: then a full parser has to
    look at them. Names of fields are in lower case. Not for answers to HEAD or CONNECT.
    """
    head = _ANSWER.match(data)
    if head is None:
        return None
    status = int(head[1])
    fields: Fields = []
    length = None
    for line in head[2].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > _DIGITS:
                return None
            length = int(value)
        elif name == b"transfer-encoding" or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        fields.append((name, value))
    if len(data) - head.end() != (0 if status in _BODILESS else length):
        return None
    return status, fields, data[head.end() :]
