"""Arguments of the commands that serve, or check a server."""

from __future__ import annotations

import argparse
from typing import Final

OPTIONS = (
    ("--runtime", "NAME", "A2A_RUNTIME", "the event loop: asyncio or trio (default: asyncio)"),
    ("--host", "ADDRESS", "A2A_HOST", "where to listen (default: 127.0.0.1)"),
    ("--port", "PORT", "A2A_PORT", "the port; 0 takes a free one (default: 8000)"),
    ("--workers", "N", "A2A_WORKERS", "the processes that serve; several need PostgreSQL (default: 1)"),
    ("--opencode", "URL", "OPENCODE_BASE_URL", "where `opencode serve` is (default: http://127.0.0.1:4096)"),
    ("--log-level", "LEVEL", "A2A_LOG_LEVEL", "DEBUG, INFO, WARNING, ERROR or CRITICAL (default: WARNING)"),
    ("--log-format", "FORMAT", "A2A_LOG_FORMAT", "text, or json: one object a line (default: text)"),
)
"""The options of the command, each with the variable that it goes before."""

_DOCTOR_EPILOG: Final = """\
Nothing is changed, and no turn is started. Settings come from the environment and .env, as with `serve`.

exit codes:
  0    nothing fails; there may be warnings
  1    something fails
  2    wrong usage
"""


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command, and every setting at the end of its help."""
    # Every setting is in the help, and is read next.
    from opencode_a2a.config.settings import help_text

    parser.description = (
        "Serves the OpenCode instance at --opencode as an A2A agent, on JSON-RPC and HTTP+JSON,\n"
        "with A2A_BINDINGS also on gRPC and WebSocket, protocol versions 0.3 and 1.0.\n"
        "SIGINT or SIGTERM lets running tasks end first.\n"
        "Options go before environment variables."
    )
    parser.epilog = help_text()
    for option, metavar, variable, meaning in OPTIONS:
        parser.add_argument(option, metavar=metavar, dest=variable, help=meaning)


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Starts a scripted OpenCode and the server before it, both on loopback, sends one\n"
        "message and shows the stream. --keep leaves them up and prints commands to try.\n"
        "Of the environment it reads A2A_RUNTIME, A2A_LOG_LEVEL, A2A_BINDINGS, A2A_CONSOLE, A2A_ALLOWED_ORIGINS,\n"
        "A2A_PEERS_FILE, A2A_CLIENT_ALLOWED_HOSTS, A2A_CLIENT_ALLOW_PRIVATE_HOSTS, A2A_PUSH_ALLOWED_HOSTS and\n"
        "A2A_PUSH_ALLOW_PRIVATE_HOSTS; it makes its own token, and keeps its tasks in memory."
    )
    parser.add_argument(
        "--runtime", metavar="NAME", dest="A2A_RUNTIME", help="the event loop: asyncio or trio (default: asyncio)"
    )
    parser.add_argument("--keep", action="store_true", help="stay up, and print commands to try")
    parser.add_argument(
        "--port",
        dest="demo_port",
        metavar="PORT",
        type=int,
        default=0,
        help="the server's port (default: a free one)",
    )


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = "Checks settings, OpenCode, the store, the address and what stands in front of the server."
    parser.epilog = _DOCTOR_EPILOG
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    for option, metavar, variable, meaning in OPTIONS:
        parser.add_argument(option, metavar=metavar, dest=variable, help=meaning)


ADD: Final = {"serve": add_serve_arguments, "demo": add_demo_arguments, "doctor": add_doctor_arguments}
"""The functions that add the arguments of each command."""
