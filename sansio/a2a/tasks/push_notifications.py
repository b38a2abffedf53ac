"""Push notifications: which events cause one, its headers, and what the receiver's answer leads to.

Pure: what a notification looks like is rendered elsewhere, and so is where one may be sent; time and chance are
arguments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from urllib.parse import quote

import orjson
from attrs import evolve, field, frozen

from sansio.a2a.backoff import Backoff
from sansio.a2a.bindings.extension_headers import HEADER_OF
from sansio.a2a.codecs import v1_0
from sansio.a2a.codecs.fields import read_document
from sansio.a2a.dialects import dialect_of
from sansio.a2a.errors import LocalError, ProtocolError, invalid
from sansio.a2a.model import ArtifactUpdate, PushConfig, StreamItem, Task, TaskStatus
from sansio.a2a.refusals import Refusals
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS_URI
from sansio.a2a.tasks.task_log import ArtifactChunk, Entry, Folding, Snapshot, StatusChanged

# --- what is sent -----------------------------------------------------------------------------------------


@frozen
class Notification:
    """Content of the notification about event `number`."""

    number: int
    item: StreamItem


def is_news(before: TaskStatus, status: TaskStatus) -> bool:
    """Return whether a status is worth a notification: a new state or message. Progress repeats the status."""
    if status.state is not before.state:
        return True
    return status.message is not None and status != before


class Announcer:
    """A task's entries in, notifications out. `task`: as it was at the event after which entries follow.

    Version 0.3 gets the whole task at each change of its status. Version 1.0 gets that change, and each artifact that
    was completed, whole, in the place of the chunks it came in. `interrupts_only`: both get only the changes after
    which the task waits for its user.
    """

    def __init__(self, task: Task, codec_name: str, *, interrupts_only: bool = False) -> None:
        self._folding = Folding(task.id, task.context_id)
        self._folding.add(Snapshot(task))
        self._whole = dialect_of(codec_name).push_sends_task
        self._interrupts_only = interrupts_only

    def take(self, entry: Entry) -> Notification | None:
        """Take the next entry. Return its notification, if it is worth one."""
        before = self._folding.status
        event = entry.event
        known = self._folding.task() if isinstance(event, Snapshot) else None
        if not self._folding.add(event):
            return None
        item: StreamItem | None = None
        match event:
            case StatusChanged() if self._is_sent(before, event.status):
                item = self._folding.task() if self._whole else entry.item
            case ArtifactChunk(last_chunk=True) if not (self._whole or self._interrupts_only):
                item = self._completed(event, entry.item)
            case Snapshot() if event.task != known and (
                not (self._whole or self._interrupts_only) or self._is_sent(before, event.task.status)
            ):
                item = self._folding.task()
        return None if item is None else Notification(entry.number, item)

    def _is_sent(self, before: TaskStatus, status: TaskStatus) -> bool:
        return is_news(before, status) and (status.state.interrupted or not self._interrupts_only)

    def _completed(self, event: ArtifactChunk, update: StreamItem | None) -> ArtifactUpdate | None:
        whole = self._folding.artifact(event.artifact.artifact_id)
        if whole is None or not isinstance(update, ArtifactUpdate):
            return None
        return evolve(update, artifact=whole, append=False)


def as_it_is(task: Task, number: int, *, interrupts_only: bool = False) -> Notification | None:
    """Return the notification in the place of all that are not kept any more; None: there is none to send.

    `task`: as of event `number`. With `interrupts_only` it is sent while it waits for its user.
    """
    return None if interrupts_only and not task.status.state.interrupted else Notification(number, task)


# --- how it is sent ---------------------------------------------------------------------------------------

_SCHEME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_TEXT = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,8190}[\x21-\x7e])?")


def check_headers(config: PushConfig, path: Sequence[str | int], codec_name: str) -> None:
    """Refuse what no header can carry, so that nothing can be smuggled into one. Raises `ProtocolError`."""
    rule = "must be visible ASCII characters, with spaces only in between, and at most 8192 of them"
    refusals = Refusals()
    if config.token is not None and not _HEADER_TEXT.fullmatch(config.token):
        refusals.add(invalid((*path, "token"), rule))
    authentication = config.authentication
    if authentication is not None and not _SCHEME.fullmatch(authentication.scheme):
        field = dialect_of(codec_name).push_scheme_path
        refusals.add(invalid((*path, "authentication", *field), "must be the name of an HTTP authentication scheme"))
    credentials = None if authentication is None else authentication.credentials
    if credentials is not None and not _HEADER_TEXT.fullmatch(credentials):
        refusals.add(invalid((*path, "authentication", "credentials"), rule))
    refusals.done()


def notification_id(task_id: str, config_id: str, number: int) -> str:
    """Return the id of a notification: the same each time it is sent, and unlike all others."""
    return f"{quote(task_id, safe='')}/{quote(config_id, safe='')}/{number}"


def headers_of(config: PushConfig, codec_name: str, number: int) -> list[tuple[str, str]]:
    """Return the headers of the notification of event `number`; the configuration has its ids."""
    dialect = dialect_of(codec_name)
    headers = [
        ("Content-Type", dialect.media_type),
        ("A2A-Version", dialect.version),
        ("X-A2A-Notification-Id", notification_id(config.task_id or "", config.id or "", number)),
    ]
    if config.token is not None:
        headers.append(("X-A2A-Notification-Token", config.token))
    if config.interrupts_only:
        headers.append((HEADER_OF[dialect.version].title(), PUSH_INTERRUPTS_URI))
    authentication = config.authentication
    if authentication is not None and authentication.credentials is not None:
        headers.append(("Authorization", f"{authentication.scheme} {authentication.credentials}"))
    return headers


# --- what follows from the answer -------------------------------------------------------------------------


class Verdict(Enum):
    """Consequence of a receiver's answer for the notification."""

    DELIVERED = auto()
    FAILED = auto()
    GONE = auto()


