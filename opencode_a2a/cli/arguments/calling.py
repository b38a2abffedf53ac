"""Arguments of the commands that call an agent: which one, how to talk to it, and what to send.

It imports no HTTP client and no settings: help, usage errors and the scripts for shells are there at once.
"""

from __future__ import annotations

import argparse
from typing import Final

from opencode_a2a.terminal.permission_rules import ASK, RULES
from opencode_a2a.terminal.screen.look import COLOUR_CHOICES
from sansio.a2a.backoff import PATIENCE
from sansio.a2a.cards.parse import BINDINGS
from sansio.a2a.model import TaskState
from sansio.a2a.versions import VERSIONS
from sansio.opencode.message_metadata import split_model

LONGEST_VALUE: Final = 4096
"""Characters of an option's value."""

TASK_ACTIONS: Final = ("list", "get", "cancel", "watch")
"""The actions of the command `tasks`."""

_CALL_EPILOG: Final = """\
The answer goes to standard output as it comes; states, tool calls and errors go to standard error. At a terminal
Markdown is laid out, and reasoning and tools are shown; in a pipe the answer is exact to the byte. NO_COLOR,
FORCE_COLOR, CLICOLOR_FORCE and TERM=dumb are obeyed.
A stream that breaks is resumed, also while the agent is being restarted; --no-stream reads the task now and then.

Credentials are read from A2A_CLIENT_BEARER_TOKEN, or A2A_CLIENT_BASIC_AUTH (user:password). They are sent to
the origin of URL only; an agent card that points elsewhere is refused while they are set. @NAME is a peer of
A2A_PEERS_FILE, and gets the credential that the file names for it, or none.

What a task asks is asked at the terminal (standard input and standard error), with its choices where the agent
sends them: pick by number, by the beginning of a choice, or answer in words. What a permission is answered can be
chosen beforehand with --on-permission. End of input, or nobody to ask, leaves the task waiting; --task answers it
later, and tries a task again that has waited for credentials.

Certificates of authorities that this machine does not know, such as your own, are trusted where SSL_CERT_FILE names
a file that holds them (PEM).

Ctrl-C offers to cancel the task, or to leave it running; a second one leaves it running. --resume comes back to it.

exit codes:
  0    the task is completed, or the agent answered with a message
  1    the task failed, or was rejected
  2    wrong usage or settings
  3    the task waits for its user: input or authentication is required
  4    the agent cannot be reached, refused the request, or broke the protocol
  5    the task was canceled
  130  interrupted (the task goes on)
"""

_CHAT_EPILOG: Final = """\
Each message goes on with the conversation; /help lists the commands, Ctrl-D leaves. Ctrl-C cancels the task at work.
Without a terminal each line of standard input is a message, and the answers go to standard output.

Lines are kept for the next time in a file that only you can read, below XDG_STATE_HOME or ~/.local/state; a line that
begins with a blank is not, and --no-history keeps none. Credentials are read as by `call`.

exit codes:
  0    the conversation was left; without a terminal, the last task is completed
  1    the last task failed, or was rejected; without a terminal only
  2    wrong usage or settings
  3    the last task waits for its user; without a terminal only
  4    the agent cannot be reached, refused a message, or broke the protocol
  5    the last task was canceled; without a terminal only
  130  interrupted
"""

_CARD_EPILOG: Final = """\
exit codes:
  0    the card is valid
  1    members of the card are missing or wrong, or its signature is; standard error lists them
  2    wrong usage or settings
  4    there is no card, or the agent cannot be reached
"""

_TASKS_EPILOG: Final = """\
examples:
  opencode-a2a tasks http://127.0.0.1:8000
  opencode-a2a tasks http://127.0.0.1:8000 watch 0b8f2c64-5d0e-4c57-9a44-2f3b1f3f6a10

exit codes:
  0    done; what is shown or watched is completed, or still at work
  1    the task failed, or was rejected
  2    wrong usage or settings
  3    the task waits for its user: `opencode-a2a call --task ID` answers
  4    the agent cannot be reached, refused the request, or broke the protocol
  5    the task is canceled; after `cancel`, that is code 0
  130  interrupted
"""


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add the agent's URL, or its name."""
    parser.add_argument(
        "url",
        metavar="URL",
        help="the agent's base URL, the URL of its card (….json), or @NAME for a peer of A2A_PEERS_FILE",
    )


def add_agent_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of an interface."""
    parser.add_argument(
        "--protocol-version",
        dest="version",
        choices=VERSIONS,
        help="the protocol version to use [default: A2A_CLIENT_PROTOCOL_VERSION, else the newest offered]",
    )
    parser.add_argument(
        "--binding",
        type=str.lower,
        choices=[binding.lower() for binding in BINDINGS],
        help="the binding to use [default: the first of A2A_CLIENT_SUPPORTED_TRANSPORTS that the card has; without "
        "that, as the card prefers, and websocket and then grpc where it has no other]",
    )


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Add how long an agent that is sent a message may be silent."""
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=_seconds,
        help="seconds without a word, or without a change of the task, before it is given up "
        f"[default: A2A_CLIENT_TIMEOUT_SECONDS of silence, {PATIENCE:g} without a change]",
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to 86400")
    return value


