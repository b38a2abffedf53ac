"""The benchmark's one table and the ratios below it, from rows already measured. Measures nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from tests.benchmarks.load import Result
from tests.benchmarks.wire import Wire

OURS = "opencode-a2a"
BARE = "bare"

_HEADINGS = (
    "server",
    "asked",
    "clients",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "first artifact p50 ms",
    "p99 ms",
    "tokens/s",
    "events/request",
    "CPU ms/request",
    "peak RSS MB",
    "others' CPU %",
    "requests",
    "failures",
)


@attrs.frozen(kw_only=True)
class Row:
    """One measurement: who, on which runtime (None: a peer), asked how, by how many clients at once."""

    server: str
    runtime: str | None
    wire: Wire
    clients: int
    result: Result

    @property
    def label(self) -> str:
        return f"{self.server} {self.runtime}" if self.runtime else self.server

    @property
    def asked(self) -> str:
        return f"{self.wire.mode} {self.wire.version} {self.wire.binding}"


@attrs.frozen(kw_only=True)
class Ratio:
    """One comparison. `target` is a bound in the sense of `at_least`, or None where none is set."""

    name: str
    value: float
    target: float | None
    at_least: bool

    def __str__(self) -> str:
        shown = f"{self.name}: {self.value:.2f}"
        if self.target is None:
            return shown
        met = self.value >= self.target if self.at_least else self.value <= self.target
        bound = "at least" if self.at_least else "at most"
        return f"{shown} (target: {bound} {self.target:g}; {'met' if met else 'MISSED'})"


def table(rows: Iterable[Row]) -> str:
    """Every row, columns aligned, in Markdown so that it can be pasted."""
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = [_aligned(line, widths) for line in cells]
    rule = "| " + " | ".join("-" * (width - 1) + (":" if at > 1 else "-") for at, width in enumerate(widths)) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def failures(rows: Iterable[Row]) -> str:
    """Why requests failed, a line per row that has failures."""
    told = (
        f"{row.label}, {row.asked}, {row.clients} clients: "
        + "; ".join(f"{count} x {reason}" for reason, count in sorted(row.result.failures.items()))
        for row in rows
        if row.result.failures
    )
    return "\n".join(told)


def ratios(rows: Sequence[Row]) -> list[Ratio]:
    """The comparisons the speed targets name, as far as the rows allow."""
    return [*_against_peers(rows), *_against_bare(rows), *_flatness(rows), *_trio(rows)]


def _against_peers(rows: Sequence[Row]) -> Iterable[Ratio]:
    targets = {("stream", 32): 50.0, ("send", 16): 8.0}
    for peer in rows:
        if peer.runtime is not None or not peer.result.per_second:
            continue
        for row in _ours(rows):
            if (row.wire, row.clients) == (peer.wire, peer.clients):
                target = targets.get((row.wire.mode, row.clients)) if row.runtime == "asyncio" else None
                yield Ratio(
                    name=f"requests/s, {row.asked}, {row.clients} clients, {row.label} / {peer.label}",
                    value=row.result.per_second / peer.result.per_second,
                    target=target,
                    at_least=True,
                )


def _against_bare(rows: Sequence[Row]) -> Iterable[Ratio]:
    bare = {(row.runtime, row.wire, row.clients): row for row in rows if row.server == BARE}
    for row in _ours(rows):
        other = bare.get((row.runtime, row.wire, row.clients))
        if row.wire.mode == "stream" and other and row.result.cpu_ms and other.result.cpu_ms:
            yield Ratio(
                name=f"CPU per request, {row.asked}, {row.clients} clients, {row.label} / {other.label}",
                value=row.result.cpu_ms / other.result.cpu_ms,
                target=4.0,
                at_least=False,
            )


def _flatness(rows: Sequence[Row]) -> Iterable[Ratio]:
    few = {(row.runtime, row.wire): row for row in _ours(rows) if row.clients == 8}
    for row in _ours(rows):
        other = few.get((row.runtime, row.wire))
        if row.clients == 128 and other and row.result.cpu_ms and other.result.cpu_ms:
            yield Ratio(
                name=f"CPU per request, {row.asked}, {row.label}, 128 / 8 clients",
                value=row.result.cpu_ms / other.result.cpu_ms,
                target=1.2,
                at_least=False,
            )


def _trio(rows: Sequence[Row]) -> Iterable[Ratio]:
    asyncio = {(row.wire, row.clients): row for row in _ours(rows) if row.runtime == "asyncio"}
    for row in _ours(rows):
        other = asyncio.get((row.wire, row.clients))
        if row.runtime == "trio" and other and other.result.per_second:
            yield Ratio(
                name=f"requests/s, {row.asked}, {row.clients} clients, trio / asyncio",
                value=row.result.per_second / other.result.per_second,
                target=0.6,
                at_least=True,
            )


def _ours(rows: Iterable[Row]) -> Iterable[Row]:
    return (row for row in rows if row.server == OURS)


def _cells(row: Row) -> tuple[str, ...]:
    result = row.result
    return (
        row.label,
        row.asked,
        str(row.clients),
        _number(result.per_second),
        _number(result.p50),
        _number(result.p99),
        _number(result.first_artifact_p50),
        _number(result.first_artifact_p99),
        _number(result.tokens_per_second),
        _number(result.events / result.requests if result.requests else None),
        _number(result.cpu_ms, digits=2),
        _number(result.rss_mb),
        _number(result.others_percent),
        str(result.requests),
        str(sum(result.failures.values())),
    )


def _number(value: float | None, *, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.rjust(width) if at > 1 else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join(padded) + " |"
