"""`opencode-a2a completion`: prints a script by which a shell completes the commands and their options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Final

from opencode_a2a.cli.arguments.operating import PEERS
from opencode_a2a.cli.main import COMMANDS, parser
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime

_FILES: Final = frozenset({"--entry", "--file", "--output"})
"""Options that take a path on this machine."""


RUNTIMES: Final = ("asyncio", "trio")
"""The event loops that are offered; a further one may be installed."""

_AGENT: Final = {
    "bash": "_opencode_a2a_peers",
    "zsh": "_opencode_a2a_peers",
    "fish": "(opencode-a2a completion peers 2>/dev/null)",
}
"""Completion of an agent's URL, which may be `@` and the name of a known peer."""

_PREAMBLES: Final = {
    "bash": r"""
_opencode_a2a_peers() {
  [[ $1 != @* ]] || compgen -W "$(opencode-a2a completion peers 2>/dev/null)" -- "$1"
}
""",
    "zsh": r"""
_opencode_a2a_peers() {
  local -a peers=(${(f)"$(opencode-a2a completion peers 2>/dev/null)"})
  compadd -a peers
}
""",
    "fish": "",
}

_BASH_WORDS: Final = r"""
# Bash splits a URL at each colon, and @NAME at its beginning. Here the pieces are words again.
_opencode_a2a() {
  local line=$COMP_LINE piece index current=0
  local -a words=()
  for index in "${!COMP_WORDS[@]}"; do
    piece=${COMP_WORDS[index]}
    if (( index == 0 )) || [[ $line == [[:space:]]* ]]; then
      line=${line#"${line%%[![:space:]]*}"}
      words+=("$piece")
    else
      words[${#words[@]}-1]+=$piece
    fi
    line=${line#"$piece"}
    (( index != COMP_CWORD )) || current=$(( ${#words[@]} - 1 ))
  done
  COMP_WORDS=("${words[@]}") COMP_CWORD=$current
  _shtab_opencode_a2a
  piece=${words[current]}
  COMPREPLY=("${COMPREPLY[@]#"${piece%"$2"}"}")  # only $2 is replaced, the end of the word
}
complete -o bashdefault -F _opencode_a2a opencode-a2a
"""


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code."""
    if options.shell == PEERS:
        from opencode_a2a.client.known_peers import MARK, KnownPeers

        sys.stdout.writelines(f"{MARK}{name}\n" for name in KnownPeers.of(settings).peers)
    else:
        sys.stdout.write(script(options.shell))
    return 0


def script(shell: str) -> str:
    """Return the script for one of the shells of the command.

    It completes all commands and options, files where an option takes one, and the names of known peers.
    """
    import shtab

    whole = parser(*COMMANDS)
    for action in _actions(whole):
        if _FILES.intersection(action.option_strings):
            action.complete = shtab.FILE  # type: ignore[attr-defined] # shtab looks for this attribute
        if action.dest == "url":
            action.complete = _AGENT  # type: ignore[attr-defined]
        if action.dest == "A2A_RUNTIME":
            action.choices = RUNTIMES
        if action.help:
            action.help = _inert(action.help)
    text: str = shtab.complete(whole, shell=shell, preamble=_PREAMBLES[shell])
    return f"{text}{_BASH_WORDS if shell == 'bash' else ''}\n"


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
