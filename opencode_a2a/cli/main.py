"""The command line: `opencode-a2a COMMAND`. Parses, loads settings, chooses a runtime.

A command's arguments are imported once it is chosen, and its own module once they are parsed: `--version` and
`--help` need not wait for the code that calls or serves.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from opencode_a2a.distribution import version_text

if TYPE_CHECKING:
    from opencode_a2a.config.settings import Settings
    from opencode_a2a.server.runtimes import Runtime


class Command(Protocol):
    """The module of a command."""

    def run(self, options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int: ...


COMMANDS: Final = {
    "serve": "serve OpenCode as an A2A agent",
    "call": "send a message to an A2A agent and print its answer",
    "chat": "talk with an A2A agent, in one conversation",
    "card": "show and check the card of an A2A agent",
    "tasks": "list the tasks of an A2A agent; get, cancel or watch one",
    "doctor": "check settings, OpenCode, the store and the address, and say what mends them",
    "migrate": "import the database of release 0.7.1 or 1.4.0 into the configured store",
    "backup": "copy the database of tasks into a file, also while the server runs",
    "token": "make a token, a password or an API key, and the entry that stores its hash",
    "completion": "print a script by which bash, zsh or fish completes all this",
    "demo": "show it working, with neither OpenCode nor a key",
}
"""The commands and their help; each is a module of this package, or of its folder `operator`."""

_OPERATOR = frozenset({"backup", "doctor", "migrate", "token"})

_ARGUMENTS = {
    **dict.fromkeys(("call", "chat", "card", "tasks"), "calling"),
    **dict.fromkeys(("serve", "demo", "doctor"), "serving"),
    **dict.fromkeys(("migrate", "backup", "token", "completion"), "operating"),
}
"""The modules of the package `arguments` that have those of each command."""

_EVERYWHERE = ("runtime", "log_level", "log_format")
_STORE = ("task_store_backend", "task_store_database_url")
_CLIENT = (
    "client_bearer_token",
    "client_basic_auth",
    "client_timeout_seconds",
    "client_card_fetch_timeout_seconds",
    "client_protocol_version",
    "client_supported_transports",
    "client_use_client_preference",
    "client_polling_fallback_enabled",
    "client_polling_fallback_initial_interval_seconds",
    "client_polling_fallback_max_interval_seconds",
    "client_polling_fallback_backoff_multiplier",
    "client_polling_fallback_timeout_seconds",
    "client_card_signatures",
    "client_card_keys_file",
    "peers_file",
)
_MODEL_CALLS = ("peers_file", "client_allowed_hosts", "client_allow_private_hosts")
"""The settings of the model's own calls that the demo reads too, for two demos that call each other."""
_PUSHES = ("push_allowed_hosts", "push_allow_private_hosts")
"""The settings of push notifications that the demo reads too, for a receiver on the same machine."""

READ_BY = {
    "call": (*_EVERYWHERE, *_CLIENT, "max_request_body_bytes"),
    "chat": (*_EVERYWHERE, *_CLIENT, "max_request_body_bytes"),
    "card": (*_EVERYWHERE, *_CLIENT),
    "tasks": (*_EVERYWHERE, *_CLIENT),
    "token": _EVERYWHERE,
    "completion": ("peers_file",),
    "demo": (*_EVERYWHERE, *_MODEL_CALLS, *_PUSHES, "bindings", "console", "allowed_origins"),
    "backup": (*_EVERYWHERE, *_STORE),
    "migrate": (*_EVERYWHERE, *_STORE, "listen_database_url", "credentials", "credentials_file", "import_principals"),
    "doctor": _EVERYWHERE,  # it loads the others itself: what is wrong with them is among its findings
}
"""The settings that a command reads; all of them where it has no row. No other one keeps it from its work."""


def parser(*chosen: str) -> argparse.ArgumentParser:
    """Build the command line. Only the `chosen` commands have their options."""
    return _parsers(*chosen)[0]


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. Options may stand anywhere behind the command: before, between and after its words."""
    top, commands = _parsers(given[0])
    command = commands.get(given[0])
    if command is None:
        return top.parse_args(given)
    options = command.parse_intermixed_args(given[1:])
    options.command = given[0]
    return options


def _parsers(*chosen: str) -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Build the command line's parser, and those of its commands by name."""
    plain = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="opencode-a2a",
        description="Serves OpenCode as an A2A agent, and calls A2A agents.\n"
        "Without a command it serves: `opencode-a2a --port 8001` is `opencode-a2a serve --port 8001`.",
        formatter_class=plain,
    )
    top.add_argument("--version", action="version", version=version_text())
    added = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands = {}
    for name, meaning in COMMANDS.items():
        commands[name] = added.add_parser(name, help=meaning, formatter_class=plain)
        if name in chosen:
            add_arguments(name, commands[name])
    return top, commands


