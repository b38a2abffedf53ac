"""`opencode-a2a completion`: prints a script by which a shell completes the commands and their options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Final

from opencode_a2a.cli.main import COMMANDS, parser
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = frozenset({"--file", "--output"})
"""Options that take a path on this machine."""

EPILOG: Final = """\
where to put the script:
  bash  opencode-a2a completion bash > ~/.local/share/bash-completion/completions/opencode-a2a
  zsh   opencode-a2a completion zsh > DIRECTORY/_opencode-a2a    (a directory of your $fpath)
  fish  opencode-a2a completion fish > ~/.config/fish/completions/opencode-a2a.fish

To try it in a bash that runs: source <(opencode-a2a completion bash)
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.epilog = EPILOG
    command.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code."""
    sys.stdout.write(script(options.shell))
    return 0


def script(shell: str) -> str:
    """Return the script for one of `SHELLS`: all commands and options, and files where an option takes one."""
    import shtab

    whole = parser(*COMMANDS)
    for action in _actions(whole):
        if _FILES.intersection(action.option_strings):
            action.complete = shtab.FILE  # type: ignore[attr-defined] # shtab looks for this attribute
        if action.help:
            action.help = _inert(action.help)
    text: str = shtab.complete(whole, shell=shell)
    return text if text.endswith("\n") else f"{text}\n"


def _actions(arguments: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands, whose descriptions become their one line of help."""
    for action in arguments._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                command.description = _inert(COMMANDS[name])
                yield from _actions(command)


def _inert(text: str) -> str:
    """Leave out what a shell would run: the scripts have texts of help in double quotes."""
    return text.replace("`", "").replace("$", "")
