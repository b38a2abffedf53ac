"""Judges the connection that listens to the other servers on a PostgreSQL database: do their notifications arrive.

    fault          what was observed                                                        the server starts
    POOLED         startup options are refused; or the session changes between              no
                   transactions; or nothing arrives, and a session in between is shared
    ELSEWHERE      a lock of the store's connection is not seen                             no
    UNREACHABLE    the connection cannot be made, or cannot listen                          yes: it may pass
    SILENT         nothing arrives, although the same database is reached                   yes: it may pass

The first that applies counts. Without notifications, a slow look at the database remains, and most waits get long.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from attrs import frozen

from sansio.doctor.finding import Finding, fail, ok

LISTENING: Final = "store notifications"
VARIABLE: Final = "A2A_LISTEN_DATABASE_URL"

PAST_POOL: Final = f"set {VARIABLE} to a URL that leads past the pool to the same database"
"""The remedy where the URL of the store leads to a pool, and the setting is not there."""


class ListeningFault(Enum):
    """Fault of the connection; the module's docstring has the table."""

    POOLED = auto()
    ELSEWHERE = auto()
    UNREACHABLE = auto()
    SILENT = auto()

    @property
    def is_certain(self) -> bool:
        """Whether the same settings can never work: a server with them does not start."""
        return self in (ListeningFault.POOLED, ListeningFault.ELSEWHERE)


@frozen(kw_only=True)
class ListeningFacts:
    """Observations of the connection. `has_url`: it has a URL of its own.

    `refuses_options`: what it leads to refuses options of a connection, as PgBouncer does. `error`: why it cannot be
    made, or cannot listen. `is_direct`: it reaches a session of the database with nothing in between that shares
    sessions. `moves`: two of its statements had different sessions, or another connection had its session.
    `elsewhere`: it does not see what the store's connection does. `arrived`: a notification came, within `seconds` of
    its commit.
    """

    has_url: bool
    refuses_options: bool = False
    error: str | None = None
    is_direct: bool = True
    moves: bool = False
    elsewhere: bool = False
    arrived: bool = False
    seconds: float = 0.0


def listening_fault(facts: ListeningFacts) -> ListeningFault | None:
    """Return what is wrong; None where notifications arrive."""
    if facts.refuses_options or facts.moves:
        return ListeningFault.POOLED
    if facts.error is not None:
        return ListeningFault.UNREACHABLE
    if facts.elsewhere:
        return ListeningFault.ELSEWHERE
    if facts.arrived:
        return None
    return ListeningFault.SILENT if facts.is_direct else ListeningFault.POOLED


def judge_listening(facts: ListeningFacts) -> Finding:
    """Make the row of the connection that listens."""
    match listening_fault(facts):
        case None:
            way = f"by {VARIABLE}" if facts.has_url else "by the URL of the store"
            return ok(LISTENING, f"a notification arrived {way}")
        case ListeningFault.POOLED:
            return _pooled(facts.has_url)
        case ListeningFault.ELSEWHERE:
            return fail(
                LISTENING,
                f"{VARIABLE} leads to another database than A2A_TASK_STORE_DATABASE_URL: nothing would arrive",
                f"set {VARIABLE} to a URL of the same database on the same primary server",
            )
        case ListeningFault.UNREACHABLE:
            remedy = f"set {VARIABLE} to a URL that can be connected to" if facts.has_url else "look at the database"
            return fail(LISTENING, f"the connection that listens: {facts.error}", remedy)
    silence = f"no notification arrived within {facts.seconds:g} s"
    return fail(LISTENING, silence, "look at the load of the database, and at what lies between")


def _pooled(has_url: bool) -> Finding:
    what = "a pool, such as PgBouncer, that does not keep a session for the connection that listens"
    if has_url:
        return fail(
            LISTENING,
            f"{VARIABLE} itself leads to {what}",
            f"set {VARIABLE} to the database's own address, past the pool",
        )
    return fail(LISTENING, f"A2A_TASK_STORE_DATABASE_URL leads to {what}", PAST_POOL)
