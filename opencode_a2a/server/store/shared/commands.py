"""The SQL of commands: what one server asks of another through the database, and the answer. PostgreSQL only.

The id of a command begins with the name of the principal whose it is, so that no principal gets all of the places.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, text

CHANNEL: Final = "opencode_a2a_command"
"""The channel on which the server is notified that has a command, or an answer to one of its own."""

_ASK: Final = text(
    "INSERT INTO opencode_a2a_command (command_id, replica_id, asked_by, body)"
    " SELECT :command_id, replica_id, :asked_by, :body FROM opencode_a2a_replica WHERE replica_id = :replica_id"
    f" RETURNING pg_notify('{CHANNEL}', replica_id)"
)
_OWNER_OF: Final = "split_part({command_id}, '.', 1)"
_BEGUN: Final = "unnest(CAST(:begun AS text[]))"
# Places are counted before a body is read: it may have megabytes.
_UNANSWERED: Final = text(
    "SELECT command_id, body FROM opencode_a2a_command JOIN (SELECT command_id AS queued_id,"
    f" row_number() OVER (PARTITION BY {_OWNER_OF.format(command_id='command_id')} ORDER BY number)"
    f" + (SELECT count(*) FROM {_BEGUN} AS begun WHERE {_OWNER_OF.format(command_id='begun')}"
    f" = {_OWNER_OF.format(command_id='command_id')}) AS place"
    " FROM opencode_a2a_command WHERE replica_id = :replica_id AND answer IS NULL"
    f" AND command_id NOT IN (SELECT {_BEGUN})) AS queued ON command_id = queued_id"
    " WHERE place <= :each ORDER BY number LIMIT :most"
)
_ANSWER: Final = text(
    "UPDATE opencode_a2a_command SET answer = :answer WHERE command_id = :command_id AND answer IS NULL"
    f" RETURNING pg_notify('{CHANNEL}', asked_by)"
)
_ANSWERED: Final = text(
    "DELETE FROM opencode_a2a_command WHERE asked_by = :asked_by AND answer IS NOT NULL RETURNING command_id, answer"
)
_LOST: Final = text(
    "DELETE FROM opencode_a2a_command AS lost WHERE asked_by = :asked_by AND answer IS NULL AND NOT EXISTS"
    " (SELECT 1 FROM opencode_a2a_replica AS r WHERE r.replica_id = lost.replica_id) RETURNING command_id"
)
_WITHDRAW: Final = text("DELETE FROM opencode_a2a_command WHERE command_id = :command_id")
_SWEEP: Final = text(
    "DELETE FROM opencode_a2a_command AS left_over WHERE NOT EXISTS"
    " (SELECT 1 FROM opencode_a2a_replica AS r WHERE r.replica_id = left_over.asked_by)"
)


def new_command_id(principal: str) -> str:
    """Make the id of a command of a principal's."""
    return f"{blake2b(principal.encode(), digest_size=16).hexdigest()}.{uuid.uuid4().hex}"


def ask(connection: Connection, command_id: str, replica_id: str, asked_by: str, body: bytes) -> bool:
    """Put a command before a server; False where that server is gone."""
    values = {"command_id": command_id, "replica_id": replica_id, "asked_by": asked_by, "body": body}
    return connection.execute(_ASK, values).first() is not None


def unanswered(
    connection: Connection, replica_id: str, most: int, each: int, begun: Collection[str] = ()
) -> Sequence[tuple[str, bytes]]:
    """The oldest commands that a server has not answered, but those it has `begun`: their ids and bodies.

    `most`: how many to begin. `each`: how many of one principal's may be under way, those that have begun among them.
    """
    values = {"replica_id": replica_id, "most": most, "each": each, "begun": list(begun)}
    found = connection.execute(_UNANSWERED, values)
    return [(command_id, bytes(body)) for command_id, body in found]


def answer(connection: Connection, command_id: str, body: bytes) -> None:
    """Answer a command; nothing happens where whoever asked has gone."""
    connection.execute(_ANSWER, {"command_id": command_id, "answer": body})


def answered(connection: Connection, asked_by: str) -> dict[str, bytes | None]:
    """Take the answers to a server's commands, by their ids; None where the server that was asked is gone."""
    found: dict[str, bytes | None] = {
        command_id: bytes(body) for command_id, body in connection.execute(_ANSWERED, {"asked_by": asked_by})
    }
    lost = connection.execute(_LOST, {"asked_by": asked_by}).scalars()
    return found | dict.fromkeys(lost)


def withdraw(connection: Connection, command_id: str) -> None:
    """Remove a command that nobody waits for any more."""
    connection.execute(_WITHDRAW, {"command_id": command_id})


def sweep_commands(connection: Connection) -> int:
    """Remove the commands of servers that are gone; return how many there were."""
    return connection.execute(_SWEEP).rowcount
