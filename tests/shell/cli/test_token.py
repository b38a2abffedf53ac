"""`opencode-a2a token`: its streams, its entries, and a server that lets in what it has made, after SIGHUP too."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from opencode_a2a.cli.main import main
from sansio.access import parse_credentials
from tests.shell.cli.test_commands import BOTH, CREDENTIALS, DEADLINE, Starter
from tests.shell.cli.test_signals import opencode


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """The secret and the entry."""
    assert main(["token", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") == printed.err.count("\n") == 1
    return printed.out.strip(), printed.err.strip()


@pytest.mark.parametrize(
    ("arguments", "scheme", "principal"),
    [
        ([], "bearer", "automation"),
        (["--principal", "ci", "--credential-id", "ci-1", "--capability", "session_shell"], "bearer", "ci"),
        (["--api-key", "--principal", "robot"], "api_key", "robot"),
        (["--basic", "ada"], "basic", "ada"),
    ],
    ids=["bearer", "named", "api key", "basic"],
)
def test_the_entry_is_of_the_secret_and_does_not_hold_it(
    capsys: pytest.CaptureFixture[str], arguments: list[str], scheme: str, principal: str
) -> None:
    secret, entry = made(capsys, *arguments)
    [credential] = parse_credentials(f"[{entry}]").credentials

    assert secret not in entry
    assert len(secret) > 40
    assert (credential.scheme, credential.principal) == (scheme, principal)
    if credential.password_hash is not None:
        assert credential.password_hash.matches(secret.encode())
    elif scheme == "bearer":
        assert parse_credentials(f"[{entry}]").authenticate(f"Bearer {secret}") is not None
    else:
        assert parse_credentials(f"[{entry}]").prove_key(secret) is not None


def test_an_entry_goes_to_a_new_file_of_its_owner(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "entry.json"

    assert main(["token", "--entry", str(path)]) == 0
    assert capsys.readouterr().err == ""
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["scheme"] == "bearer"
    assert main(["token", "--entry", str(path)]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--basic", "a:b"], "username: cannot hold a colon"),
        (["--basic", "ada", "--principal", "x"], "--principal does not go with --basic"),
        (["--principal", " "], "principal: is missing"),
    ],
    ids=["colon", "principal", "blank"],
)
def test_what_a_server_would_refuse_is_not_made(
    capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    assert main(["token", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert problem in printed.err


@BOTH
def test_a_server_loads_the_file_again_at_sighup(
    tmp_path: Path, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = made(capsys), made(capsys)
    path = tmp_path / "credentials.json"
    path.write_text(f"[{first[1]}]")
    path.chmod(0o600)
    before = path.stat()
    variables = {
        "A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS,
        "A2A_STATIC_AUTH_CREDENTIALS_FILE": str(path),
        "A2A_TASK_STORE_BACKEND": "memory",
    }

    def status(server_url: str, secret: str) -> int:
        headers = {"authorization": f"Bearer {secret}"}
        return httpx.get(f"{server_url}/health", headers=headers, timeout=DEADLINE).status_code

    with opencode(runtime, tmp_path) as url:
        arguments = ("serve", "--runtime", runtime, "--port", "0", "--opencode", url, "--log-level", "INFO")
        with Starter(tmp_path)(*arguments, **variables) as server:
            assert [status(server.url, secret) for secret, _ in (first, second)] == [200, 401]
            path.write_text(f"[{second[1]}]")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # no look at the file shows the change
            server.process.send_signal(signal.SIGHUP)
            server.find(r"(credentials were loaded again)")
            assert [status(server.url, secret) for secret, _ in (first, second)] == [401, 200]
            assert server.stop(signal.SIGTERM) == 0

    assert first[0] not in server.said
    assert "SIGHUP is ignored" not in server.said
