"""The arguments by which a command calls an agent: what they mean, and the command that does the same again."""

from __future__ import annotations

import argparse
import shlex

from attrs import evolve

from opencode_a2a.client.options import ClientOptions
from sansio.a2a.cards.parse import Interface
from sansio.a2a.tasks.shared_metadata import INTERACTIVE_INTERRUPT
from sansio.opencode.extension_names import EXTENSION_URIS, SHARED_URIS


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
