"""Credentials and redaction: who is let in, what is said of a wrong list, and that no secret is shown."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.access import (
    Credential,
    CredentialsError,
    CredentialSet,
    Identity,
    PasswordHash,
    Scheme,
    joined,
    parse_credentials,
)
from sansio.access.challenges import challenge as challenge_of
from sansio.redact import Secret, redact_url

TOKEN = "tok-4f9a1c"
PASSWORD = "pass-83be:d0"

BEARER: dict[str, object] = {"scheme": "bearer", "token": TOKEN, "principal": "automation"}
CAPABILITIES: dict[Scheme, frozenset[str]] = {"basic": frozenset({"session_shell", "workspace_mutation"})}
HASHED: dict[str, object] = {"scheme": "bearer", "principal": "automation"}
API_KEY: dict[str, object] = {"scheme": "api_key", "key": "key-771e", "principal": "automation"}
SCRYPT = PasswordHash(salt=b"0123456789abcdef", digest=bytes(32)).text
BASIC: dict[str, object] = {"scheme": "basic", "username": "ada", "password": PASSWORD}


def parsed(*entries: object) -> CredentialSet:
    return parse_credentials(json.dumps(entries), CAPABILITIES)


def problems(*entries: object) -> tuple[str, ...]:
    with pytest.raises(CredentialsError) as caught:
        parsed(*entries)
    return caught.value.problems


def basic_header(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


# --------------------------------------------------------------------------------------- authentication


def test_a_bearer_token_proves_its_principal() -> None:
    credentials = parsed({**BEARER, "credential_id": "ci", "capabilities": ["session_shell"]}, BASIC)

    identity = credentials.authenticate(f"Bearer {TOKEN}")

    assert identity == Identity(principal="automation", credential_id="ci", capabilities=frozenset({"session_shell"}))


def test_the_principal_of_a_basic_login_is_its_username_and_it_may_do_everything_by_default() -> None:
    identity = parsed(BEARER, BASIC).authenticate(basic_header("ada", PASSWORD))

    assert identity == Identity(
        principal="ada",
        credential_id=None,
        capabilities=frozenset({"session_shell", "workspace_mutation"}),
    )


def test_a_bearer_token_may_do_nothing_special_by_default() -> None:
    identity = parsed(BEARER).authenticate(f"Bearer {TOKEN}")

    assert identity is not None
    assert identity.capabilities == frozenset()


@pytest.mark.parametrize(
    "header",
    [
        f"bearer {TOKEN}",
        f"BEARER {TOKEN}",
        f"  Bearer   {TOKEN}  ",
        f"Bearer\t{TOKEN}",
    ],
)
def test_the_case_of_the_scheme_and_white_space_around_the_token_do_not_matter(header: str) -> None:
    assert parsed(BEARER).authenticate(header) is not None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "   ",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        f"Digest {TOKEN}",
        "Basic",
        "Basic !!!not-base64!!!",
        "Basic YWRh",
        "Basic " + base64.b64encode(b"ada").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic \u00fcnicode",
        basic_header("ada", PASSWORD)[:10] + "*" + basic_header("ada", PASSWORD)[10:],
        basic_header("ada", ""),
        basic_header("", PASSWORD),
        basic_header("eve", PASSWORD),
        basic_header("ada", PASSWORD + "x"),
        "Bearer \ud800",
        "Bearer ada:" + PASSWORD,
    ],
)
def test_anything_else_proves_nobody(header: str | None) -> None:
    assert parsed(BEARER, BASIC).authenticate(header) is None


def test_a_token_with_letters_beyond_ascii_is_recognised_in_either_encoding_a_client_may_send() -> None:
    # It ends in "à": as UTF-8 read in latin-1 its last letter is U+00A0, which Python counts as white space.
    token = "clé-à"
    credentials = parsed({**BEARER, "token": token})

    as_utf8 = b"Bearer " + token.encode("utf-8")
    as_latin1 = b"Bearer " + token.encode("latin-1")

    assert credentials.authenticate(as_utf8.decode("latin-1")) is not None
    assert credentials.authenticate(as_latin1.decode("latin-1")) is not None


def test_a_disabled_credential_proves_nobody() -> None:
    credentials = parsed({**BEARER, "enabled": False}, BASIC)

    assert credentials.authenticate(f"Bearer {TOKEN}") is None
    assert credentials.schemes == ("basic",)


def test_a_hash_lets_in_what_it_is_the_hash_of_in_its_own_scheme_alone() -> None:
    token = {**HASHED, "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest().upper()}
    credentials = parsed(token, {**API_KEY, "principal": "robot"})

    assert credentials.authenticate(f"Bearer {TOKEN}") is not None
    assert credentials.authenticate(f"Bearer {token['token_sha256']}") is None
    assert credentials.authenticate("Bearer key-771e") is None
    assert credentials.prove_key(TOKEN) is None
    assert credentials.prove_key("") is None
    key = credentials.prove_key(" key-771e ")
    assert key is not None
    assert key.identity.principal == "robot"


@pytest.mark.parametrize(
    ("credential", "guessable"),
    [
        (Credential.bearer("t" * 16, principal="ada"), False),
        (Credential.bearer("t" * 15, principal="ada"), True),
        (Credential.api_key("t" * 16, principal="ada"), False),
        (Credential.api_key("t" * 15, principal="ada"), True),
        (Credential.bearer(hashlib.sha256(b"t" * 16).digest(), principal="ada"), False),
        (Credential.basic("ada", "t" * 40), True),
    ],
    ids=["token", "short token", "key", "short key", "hash", "password"],
)
def test_short_secrets_and_passwords_may_be_guessed(credential: Credential, guessable: bool) -> None:
    credentials = CredentialSet((credential,))
    found = credentials.named(credential.digest)

    assert found is not None
    assert credentials.is_guessable(found) is guessable


def test_a_hash_has_the_length_of_its_function() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Credential.bearer(b"too short", principal="ada")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("$scrypt$ln=14,r=8,p=5$c2FsdHNhbHRzYWx0", "takes"),
        (SCRYPT.replace("ln=14", "ln=21"), "of such a cost"),
        (f"$scrypt$ln=14,r=8,p=5${'A' * 13}${'A' * 43}", "without padding"),
    ],
    ids=["no hash", "cost", "cut off"],
)
def test_a_text_that_is_no_hash_of_a_password_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        PasswordHash.parse(text)


def test_a_hashed_password_is_found_by_its_login_and_no_plain_comparison() -> None:
    hashed = PasswordHash.of(PASSWORD.encode(), b"0123456789abcdef")
    credentials = parsed({"scheme": "basic", "username": "ada", "password_scrypt": hashed.text}, BEARER)

    def proven(user: str, password: str) -> Identity | None:
        login = credentials.login(basic_header(user, password))
        proof = login.proof() if login is not None else None
        found = credentials.named(proof) if proof is not None else None
        return None if found is None else found.identity

    assert PasswordHash.parse(hashed.text) == hashed
    assert credentials.authenticate(basic_header("ada", PASSWORD)) is None
    assert credentials.authenticate(basic_header("ada", hashed.text)) is None
    assert credentials.login(f"Bearer {TOKEN}") is None
    assert parsed(BASIC).login(basic_header("ada", PASSWORD)) is None
    assert (proven("ada", PASSWORD), proven("ada", "x"), proven("eve", PASSWORD)) == (
        Identity(principal="ada", credential_id=None, capabilities=frozenset(CAPABILITIES["basic"])),
        None,
        None,
    )


def test_two_lists_are_joined_unless_one_credential_is_in_both() -> None:
    first, second = parsed(BEARER), parsed(BASIC, API_KEY)

    assert joined(first, second).schemes == ("bearer", "basic", "api_key")
    with pytest.raises(CredentialsError) as caught:
        joined(first, parsed({**HASHED, "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}))
    assert caught.value.problems == ("entry 2, token: the same as in entry 1 (counted over both lists)",)


def test_a_user_may_have_two_passwords_while_they_are_changed() -> None:
    credentials = parsed({**BASIC, "credential_id": "old"}, {**BASIC, "password": "new", "credential_id": "new"})

    identities = [credentials.authenticate(basic_header("ada", word)) for word in (PASSWORD, "new")]

    assert [identity and identity.credential_id for identity in identities] == ["old", "new"]


@pytest.mark.parametrize(
    ("entries", "challenge"),
    [
        ([], "Bearer"),
        ([BEARER], "Bearer"),
        ([BASIC], 'Basic realm="opencode-a2a"'),
        ([BASIC, BEARER], 'Bearer, Basic realm="opencode-a2a"'),
        ([BASIC | {"enabled": False}, BEARER], "Bearer"),
    ],
)
def test_the_challenge_offers_what_is_configured(entries: list[object], challenge: str) -> None:
    assert challenge_of(parsed(*entries).schemes, "opencode-a2a") == challenge


@given(st.text() | st.builds("{} {}".format, st.sampled_from(["Bearer", "basic", "BASIC"]), st.text()))
def test_no_header_raises_or_lets_a_stranger_in(header: str) -> None:
    assert parsed(BEARER, BASIC).authenticate(header) is None


@given(st.binary())
def test_no_basic_login_raises_or_lets_a_stranger_in(login: bytes) -> None:
    header = "Basic " + base64.b64encode(login).decode()

    assert parsed(BEARER, BASIC).authenticate(header) is None


words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
names = words.filter(lambda word: ":" not in word)


@given(
    st.lists(words, unique=True, max_size=5),
    st.lists(st.tuples(names, words), unique=True, max_size=5),
    st.sets(st.integers(0, 9)),
)
def test_every_enabled_credential_is_found_whatever_stands_around_it(
    tokens: list[str], logins: list[tuple[str, str]], disabled: set[int]
) -> None:
    bearers = [{"scheme": "bearer", "token": token, "principal": f"p{n}"} for n, token in enumerate(tokens)]
    basics = [{"scheme": "basic", "username": name, "password": word} for name, word in logins]
    headers = [f"Bearer {token}".encode() for token in tokens]
    headers += [basic_header(*login).encode() for login in logins]
    entries: list[dict[str, object]] = [
        {**entry, "credential_id": f"c{n}", "enabled": n not in disabled}
        for n, entry in enumerate([*bearers, *basics])
    ]
    entries.append({**BEARER, "token": "the one that is always enabled"})

    credentials = parsed(*entries)

    found = [credentials.authenticate(header.decode("latin-1")) for header in headers]
    assert [identity and identity.credential_id for identity in found] == [
        None if n in disabled else f"c{n}" for n in range(len(headers))
    ]


# ------------------------------------------------------------------------------- the list of credentials


@pytest.mark.parametrize("text", ["", "  \n", "[]"])
def test_an_empty_list_is_no_credentials(text: str) -> None:
    credentials = parse_credentials(text)

    assert not credentials
    assert credentials.authenticate("Bearer x") is None


def test_strings_are_trimmed_and_blank_ones_are_absent() -> None:
    credentials = parsed(
        {"scheme": "bearer", "token": f" {TOKEN}\n", "principal": " a ", "credential_id": " ", "username": ""}
    )

    identity = credentials.authenticate(f"Bearer {TOKEN}")

    assert identity == Identity(principal="a", credential_id=None, capabilities=frozenset())


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("text", "entry 1: takes a JSON object"),
        ({}, 'entry 1, scheme: takes "bearer", "basic" or "api_key"'),
        ({**BEARER, "scheme": "Bearer"}, 'entry 1, scheme: takes "bearer", "basic" or "api_key"'),
        ({**BEARER, "scheme": ["bearer"]}, 'entry 1, scheme: takes "bearer", "basic" or "api_key"'),
        ({**BEARER, "token": None}, "entry 1, token: is missing; bearer needs it"),
        ({**BEARER, "token": 17}, "entry 1, token: takes a string"),
        ({**BEARER, "token": "a\ud800"}, "entry 1, token: holds half of a surrogate pair"),
        ({**BEARER, "principal": " "}, "entry 1, principal: is missing; bearer needs it"),
        ({**BEARER, "principal": "a\nb"}, "entry 1, principal: takes printable characters only"),
        ({**BEARER, "password": "x"}, "entry 1, password: does not go with bearer"),
        ({**BASIC, "token": "x"}, "entry 1, token: does not go with basic"),
        ({**BASIC, "principal": "x"}, "entry 1, principal: does not go with basic"),
        ({**BASIC, "password": ""}, "entry 1, password: is missing; basic needs it"),
        ({**BASIC, "username": "a:b"}, "entry 1, username: cannot hold a colon, which ends it in the header"),
        (
            {**BEARER, "token_sha256": "0" * 64},
            "entry 1, token_sha256: does not go with token: one of the two is enough",
        ),
        (
            {**HASHED, "token_sha256": "0" * 63},
            "entry 1, token_sha256: takes the 64 hexadecimal digits of a SHA-256",
        ),
        (
            {**HASHED, "token_sha256": hashlib.sha256(b"").hexdigest()},
            "entry 1, token_sha256: takes the 64 hexadecimal digits of a SHA-256",
        ),
        ({**API_KEY, "key": None}, "entry 1, key: is missing; api_key needs it"),
        ({**API_KEY, "token": "x"}, "entry 1, token: does not go with api_key"),
        (
            {"scheme": "basic", "username": "ada", "password_scrypt": "$scrypt$"},
            "entry 1, password_scrypt: takes $scrypt$ln=14,r=8,p=5$SALT$HASH",
        ),
        (
            {"scheme": "basic", "username": "ada", "password_scrypt": SCRYPT.replace("ln=14", "ln=20")},
            "entry 1, password_scrypt: takes no parameters of such a cost",
        ),
        ({**BEARER, "capabilities": "all"}, "entry 1, capabilities: takes a list of strings"),
        ({**BEARER, "capabilities": [1]}, "entry 1, capabilities: takes a list of strings"),
        ({**BEARER, "enabled": "no"}, "entry 1, enabled: takes true or false"),
        ({**BEARER, "enabled": False}, "enabled: at least one entry has to be enabled"),
    ],
)
def test_a_wrong_entry_is_told_by_its_number_and_field(entry: object, problem: str) -> None:
    assert problems(entry) == (problem,)


def test_a_field_that_does_not_exist_is_refused() -> None:
    (problem,) = problems({**BEARER, "tokens": "x"})

    assert problem.startswith("entry 1, tokens: is not known; there are scheme, credential_id,")


def test_a_field_that_is_no_name_is_not_repeated() -> None:
    (problem,) = problems({**BEARER, PASSWORD: "x"})

    assert problem.startswith("entry 1, a field: is not known")


def test_all_problems_are_told_at_once() -> None:
    found = problems(BEARER, 3, {"scheme": "basic"})

    assert found == (
        "entry 2: takes a JSON object",
        "entry 3, username: is missing; basic needs it",
        "entry 3, password: is missing; basic needs it",
    )


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        (
            {**BEARER, "credential_id": "a"},
            {**BASIC, "credential_id": "a"},
            "entry 2, credential_id: is that of entry 1 too",
        ),
        (BEARER, {**BEARER, "principal": "other"}, "entry 2, token: the same as in entry 1"),
        (BEARER, {**BEARER, "enabled": False}, "entry 2, token: the same as in entry 1"),
        (BASIC, BASIC, "entry 2, username and password: the same as in entry 1"),
    ],
)
def test_duplicates_are_refused(first: object, second: object, problem: str) -> None:
    assert problems(first, second) == (problem,)


@pytest.mark.parametrize("text", ["{", "{}", "null", f'"{TOKEN}"', "[" * 100_000, f"[{TOKEN}"])
def test_what_is_no_json_list_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(CredentialsError, match="takes a JSON list of credentials") as caught:
        parse_credentials(text)

    assert TOKEN not in str(caught.value)
    assert caught.value.__context__ is None


def read_or_refuse(text: str) -> CredentialSet | CredentialsError:
    try:
        return parse_credentials(text)
    except CredentialsError as error:
        return error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["scheme", "credential_id", "principal", "token", "username", "password", "capabilities", "enabled"]
)
entries = st.dictionaries(fields, json_values | st.sampled_from(["bearer", "basic"]), max_size=8)


@given(st.text() | st.lists(entries | json_values, max_size=4).map(json.dumps))
def test_any_text_is_a_set_of_credentials_or_refused_with_words(text: str) -> None:
    outcome = read_or_refuse(text)

    assert isinstance(outcome, CredentialSet) or (outcome.problems and all(outcome.problems))


@given(st.data())
def test_neither_errors_nor_reprs_hold_a_secret(data: st.DataObject) -> None:
    spoilt = st.sampled_from([BEARER, BASIC]).flatmap(
        lambda entry: st.dictionaries(fields, json_values, max_size=2).map(lambda change: entry | change)
    )
    text = json.dumps(data.draw(st.lists(spoilt, min_size=1, max_size=3)))

    outcome = read_or_refuse(text)

    shown = f"{outcome} {outcome!r}"
    assert TOKEN not in shown
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    "make",
    [
        lambda: Credential.bearer("", principal="a"),
        lambda: Credential.basic("", "x"),
        lambda: Credential.basic("x", ""),
        lambda: Credential(scheme="basic", principal="a"),
    ],
)
def test_a_credential_that_nothing_proves_cannot_be_made(make: Callable[[], Credential]) -> None:
    with pytest.raises(ValueError, match="credential needs"):
        make()


# --------------------------------------------------------------------------------------------- redaction


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(TOKEN)

    assert f"{secret} {secret!r} {secret:>5} {[secret]}" == "*** ***   *** [***]"
    assert str(secret) == "***"
    assert secret.reveal() == TOKEN
    assert secret == Secret(TOKEN)
    assert secret != Secret("other")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:pw@host:8443/path?q=1", "https://ada:***@host:8443/path?q=1"),
        ("postgresql+psycopg://ada:p%40w@host/db", "postgresql+psycopg://ada:***@host/db"),
        ("https://ada:p@w@host/db", "https://ada:***@host/db"),
        ("https://ada:p/w@host/db", "https://ada:***@host/db"),
        ("https://ada:p#w?@host", "https://ada:***@host"),
        ("https://:pw@host", "https://:***@host"),
        ("https://ada:@host", "https://ada:***@host"),
        ("https://ada@host", "https://ada@host"),
        ("https://host/a?password=pw&x=1", "https://host/a?password=***&x=1"),
        ("postgresql:///db?user=ada&sslpassword=pw", "postgresql:///db?user=ada&sslpassword=***"),
        ("sqlite+aiosqlite:///./opencode-a2a.db", "sqlite+aiosqlite:///./opencode-a2a.db"),
        ("http://[::1]:8000/a@b:c", "http://[::1]:8000/a@b:c"),
        ("http://[::1", "http://[::1"),
        ("no url at all", "no url at all"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(
    st.sampled_from(["http", "https", "postgresql", "sqlite+aiosqlite"]),
    st.text("abc", max_size=3),
    st.text("xyz:@/?#[]&=;%", max_size=8).map("PASS{}".format),
    st.sampled_from(["", "/", "/db", "/db?x=1", "?x=1", "#f"]),
)
def test_no_password_in_userinfo_survives_even_unescaped(scheme: str, user: str, word: str, end: str) -> None:
    shown = redact_url(f"{scheme}://{user}:{word}@host:1{end}")

    assert "PASS" not in shown
    assert shown.endswith(f"@host:1{end}")


@given(st.text())
def test_redaction_takes_any_text_and_is_idempotent(text: str) -> None:
    assert redact_url(redact_url(text)) == redact_url(text)
