"""The table of metrics: one row per metric, from which the registry, the document and the checks of rules are made.

Label values are few and fixed: states, outcomes, reasons, operations. No id and no principal is one. Names of release
1.4.0 are kept.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import frozen


class Kind(Enum):
    """The kinds of metrics, by their names in the text format of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@frozen(kw_only=True)
class Meter:
    """A row: `buckets` are the upper bounds of a histogram.

    `known`: values of the one label that are there from the start, with 0. A rule that looks for an increase does not
    see the first event of a series that begins with it.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    known: tuple[str, ...] = ()


def _counter(name: str, help_text: str, *labels: str, known: tuple[str, ...] = ()) -> Meter:
    return Meter(name=name, kind=Kind.COUNTER, help=help_text, labels=labels, known=known)


def _gauge(name: str, help_text: str, *labels: str) -> Meter:
    return Meter(name=name, kind=Kind.GAUGE, help=help_text, labels=labels)


def _seconds(name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Meter:
    return Meter(name=name, kind=Kind.HISTOGRAM, help=help_text, labels=labels, buckets=buckets)


_SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LONG: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)

REQUESTS: Final = _counter(
    "a2a_http_requests_total", "Requests that were answered, or whose client left", "operation", "status"
)
REFUSED: Final = _counter(
    "a2a_requests_refused_total",
    "Requests that were refused, by the type of error",
    "reason",
    known=("INTERNAL_ERROR", "UNAUTHENTICATED"),
)
RATE_LIMITED: Final = _counter("a2a_rate_limit_rejected_total", "Requests refused for coming too often")
STREAM_REQUESTS: Final = _counter("a2a_stream_requests_total", "Requests for a stream")
STREAMS_REJECTED: Final = _counter(
    "a2a_stream_budget_rejected_total", "Streams refused because too many were open, or the server was being stopped"
)
STREAMS: Final = _gauge("a2a_stream_active", "Streams that are open")
EVENT_LAG: Final = _seconds(
    "a2a_event_lag_seconds", "From the arrival of OpenCode's events to their being written to a reader", _SHORT
)
ACTIVE_TASKS: Final = _gauge("a2a_tasks_active", "Tasks at work, by their state", "state")
TURNS: Final = _counter(
    "a2a_turns_total",
    "Turns that have ended, by the state of their task",
    "state",
    known=("completed", "failed", "canceled", "auth-required"),
)
FAILURES: Final = _counter("a2a_turn_failures_total", "Turns that failed, by the type of error", "error")
TURN_SECONDS: Final = _seconds("a2a_turn_duration_seconds", "From a message to the end of its turn", _LONG)
FIRST_OUTPUT: Final = _seconds(
    "a2a_turn_first_token_seconds", "From a message to the first output of its turn: text, reasoning or a tool", _LONG
)
INTERRUPTS: Final = _gauge("a2a_interrupts_pending", "Permissions and questions that wait for an answer")
OLDEST_INTERRUPT: Final = _gauge(
    "a2a_interrupt_oldest_seconds", "For how long the oldest of them has waited; 0 without one"
)
INTERRUPTS_ASKED: Final = _counter("interrupt_requests_total", "Permissions and questions that OpenCode asked")
INTERRUPTS_RESOLVED: Final = _counter(
    "interrupt_resolved_total", "Of these, those that were answered before their turn ended"
)
ABORTS: Final = _counter("a2a_cancel_abort_attempt_total", "Requests to OpenCode to stop a turn")
ABORTED: Final = _counter("a2a_cancel_abort_success_total", "Of these, those that OpenCode took")
ABORT_ERRORS: Final = _counter("a2a_cancel_abort_error_total", "Of these, those that OpenCode answered with an error")
UPSTREAM_UP: Final = _gauge(
    "a2a_upstream_connected", "1 while the event stream of OpenCode, or of each of several, is connected, else 0"
)
INSTANCE_UP: Final = _gauge(
    "a2a_upstream_instance_connected",
    "The same for each OpenCode, by its name; absent where the only one has none",
    "opencode",
)
INSTANCE_TURNS: Final = _gauge(
    "a2a_upstream_instance_turns", "Turns at work in each OpenCode, by its name; absent as above", "opencode"
)
RECONNECTS: Final = _counter("opencode_stream_retries_total", "Connections of the event stream after the first")
STORE_UP: Final = _gauge(
    "a2a_store_writable", "1 while commits succeed, and renewals of the lease where there is one, else 0"
)
STORE_QUEUE: Final = _gauge("a2a_store_queue_length", "Calls whose writes wait for their commit")
STORE_UNSTORED: Final = _gauge("a2a_store_unstored_bytes", "Bytes of tasks that wait in memory for their commit")
STORE_BYTES: Final = _gauge(
    "a2a_store_size_bytes",
    "Size of the SQLite file and its journal, or of our tables in PostgreSQL with their indexes; read every 30 s",
)
STORE_TASKS: Final = _gauge(
    "a2a_store_tasks", "Tasks that the store keeps; counted every 30 s, or more seldom where that takes long"
)
REPLICAS: Final = _gauge(
    "a2a_replicas_alive",
    "Servers that share the database and have a lease, as this one's last renewal found them; absent without a lease",
)
LEASE_HELD: Final = _gauge(
    "a2a_replica_lease_held", "1 while this server has its lease, else 0: others take over its tasks, or have"
)
LEASE_AGE: Final = _gauge("a2a_replica_lease_age_seconds", "Time since the lease was renewed, or the server joined")
RENEWALS_FAILED: Final = _counter(
    "a2a_replica_lease_renewals_failed_total", "Renewals of the lease that the database did not confirm"
)
LEASES_LOST: Final = _counter(
    "a2a_replica_lease_lost_total", "Times that this server found that another one had taken over its tasks"
)
TAKEOVERS: Final = _counter(
    "a2a_replica_takeovers_total", "Other servers that this one removed, since their leases were over"
)
TASKS_ADOPTED: Final = _counter(
    "a2a_replica_tasks_adopted_total",
    "Tasks that this server took over: of one that has gone or has stopped, or of an earlier run",
)
TASKS_LOST: Final = _counter(
    "a2a_replica_tasks_lost_total", "Tasks at work here that this server lost with its lease"
)
TASKS_FOLLOWED: Final = _gauge("a2a_replica_tasks_followed", "Tasks of other servers that are read here")
COMMANDS_SENT: Final = _counter(
    "a2a_replica_commands_sent_total",
    "Commands to other servers: answered, refused, unanswered in time, gone (with the server that was asked), or"
    " withdrawn (nobody waits: another one answered, the client left, or the database failed)",
    "outcome",
)
COMMANDS_RECEIVED: Final = _counter(
    "a2a_replica_commands_received_total",
    "Commands of other servers: answered, refused, failed (the log has why), or unanswered (the database failed)",
    "outcome",
)
COMMIT_SECONDS: Final = _seconds("a2a_store_commit_seconds", "Duration of a commit, which holds many writes", _SHORT)
PUSHES_PENDING: Final = _gauge("a2a_push_pending", "Push configurations whose task may have more to notify about")
PUSHES: Final = _counter(
    "a2a_push_notifications_total",
    "Push notifications that were delivered or retried; given_up counts configurations",
    "outcome",
)
LOOP_LAG: Final = _seconds(
    "a2a_loop_lag_seconds", "Delay with which the event loop wakes a task that slept for 0.25 s", _SHORT, "runtime"
)
CERTIFICATE_ENDS: Final = _gauge(
    "a2a_tls_certificate_expiry_timestamp_seconds",
    "When the served certificate expires, in Unix time; absent where the server speaks no TLS itself",
)

METERS: Final = (
    *(REQUESTS, REFUSED, RATE_LIMITED, STREAM_REQUESTS, STREAMS_REJECTED, STREAMS, EVENT_LAG),
    *(ACTIVE_TASKS, TURNS, FAILURES, TURN_SECONDS, FIRST_OUTPUT),
    *(INTERRUPTS, OLDEST_INTERRUPT, INTERRUPTS_ASKED, INTERRUPTS_RESOLVED, ABORTS, ABORTED, ABORT_ERRORS),
    *(
        UPSTREAM_UP,
        INSTANCE_UP,
        INSTANCE_TURNS,
        RECONNECTS,
        STORE_UP,
        STORE_QUEUE,
        STORE_UNSTORED,
        STORE_BYTES,
        STORE_TASKS,
        COMMIT_SECONDS,
    ),
    *(REPLICAS, LEASE_HELD, LEASE_AGE, RENEWALS_FAILED, LEASES_LOST, TAKEOVERS),
    *(TASKS_ADOPTED, TASKS_LOST, TASKS_FOLLOWED, COMMANDS_SENT, COMMANDS_RECEIVED),
    *(PUSHES_PENDING, PUSHES, LOOP_LAG, CERTIFICATE_ENDS),
)
"""All rows, in the order of the document."""