def add_message_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that shape a message."""
    parser.add_argument(
        "--file",
        metavar="PATH|URL",
        action="append",
        default=[],
        help="attach a file; may be given several times. A path is read and sent, a URL is passed on",
    )
    parser.add_argument(
        "--session", metavar="ID", type=_value, help="the OpenCode session to work in [default: the context's]"
    )
    parser.add_argument(
        "--model", metavar="PROVIDER/MODEL", type=_model, help="the model that answers [default: the agent's choice]"
    )
    parser.add_argument(
        "--directory", metavar="PATH", type=_value, help="the directory, on the agent's side, to work in"
    )
    parser.add_argument(
        "--instance",
        metavar="NAME",
        type=_value,
        help="which of the agent's several OpenCodes a new context works in",
    )


def _value(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > LONGEST_VALUE:
        raise argparse.ArgumentTypeError(f"must be printable text of at most {LONGEST_VALUE} characters")
    return text


def _model(text: str) -> str:
    try:
        split_model(_value(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, for example anthropic/claude-sonnet-4") from None
    return text


def add_call_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `call`; sets the parser's epilog and keeps its lines as they are."""
    parser.epilog = _CALL_EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_url(parser)
    parser.add_argument("text", metavar="TEXT", nargs="?", help="the message; - reads it from standard input")
    add_agent_arguments(parser)
    parser.add_argument("--line", dest="version", choices=VERSIONS, help=argparse.SUPPRESS)  # its earlier name
    parser.add_argument("--context", metavar="ID", help="the context (conversation) to go on with")
    parser.add_argument("--task", metavar="ID", help="the task that TEXT is for: one that waits for its user")
    parser.add_argument("--resume", metavar="ID", help="instead of TEXT: show this task, and follow it to its end")
    add_message_arguments(parser)
    parser.add_argument(
        "--on-permission",
        choices=RULES,
        default=ASK,
        help="what to answer when a permission is asked [default: ask, at a terminal]",
    )
    parser.add_argument("--no-stream", action="store_true", help="wait for the whole answer")
    parser.add_argument(
        "--output",
        metavar="FILE|DIR/",
        help="write the answer to a file as well, or to a directory with the files that the agent sends",
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quiet", action="store_true", help="show the answer alone")
    amount.add_argument("--verbose", action="store_true", help="show reasoning and every step too")
    parser.add_argument(
        "--json", action="store_true", help="print each item of the answer as a line of JSON, and the outcome"
    )
    parser.add_argument(
        "--color", choices=COLOUR_CHOICES, default="auto", help="colour what is shown [default: auto, at a terminal]"
    )
    add_timeout(parser)


def add_chat_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _CHAT_EPILOG
    add_url(parser)
    add_agent_arguments(parser)
    parser.add_argument("--context", metavar="ID", help="go on with an earlier conversation")
    add_message_arguments(parser)
    parser.add_argument(
        "--on-permission",
        choices=RULES,
        default=ASK,
        help="what to answer when a permission is asked [default: ask, at a terminal]",
    )
    parser.add_argument("--no-stream", action="store_true", help="wait for each whole answer")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quiet", action="store_true", help="show the answers alone")
    amount.add_argument("--verbose", action="store_true", help="show reasoning and every step too")
    parser.add_argument(
        "--color", choices=COLOUR_CHOICES, default="auto", help="colour what is shown [default: auto, at a terminal]"
    )
    parser.add_argument("--no-history", action="store_true", help="neither read nor keep the lines of conversations")
    add_timeout(parser)


def add_card_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _CARD_EPILOG
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="print the card as JSON, as the agent has it")


def add_tasks_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _TASKS_EPILOG
    add_url(parser)
    parser.add_argument("action", nargs="?", choices=TASK_ACTIONS, default="list", help="what to do [default: list]")
    parser.add_argument("id", metavar="ID", nargs="?", help="the task, for all actions but list")
    parser.add_argument("--context", metavar="ID", help="list the tasks of this context alone")
    parser.add_argument(
        "--state", choices=[state.value for state in TaskState], help="list those in this state alone"
    )
    parser.add_argument("--limit", metavar="N", type=_limit, default=20, help="list at most so many [default: 20]")
    parser.add_argument("--json", action="store_true", help="print each task as a line of JSON")
    parser.add_argument("--verbose", action="store_true", help="watch: show reasoning and every step too")
    add_agent_arguments(parser)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)


ADD: Final = {
    "call": add_call_arguments,
    "chat": add_chat_arguments,
    "card": add_card_arguments,
    "tasks": add_tasks_arguments,
}
"""The functions that add the arguments of each command."""
