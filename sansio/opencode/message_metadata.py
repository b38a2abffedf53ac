"""Metadata by which a message chooses its session, model, directory and OpenCode: for clients of a server of these.

`send_options` reads on the server what this writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sansio.a2a.model import JsonObject
from sansio.a2a.tasks.shared_metadata import SESSION_BINDING
from sansio.opencode.extension_names import MODEL_SELECTION

CHOICES: Final[Mapping[str, str]] = {
    "session": SESSION_BINDING,
    "model": MODEL_SELECTION,
    "directory": SESSION_BINDING,
    "instance": SESSION_BINDING,
}
"""Choices of a message by name, each with the extension that an agent must have for it."""


def message_metadata(
    *,
    session: str | None = None,
    model: str | None = None,
    directory: str | None = None,
    instance: str | None = None,
) -> JsonObject | None:
    """Make the metadata of a message. `model` is PROVIDER/MODEL. `None`: the message chooses nothing.

    Raises `ValueError` where the model is not of that form.
    """
    shared: JsonObject = {}
    if session is not None:
        shared["session"] = {"id": session}
    if model is not None:
        provider_id, model_id = split_model(model)
        shared["model"] = {"providerID": provider_id, "modelID": model_id}
    own = {"directory": directory, "instance": instance}
    chosen = {name: value for name, value in own.items() if value is not None}
    metadata: JsonObject = {"shared": shared} if shared else {}
    if chosen:
        metadata["opencode"] = chosen
    return metadata or None


def split_model(text: str) -> tuple[str, str]:
    """Return provider and model of PROVIDER/MODEL; a model's name may hold further slashes. Raises `ValueError`."""
    provider_id, _, model_id = text.partition("/")
    if not provider_id or not model_id or text != text.strip() or not text.isprintable():
        raise ValueError("must be PROVIDER/MODEL")
    return provider_id, model_id
