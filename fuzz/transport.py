"""Targets of what reaches a connection first: the head of a request, and the frames of HTTP/2."""

from __future__ import annotations

from contextlib import suppress

import h11
import hpack
from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.transport.frames import PREFACE, FrameBudget
from sansio.transport.header_blocks import MOST_ENTRIES, is_costly
from sansio.transport.heads import HeadScan, ambiguity

_FRAMING = (b"content-length", b"transfer-encoding")
_LINES = (
    b"Host: a",
    b"Content-Length: 4",
    b"Content-Length : 4",
    b"Content-Length: 4, 4",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:\tChunked",
    b" chunked",
    b"\tX: y",
    b"Transfer_Encoding: chunked",
    b"X: Content-Length: 3",
)


def check_heads(data: bytes) -> None:
    """A head that passes and that h11 accepts has one framing at most, on one line, of a version that has it; and
    whether it passes depends on no piece that it comes in.
    """
    head = data.replace(b"\r\n\r\n", b"\r\n").replace(b"\n\n", b"\n") + b"\r\n\r\n"
    scan = HeadScan()
    found = [scan.look(head[:at]) for at in range(1, len(head) + 1)]
    require(any(found) is (HeadScan().look(head) is not None), "a head in pieces is judged otherwise")
    if ambiguity(head) is not None:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError:
        return
    if not isinstance(request, h11.Request):
        return
    framing = [name for name, _ in request.headers if name in _FRAMING]
    require(len(framing) <= 1, "two framings")
    require(request.http_version != b"1.0" or b"transfer-encoding" not in framing, "a coding that 1.0 has not")
    require(not any(line[:1] in (b" ", b"\t") for line in head.split(b"\n")), "a folded line")


def check_header_blocks(data: bytes) -> None:
    """A header block that is not costly, and that decodes, has no more fields than are counted."""
    if is_costly(data * 20):
        return
    with suppress(hpack.HPACKError):
        require(len(list(hpack.Decoder().decode(data * 20, raw=True))) <= MOST_ENTRIES, "fields were not counted")


def check_frames(data: bytes) -> None:
    """A budget counts alike however its bytes are cut, and never gives more than it has."""
    whole, cut = FrameBudget(0.0), FrameBudget(0.0)
    stream = PREFACE + data
    good = all(cut.take(stream[at : at + 7], 0.0) for at in range(0, len(stream), 7))
    require(whole.take(stream, 0.0) is good, "cut bytes are counted otherwise")


_heads = st.lists(st.sampled_from(_LINES), max_size=6).map(lambda lines: b"\r\n".join([b"POST / HTTP/1.1", *lines]))

TARGETS = (
    Target(
        name="heads",
        check=check_heads,
        documents=(
            b"POST / HTTP/1.1\r\n" + b"\r\n".join(_LINES[:2]),
            b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked",
        ),
        strategy=_heads | st.binary(max_size=200),
    ),
    Target(
        name="header_blocks",
        check=check_header_blocks,
        documents=(b"\x82\x86\x84\x41\x01a", b"\x20\x3f\xe1\x1f\x00\x01a\x7f\x02" + b"b" * 129, b"\x7f\x01\x01a"),
        strategy=st.binary(max_size=200),
    ),
    Target(
        name="frames",
        check=check_frames,
        documents=(b"\0\0\0\4\0\0\0\0\0" * 20, b"\0\0\x08\6\0\0\0\0\x0012345678" * 12),
        strategy=st.binary(max_size=400),
    ),
)
