"""The tests of which each case runs on one of the runtimes in turn: what they show lies above the event loop.

What is named here is seen by both runtimes, as the names of its cases choose between them. What several tasks, a
cancellation or a connection can do to each other is not here: that runs on both.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.choosing import in_turn

REASONS: dict[str, str] = {
    "agent/sessions/test_sessions.py": "who has which session is stored",
    "agent/sessions/test_sessions_gone.py": "who has which session is stored",
    "agent/sessions/test_sessions_machine.py": "who has which session is stored",
    "agent/sessions/test_unowned_sessions.py": "who has which session is stored",
    "agent/test_instances.py": "which OpenCode is asked is found in what a request says",
    "agent/test_locations.py": "where OpenCode works is found in what a request says",
    "agent/test_upgrade.py": "what earlier releases stored is read",
    "agent/tool/test_entrance.py": "what one request of a model's is answered",
    "agent/tool/test_known_peers.py": "which agents a model may call",
    "agent/tool/test_registration.py": "what OpenCode is asked, one request after the other",
    "cli/test_backup.py": "a command that copies a file",
    "cli/test_commands.py": "what a command reads and writes; `test_signals.py` ends servers on both",
    "client/test_hostile_peers.py": "a row for each thing that a peer can send, which the core bounds",
    "client/test_tasks.py": "a command of one request; `test_call.py` has streams on both",
    "fake_opencode/": "the scripted OpenCode, which is no part of a server",
    "server/identity/test_secrets.py": "what is logged",
    "server/store/shared/test_affinities.py": "the database decides",
    "server/store/shared/test_lease_status.py": "the database decides",
    "server/store/shared/test_ownership.py": "the database decides who has a task",
    "server/store/shared/test_pgbouncer.py": "which statements a pool of connections takes",
    "server/store/test_store_alone.py": "a lock of the operating system's, between processes",
    "server/store/test_store_model.py": "what is written is read",
    "server/store/test_store_schema.py": "what the database makes of a migration",
    "server/store/test_store_size.py": "what the database says of its size",
    "server/store/test_store_tasks.py": "what is written is read",
    "server/store/test_task_counts.py": "what is written is counted",
    "server/tasks/test_retention.py": "what is stored at a time that the test sets",
    "tracing/test_restart.py": "which trace a turn is of",
    "tracing/test_spans.py": "which spans there are, and what they hold",
}
"""Parts of test ids below `tests/shell/`, each with the reason why the loop makes no difference."""

_FOLDER = "tests/shell/"
_PARTS = tuple(f"{_FOLDER}{part}" for part in REASONS)


def left_out(items: Sequence[pytest.Item]) -> frozenset[pytest.Item]:
    """The cases whose other one, on the other runtime, runs."""
    above = [item for item in items if item.nodeid.startswith(_PARTS)]
    return frozenset(above) - in_turn(above)
