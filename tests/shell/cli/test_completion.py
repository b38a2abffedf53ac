"""`opencode-a2a completion`: scripts have every command and option, and the shells that are installed use them."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from opencode_a2a.cli.arguments.operating import SHELLS
from opencode_a2a.cli.completion import script
from opencode_a2a.cli.main import COMMANDS, add_arguments, main
from tests.shell.client.typed_screen import TAB, at_terminal

WORDS = [
    (("opencode-a2a", "ch"), ["chat"]),
    (("opencode-a2a", "call", "--protocol-v"), ["--protocol-version"]),
    (("opencode-a2a", "call", "--protocol-version", ""), ["0.3", "1.0"]),
    (("opencode-a2a", "tasks", "http://a", "w"), ["watch"]),
    (("opencode-a2a", "completion", "f"), ["fish"]),
    (("opencode-a2a", "chat", "--file", "not"), ["notes.md"]),
    (("opencode-a2a", "call", "http://a:80/x", "hi", "--mod"), ["--model"]),
    (("opencode-a2a", "call", "@rev"), ["@reviewer"]),
    (("opencode-a2a", "tasks", "@tester", "ca"), ["cancel"]),
]
"""Words of a command line, the last of them begun, and what it may become."""


def installed(shell: str) -> str:
    """The path of a shell. Bash has to be there; a test of another one that is not is skipped."""
    path = shutil.which(shell)
    if path is None and shell != "bash":
        pytest.skip(f"{shell} is not installed")
    assert path is not None
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with one file, and the scripts elsewhere."""
    for name in ("work", "functions", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "work" / "notes.md").touch()
    (tmp_path / "peers.json").write_text('{"reviewer": "http://127.0.0.1:1", "tester": "http://127.0.0.1:2"}')
    program = tmp_path / "bin" / "opencode-a2a"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m opencode_a2a "$@"\n')
    program.chmod(0o700)
    for shell in SHELLS:
        (tmp_path / f"completion.{shell}").write_text(script(shell))
    (tmp_path / "functions" / "_opencode-a2a").write_text(script("zsh"))
    return tmp_path / "work"


def environment(folder: Path) -> dict[str, str]:
    """The environment of a shell that has the program, and a file of known peers."""
    return {
        "PATH": f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(folder.parent),
        "TERM": "xterm",
        "A2A_PEERS_FILE": str(folder.parent / "peers.json"),
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_command_and_option_and_runs_nothing_of_the_help(shell: str) -> None:
    text = script(shell)
    options = {option for name in COMMANDS for option in re.findall(r"--[a-z-]+[a-z]", help_of(name))}

    assert "--model" in options
    assert [name for name in COMMANDS if name not in text] == []
    assert [option for option in sorted(options) if option.removeprefix("--") not in text] == []
    run_by_the_shell = [line for line in text.splitlines() if re.search(r"`|\$\(\w", line) and "A2A" in line]
    assert run_by_the_shell == []


def help_of(name: str) -> str:
    """The usage of a command, which names each of its options."""
    command = argparse.ArgumentParser()
    add_arguments(name, command)
    return command.format_usage()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_valid(shell: str, folder: Path) -> None:
    checked = subprocess.run(
        [installed(shell), "-n", str(folder.parent / f"completion.{shell}")],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


BASH = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMPREPLY=()
declaration=$(complete -p opencode-a2a); function=${declaration##*-F }; function=${function%% *}
"$function" opencode-a2a "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""
FISH = 'source $argv[1]; complete -C "$argv[2..]" | string replace -r "\\t.*" ""'


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(("words", "found"), WORDS, ids=[" ".join(words) for words, _ in WORDS])
def test_a_shell_completes(shell: str, words: tuple[str, ...], found: list[str], folder: Path) -> None:
    path, source = installed(shell), str(folder.parent / f"completion.{shell}")
    command = [path, "-c", BASH, "bash", source, *words] if shell == "bash" else [path, "-c", FISH, source, *words]
    env = environment(folder)
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=30)

    assert (run.stdout.split(), run.stderr) == (found, "")


STARTED = {
    "bash": (["--norc", "-i"], "PS1='%% '; source {home}/completion.bash"),
    "zsh": (["-f", "-i"], "PS1='%%%% '; fpath+=({home}/functions); autoload -Uz compinit; compinit -u -D"),
}
"""How a shell starts without a user's files, and what makes it complete."""


@pytest.mark.anyio
@pytest.mark.parametrize("shell", STARTED)
async def test_a_shell_at_a_terminal_completes(shell: str, folder: Path) -> None:
    arguments, prepare = STARTED[shell]
    async with at_terminal([installed(shell), *arguments], environment(folder)) as screen:
        screen.types(f"cd {folder}; {prepare.format(home=folder.parent)}; clear\r")
        await screen.until_prompt("%%")
        for words, found in WORDS:
            screen.types(" ".join(words) + (TAB if len(found) == 1 else TAB * 2))
            for word in found:
                await screen.until(word)
            screen.types("\x15\x0c")  # drops the line, clears the screen
            await screen.until_prompt("%%")


def test_the_names_of_known_peers_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("A2A_PEERS_FILE", raising=False)
    assert main(["completion", "peers"]) == 0
    assert capsys.readouterr().out == ""

    (tmp_path / "peers.json").write_text('{"reviewer": "http://127.0.0.1:1"}')
    monkeypatch.setenv("A2A_PEERS_FILE", str(tmp_path / "peers.json"))
    assert main(["completion", "peers"]) == 0
    assert capsys.readouterr().out == "@reviewer\n"


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == script("bash")

    with pytest.raises(SystemExit) as caught:
        main(["completion", "csh"])
    assert caught.value.code == 2


def test_values_and_actions_are_described_as_what_they_are() -> None:
    serve = script("bash")
    fish = script("fish")

    assert "asyncio" in serve
    assert "-d '[default: list]'" not in fish
