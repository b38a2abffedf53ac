"""A text without what no log may hold: known secrets, what looks like a credential, known directories."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.redact import HIDDEN, Redactor

NOTHING = Redactor.of(())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("authorization: Bearer tok-5f0c9e1", "authorization: Bearer ***"),
        ("BASIC Y2Fyb2w6bm9wZQ==", "BASIC ***"),
        ("http://me:pa55@host/path", "http://***@host/path"),
        ("http://me@host/path", "http://***@host/path"),
        ("GET /hook?access_token=abc&x=1", "GET /hook?access_token=***&x=1"),
        ('{"token": "a\\"b", "text": "t"}', '{"token": "***", "text": "t"}'),
        ('{"credentials":"cut off', '{"credentials":"***'),
        ("/tasks/eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln x", "/tasks/*** x"),
        ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIi…", "***…"),
        ("xeyJhbGciOi…", "x***…"),
        ("x-api-key: abcdef0, 'X-API-Key': 'abcdef0'", "x-api-key: ***, 'X-API-Key': '***'"),
        ("/x?api-key=abc&y=1", "/x?api-key=***&y=1"),
        ("/x?auth=Basic%20Y2Fyb2w6bm9wZQ%3D%3D", "/x?auth=Basic%20***%3D%3D"),
        ("a bearer credential is wanted", "a bearer credential is wanted"),
        ("Basic authentication of bearers", "Basic authentication of bearers"),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str, expected: str) -> None:
    assert NOTHING(text) == expected


def test_known_secrets_are_hidden_in_any_encoding_that_a_log_could_see() -> None:
    secret = 'pa"ss\\word-ü'
    redact = Redactor.of([secret, f"user:{secret}"])
    escaped = json.dumps(secret)[1:-1]
    basic = base64.b64encode(f"user:{secret}".encode()).decode()

    assert redact(f"<{secret}> <{escaped}> <{basic}>") == f"<{HIDDEN}> <{HIDDEN}> <{HIDDEN}>"


def test_known_secrets_are_hidden_as_urls_reprs_and_bytes_of_headers_hold_them() -> None:
    secret = "pa ss'\"/é"
    redact = Redactor.of([secret])
    forms = ("pa%20ss%27%22%2F%C3%A9", "pa+ss%27%22%2F%C3%A9", repr(secret)[1:-1], secret.encode().decode("latin-1"))

    assert [redact(f"<{form}>") for form in forms] == [f"<{HIDDEN}>"] * len(forms)


def test_the_beginning_of_a_secret_that_was_cut_is_hidden() -> None:
    redact = Redactor.of(["secret-word-1", "sec-2"])

    assert redact("a=xsecret-wo… b=sec… c=sec-… d") == f"a=x{HIDDEN}… b=sec… c={HIDDEN}… d"


def test_a_token_that_is_known_by_its_hash_is_hidden_where_it_is_a_word() -> None:
    token, other = "tok_5fa01c-77be20dd", "aGVsbG8gd29ybGQ/+w=="
    redact = Redactor.of((), digests=[hashlib.sha256(text.encode()).digest() for text in (token, other)])

    assert redact(f'/x?t={token}&u=1 "{other}" {token}s') == f'/x?t={HIDDEN}&u=1 "{HIDDEN}" {token}s'
    assert token not in repr(redact)


def test_directories_are_replaced_the_longest_first_and_as_whole_names() -> None:
    redact = Redactor.of((), {"/home/me": "~", "/home/me/work/": "<workspace>", "/": "root"})

    assert redact("/home/me/x /home/me/work/y /home/me/work") == "~/x <workspace>/y <workspace>"
    assert redact("/home/meadow /srv/home/me /home/me.old /tmp/x") == "/home/meadow /srv/home/me /home/me.old /tmp/x"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert Redactor.of(["abcd", "abcdef"])("abcdef abcd abc") == f"{HIDDEN} {HIDDEN} abc"


def test_a_secret_of_three_characters_is_not_searched_for() -> None:
    assert Redactor.of(["abc"])("alphabc") == "alphabc"


@given(
    secrets=st.lists(st.text(min_size=4, max_size=12), min_size=1, max_size=4),
    pieces=st.lists(st.text(max_size=8), min_size=1, max_size=6),
)
def test_no_secret_is_left_whatever_stands_around_it(secrets: list[str], pieces: list[str]) -> None:
    redact = Redactor.of(secrets)
    text = " ".join(f"<{piece}|{secret}>" for piece in pieces for secret in secrets)
    left = redact(text).replace(HIDDEN, "")

    assert [secret for secret in secrets if secret in left and secret not in " <|>"] == []


@given(st.text(max_size=300))
def test_no_text_fails(text: str) -> None:
    assert isinstance(Redactor.of(["secret-1"], {"/home/me": "~"})(text), str)
