"""The command line: ``opencode-a2a serve | call | demo``. Parses, loads settings, chooses the runtime, prints."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from opencode_a2a.cli import call, demo
from opencode_a2a.cli.serve import Runtime, RuntimeUnknown, find_runtime, serve
from opencode_a2a.cli.signals import until_signalled
from opencode_a2a.config.settings import (
    Settings,
    SettingsError,
    check_exposure,
    help_text,
    load_settings,
    with_generated_token,
)
from opencode_a2a.distribution import version_text
from opencode_a2a.logs import logging_to
from opencode_a2a.server.store import StoreError

COMMANDS = ("serve", "call", "demo")
_EVERYWHERE = ("runtime", "log_level")
_READ_BY = {
    "call": (*_EVERYWHERE, "client_bearer_token", "client_basic_auth", "client_timeout_seconds"),
    "demo": _EVERYWHERE,
}
"""The settings that a command reads; all of them where it has no row. No other one keeps it from its work."""
_SERVE_OPTIONS = (
    ("--runtime", "NAME", "A2A_RUNTIME", "the event loop: asyncio or trio (default: asyncio)"),
    ("--host", "ADDRESS", "A2A_HOST", "where to listen (default: 127.0.0.1)"),
    ("--port", "PORT", "A2A_PORT", "the port; 0 takes a free one (default: 8000)"),
    ("--opencode", "URL", "OPENCODE_BASE_URL", "where `opencode serve` is (default: http://127.0.0.1:4096)"),
    ("--log-level", "LEVEL", "A2A_LOG_LEVEL", "DEBUG, INFO, WARNING, ERROR or CRITICAL (default: WARNING)"),
)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    plain = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="opencode-a2a",
        description="Serves OpenCode as an A2A agent, and calls A2A agents.\n"
        "Without a command it serves: `opencode-a2a --port 8001` is `opencode-a2a serve --port 8001`.",
        formatter_class=plain,
    )
    top.add_argument("--version", action="version", version=version_text())
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="serve OpenCode as an A2A agent",
        description="Serves the OpenCode instance at --opencode as an A2A agent, on JSON-RPC and HTTP+JSON,\n"
        "protocol versions 0.3 and 1.0. SIGINT or SIGTERM lets running tasks end first.\n"
        "Options go before environment variables.",
        epilog=help_text(),
        formatter_class=plain,
    )
    for option, metavar, _, meaning in _SERVE_OPTIONS:
        serving.add_argument(option, metavar=metavar, help=meaning)
    calling = commands.add_parser(
        "call",
        help="send a message to an A2A agent and print its answer",
        formatter_class=plain,
    )
    call.add_arguments(calling)
    showing = commands.add_parser(
        "demo",
        help="show it working, with neither OpenCode nor a key",
        description="Starts a scripted stand-in for OpenCode and the server before it, both on loopback, sends one\n"
        "message and shows the stream. --keep leaves them up and prints commands to try.",
        formatter_class=plain,
    )
    demo.add_arguments(showing)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "--version")):
        given.insert(0, "serve")
    options = parser().parse_args(given)
    try:
        return _unwrapped(partial(_run, options))
    except (SettingsError, RuntimeUnknown, StoreError) as exc:
        for line in str(exc).splitlines():
            print(f"opencode-a2a: {line}", file=sys.stderr)
        return 2
    except OSError as exc:
        print(f"opencode-a2a: {exc.strerror or exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


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
    settings = _settings(_with_options(options, os.environ), _READ_BY.get(options.command))
    with logging_to(sys.stderr, settings.log_level):
        return _run_command(options, settings, find_runtime(settings.runtime))


def _run_command(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    if options.command == "call":
        return runtime.run(partial(call.run_from_arguments, options, settings, sys.stdout, sys.stderr))
    if options.command == "demo":
        return runtime.run(partial(demo.run, options, runtime, sys.stdout))
    return _serve(settings, runtime)


def _with_options(options: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the options given laid over it, so that both get the same checks."""
    names = {option.strip("-").replace("-", "_"): variable for option, _, variable, _ in _SERVE_OPTIONS}
    chosen = {names[name]: value for name, value in vars(options).items() if name in names and value is not None}
    return {**environ, **chosen}


def _settings(environ: Mapping[str, str], used: Collection[str] | None) -> Settings:
    settings, warnings = load_settings(environ, dotenv=Path(".env"), used=used)
    for warning in warnings:
        print(f"opencode-a2a: warning: {warning}", file=sys.stderr)
    return settings


def _serve(settings: Settings, runtime: Runtime) -> int:
    check_exposure(settings)
    if not settings.credentials:
        token = secrets.token_urlsafe(24)
        settings = with_generated_token(settings, token)
        print(f"opencode-a2a: no credentials are set; for this run, the bearer token is {token}", file=sys.stderr)

    def ready(url: str) -> None:
        print(f"opencode-a2a: listening on {url} ({settings.runtime})", file=sys.stderr, flush=True)

    def say(text: str) -> None:
        print(f"opencode-a2a: {text}", file=sys.stderr, flush=True)

    runtime.run(partial(serve, settings, runtime, stop=until_signalled, ready=ready, say=say))
    return 0
