"""Several OpenCodes in the settings: a list or a TOML file, whose errors name the variable and no password."""

from __future__ import annotations

from pathlib import Path

import pytest

from opencode_a2a.config.groups.opencode_instances import (
    LARGEST_FILE,
    LONGEST_NAME,
    MOST_INSTANCES,
    OpenCodeInstance,
    is_instance_name,
)
from opencode_a2a.config.settings import SettingsError, load_settings
from opencode_a2a.config.settings_secrets import redactor_of, secrets_of
from sansio.opencode import instances
from sansio.redact import Secret

URL = "http://127.0.0.1:4096"
PASSWORD = "s3cret-4c1d"


def loaded(value: str, **environ: str) -> tuple[OpenCodeInstance, ...]:
    return load_settings({"OPENCODE_BASE_URL": value, **environ})[0].instances


def refused(value: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings({"OPENCODE_BASE_URL": value, **environ})
    [problem] = caught.value.problems
    assert problem.startswith("OPENCODE_BASE_URL: ")
    assert PASSWORD not in problem
    return problem


def in_file(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "opencodes.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def entry(**members: str) -> str:
    return "[[opencode]]\n" + "".join(f'{name} = "{value}"\n' for name, value in members.items())


def test_one_url_is_one_without_a_name_of_its_own() -> None:
    assert loaded(URL) == (OpenCodeInstance(name="127.0.0.1:4096", url=URL, named=False),)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (f"main={URL}", ["main"]),
        (f"{URL},http://[::1]:4097/x", ["127.0.0.1:4096", "[::1]:4097"]),
        (f" a={URL} , b = https://box ", ["a", "b"]),
        ("https://box,http://box", ["box:443", "box:80"]),
    ],
)
def test_a_list_names_each(value: str, names: list[str]) -> None:
    found = loaded(value)

    assert [one.name for one in found] == names
    assert all(one.named for one in found)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (f"a={URL},a=http://box", "two OpenCodes have the name a"),
        (f"{URL},{URL}", "two OpenCodes have the name 127.0.0.1:4096"),
        (f"a b={URL}", "a name of an OpenCode takes"),
        (f"{URL},", "is not accepted"),
        (f"a={URL},http://ada:{PASSWORD}@box", "OPENCODE_SERVER_USERNAME"),
        (",".join(f"http://box:{number}" for number in range(1, MOST_INSTANCES + 2)), f"takes {MOST_INSTANCES}"),
        ("/no/such.toml", "cannot be read"),
    ],
)
def test_a_list_that_is_wrong_is_refused(value: str, reason: str) -> None:
    assert reason in refused(value)


def test_a_file_says_of_each_what_differs(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}-2\n")
    first = entry(name="a", url=URL, username="ada", password_variable="OF_A", workspace_root="/srv/a")
    second = entry(url="http://box:1", password_file=str(tmp_path / "password"))
    environ = {"OPENCODE_BASE_URL": in_file(tmp_path, first + second), "OF_A": PASSWORD}
    settings, warnings = load_settings(environ)

    assert settings.instances == (
        OpenCodeInstance(name="a", url=URL, username="ada", password=Secret(PASSWORD), workspace_root="/srv/a"),
        OpenCodeInstance(name="box:1", url="http://box:1", password=Secret(f"{PASSWORD}-2")),
    )
    assert warnings == []
    assert PASSWORD not in repr(settings)
    assert {PASSWORD, f"ada:{PASSWORD}", f"opencode:{PASSWORD}-2"} <= set(secrets_of(settings))
    assert "/srv/a" not in redactor_of(settings)("in /srv/a/x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "[[opencode]] tables"),
        ("x = 1", "[[opencode]] tables"),
        ("opencode = 1", "[[opencode]] tables"),
        ("opencode = [1]", "opencode 1: is no table"),
        ("[[opencode", "is no TOML"),
        (b"\xff", "is no TOML"),
        (b"#" * (LARGEST_FILE + 1), "is larger than"),
        (entry(name="a"), "url is missing"),
        (entry(url=URL) + entry(url="ftp://box"), "opencode 2: url: is not accepted"),
        (entry(url=f"http://ada:{PASSWORD}@box"), "OPENCODE_SERVER_USERNAME"),
        (entry(url=URL, name=" "), "name must be a text"),
        (entry(url=URL, name="a/b"), "a name of an OpenCode takes"),
        (entry(url=URL, password=PASSWORD), "'password' is no member"),
        (entry(url=URL, username="a:b"), "username: is not accepted"),
        (entry(url=URL, password_variable="NOT_SET"), "'NOT_SET' is not set"),
        (entry(url=URL, password_variable="X", password_file="/y"), "both given"),
        (entry(url=URL, password_file="/no/such"), "password_file: '/no/such' cannot be read"),
        (entry(url=URL, password_file="/dev/null"), "password_file: '/dev/null' cannot be read"),
        (entry(url=URL) + entry(url=URL), "two OpenCodes"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str | bytes, reason: str) -> None:
    assert reason in refused(in_file(tmp_path, text))


@pytest.mark.parametrize("content", [b"\n", b"\xff\n", b"x" * (LARGEST_FILE + 1)])
def test_a_file_without_a_password_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)

    assert "no password" in refused(in_file(tmp_path, entry(url=URL, password_file=str(tmp_path / "password"))))


@pytest.mark.parametrize("name", ["a", "main", "127.0.0.1:4096", "build-2.example", "x_1", "a" * LONGEST_NAME])
def test_names_of_instances(name: str) -> None:
    assert is_instance_name(name)


@pytest.mark.parametrize("name", ["", " ", "-a", "a b", "a/b", "a\n", "ä", "a,b", "a=b", "a" * (LONGEST_NAME + 1)])
def test_texts_that_name_no_instance(name: str) -> None:
    assert not is_instance_name(name)


def test_every_name_can_be_asked_for() -> None:
    assert instances.LONGEST_NAME == LONGEST_NAME
