"""The fuzzer: its targets hold for good documents, it finds what is broken, and a seed tells what it tries."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import strategies as st

from fuzz.__main__ import main
from fuzz.mutation import mutated, reduced
from fuzz.running import run
from fuzz.target import Target, require
from fuzz.targets import TARGETS


def check_no_question(data: bytes) -> None:
    """No input holds a question mark."""
    require(b"?" not in data, "a question mark")


def target(*documents: bytes, strategy: st.SearchStrategy[bytes] | None = None) -> Target:
    return Target(
        name="questions",
        check=check_no_question,
        documents=documents,
        strategy=st.just(b"fine") if strategy is None else strategy,
    )


def test_there_is_a_target_for_every_parser_and_state_machine() -> None:
    assert set(TARGETS) == {
        *("jsonrpc", "rest", "versions", "sse", "v0_3", "v1_0", "log", "journal", "websocket"),
        *("events", "messages", "blocks", "turn", "access", "certificate"),
        *("chunked", "gateway", "wishes", "answers", "outbound", "known_peers"),
        *("methods", "projections", "large_json"),
        *("heads", "header_blocks", "frames", "mcp", "following", "proxies", "hosts", "origins", "rates"),
        *("tokens", "keys", "xfcc", "changes", "grpc", "grpc_messages", "grpc_answers", "websocket_answers"),
    }


@pytest.mark.parametrize("name", TARGETS)
def test_target_states_its_invariant_in_one_sentence(name: str) -> None:
    invariant = TARGETS[name].invariant

    assert invariant.endswith(".")
    assert ". " not in invariant


@pytest.mark.parametrize("name", TARGETS)
def test_invariant_holds_for_good_documents_and_a_first_batch_of_others(name: str) -> None:
    result = run(TARGETS[name], 0.05, 1)

    assert result.failure is None
    assert result.runs > len(TARGETS[name].documents)


def test_broken_document_is_found_and_made_small() -> None:
    result = run(target(b"one line\nwhat? really\nanother line"), 1, 0)

    assert result.failure is not None
    assert result.failure.data == b"?"


def test_broken_mutation_is_found_and_made_small() -> None:
    result = run(target(b'{"a": [1, 2, 3], "b": "\\u003f"}'), 30, 0)

    assert result.failure is not None
    assert result.failure.data == b"?"


def test_broken_generated_input_is_found_and_made_small() -> None:
    letters = st.lists(st.sampled_from((b"a", b"?")), max_size=5).map(b"".join)

    result = run(target(b"", strategy=letters), 30, 0)

    assert result.failure is not None
    assert result.failure.data == b"?"


def test_failure_is_told_kept_and_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--seconds", "1"], {"questions": target(b"why?")}, tmp_path)

    out = capsys.readouterr().out
    assert code == 1
    assert "questions  BROKEN: 1 runs" in out
    assert "No input holds a question mark." in out
    assert "broken by b'?'" in out
    (kept,) = tmp_path.glob("questions/*.bin")
    assert kept.read_bytes() == b"?"
    assert str(kept) in out


def test_run_without_a_failure_tells_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = {"questions": target(b"fine"), "others": target(b"fine")}

    assert main(["questions", "--seconds", "0"], targets, tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == ["questions  ok: 1 runs, 0.0 s"]


def test_targets_are_listed_with_their_invariants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0

    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(TARGETS)


def test_unknown_target_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["nonsense"])

    assert caught.value.code == 2
    assert "nonsense" in capsys.readouterr().err


def test_same_seed_tries_the_same_inputs() -> None:
    documents = TARGETS["turn"].documents

    def tried(seed: int) -> list[bytes]:
        random = Random(seed)
        return [mutated(documents, random) for _ in range(30)]

    assert tried(1) == tried(1)
    assert tried(1) != tried(2)


def test_reducing_stops_after_its_attempts() -> None:
    calls: list[bytes] = []

    def fails(data: bytes) -> bool:
        calls.append(data)
        return False

    assert reduced(b"abc\ndef" * 100, fails, attempts=50) == b"abc\ndef" * 100
    assert len(calls) == 50
