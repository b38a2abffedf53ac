"""`opencode-a2a completion`: scripts have every command and option, and the shells that are installed use them."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from opencode_a2a.cli.completion import SHELLS, script
from opencode_a2a.cli.main import COMMANDS, command_module, main
from tests.shell.client.typed_screen import TAB, at_terminal

WORDS = [
    (("opencode-a2a", "ch"), ["chat"]),
    (("opencode-a2a", "call", "--protocol-v"), ["--protocol-version"]),
    (("opencode-a2a", "call", "--protocol-version", ""), ["0.3", "1.0"]),
    (("opencode-a2a", "tasks", "http://a", "w"), ["watch"]),
    (("opencode-a2a", "completion", "f"), ["fish"]),
    (("opencode-a2a", "chat", "--file", "not"), ["notes.md"]),
    (("opencode-a2a", "call", "http://a", "hi", "--mod"), ["--model"]),
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
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "notes.md").touch()
    for shell in SHELLS:
        (tmp_path / f"completion.{shell}").write_text(script(shell))
    return tmp_path / "work"


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
    command_module(name).add_arguments(command)
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
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)

    assert (run.stdout.split(), run.stderr) == (found, "")


@pytest.mark.anyio
async def test_zsh_completes(folder: Path, tmp_path: Path) -> None:
    path = installed("zsh")
    (tmp_path / "functions").mkdir()
    (tmp_path / "completion.zsh").rename(tmp_path / "functions" / "_opencode-a2a")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm", "PS1": "%% "}
    async with at_terminal([path, "-f", "-i"], env) as screen:
        await screen.until("%")
        screen.types(f"cd {folder}; fpath+=({tmp_path}/functions); autoload -Uz compinit; compinit -u -D; clear\r")
        await screen.until_prompt("%")
        for words, found in WORDS:
            screen.types(" ".join(words) + TAB)
            for word in found:
                await screen.until(word)
            screen.types("\x15\x0c")  # drops the line, clears the screen
            await screen.until_prompt("%")


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == script("bash")

    with pytest.raises(SystemExit) as caught:
        main(["completion", "csh"])
    assert caught.value.code == 2
