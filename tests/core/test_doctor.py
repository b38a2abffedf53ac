"""The check-up's judgements: from the facts about a deployment to the rows and the exit code."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.cards.agent_card import CardSpec, render_card
from sansio.a2a.cards.parse import SERVED
from sansio.doctor.finding import Finding, Outcome, exit_code, fail, of_problem, ok, skipped, warn, worst
from sansio.doctor.identity import CredentialsFacts, IssuerFacts, judge_credentials, judge_issuer
from sansio.doctor.listening import PAST_POOL, ListeningFacts, ListeningFault, listening_fault
from sansio.doctor.server import (
    MOST_SKEW,
    PROBE_EVENTS,
    PROBE_PAUSE,
    CardFacts,
    PortFacts,
    judge_card,
    judge_clock,
    judge_hosts,
    judge_port,
    judge_settings,
    judge_stream,
)
from sansio.doctor.store import LITTLE, SCHEMA, SPACE, STORE, TOO_LITTLE, StoreFacts, judge_store, megabytes
from sansio.guards.hosts import ServedHosts

OK, SKIPPED, WARN, FAIL = Outcome.OK, Outcome.SKIPPED, Outcome.WARN, Outcome.FAIL
HOME = "https://agent.example"
POOLED, ELSEWHERE, UNREACHABLE, SILENT = ListeningFault


def store_rows(**facts: object) -> dict[str, Finding]:
    """Judge a SQLite store that is in order but for `facts`; the rows by their checks."""
    in_order = {"where": "tasks.db", "known": ("0001", "0002"), "version": "0002", "free": LITTLE}
    rows = list(judge_store(StoreFacts(**(in_order | facts))))  # type: ignore[arg-type]
    assert len({row.check for row in rows}) == len(rows)
    return {row.check: row for row in rows}


def test_a_row_is_json_with_its_outcome_in_a_word() -> None:
    assert warn("clock", "late", "NTP").json == {
        "check": "clock",
        "outcome": "warn",
        "detail": "late",
        "remedy": "NTP",
    }
    assert ok("clock", "right").json["remedy"] is None


def test_the_remedy_of_a_problem_stands_behind_its_last_semicolon() -> None:
    assert of_problem("tls", "no key; a; set A2A_KEY") == fail("tls", "no key; a", "set A2A_KEY")
    assert of_problem("tls", "no key", outcome=WARN) == Finding("tls", WARN, "no key", None)


@given(st.lists(st.sampled_from(Outcome)))
def test_only_what_fails_makes_the_exit_code_one(outcomes: list[Outcome]) -> None:
    rows = [Finding("check", outcome, "") for outcome in outcomes]

    assert exit_code(rows) == int(FAIL in outcomes)
    assert worst(rows) in (outcomes or [OK])


def test_settings_are_valid_where_nothing_is_said_of_them() -> None:
    assert [row.outcome for row in judge_settings((), ())] == [OK]


def test_a_problem_of_a_setting_fails_and_names_its_variable() -> None:
    named, unnamed = judge_settings(["A2A_PORT: must be a number"], []), judge_settings(["no such file"], [])

    assert list(named) == [
        fail("settings", "A2A_PORT: must be a number", "set A2A_PORT to what it takes, or unset it")
    ]
    assert list(unnamed) == [fail("settings", "no such file", "see docs/configuration.md")]


def test_a_warning_leads_to_its_variable_in_the_documents() -> None:
    (row,) = judge_settings([], ["A2A_TOKEN: is short"])

    assert row == warn("settings", "A2A_TOKEN: is short", "see A2A_TOKEN in docs/configuration.md")


def test_a_risk_is_a_warning_with_the_remedy_that_it_names() -> None:
    assert list(judge_settings([], [], ["anybody may call; set A2A_TOKEN", "anybody may call"])) == [
        warn("settings", "anybody may call", "set A2A_TOKEN"),
        Finding("settings", WARN, "anybody may call"),
    ]


@pytest.mark.parametrize(
    ("facts", "outcome", "words"),
    [
        ({}, OK, "is free"),
        ({"taken": True, "ours": True}, OK, "this deployment's own server"),
        ({"taken": True}, FAIL, "another program"),
        ({"error": "no such address"}, FAIL, "no such address"),
    ],
    ids=["free", "ours", "taken", "error"],
)
def test_a_port_must_be_free_or_taken_by_this_deployment(
    facts: dict[str, object], outcome: Outcome, words: str
) -> None:
    row = judge_port(PortFacts(address="10.0.0.1:8000", **facts))  # type: ignore[arg-type]

    assert row.outcome is outcome
    assert row.detail.startswith("10.0.0.1:8000")
    assert words in row.detail
    assert (row.remedy is None) is (outcome is OK)


def test_a_clock_says_which_of_the_two_is_behind() -> None:
    assert judge_clock(None).outcome is SKIPPED
    assert judge_clock(61.2).detail == "this machine is 61 s behind the one where OpenCode runs"
    assert judge_clock(-61.2).detail == "this machine is 61 s ahead of the one where OpenCode runs"


@given(st.floats(allow_nan=False))
def test_clocks_may_differ_by_a_few_seconds_either_way(ahead: float) -> None:
    assert judge_clock(ahead).outcome is (WARN if abs(ahead) > MOST_SKEW else OK)


def test_no_card_is_a_fault_only_while_the_server_runs() -> None:
    down = judge_card(CardFacts(url=HOME, error="refused"))
    behind_a_proxy = judge_card(CardFacts(url=HOME, error="answers 502", running=True))

    assert down == skipped("public URL", f"no server answers at {HOME}; run this again while it runs")
    assert behind_a_proxy.outcome is FAIL
    assert "answers 502" in behind_a_proxy.detail
    assert "A2A_PUBLIC_URL" in str(behind_a_proxy.remedy)


@pytest.mark.parametrize(
    ("hosts", "is_fault"),
    [
        ([], False),
        (["agent.example"], False),
        (["*.example"], False),
        (["agent.example:8443"], False),
        (["127.0.0.1", "other.example"], True),
        (["agent.example:81"], True),
    ],
    ids=["any", "itself", "its domain", "with its port", "others", "another port"],
)
def test_the_servers_own_host_has_to_be_among_those_it_serves(hosts: list[str], is_fault: bool) -> None:
    found = [*judge_hosts("https://agent.example:8443/a", ServedHosts.of(hosts))]

    assert [(row.check, row.outcome) for row in found] == [("public URL", FAIL)] * is_fault
    assert all("A2A_ALLOWED_HOSTS" in str(row.remedy) for row in found)


def test_a_server_that_refuses_the_host_needs_it_in_its_list() -> None:
    row = judge_card(CardFacts(url="https://agent.example/a", error="it answers with status 400", refused=True))

    assert row.outcome is FAIL
    assert "add agent.example to the server's A2A_ALLOWED_HOSTS" in str(row.remedy)


def test_a_card_names_the_url_that_it_is_served_at() -> None:
    assert judge_card(CardFacts(url=HOME, interfaces=(HOME, f"{HOME}/"))).outcome is OK


@pytest.mark.parametrize("bindings", [*((binding,) for binding in SERVED), SERVED])
@pytest.mark.parametrize("url", ["https://agent.example", "http://127.0.0.1:8000/", "https://agent.example:8443/a/b"])
def test_a_card_names_its_url_in_the_form_that_each_binding_has(url: str, bindings: tuple[str, ...]) -> None:
    card = render_card(
        CardSpec(
            name="Agent",
            description="It helps.",
            version="1",
            url=url,
            schemes=(),
            skills=(),
            input_modes=(),
            output_modes=(),
            bindings=bindings,
        )
    )
    interfaces = tuple(interface["url"] for interface in card["supportedInterfaces"])

    assert judge_card(CardFacts(url=url, interfaces=interfaces)).outcome is OK
    assert judge_card(CardFacts(url="http://other.example:81", interfaces=interfaces)).outcome is FAIL


@pytest.mark.parametrize(
    ("interfaces", "names"),
    [
        ((), "no URL"),
        ((HOME, "http://a"), "http://a"),
        (("http://a", "http://b", "http://c", "http://d"), "http://a, http://b, http://c"),
    ],
    ids=["none", "one of two", "the first three"],
)
def test_a_card_that_sends_callers_elsewhere_fails(interfaces: tuple[str, ...], names: str) -> None:
    row = judge_card(CardFacts(url=HOME, interfaces=interfaces))

    assert row == fail(
        "public URL",
        f"the card at {HOME} sends callers to {names}",
        f"start the server there with A2A_PUBLIC_URL={HOME}",
    )


def test_a_stream_is_judged_by_when_its_events_came() -> None:
    as_sent = [PROBE_PAUSE * number for number in range(PROBE_EVENTS)]

    assert judge_stream(None, "no server") == skipped("streams", "no server")
    assert judge_stream(as_sent).outcome is OK
    assert judge_stream([9.0] * PROBE_EVENTS).outcome is FAIL
    assert judge_stream(as_sent[:2]).detail == f"2 of {PROBE_EVENTS} events of a stream came"
    assert judge_stream([]).outcome is WARN


def test_a_store_in_memory_is_one_warning() -> None:
    rows = store_rows(memory=True)

    assert list(rows) == [STORE]
    assert rows[STORE].outcome is WARN


def test_a_store_in_order_has_its_size_and_who_holds_it() -> None:
    rows = store_rows(size=2_500_000, holder="process 17")

    assert {row.outcome for row in rows.values()} == {OK}
    assert "2.5 MB; in use by a server that runs (process 17)" in rows[STORE].detail
    assert rows[SCHEMA].detail == "version 0002, the current one"


def test_a_store_that_is_not_there_yet_is_made_by_the_first_start() -> None:
    rows = store_rows(exists=False, version=None)

    assert rows[STORE].outcome is OK
    assert "the server makes it" in rows[STORE].detail
    assert rows[SCHEMA].outcome is SKIPPED


def test_nothing_is_said_of_the_tables_of_a_store_that_cannot_be_opened() -> None:
    rows = store_rows(error="unable to open database file")

    assert list(rows) == [STORE, SPACE]
    assert rows[STORE].outcome is FAIL


def test_a_store_that_cannot_be_written_says_why() -> None:
    row = store_rows(read_only="attempt to write a readonly database")[STORE]

    assert row.outcome is FAIL
    assert row.detail == "tasks.db cannot be written: attempt to write a readonly database"


def test_an_earlier_schema_asks_for_a_backup_and_a_later_one_for_another_program() -> None:
    earlier, later = store_rows(version="0001")[SCHEMA], store_rows(version="0003")[SCHEMA]

    assert earlier.outcome is WARN
    assert "brings it to 0002" in earlier.detail
    assert earlier.remedy == "opencode-a2a backup FILE, before that start"
    assert later.outcome is FAIL
    assert "newer than this program knows (0002)" in later.detail


@pytest.mark.parametrize(
    ("free", "outcome"),
    [(None, SKIPPED), (TOO_LITTLE - 1, FAIL), (TOO_LITTLE, WARN), (LITTLE - 1, WARN), (LITTLE, OK)],
    ids=["unknown", "none", "little", "almost enough", "enough"],
)
def test_there_is_room_for_the_store(free: int | None, outcome: Outcome) -> None:
    assert store_rows(free=free)[SPACE].outcome is outcome


def test_a_size_is_in_the_unit_that_suits_it() -> None:
    assert [megabytes(size) for size in (0, 1_500_000, 999_000_000, 1_500_000_000)] == [
        "0.0 MB",
        "1.5 MB",
        "999.0 MB",
        "1.5 GB",
    ]


@pytest.mark.parametrize(
    ("facts", "outcomes", "words"),
    [
        ({"path": None}, [SKIPPED], "A2A_STATIC_AUTH_CREDENTIALS_FILE is not set"),
        ({"problems": ["entry 1: x", "entry 2: y"]}, [FAIL, FAIL], "callers.json: entry 1: x"),
        ({"enabled": 2}, [OK], "can be used; enabled with those beside it: 2"),
        ({"enabled": 2, "open_to_others": True}, [WARN, OK], "can be read by others than its owner"),
        ({"others": True}, [OK], "callers come by other ways"),
        ({}, [FAIL], "nobody can call"),
    ],
    ids=["none", "problems", "enabled", "open to others", "other ways", "nobody"],
)
def test_a_file_of_credentials_lets_somebody_call(facts: dict[str, Any], outcomes: list[Outcome], words: str) -> None:
    rows = list(judge_credentials(CredentialsFacts(**({"path": "callers.json"} | facts))))

    assert [row.outcome for row in rows] == outcomes
    assert words in rows[0].detail


@pytest.mark.parametrize(
    ("facts", "outcomes", "words"),
    [
        ({"issuer": None}, [SKIPPED], "A2A_OIDC_ISSUER is not set"),
        ({"unreachable": "refused"}, [FAIL], f"{HOME}: refused"),
        ({"discovery": "is of another issuer"}, [FAIL], f"{HOME}: is of another issuer"),
        ({"key_set": "has no list of keys"}, [FAIL], f"{HOME}: has no list of keys"),
        ({"keys": 3}, [FAIL], "none of its 3 keys is for an algorithm that is allowed"),
        ({"keys": 3, "usable": 2}, [OK], "answers, with 2 keys that can be used"),
        ({"keys": 3, "usable": 2, "has_audience": False}, [FAIL], "A2A_OIDC_AUDIENCE is not set"),
        ({"unreachable": "refused", "has_audience": False}, [FAIL, FAIL], "A2A_OIDC_AUDIENCE is not set"),
    ],
    ids=["none", "unreachable", "discovery", "key set", "no key", "usable", "no audience", "neither"],
)
def test_an_issuer_has_keys_for_tokens_that_are_for_this_server(
    facts: dict[str, Any], outcomes: list[Outcome], words: str
) -> None:
    rows = list(judge_issuer(IssuerFacts(**({"issuer": HOME} | facts))))

    assert [row.outcome for row in rows] == outcomes
    assert words in rows[0].detail


def test_the_servers_that_share_a_store_are_shown_with_their_leases() -> None:
    well = store_rows(replicas=[("box-1", 8.2), ("box-2", -3.0)])
    ill = store_rows(replicas=[("box-1", -8.2)])
    none = store_rows(replicas=[])

    assert well["store servers"].outcome is Outcome.OK
    assert (
        "box-1 (lease: 8 s left), box-2 (its lease ended 3 s ago: another takes it over)"
        in well["store servers"].detail
    )
    assert ill["store servers"].outcome is Outcome.WARN
    assert none["store servers"].outcome is Outcome.OK
    assert "none has the store open" in none["store servers"].detail
    assert "store servers" not in store_rows()


@pytest.mark.parametrize(
    ("facts", "fault", "words", "remedy"),
    [
        ({"arrived": True}, None, "arrived by the URL of the store", None),
        ({"arrived": True, "has_url": True}, None, "arrived by A2A_LISTEN_DATABASE_URL", None),
        ({"arrived": True, "is_direct": False}, None, "arrived", None),
        (
            {"refuses_options": True, "error": "no"},
            POOLED,
            "A2A_TASK_STORE_DATABASE_URL leads to a pool",
            "leads past",
        ),
        ({"moves": True, "is_direct": False, "has_url": True}, POOLED, "itself leads to a pool", "own address, past"),
        ({"is_direct": False}, POOLED, "leads to a pool", "leads past"),
        ({"error": "refused", "has_url": True}, UNREACHABLE, "refused", "A2A_LISTEN_DATABASE_URL to a URL that can"),
        ({"error": "refused"}, UNREACHABLE, "refused", "look at the database"),
        (
            {"elsewhere": True, "has_url": True},
            ELSEWHERE,
            "A2A_LISTEN_DATABASE_URL leads to another",
            "same database",
        ),
        ({"seconds": 3.0}, SILENT, "within 3 s", "load"),
    ],
)
def test_the_connection_that_listens_gets_what_the_stores_connections_send(
    facts: dict[str, Any], fault: ListeningFault | None, words: str, remedy: str | None
) -> None:
    observed = ListeningFacts(**({"has_url": False} | facts))
    row = store_rows(listening=observed)["store notifications"]

    assert listening_fault(observed) is fault
    assert row.outcome is (Outcome.OK if fault is None else Outcome.FAIL)
    assert words in row.detail
    assert remedy is None if row.remedy is None else str(remedy) in row.remedy


def test_faults_that_no_other_moment_mends_keep_a_server_from_starting() -> None:
    assert {fault for fault in ListeningFault if fault.is_certain} == {POOLED, ELSEWHERE}


def test_a_pool_that_refuses_the_stores_connection_is_mended_by_the_url_to_listen() -> None:
    row = store_rows(error="unsupported startup parameter", refuses_options=True)["store"]

    assert row.outcome is Outcome.FAIL
    assert row.remedy == PAST_POOL