def add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command with this name."""
    import_module(f"opencode_a2a.cli.arguments.{_ARGUMENTS[name]}").ADD[name](command)


def command_module(name: str) -> Command:
    """Import the module of a command."""
    module: Command = import_module(f"opencode_a2a.cli.{'operator.' if name in _OPERATOR else ''}{name}")
    return module


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of these arguments, by default the process's; return its exit code."""
    return run(parsed(arguments))


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a whole command line, where `serve` may be left out. Imports the module of its command."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "--version")):
        given.insert(0, "serve")
    options = parse(given)
    command_module(options.command)
    return options


def run(options: argparse.Namespace) -> int:
    """Run the command that was parsed; return its exit code."""
    return reported(partial(_run, options), options)


def reported(run: Callable[[], int], options: argparse.Namespace) -> int:
    """Run; a failure that the user can mend is a line on standard error, or a record of the log, and an exit code."""
    from opencode_a2a.config.settings import SettingsError
    from opencode_a2a.server.runtimes import RuntimeUnknownError
    from opencode_a2a.server.store.rows import StoreError
    from sansio.a2a.client.client_errors import UsageError

    try:
        return _unwrapped(run)
    except (SettingsError, RuntimeUnknownError, StoreError, UsageError) as exc:
        lines = str(exc).splitlines()
        if options.command == "serve":
            lines.append("`opencode-a2a doctor` checks the whole set-up")
        _report(lines, options)
        return 2
    except OSError as exc:
        _report([exc.strerror or str(exc)], options)
        return 1
    except KeyboardInterrupt:
        return 130


def _report(lines: Sequence[str], options: argparse.Namespace) -> None:
    """Write why a command failed: as lines for a person, or as one record where the log of `serve` is to be JSON."""
    from opencode_a2a.config.settings import read_dotenv
    from opencode_a2a.logs import LIFECYCLE, logging_to

    environ = {**read_dotenv(Path(".env")), **with_options(options, os.environ)}
    if options.command == "serve" and environ.get("A2A_LOG_FORMAT", "").strip() == "json":
        with logging_to(sys.stderr, "ERROR", json=True, lifecycle=True):
            logging.getLogger(LIFECYCLE).error("%s", "; ".join(lines))
    else:
        for line in lines:
            print(f"opencode-a2a: {line}", file=sys.stderr)


def _unwrapped(run: Callable[[], int]) -> int:
    """Run; what a task group has wrapped around one error is taken off."""
    try:
        return run()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


def _run(options: argparse.Namespace) -> int:
    from opencode_a2a.config.settings_secrets import redactor_of
    from opencode_a2a.logs import LIFECYCLE, logging_to
    from opencode_a2a.redaction import redacted
    from opencode_a2a.server.runtimes import find_runtime

    settings, warnings = _settings(with_options(options, os.environ), READ_BY.get(options.command))
    in_json = options.command == "serve" and settings.log_format == "json"
    redacted.know("settings", redactor_of(settings))
    log = logging_to(
        sys.stderr,
        settings.log_level,
        json=in_json,
        lifecycle=options.command == "serve",
        forks=options.command == "serve" and settings.workers > 1,
    )
    with log:
        for warning in warnings if options.command != "doctor" else ():
            if in_json:
                logging.getLogger(LIFECYCLE).warning("%s", warning)
            else:
                print(f"opencode-a2a: warning: {warning}", file=sys.stderr)
        return command_module(options.command).run(options, settings, find_runtime(settings.runtime))


def with_options(options: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the options given laid over it, so that both get the same checks.

    An option that goes before a variable has its name as destination.
    """
    chosen = {name: value for name, value in vars(options).items() if name.isupper() and value is not None}
    return {**environ, **chosen}


def _settings(environ: Mapping[str, str], used: Collection[str] | None) -> tuple[Settings, Sequence[str]]:
    """Return the settings, and what is odd about them."""
    from opencode_a2a.config.settings import load_settings

    return load_settings(environ, dotenv=Path(".env"), used=used)
