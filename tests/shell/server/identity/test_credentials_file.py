"""The file of credentials: hashes and API keys in it, changes while the server runs, streams of revoked callers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from opencode_a2a.fake_opencode import Say
from opencode_a2a.server.identity import credentials_file, password_checks
from opencode_a2a.server.identity.credentials_file import CredentialsFile
from opencode_a2a.server.identity.password_checks import PasswordChecks
from sansio.a2a.bindings.sse import SseDecoder
from sansio.access import Credential, CredentialSet, PasswordHash
from tests.shell.cases import every_http_codec
from tests.shell.harness import ALICE, CREDENTIALS, DEADLINE, Serving, Wire, until

pytestmark = pytest.mark.anyio

TOKEN, KEY, PASSWORD = "file-5d1fa0", "key-0b7c44", "pass-2f:é"
HASH = PasswordHash.of(PASSWORD.encode(), b"0123456789abcdef").text


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


BEARER = {"scheme": "bearer", "token_sha256": sha256(TOKEN), "principal": "dora", "credential_id": "d1"}
API_KEY = {"scheme": "api_key", "key_sha256": sha256(KEY), "principal": "erik"}
BASIC = {"scheme": "basic", "username": "fay", "password_scrypt": HASH}


@pytest.fixture(autouse=True)
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at often."""
    monkeypatch.setattr(credentials_file, "LOOK_EVERY", 0.02)


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., str]:
    """Puts entries, or a text, in the place of the file; returns its path."""
    path = tmp_path / "credentials.json"

    def put(*entries: object, text: str | None = None) -> str:
        new = tmp_path / "new.json"
        new.write_text(json.dumps(entries) if text is None else text)
        new.chmod(0o600)
        new.replace(path)
        return str(path)

    return put


async def status(http: httpx.AsyncClient, **headers: str) -> int:
    """The status of a request with these credentials instead of the client's own."""
    request = http.build_request("GET", "/health", headers=headers)
    if "authorization" not in headers:
        del request.headers["authorization"]
    return (await http.send(request)).status_code


async def until_status(http: httpx.AsyncClient, wanted: int, **headers: str) -> None:
    with anyio.fail_after(DEADLINE):
        while await status(http, **headers) != wanted:  # noqa: ASYNC110 - there is no event to wait for
            await anyio.sleep(0.01)


async def test_hashes_and_keys_of_the_file_count_beside_the_setting(
    serving: Serving, store: Callable[..., str]
) -> None:
    async with serving(credentials_file=store(BEARER, API_KEY, BASIC)) as agent:
        basic = httpx.BasicAuth("fay", PASSWORD)
        assert await status(agent.http, authorization=f"Bearer {ALICE}") == 200
        assert await status(agent.http, authorization=f"Bearer {TOKEN}") == 200
        assert await status(agent.http, **{"x-api-key": KEY}) == 200
        assert (await agent.http.get("/health", auth=basic)).status_code == 200
        assert (await agent.http.get("/health", auth=httpx.BasicAuth("fay", "wrong"))).status_code == 401
        # neither is what the hash is, nor is one kind of secret another
        assert await status(agent.http, authorization=f"Bearer {sha256(TOKEN)}") == 401
        assert await status(agent.http, authorization=f"Bearer {KEY}") == 401
        assert await status(agent.http, **{"x-api-key": TOKEN}) == 401
        # what is presented in the scheme of a proxy's does not hide a key
        assert await status(agent.http, authorization="Negotiate abc", **{"x-api-key": KEY}) == 200
        assert await status(agent.http, authorization="Bearer wrong", **{"x-api-key": KEY}) == 401
        card = (await agent.http.get("/.well-known/agent-card.json")).json()
        twice = await agent.http.get("/health", headers=[("x-api-key", KEY), ("x-api-key", "other")])

    assert card["securitySchemes"]["apiKeyAuth"]["in"] == "header"
    assert card["securitySchemes"]["apiKeyAuth"]["apiKeySecurityScheme"]["name"] == "X-API-Key"
    assert twice.status_code == 400


async def test_a_challenge_names_what_is_on_and_a_token_that_was_refused(
    serving: Serving, store: Callable[..., str]
) -> None:
    async with serving(credentials=CredentialSet(), credentials_file=store(BEARER, API_KEY)) as agent:
        wrong = await agent.http.get("/health", headers={"authorization": "Bearer wrong"})
        nothing = await agent.http.get("/health", headers={"authorization": ""})

    assert wrong.headers["www-authenticate"].startswith('Bearer error="invalid_token", ApiKey realm="opencode-a2a"')
    assert nothing.headers["www-authenticate"].startswith('Bearer, ApiKey realm="opencode-a2a", header="X-API-Key"')


