"""What of an error text a client may read: a sentence without credentials, or a reference to the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.opencode.projections.session_projections import statuses_of
from sansio.opencode.turns.progress import retry_of
from sansio.opencode.upstream.events import SessionStatus, UpstreamFault
from sansio.opencode.upstream.faults import failure_of, failure_of_status
from sansio.opencode.upstream.plain_reasons import plain_reason, redact_text, reference_of

STACK = "TypeError: x is undefined\n    at run (/opt/opencode/src/session/prompt.ts:12:7)\n    at <anonymous>"
INTERNAL = [
    STACK,
    "TypeError: x is undefined at run (/$bunfs/root/src/index.js:10:2)",
    "ENOENT: no such file or directory, open '/home/ada/project/opencode.json'",
    "<!doctype html><title>Bad gateway</title>",
    '{"error": {"code": 5}}',
    "Traceback (most recent call last):",
    "x" * 300,
    "two\nlines",
]


@pytest.mark.parametrize("text", INTERNAL)
def test_what_is_internal_is_told_by_a_reference_alone(text: str) -> None:
    for failure in (
        failure_of(UpstreamFault(name="UnknownError", message=text)),
        failure_of(UpstreamFault(name="APIError", message=text, status=500)),
        failure_of_status(500, text),
    ):
        assert failure.reference in failure.text
        assert reference_of(failure.detail) == failure.reference
        assert not any(piece in failure.text for piece in ("/opt", "/home", "at run", "<", "{", "Traceback", "xxx"))
        assert failure.detail not in repr(failure)


@pytest.mark.parametrize(
    "text",
    ["that is an invalid key", "slow down please", "see https://example.org/docs/limits", "Session not found: ses_1"],
)
def test_a_sentence_is_told(text: str) -> None:
    failure = failure_of(UpstreamFault(name="APIError", message=text, status=401))

    assert failure.text.endswith(f": {text}")
    assert failure.detail == ""


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-abcdefgh12345678",
        "header authorization: Bearer secret-token-1",
        'body {"api_key": "secret-token-1"}',
        "password=secret-token-1",
    ],
)
def test_credentials_are_told_to_nobody(text: str) -> None:
    for told in (redact_text(text), plain_reason(text) or "", failure_of(UpstreamFault(name="X", message=text)).text):
        assert "secret-token-1" not in told
        assert "sk-abc" not in told


@pytest.mark.parametrize("text", [*INTERNAL, "slow down please"])
def test_a_retry_tells_no_internal_text(text: str) -> None:
    progress = retry_of(SessionStatus(session_id="s", type="retry", attempt=1, message=text, next=2))
    [listed] = statuses_of({"s": {"type": "retry", "attempt": 1, "message": text, "next": 2}})

    reason = "The model's provider reported an error" if text in INTERNAL else text
    assert progress["message"] == listed["message"] == reason


@given(st.text(max_size=300))
def test_a_reason_is_one_short_line(text: str) -> None:
    reason = plain_reason(text)

    assert reason is None or ("\n" not in reason and 0 < len(reason) <= 700)
