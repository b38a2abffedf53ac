"""Progress of a turn, for clients: steps begun and finished, and retries with the time of the next."""

from __future__ import annotations

from sansio.a2a.codecs.fields import compact
from sansio.a2a.model import JsonObject
from sansio.opencode.upstream.events import PartSeen, SessionStatus
from sansio.opencode.upstream.plain_reasons import retry_reason


def step_of(part: PartSeen) -> JsonObject:
    """Return a step that began or was finished."""
    reason = part.body.get("reason")
    return compact(
        type=part.type, part_id=part.part_id, reason=reason if isinstance(reason, str) and reason else None
    )


def retry_of(status: SessionStatus) -> JsonObject:
    """Build the progress of a retry, without internal text of a provider. `next`: epoch milliseconds."""
    message = None if status.message is None else retry_reason(status.message)
    return compact(type="retry", status="retry", attempt=status.attempt, message=message, next=status.next)
