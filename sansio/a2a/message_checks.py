"""Refuses messages that no agent can be given: ids that no store keeps, and messages that are not a user's."""

from __future__ import annotations

from sansio.a2a.errors import invalid
from sansio.a2a.model import Message, Role
from sansio.a2a.refusals import Refusals

ID_LIMIT = 256
"""Characters of an id that a client chooses."""


def check_message(message: Message) -> None:
    """Refuse a message by its role and its ids. Raises one `ProtocolError` that names all wrong fields."""
    refusals = Refusals()
    if message.role is not Role.USER:
        refusals.add(invalid(("message", "role"), "must be the user's"))
    for name, value in (
        ("messageId", message.message_id),
        ("contextId", message.context_id),
        ("taskId", message.task_id),
    ):
        refusals.attempt(check_id, value, ("message", name))
    refusals.done()


def check_id(value: str | None, path: tuple[str, ...]) -> None:
    """Refuse an id that is not kept as it is by every store. Raises `ProtocolError` naming the field."""
    if value is not None and (len(value) > ID_LIMIT or "\0" in value):
        raise invalid(path, f"must be at most {ID_LIMIT} characters, none of them NUL")
