"""The units and the script that installs them: below a folder of the test, never on the machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from opencode_a2a.config.risks import risks
from opencode_a2a.config.settings import load_settings, read_dotenv
from tests.deploy.tools import DEPLOY, program

SCRIPT = DEPLOY / "install.sh"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
    "ProtectProc": "invisible",
    "RestrictSUIDSGID": "yes",
}
VERSION = "9.8.7"


def directives(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([A-Z]\w+)=(.*)$", path.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def install(*arguments: str, root: Path, yes: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the script below a folder."""
    return subprocess.run(
        ["sh", str(root / "deploy" / "install.sh"), *arguments, *(["--yes"] if yes else [])],
        env={**os.environ, "DESTDIR": str(root / "machine")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the script, its units, and no requirement to install."""
    (tmp_path / "deploy" / "systemd").mkdir(parents=True)
    (tmp_path / "machine").mkdir()
    for path in (SCRIPT, *UNITS):
        (tmp_path / "deploy" / path.relative_to(DEPLOY)).write_bytes(path.read_bytes())
    (tmp_path / "deploy" / "requirements.txt").write_text("# none\n")
    return tmp_path


def wheel(folder: Path, version: str) -> Path:
    """A wheel with a program that prints its version."""
    path = folder / f"opencode_a2a-{version}-py3-none-any.whl"
    info = f"opencode_a2a-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("opencode_a2a_stub.py", f"def main():\n    print('opencode-a2a {version}')\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: opencode-a2a\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/entry_points.txt", "[console_scripts]\nopencode-a2a = opencode_a2a_stub:main\n")
        file.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_hardened_and_read_their_secrets_as_root(path: Path) -> None:
    found = directives(path)

    assert {name: found[name][-1] for name in HARDENED} == HARDENED
    assert all(value.startswith("/etc/opencode-a2a/%i/") for value in found["EnvironmentFile"])
    assert found["User"] == found["Group"]
    assert found["User"][0].endswith("-%i")
    assert "Environment" not in found or all(value.startswith("HOME=") for value in found["Environment"])
    assert found["WantedBy"] == ["multi-user.target"]


def test_what_the_model_runs_cannot_look_into_the_server() -> None:
    opencode, server = (directives(DEPLOY / "systemd" / f"{name}@.service") for name in ("opencode", "opencode-a2a"))

    assert opencode["User"] != server["User"]
    assert opencode["InaccessiblePaths"] == ["-/etc/opencode-a2a -/var/lib/opencode-a2a"]
    assert opencode["ReadWritePaths"] == ["/srv/opencode/%i"]
    assert "--hostname 127.0.0.1" in opencode["ExecStart"][0]


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    for path in UNITS:
        text = path.read_text()
        # the program is not installed where the tests run
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        (tmp_path / path.name.replace("@", "@pair")).write_text(text)
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run([analyze, "verify", *files], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_shellcheck_has_no_complaint() -> None:
    done = subprocess.run([program("shellcheck"), str(SCRIPT)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [("install", "--wheel", "WHEEL"), ("add", "demo"), ("uninstall",)],
    ids=lambda arguments: arguments[0],
)
def test_without_yes_the_plan_is_printed_and_nothing_is_done(root: Path, arguments: tuple[str, ...]) -> None:
    given = [str(wheel(root, VERSION)) if one == "WHEEL" else one for one in arguments]
    done = install(*given, root=root, yes=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Nothing was done. Add --yes to do it.\n")
    assert len(done.stdout.splitlines()) > 3
    assert list((root / "machine").iterdir()) == []


def test_versions_are_installed_side_by_side_and_switched(root: Path) -> None:
    machine = root / "machine"
    program = machine / "opt" / "opencode-a2a" / "current" / "bin" / "opencode-a2a"

    def version() -> str:
        return subprocess.run([program], capture_output=True, text=True, timeout=60, check=True).stdout.split()[1]

    for command, number in (("install", "1.0.0"), ("upgrade", VERSION)):
        done = install(command, "--wheel", str(wheel(root, number)), "--python", sys.executable, root=root)
        assert done.returncode == 0, done.stderr
        assert version() == number
    assert {path.name for path in (machine / "etc/systemd/system").iterdir()} == {path.name for path in UNITS}
    assert install("switch", "1.0.0", root=root).returncode == 0
    assert version() == "1.0.0"
    refused = install("switch", "3.0.0", root=root)
    assert (refused.returncode, version()) == (2, "1.0.0")
    assert "3.0.0 is not installed" in refused.stderr
    assert install("uninstall", root=root).returncode == 0
    assert not (machine / "opt/opencode-a2a").exists()
    assert list((machine / "etc/systemd/system").iterdir()) == []


def test_an_installation_that_was_cut_off_is_begun_anew(root: Path) -> None:
    opt = root / "machine" / "opt" / "opencode-a2a"
    broken = wheel(root, VERSION)
    content = broken.read_bytes()
    broken.write_bytes(b"not a wheel")
    assert install("install", "--wheel", str(broken), "--python", sys.executable, root=root).returncode != 0
    assert not (opt / "current").exists()
    assert install("switch", VERSION, root=root).returncode == 2
    broken.write_bytes(content)

    assert install("install", "--wheel", str(broken), "--python", sys.executable, root=root).returncode == 0
    assert (opt / "current").resolve() == opt / VERSION


def test_a_pair_has_secrets_of_its_own_that_nobody_else_reads(root: Path) -> None:
    etc = root / "machine" / "etc" / "opencode-a2a"
    for name, ports in (("one", ("8001", "4097")), ("two", ("8002", "4098"))):
        done = install("add", name, "--port", ports[0], "--opencode-port", ports[1], root=root)
        assert (done.returncode, done.stderr) == (0, "")
        folder = etc / name
        secrets = read_dotenv(folder / "secrets.env")
        opencode = read_dotenv(folder / "opencode.env")
        settings, warnings = load_settings(read_dotenv(folder / "server.env") | secrets)
        token = json.loads((folder / "credentials.json").read_text())[0]["token"]
        assert warnings == []
        assert settings.port == int(ports[0])
        assert settings.opencode_url == f"http://127.0.0.1:{ports[1]}"
        assert opencode["LISTEN_PORT"] == ports[1]
        assert opencode["OPENCODE_SERVER_PASSWORD"] == secrets["OPENCODE_SERVER_PASSWORD"]
        assert len(token) == len(secrets["OPENCODE_SERVER_PASSWORD"]) == 64
        assert token not in done.stdout
        assert secrets["OPENCODE_SERVER_PASSWORD"] not in done.stdout
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert modes == {"opencode.env": 0o600, "secrets.env": 0o600, "credentials.json": 0o640, "server.env": 0o644}
        assert folder.stat().st_mode & 0o777 == 0o750
    one, two = (read_dotenv(etc / name / "secrets.env") for name in ("one", "two"))
    assert one != two


def test_a_pair_with_a_public_url_trusts_the_proxy_on_its_machine(root: Path) -> None:
    folder = root / "machine" / "etc" / "opencode-a2a" / "demo"
    done = install("add", "demo", "--public-url", "https://agents.example.org/opencode", root=root)
    assert (done.returncode, done.stderr) == (0, "")

    settings, warnings = load_settings(read_dotenv(folder / "server.env"))
    assert warnings == []
    assert settings.public_url == "https://agents.example.org/opencode"
    assert [risk.variable for risk in risks(settings)] == ["A2A_ALLOWED_HOSTS"]


def test_a_pair_that_is_there_keeps_its_files_and_goes_when_told(root: Path) -> None:
    machine = root / "machine"
    credentials = machine / "etc/opencode-a2a/demo/credentials.json"
    assert install("add", "demo", root=root).returncode == 0
    before = credentials.read_text()
    again = install("add", "demo", root=root)
    assert again.returncode == 0
    assert f"keep {credentials}" in again.stdout
    assert credentials.read_text() == before

    assert install("remove", "demo", root=root).returncode == 0
    assert not credentials.exists()
    assert (machine / "srv/opencode/demo").is_dir()
    assert install("remove", "demo", root=root).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "usage"),
        (("dance",), "unknown command: dance"),
        (("add",), "needs a NAME"),
        (("add", "../etc"), "NAME has lower-case letters"),
        (("add", "Demo"), "NAME has lower-case letters"),
        (("add", "a" * 17), "at most 16"),
        (("add", "demo", "--port", "many"), "--port is a number"),
        (("add", "demo", "--port", "70000"), "from 1 to 65535"),
        (("add", "demo", "--port", "4096"), "the two ports are the same"),
        (("add", "demo", "--nonsense"), "unknown option"),
        (("add", "demo", "more"), "one argument too many"),
        (("install",), "needs --wheel"),
        (("install", "--wheel", "/nowhere/opencode_a2a-1-py3-none-any.whl"), "is not there"),
        (("install", "--wheel="), "unknown option"),
        (("switch", "../.."), "is not a version"),
        (("switch", "current"), "is not a version"),
        (("switch", ".."), "is not a version"),
        (("add", "demo", "--port", "08000"), "--port is a number without leading zeros"),
        (("add", "demo", "--port", "9" * 30), "from 1 to 65535"),
        (("add", "demo", "--public-url", "https://x\nA2A_HOST=0.0.0.0"), "--public-url takes plain characters"),
        (("add", "demo", "--public-url", "https://x y"), "--public-url takes plain characters"),
        (("add", "demo", "--public-url", 'https://x"'), "--public-url takes plain characters"),
        (("add", "demo", "--public-url", "https://x\\"), "--public-url takes plain characters"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_in_a_line(root: Path, arguments: tuple[str, ...], said: str) -> None:
    done = install(*arguments, root=root)

    assert done.returncode == 2
    assert said in done.stderr
    assert list((root / "machine").iterdir()) == []


@pytest.mark.parametrize("version", ["..", "current", "", ".1", "+1"])
def test_a_wheel_whose_version_is_another_name_is_refused(root: Path, version: str) -> None:
    wheel = root / f"opencode_a2a-{version}-py3-none-any.whl"
    wheel.touch()
    done = install("install", "--wheel", str(wheel), root=root)

    assert done.returncode == 2
    assert "has no plain version in its name" in done.stderr
    assert list((root / "machine").iterdir()) == []


@pytest.mark.parametrize("lost", ["opencode.env", "secrets.env"])
def test_a_pair_whose_making_was_cut_off_gets_one_password_for_both_sides(root: Path, lost: str) -> None:
    folder = root / "machine/etc/opencode-a2a/demo"
    assert install("add", "demo", root=root).returncode == 0
    before = read_dotenv(folder / "secrets.env")["OPENCODE_SERVER_PASSWORD"]
    (folder / lost).unlink()
    assert install("add", "demo", root=root).returncode == 0

    passwords = {read_dotenv(folder / name)["OPENCODE_SERVER_PASSWORD"] for name in ("secrets.env", "opencode.env")}
    assert passwords == {before}


def test_what_a_removed_pair_has_left_can_be_deleted_later(root: Path) -> None:
    workspace = root / "machine/srv/opencode/demo"
    assert install("add", "demo", root=root).returncode == 0
    assert install("remove", "demo", root=root).returncode == 0
    assert workspace.is_dir()
    assert install("remove", "demo", "--purge", root=root).returncode == 0
    assert not workspace.exists()
    again = install("remove", "demo", "--purge", root=root)

    assert (again.returncode, "there is no pair demo" in again.stderr) == (2, True)


def test_a_port_of_another_pair_is_refused(root: Path) -> None:
    assert install("add", "one", root=root).returncode == 0
    done = install("add", "two", "--opencode-port", "4100", root=root)

    assert done.returncode == 2
    assert "the pair one" in done.stderr
