"""The tests that also run on three servers of one database, asked in turn, and those that cannot.

`pytest --replicas sample tests/shell` runs a case of every third test of a module, `--replicas whole` all cases of
all. The chosen ones are part of the ordinary tests. So is `server/replicas/`, which has the rules between servers,
and `tests/interop` sends each operation to three servers.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

CHOSEN = (
    "test_repeated_messages.py::test_the_same_message_on_every_wire_is_one_prompt",
    "test_repeated_messages.py::test_the_same_first_message_on_every_wire_is_one_prompt",
    "test_resuming.py::test_a_stream_that_is_cut_again_and_again_tells_each_event_once",
    "test_subscribing.py::test_a_reader_who_leaves_changes_nothing",
    "test_answers.py::test_where_several_tasks_wait_the_error_names_them",
    "test_answers.py::test_a_task_is_tried_again_once_for_two_who_ask_at_once",
    "test_sessions.py::test_of_two_principals_who_name_a_session_at_once_one_gets_it",
    "test_handshake.py::test_a_page_connects_with_a_ticket_once",
    "test_methods_errors.py::test_a_permission_is_found_again_and_answered",
)
"""The tests that run on three servers wherever the tests run."""

EXCLUDED: dict[str, str] = {
    "server/identity/": "who calls is found out by each server alone",
    "server/http/": "the front of one server: its connections, documents and rates",
    "server/documents/": "each server publishes the same documents",
    "server/grpc/": "the services and deadlines of one server",
    "server/websocket/": "the connections of one server",
    "server/tls/": "the connections of one server",
    "server/replicas/": "opens several servers itself",
    "server/store/": "the store of one server",
    "cli/": "runs processes of its own",
    "terminal/": "the terminal, not the server",
    "tracing/": "the spans of one process",
    "agent/upstream/": "the connection of one server to OpenCode",
    "agent/tool/": "the tool's server is one process",
    "test_upgrade.py": "the tables of earlier releases are in one file",
    "tool/": "the tool's server is one process",
    "model/": "opens servers itself",
    "client/": "the client, whose servers have what other tests look at",
    "test_the_catalogue_is_asked_once_and_only_for_media": "counts what one server asks OpenCode",
    "test_a_directory_is_asked_about_once": "counts what one server asks OpenCode",
    "test_of_many_turns_that_missed_events_some_look": "counts what one server asks OpenCode at once",
    "test_stopped_streams.py": "stops one server, and counts its streams",
    "test_slow_readers.py": "looks at the memory and the streams of one server",
    "test_durability.py": "spoils an SQLite file",
    "test_slow_commits.py": "slows down the store of one server",
    "test_retention.py": "the clock of one server",
    "test_pruning.py": "the clock of one server",
    "test_the_streams_of_readers_count_and_those_refused_do_not": "streams are counted by each server",
    "test_simultaneous_streams_do_not_exceed_their_number": "streams are counted by each server",
    "test_simultaneous_guesses_of_a_password_do_not_exceed": "failed logins are counted by each server",
    "test_guessing_has_a_bound": "failed logins are counted by each server",
    "test_a_session_ends_with_its_credential_and_so_do_its_streams": "replaces the credentials of one server",
    "test_a_message_that_is_larger_than_what_stays_in_memory": "what stays in the memory of one server",
    "test_a_new_message_needs_no_look_into_the_store": "another server may have the message",
    "test_the_choice_of_modes_stays_with_the_task": "looks at once for what is stored soon",
    "test_a_repeat_while_the_task_is_worked_on_joins_it": "looks at once for what is stored soon",
    "test_sessions_in_making.py": "who makes a session is known to one server, where OpenCode keeps no marks",
}
"""Parts of test ids with the reason why they do not run on three servers."""

_EXCLUDED = tuple(f"/{part}" if part.endswith(("/", ".py")) else f"::{part}" for part in EXCLUDED)
EVERY = 3
"""Of so many tests of a module the sample has one, beginning with the first: three servers take a second to open."""

_OPENING = ("serving", "serving_on_disk", "storing", "restarting")


def is_chosen(node_id: str) -> bool:
    """Whether a test runs on three servers in the ordinary run."""
    return any(node_id.endswith(name) for name in CHOSEN)


def runnable(items: Sequence[pytest.Item], *, whole: bool) -> list[pytest.Item]:
    """The tests that can run on three servers: all their cases, or one case of a sample of the tests."""
    kept: list[pytest.Item] = []
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    for item in items:
        test = item.nodeid.partition("[")[0]
        opens = any(name in getattr(item, "fixturenames", ()) for name in _OPENING)
        if not opens or "tests/shell/" not in test or any(part in test for part in _EXCLUDED):
            continue
        if whole:
            kept.append(item)
        elif test not in seen:
            seen.add(test)
            module = test.partition("::")[0]
            number = numbers[module] = numbers.get(module, -1) + 1
            if number % EVERY == 0:
                kept.append(item)
    return kept
