"""OpenCode's password in a file: the first line of a regular file of bounded size, with a look at who can read it."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from opencode_a2a.cli.operator.doctor import examine
from opencode_a2a.cli.operator.local_checks import load_what_can_be
from opencode_a2a.config.groups.password_file import LARGEST_PASSWORD_FILE
from opencode_a2a.config.settings import SettingsError, load_settings
from opencode_a2a.config.settings_secrets import secrets_of
from opencode_a2a.regular_files import is_open_to_others
from sansio.doctor.finding import Outcome

VARIABLE = "OPENCODE_SERVER_PASSWORD_FILE"
PASSWORD = "pw-4c1d-s3cret"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return path


def refused(path: Path | str, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings({VARIABLE: str(path), **environ})
    assert PASSWORD not in str(caught.value)
    [problem] = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (PASSWORD, PASSWORD),
        (f"{PASSWORD}\n", PASSWORD),
        (f"{PASSWORD}\r\nmore\n", PASSWORD),
        (" with blanks \n", " with blanks "),
        ("pässwort\n", "pässwort"),
        ("one\u2028line\n", "one\u2028line"),
        ("one\rline\n", "one\rline"),
    ],
    ids=["bare", "line", "windows", "blanks", "umlaut", "separator", "return"],
)
def test_the_first_line_is_the_password(file: Path, content: str, password: str) -> None:
    file.write_bytes(content.encode())
    settings, warnings = load_settings({VARIABLE: str(file), "OPENCODE_SERVER_USERNAME": "ada"})

    assert settings.opencode_password is not None
    assert settings.opencode_password.reveal() == password
    assert warnings == []


def test_the_password_is_a_secret_like_that_of_the_environment(file: Path) -> None:
    settings, _ = load_settings({VARIABLE: str(file)})

    assert PASSWORD not in repr(settings)
    assert {PASSWORD, f"opencode:{PASSWORD}"} <= set(secrets_of(settings))


@pytest.mark.parametrize("name", ["OPENCODE_SERVER_PASSWORD", "OPENCODE_AUTH_PASSWORD"])
def test_a_password_and_a_file_of_it_are_one_too_many(file: Path, name: str) -> None:
    assert refused(file, **{name: "other"}) == (
        f"{VARIABLE}: is set, and so is OPENCODE_SERVER_PASSWORD; unset one of them"
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"\n" + PASSWORD.encode(), b"\r\n", PASSWORD.encode() + b"\xff", b"x" * (LARGEST_PASSWORD_FILE + 1)],
    ids=["empty", "second line", "windows", "bytes", "large"],
)
def test_a_file_without_a_password_is_an_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    assert refused(file) == f"{VARIABLE}: {str(file)!r} has no password in its first line"


def test_what_is_no_regular_file_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert refused(tmp_path / "pipe").endswith("cannot be read: Not a regular file")
    assert refused(tmp_path).endswith("cannot be read: Is a directory")
    assert refused(tmp_path / "nothing").endswith("cannot be read: No such file or directory")
    assert refused(f"{tmp_path}/a\0b").endswith("cannot be read: No such file or directory")


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o400, False), (0o600, False), (0o640, True), (0o604, True), (0o644, True)]
)
def test_a_file_that_others_can_read_is_warned_about(file: Path, mode: int, warned: bool) -> None:
    file.chmod(mode)
    settings, warnings = load_settings({VARIABLE: str(file)})

    assert settings.opencode_password is not None
    assert warnings == (
        [f"{VARIABLE}: {file} can be read by others than its owner: chmod 600 keeps it private"] if warned else []
    )


@pytest.mark.parametrize(("mode", "warned"), [(0o440, False), (0o640, False), (0o644, True), (0o606, True)])
def test_another_user_gives_a_file_to_the_servers_group(
    file: Path, monkeypatch: pytest.MonkeyPatch, mode: int, warned: bool
) -> None:
    file.chmod(mode)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert is_open_to_others(file.stat()) is warned


def test_commands_that_do_not_ask_opencode_leave_the_file_alone() -> None:
    settings, warnings = load_settings({VARIABLE: "/nothing/there"}, used=("host", "port"))

    assert (settings.opencode_password_file, settings.opencode_password, warnings) == (None, None, [])


@pytest.mark.anyio
async def test_doctor_says_what_is_wrong_with_the_file(anyio_backend: str, file: Path) -> None:
    environ = {"A2A_TASK_STORE_BACKEND": "memory", "A2A_PORT": "0", "OPENCODE_BASE_URL": "http://127.0.0.1:9"}
    await anyio.Path(file).chmod(0o644)
    warned = await examine(load_what_can_be({**environ, VARIABLE: str(file)}, None))
    failed = await examine(load_what_can_be({**environ, VARIABLE: f"{file}.gone"}, None))

    rows = [(one.outcome, VARIABLE in one.detail) for one in (*warned, *failed) if one.check == "settings"]
    assert rows == [(Outcome.WARN, True), (Outcome.FAIL, True)]
