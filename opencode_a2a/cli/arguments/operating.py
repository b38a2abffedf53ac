"""Arguments of the commands for operators: copies, imports, secrets, and scripts for shells."""

from __future__ import annotations

import argparse
from typing import Final

from opencode_a2a.config.groups.capabilities import CAPABILITIES

SHELLS: Final = ("bash", "zsh", "fish")
PEERS: Final = "peers"
"""Argument with which the scripts ask for the names of known peers."""

_BACKUP_EPILOG: Final = """\
To restore it: stop the server, move the file to where the database was (without the -wal and -shm
files beside that), start the server. docs/operations.md has the steps.

exit codes:
  0    the backup is there
  1    the file cannot be written
  2    wrong usage or settings, a file that is there already, or a store without a file
"""

_MIGRATE_EPILOG: Final = """\
FILE is only read. What the store has already is left as it is, so a second run imports nothing again.
Stop this server first; the earlier one should not be at work either. docs/upgrade.md says what becomes
of tasks, sessions, permissions and settings.

exit codes:
  0    imported, or with --dry-run counted
  2    wrong usage or settings, or an owner that is not clear: nothing is imported
"""

_TOKEN_EPILOG: Final = """\
Standard output gets the secret and nothing else; standard error gets the entry with its hash,
one line of JSON for the list in A2A_STATIC_AUTH_CREDENTIALS_FILE. With --entry FILE, the entry
is written to that new file instead. For example:

  opencode-a2a token --principal ci --credential-id ci-2026 >token.txt 2>entry.json
"""

_COMPLETION_EPILOG: Final = """\
where to put the script:
  bash  opencode-a2a completion bash > ~/.local/share/bash-completion/completions/opencode-a2a
  zsh   opencode-a2a completion zsh > DIRECTORY/_opencode-a2a    (a directory of your $fpath)
  fish  opencode-a2a completion fish > ~/.config/fish/completions/opencode-a2a.fish

To try it in a shell that runs: eval "$(opencode-a2a completion bash)", the same with zsh,
and in fish: opencode-a2a completion fish | source

`opencode-a2a completion peers` prints the names of known peers; the scripts ask for them.
"""


def add_backup_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = "Copies the SQLite database of A2A_TASK_STORE_DATABASE_URL into FILE, readable by you alone."
    parser.epilog = _BACKUP_EPILOG
    parser.add_argument("file", metavar="FILE", help="the file for the backup")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.add_argument("--vacuum", action="store_true", help="leave out free space, which takes longer")


def add_migrate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = "Imports the SQLite database of release 0.7.1 or 1.4.0 into the configured store."
    parser.epilog = _MIGRATE_EPILOG
    parser.add_argument("--from", dest="source", metavar="FILE", required=True, help="the earlier database file")
    parser.add_argument("--dry-run", action="store_true", help="count what would be imported, and write nothing")


def add_token_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Makes a secret of 256 random bits, and the entry by which a server knows its hash.\n"
        "Nothing is stored, and no server is asked."
    )
    parser.epilog = _TOKEN_EPILOG
    parser.add_argument("--principal", metavar="NAME", help="who calls with it (default: automation)")
    parser.add_argument("--credential-id", metavar="ID", help="the name of this credential, for the log")
    parser.add_argument(
        "--capability",
        metavar="NAME",
        action="append",
        default=[],
        choices=sorted(CAPABILITIES),
        help=f"something more that it allows: {', '.join(sorted(CAPABILITIES))}; may be repeated",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--basic", metavar="USER", help="make a password for this user name instead of a bearer token")
    kind.add_argument("--api-key", action="store_true", help="make an API key instead of a bearer token")
    parser.add_argument("--entry", metavar="FILE", help="write the entry to this file, which must not exist yet")


def add_completion_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.epilog = _COMPLETION_EPILOG
    command.add_argument(
        "shell", choices=(*SHELLS, PEERS), help="the shell that is to complete, or peers to list the known ones"
    )


ADD: Final = {
    "backup": add_backup_arguments,
    "migrate": add_migrate_arguments,
    "token": add_token_arguments,
    "completion": add_completion_arguments,
}
"""The functions that add the arguments of each command."""
