"""Arguments of every command that calls an agent: which one, and how to talk to it."""

from __future__ import annotations

import argparse
import shlex

from attrs import evolve

from opencode_a2a.client.options import PATIENCE, ClientOptions
from sansio.a2a.cards.parse import BINDINGS, Interface
from sansio.a2a.tasks.shared_metadata import INTERACTIVE_INTERRUPT
from sansio.a2a.versions import VERSIONS
from sansio.opencode.extension_names import EXTENSION_URIS, SHARED_URIS


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


def interface_text(interface: Interface) -> str:
    """Return the words for the interface that a call uses."""
    return f"{interface} at {interface.address}"


def for_people(options: ClientOptions) -> ClientOptions:
    """Return the options with the extensions by which a stream tells blocks apart, and stays open for answers."""
    return evolve(
        options,
        extensions=SHARED_URIS,
        stay_open=list(EXTENSION_URIS[INTERACTIVE_INTERRUPT].values()),
    )


def calling_command(options: argparse.Namespace, *more: str) -> str:
    """Return the `call` of the same agent, in the same way, quoted for a shell."""
    chosen = {"--protocol-version": options.version, "--binding": options.binding}
    ways = [part for name, value in chosen.items() if value is not None for part in (name, value)]
    return shlex.join(["opencode-a2a", "call", options.url, *ways, *more])


def answering_command(options: argparse.Namespace, task_id: str) -> str:
    """Return the command that answers a task."""
    return calling_command(options, "--task", task_id, "TEXT")


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