def verdict_of(status: int) -> Verdict:
    """Judge an HTTP status: 2xx is delivered, 410 ends the configuration, all else is tried again."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.GONE if status == 410 else Verdict.FAILED


def retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110, section 10.2.3); `None` for none or a malformed one.

    `now`: epoch seconds.
    """
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.fromtimestamp(now, UTC)).total_seconds())


@frozen(kw_only=True)
class Schedule:
    """Schedule of retries, in seconds. `attempts` counts the first try too.

    The bound of a pause doubles with each failure, from `shortest` to `longest`. A receiver that names a time
    gets it, up to `patience`.
    """

    attempts: int = 8
    shortest: float = 2.0
    longest: float = 300.0
    patience: float = 600.0
    _backoff: Backoff = field(init=False)

    @_backoff.default
    def _make_backoff(self) -> Backoff:
        return Backoff.growing(self.shortest, self.longest)

    def pause(self, failures: int, chance: float, asked: float | None = None) -> float | None:
        """Return the seconds until the next attempt after that many failed in a row; `None`: there is none.

        `chance`: at random from 0 to 1, so that what failed together does not come back together.
        """
        if failures >= self.attempts:
            return None
        return max(self._backoff.pause(failures - 1, chance=chance), min(asked or 0.0, self.patience))


# --- how it is kept ---------------------------------------------------------------------------------------


_INTERRUPTS_ONLY = "interruptsOnly"


def encode_config(config: PushConfig) -> bytes:
    """Render a configuration as JSON, with its secrets."""
    limit = {_INTERRUPTS_ONLY: True} if config.interrupts_only else {}
    return orjson.dumps({**v1_0.render_push_config(config), **limit})


def decode_config(body: bytes, *, task_id: str, config_id: str) -> PushConfig:
    """Parse the configuration of `encode_config`. Raises `LocalError`: only we write these.

    One that does not say whether it names interrupts only is from an earlier release: it names all.
    """
    try:
        document = orjson.loads(body)
        config = read_document(document, v1_0.read_push_config)
    except (orjson.JSONDecodeError, ProtocolError):
        raise LocalError("a stored push configuration cannot be read") from None
    limited = document.get(_INTERRUPTS_ONLY) is True
    return evolve(config, task_id=task_id, id=config_id, interrupts_only=limited)
