"""A trace as a picture: one row for each span, below its parent, with a bar from its start to its end. SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from tests.shell.tracing.collector import Received

_ROW, _NAMES, _BARS, _EDGE = 26, 380, 640, 16  # pixels
_HEAD = 64
_COLOURS = {"SERVER": "#3b6fb6", "CLIENT": "#c0722f", "INTERNAL": "#5b8a5a"}
_FAILED = "#b3382c"
_ATTRIBUTES = {"http.response.status_code": "", "a2a.task.state": "", "a2a.store.rows": " rows", "error.type": ""}
"""Attributes that are shown next to a bar, the first that a span has, with their units."""


def waterfall(spans: Sequence[Received]) -> str:
    """Return the SVG of one trace."""
    rows = [*_rows(spans, None, 0)]
    first = rows[0][0]
    began = min(span.started for span, _ in rows)
    whole = max(span.started / 1e6 + span.seconds * 1000 for span, _ in rows) - began / 1e6
    width, height = _NAMES + _BARS + 3 * _EDGE, _HEAD + _ROW * len(rows) + _EDGE
    pieces = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_EDGE}" y="24" font-size="15" font-weight="bold">{escape(first.name)}</text>',
        f'<text x="{_EDGE}" y="44" fill="#666666">trace {first.trace_id}, {len(rows)} spans, {whole:.1f} ms</text>',
        *_legend(width),
        *_grid(whole, height),
    ]
    for number, (span, depth) in enumerate(rows):
        pieces += _row(span, depth, number, began, whole)
    return "\n".join([*pieces, "</svg>", ""])


def _rows(spans: Sequence[Received], parent: str | None, depth: int) -> Iterator[tuple[Received, int]]:
    known = {span.span_id for span in spans}
    found = [span for span in spans if (span.parent_id if span.parent_id in known else None) == parent]
    for span in sorted(found, key=lambda one: one.started):
        yield span, depth
        yield from _rows(spans, span.span_id, depth + 1)


def _legend(width: int) -> Iterator[str]:
    x = width - _EDGE - 290
    for kind, colour in _COLOURS.items():
        yield f'<rect x="{x}" y="14" width="12" height="12" rx="2" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="24" fill="#444444">{kind}</text>'
        x += 100


def _grid(whole: float, height: int) -> Iterator[str]:
    """Lines at round numbers of milliseconds, some four to ten of them."""
    step = next(one * 10**power for power in range(-1, 7) for one in (1, 2, 5) if whole / (one * 10**power) <= 9)
    number = 0
    while number * step <= whole:
        x = _NAMES + _EDGE + _BARS * number * step / whole
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_HEAD - 2}" y2="{height - _EDGE}" stroke="#e4e4e4"/>'
        yield f'<text x="{x:.1f}" y="{_HEAD - 6}" fill="#888888" font-size="11">{number * step:g} ms</text>'
        number += 1


def _row(span: Received, depth: int, number: int, began: int, whole: float) -> Iterator[str]:
    y = _HEAD + _ROW * number
    left = _NAMES + _EDGE + _BARS * (span.started - began) / 1e6 / whole
    length = max(2.0, _BARS * span.seconds * 1000 / whole)
    colour = _FAILED if span.failed else _COLOURS[span.kind]
    shown = next((f"{span.attributes[one]}{unit}" for one, unit in _ATTRIBUTES.items() if one in span.attributes), "")
    text = f"{span.seconds * 1000:.1f} ms{f', {shown}' if shown else ''}"
    small = f'y="{y + 17}" font-size="11"'
    has_room = left + length < _NAMES + _BARS - 110  # behind the bar
    yield f'<text x="{_EDGE + 16 * depth}" y="{y + 17}">{escape(span.name)}</text>'
    yield f'<rect x="{left:.1f}" y="{y + 5}" width="{length:.1f}" height="16" rx="3" fill="{colour}"/>'
    if has_room:
        yield f'<text x="{left + length + 6:.1f}" {small} fill="#444444">{escape(text)}</text>'
    elif length > 120:
        yield f'<text x="{left + 8:.1f}" {small} fill="#ffffff">{escape(text)}</text>'
    else:
        yield f'<text x="{left - 6:.1f}" {small} fill="#444444" text-anchor="end">{escape(text)}</text>'
