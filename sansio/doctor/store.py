"""Judges the store of tasks: can it be opened and written, by this version, and is there room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import evolve, frozen

from sansio.doctor.finding import Finding, fail, ok, skipped, warn
from sansio.doctor.listening import ListeningFacts, judge_listening

STORE, SCHEMA, SPACE, SERVERS = "store", "store schema", "disk space", "store servers"
VARIABLE: Final = "A2A_TASK_STORE_DATABASE_URL"
LITTLE: Final = 256 * 1024 * 1024
"""Bytes of free space from which on there is enough."""
TOO_LITTLE: Final = 16 * 1024 * 1024


@frozen(kw_only=True)
class StoreFacts:
    """Observations of a store. `where`: its place, without a password.

    `error`: why it cannot be opened; `refuses_options`: a pool is there, which refuses options of connections,
    and there is no URL past it.
    `read_only`: why it cannot be written. `exists`: it has been made.
    `version`: the schema's, None where there is none yet; `known`: those that this code can work with, its own last.
    `holder`: the process that has it alone; empty where nobody has. `free`: bytes of space beside it; `size`: its
    bytes. `replicas`: the servers that share it, each with a name and the seconds that its lease has left; None where
    it cannot be shared, or has no tables yet. `listening`: of the connection by which a server gets notifications of
    the others.
    """

    where: str
    known: Sequence[str]
    memory: bool = False
    error: str | None = None
    refuses_options: bool = False
    read_only: str | None = None
    exists: bool = True
    version: str | None = None
    holder: str = ""
    free: int | None = None
    size: int | None = None
    replicas: Sequence[tuple[str, float]] | None = None
    listening: ListeningFacts | None = None


def judge_store(facts: StoreFacts) -> Iterator[Finding]:
    """Yield the rows of a store."""
    if facts.memory:
        yield warn(STORE, "tasks are kept in memory, and gone with the process", "A2A_TASK_STORE_BACKEND=database")
        return
    if facts.refuses_options:
        pooled = judge_listening(ListeningFacts(has_url=False, refuses_options=True))
        yield evolve(pooled, check=STORE)  # a server that starts has the same words
    elif facts.error is not None:
        yield fail(STORE, f"{facts.where}: {facts.error}", f"make it reachable, or set {VARIABLE} to another one")
    elif facts.read_only is not None:
        yield fail(
            STORE,
            f"{facts.where} cannot be written: {facts.read_only}",
            f"give the server's user the right to write there, or set {VARIABLE}",
        )
    else:
        yield ok(STORE, _described(facts))
    if facts.error is None:
        yield _schema(facts)
    if facts.replicas is not None:
        yield _servers(facts.replicas)
    if facts.listening is not None:
        yield judge_listening(facts.listening)
    yield _space(facts)


def _servers(replicas: Sequence[tuple[str, float]]) -> Finding:
    over = [name for name, left in replicas if left < 0]
    if not replicas:
        return ok(SERVERS, "none has the store open now")
    shown = ", ".join(f"{name} ({_lease(left)})" for name, left in replicas)
    if len(over) == len(replicas):
        return warn(SERVERS, f"{shown}: none renews its lease", "start a server, or look at what keeps them from it")
    return ok(SERVERS, f"they share the store: {shown}")


def _lease(left: float) -> str:
    if left < 0:
        return f"its lease ended {-left:.0f} s ago: another takes it over"
    return f"lease: {left:.0f} s left"


def _described(facts: StoreFacts) -> str:
    if not facts.exists:
        return f"{facts.where} is not there yet; the server makes it"
    size = "" if facts.size is None else f", {megabytes(facts.size)}"
    held = f"; in use by a server that runs ({facts.holder})" if facts.holder else ""
    return f"{facts.where} can be opened and written{size}{held}"


def _schema(facts: StoreFacts) -> Finding:
    if facts.version is None:
        return skipped(SCHEMA, "the first start of the server makes the tables")
    if facts.version not in facts.known:
        return fail(
            SCHEMA,
            f"version {facts.version} is newer than this program knows ({facts.known[-1]})",
            f"install the newer opencode-a2a, or set {VARIABLE} to another database",
        )
    if facts.version != facts.known[-1]:
        return warn(
            SCHEMA,
            f"version {facts.version}; the next start brings it to {facts.known[-1]}, for good",
            "opencode-a2a backup FILE, before that start",
        )
    return ok(SCHEMA, f"version {facts.version}, the current one")


def _space(facts: StoreFacts) -> Finding:
    if facts.free is None:
        return skipped(SPACE, "the database's disk cannot be seen from here")
    free = f"{megabytes(facts.free)} are free"
    if facts.free < TOO_LITTLE:
        return fail(SPACE, f"{free} where the store is", "free some, or set A2A_TASK_RETENTION_SECONDS")
    if facts.free < LITTLE:
        return warn(SPACE, f"{free} where the store is", "free some, or set A2A_TASK_RETENTION_SECONDS")
    return ok(SPACE, free)


def megabytes(size: int) -> str:
    """Return a number of bytes as megabytes or gigabytes, in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
