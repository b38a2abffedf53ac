"""The message that the arguments of a command describe: its files, and its choices of OpenCode's.

A choice is metadata that an agent understands if its card has the extension. It is refused for any other agent:
the agent would ignore it, and work elsewhere than the user wants.
"""

from __future__ import annotations

import argparse
import mimetypes
import os
import uuid
from collections.abc import Sequence
from typing import Final

import anyio.to_thread
from attrs import evolve, frozen

from opencode_a2a.cli.arguments.calling import LONGEST_VALUE
from opencode_a2a.config.settings import Settings
from sansio.a2a.client.client_errors import UsageError
from sansio.a2a.client.outgoing_files import file_budget, file_of_content, file_of_url, is_reference
from sansio.a2a.model import FilePart, Message, Role, TextPart
from sansio.opencode.extension_names import EXTENSION_NAMES
from sansio.opencode.message_metadata import CHOICES, message_metadata

_NO_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a request that this program holds in memory, where the setting has no limit."""


@frozen(kw_only=True)
class MessageShape:
    """The files of a message, and its choices of session, model (PROVIDER/MODEL), directory and instance."""

    files: tuple[FilePart, ...] = ()
    session: str | None = None
    model: str | None = None
    directory: str | None = None
    instance: str | None = None

    def extensions(self, offered: Sequence[str]) -> tuple[str, ...]:
        """Return the URIs, of those that an agent offers, of the extensions by which it understands the choices.

        Raises `UsageError` naming an option for which the agent has none.
        """
        needed: dict[str, None] = {}
        for choice, name in CHOICES.items():
            if getattr(self, choice) is None:
                continue
            uris = [uri for uri in offered if EXTENSION_NAMES.get(uri) == name]
            if not uris:
                raise UsageError(f"--{choice}: the agent does not offer it (its card has no extension {name})")
            needed.update(dict.fromkeys(uris))
        return tuple(needed)

    def message(
        self, text: str, offered: Sequence[str], *, context_id: str | None = None, task_id: str | None = None
    ) -> Message:
        """Make the user's message to an agent that offers these extensions. Raises `UsageError` as `extensions`."""
        return Message(
            message_id=str(uuid.uuid4()),
            role=Role.USER,
            parts=(TextPart(text=text), *self.files),
            context_id=context_id,
            task_id=task_id,
            metadata=message_metadata(
                session=self.session, model=self.model, directory=self.directory, instance=self.instance
            ),
            extensions=self.extensions(offered),
        )


async def message_shape(options: argparse.Namespace, settings: Settings, text: str) -> MessageShape:
    """Read the options of `add_message_arguments`, and the files. `text`: what they go along with.

    Raises `UsageError` naming the option.
    """
    shape = MessageShape(
        session=options.session, model=options.model, directory=options.directory, instance=options.instance
    )
    for source in options.file:
        shape = await with_file(shape, source, settings, text)
    return shape


async def with_file(
    shape: MessageShape, source: str, settings: Settings, text: str = "", *, option: str = "--file"
) -> MessageShape:
    """Attach one more file, if the largest request body of the settings has room for all of them.

    Raises `UsageError`, which begins with `option` and does not repeat a URL: it may hold a password.
    """
    limit = settings.max_request_body_bytes or _NO_LIMIT
    budget = file_budget(limit, text) - sum(len(part.raw or "") * 3 // 4 for part in shape.files)
    try:
        if is_reference(source):
            part = file_of_url(source, mimetypes.guess_type(source))
        else:
            content = await anyio.to_thread.run_sync(_content, source, max(0, budget), abandon_on_cancel=True)
            part = file_of_content(source, content, mimetypes.guess_type(source))
    except (OSError, ValueError) as error:
        named = "the URL" if is_reference(source) else source.encode("utf-8", "replace").decode()[:LONGEST_VALUE]
        raise UsageError(f"{option}: {named}: {getattr(error, 'strerror', None) or error}") from None
    return evolve(shape, files=(*shape.files, part))


def _content(path: str, budget: int) -> bytes:
    """Read a file of at most `budget` bytes. Raises `OSError`, and `ValueError` for a larger one."""
    with open(os.path.expanduser(path), "rb") as file:
        content = file.read(budget + 1)
    if len(content) > budget:
        raise ValueError(f"is too large: of A2A_MAX_REQUEST_BODY_BYTES, {budget} bytes are left for it")
    return content