async def test_changes_count_at_once_and_a_file_that_cannot_be_used_changes_nothing(
    serving: Serving, store: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    async with serving(credentials_file=store()) as agent:
        assert await status(agent.http, **bearer) == 401
        store(BEARER, API_KEY)
        await until_status(agent.http, 200, **bearer)
        card = (await agent.http.get("/.well-known/agent-card.json")).json()
        for text, problem in {
            "": "is empty",
            f'[{{"scheme": "bearer", "token": "{TOKEN}"}}]': "entry 1, principal: is missing",
            "[" + " " * credentials_file.LARGEST + "]": "is larger than",
            json.dumps([{"scheme": "bearer", "token": ALICE, "principal": "mallory"}]): "the same as in entry 1",
        }.items():
            store(text=text)
            await until(lambda problem=problem: problem in caplog.text)  # type: ignore[misc]
            assert await status(agent.http, **bearer) == 200
        await anyio.Path(store(BEARER)).unlink()
        assert await status(agent.http, **bearer) == 200
        store({**BEARER, "enabled": False})
        await until_status(agent.http, 401, **bearer)
        assert await status(agent.http, authorization=f"Bearer {ALICE}") == 200

    assert "apiKeyAuth" in card["securitySchemes"]
    assert TOKEN not in caplog.text
    assert ALICE not in caplog.text


async def test_a_pipe_in_the_place_of_the_file_changes_nothing_and_keeps_nobody_waiting(
    serving: Serving, store: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(DEADLINE):
        async with serving(credentials_file=store(BEARER)) as agent:
            pipe = f"{store(BEARER)}.pipe"
            os.mkfifo(pipe)
            os.replace(pipe, store(BEARER))
            await until(lambda: "it cannot be read: Not a regular file" in caplog.text)
            assert await status(agent.http, authorization=f"Bearer {TOKEN}") == 200
            store({**BEARER, "enabled": False})
            await until_status(agent.http, 401, authorization=f"Bearer {TOKEN}")


async def test_a_read_that_hangs_keeps_the_server_from_nothing(anyio_backend: str, store: Callable[..., str]) -> None:
    path = store(BEARER)
    pipe = f"{path}.pipe"
    os.mkfifo(pipe)
    hung = threading.Event()

    def parse(text: str) -> CredentialSet:
        if "hangs" in text:
            hung.set()
            os.close(os.open(pipe, os.O_RDONLY))  # until somebody writes
        return CredentialSet()

    file = CredentialsFile(path, parse, CredentialSet())
    with anyio.fail_after(DEADLINE):
        await file.load()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(file.watch)
            store(text="hangs")
            await until(hung.is_set)
            with anyio.move_on_after(0.1) as reloading:
                await file.reload()
            tasks.cancel_scope.cancel()
        assert reloading.cancelled_caught
        await file.reload()  # says that an earlier read hangs
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


async def test_a_file_that_others_can_read_is_warned_of(
    serving: Serving, store: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    path = store(BEARER)
    os.chmod(path, 0o644)
    async with serving(credentials_file=path) as agent:
        assert await status(agent.http, authorization=f"Bearer {TOKEN}") == 200

    assert f"{path} can be read by others than its owner" in caplog.text


@every_http_codec
async def test_the_stream_of_a_revoked_caller_ends_with_an_error_and_can_be_resumed(
    serving: Serving, store: Callable[..., str], wire: Wire
) -> None:
    other = {**BEARER, "token_sha256": sha256("other"), "credential_id": "d2"}
    async with serving(credentials_file=store(BEARER, other)) as agent:
        agent.fake_opencode.hold(Say, tokens=5)
        agent.http.headers["authorization"] = f"Bearer {TOKEN}"
        caller = agent.caller(wire)
        request = caller.request("stream", caller.params("LONG 40", {}))
        response = await agent.http.send(request, stream=True)
        decoder, events = SseDecoder(), list[Any]()
        with anyio.fail_after(DEADLINE):
            await agent.fake_opencode.held()
            async for chunk in response.aiter_raw():
                if not events:
                    store(other)
                events += decoder.feed(chunk)
        await response.aclose()
        last = json.loads(events[-1].data)
        agent.http.headers["authorization"] = "Bearer other"
        first = json.loads(events[0].data)
        task = first.get("result", first)
        task_id = task.get("task", task)["id"]
        agent.fake_opencode.release()
        more = await agent.caller(wire).subscribe(task_id, after=int(events[-2].id))

    assert "Unauthorized" in json.dumps(last)
    assert int(events[-1].id) == int(events[-2].id)  # the error is no event of the task
    assert more.events[-1].item.status.state.terminal  # type: ignore[union-attr]


async def test_the_streams_of_others_go_on(serving: Serving, store: Callable[..., str]) -> None:
    async with serving(credentials_file=store(BEARER)) as agent:
        agent.fake_opencode.hold(Say, tokens=5)
        async with agent.caller().open("LONG 40") as stream:
            with anyio.fail_after(DEADLINE):
                await agent.fake_opencode.held()
            store()
            await until_status(agent.http, 401, authorization=f"Bearer {TOKEN}")
            agent.fake_opencode.release()
            await stream.whole()

    assert stream.state == "completed"


# --- hashed passwords ---------------------------------------------------------------------------------------


async def test_a_right_login_is_computed_once_and_not_after_its_password_was_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[bytes] = []
    matches = PasswordHash.matches

    def counted(self: PasswordHash, password: bytes) -> bool:
        computed.append(password)
        return matches(self, password)

    monkeypatch.setattr(PasswordHash, "matches", counted)
    old = CredentialSet((Credential.basic("fay", PasswordHash.parse(HASH)),))
    new = CredentialSet((Credential.basic("fay", PasswordHash.of(b"new", b"0123456789abcdef")),))
    header = basic("fay")
    stranger = basic("eve")
    checks = PasswordChecks()

    assert [await checks.prove(old, header) is not None for _ in range(3)] == [True, True, True]
    assert len(computed) == 1
    assert await checks.prove(new, header) is None
    assert await checks.prove(old, stranger) is None
    assert len(computed) == 3  # a user name that nobody has takes as long


async def test_logins_beyond_a_bound_are_refused_and_the_loop_goes_on(
    serving: Serving, store: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_checks, "WAITING", 2)
    statuses: list[int] = []

    async with serving(credentials=CREDENTIALS, credentials_file=store(BASIC)) as agent:

        async def guess(number: int) -> None:
            answer = await agent.http.get("/health", auth=httpx.BasicAuth("fay", f"guess {number}"))
            statuses.append(answer.status_code)

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(guess, number)
        assert await status(agent.http, authorization=f"Bearer {ALICE}") == 200

    assert set(statuses) == {401, 503}
