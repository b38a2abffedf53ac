"""Decides what the database of an earlier release (0.5 to 1.4.0) means here: owners, bindings, claims, tasks.

Ownership is imported whole or not at all: what is not clear stops the start, with what to do about it. Pure but for
the log; knows no SQL.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from attrs import Factory, define, evolve, field, frozen

from opencode_a2a.agent.sessions.session_choice import UNSEEN
from opencode_a2a.server.store import Binding, SchemaError, SessionRow, TaskRow, Write
from opencode_a2a.server.store.earlier import BINDINGS, OWNERS, EarlierState, EarlierTask
from sansio.a2a.codecs.json_values import text_at
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import JsonObject, Message, Role, Task, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log_codec import encode_task
from sansio.a2a.timestamps import epoch_ms, timestamp
from sansio.access import CredentialSet
from sansio.opencode.upstream.faults import STOPPED

_log = logging.getLogger(__name__)

_MOST_NAMED: Final = 20  # names in one message
_UNFINISHED: Final = (
    "The server was upgraded while this task was unfinished, so its end is not known here. "
    "Send the message again in the same context to go on"
)
_WAITED: Final = (
    ". It was waiting for the answer to the {}: answer it in OpenCode first, or the session stays busy with it"
)


class ImportRefusedError(SchemaError):
    """Ownership in the earlier tables is not clear. A line for each problem says what to do."""


@frozen
class Names:
    """The principals that stand for identities of earlier releases. `renamed`: as the operator says."""

    principals: frozenset[str]
    hashed: Mapping[str, str]
    renamed: Mapping[str, str]

    @classmethod
    def of(cls, credentials: CredentialSet, renamed: Mapping[str, str]) -> Names:
        """Releases before 0.7 called a bearer of a token by the beginning of the token's SHA-256."""
        tokens = ((one.principal, one.token) for one in credentials.credentials if one.token is not None)
        hashed = {
            f"bearer:{hashlib.sha256(token.reveal().encode()).hexdigest()[:12]}": principal
            for principal, token in tokens
        }
        return cls(credentials.principals, hashed, renamed)

    def principal(self, identity: str) -> str | None:
        """The principal, or None where nobody here is known by that name."""
        if identity in self.renamed:
            return self.renamed[identity]
        return identity if identity in self.principals else self.hashed.get(identity)


@define(eq=False)
class EarlierImport:
    """One import. `now`: epoch seconds."""

    _names: Names
    _now: float
    counts: Counter[str] = Factory(Counter)
    _owners: dict[str, str] = field(init=False, factory=dict)
    _contexts: dict[str, set[str]] = field(init=False, factory=lambda: defaultdict(set))
    _waiting: dict[str, str] = field(init=False, factory=dict)
    _only: str | None = field(init=False, default=None)

    # --- who owns what ------------------------------------------------------------------------------------

    def state(self, found: EarlierState) -> Sequence[Write]:
        """Rows for owners, bindings and claims. Raises `ImportRefusedError`."""
        self._check_names(found)
        self._only = self._only_principal(found)
        self._owners = {session_id: self._name(identity) for session_id, identity in found.owners}
        holders: defaultdict[str, set[str]] = defaultdict(set)
        for identity, context_id, session_id in found.bindings:
            holders[session_id].add(self._name(identity))
            self._contexts[context_id].add(self._name(identity))
        problems = [
            f"the earlier tables bind session {session_id} to several principals ({_listed(names)}), and none of "
            f"them owns it. Leave one of its rows: DELETE FROM {BINDINGS} WHERE session_id = '{session_id}' AND "
            "identity = '...'"
            for session_id, names in holders.items()
            if session_id not in self._owners and len(names) > 1
        ]
        for session_id, names in holders.items():
            self._owners.setdefault(session_id, min(names))
        problems += [
            f"session {session_id} belongs to {owner!r} in the earlier tables and to {found.ours[session_id]!r} "
            f"since. Decide whose it is: DELETE FROM {OWNERS} and {BINDINGS}, or DELETE FROM opencode_a2a_session "
            f"and opencode_a2a_binding, WHERE session_id = '{session_id}'"
            for session_id, owner in self._owners.items()
            if found.ours.get(session_id, owner) != owner
        ]
        if problems:
            more = [f"and {len(problems) - _MOST_NAMED} more of this kind"] if len(problems) > _MOST_NAMED else []
            raise ImportRefusedError("\n".join([*problems[:_MOST_NAMED], *more]))
        return [*self._owned(found), *self._bound(found), *self._claimed(found)]

    def _only_principal(self, found: EarlierState) -> str | None:
        """The one principal of the earlier tables and of the credentials; None where there are more."""
        names = {self._name(identity) for identity in _identities(found)} | self._names.principals
        return names.pop() if len(names) == 1 else None

    def _check_names(self, found: EarlierState) -> None:
        unknown = sorted(name for name in _identities(found) if self._names.principal(name) is None)
        if unknown:
            example = orjson.dumps({unknown[0]: "principal"}).decode()
            raise ImportRefusedError(
                f"the database of an earlier release holds what belongs to {_listed(unknown)}, and no credential has "
                "such a principal. Name the principals in A2A_STATIC_AUTH_CREDENTIALS as they were, or say in "
                f"A2A_IMPORT_PRINCIPALS who they are now, such as '{example}'. Somebody who is gone keeps their own "
                "name there. To start without this database, set A2A_TASK_STORE_DATABASE_URL to another one"
            )

    def _name(self, identity: str) -> str:
        name = self._names.principal(identity)
        assert name is not None  # checked before
        return name

    def _owned(self, found: EarlierState) -> Iterator[Write]:
        for session_id, owner in self._owners.items():
            if session_id not in found.ours:
                self.counts["owners"] += 1
                yield SessionRow(session_id=session_id, principal=owner, place=UNSEEN)

    def _bound(self, found: EarlierState) -> Iterator[Write]:
        for identity, context_id, session_id in found.bindings:
            principal = self._name(identity)
            if self._owners[session_id] != principal:
                self.counts["bindings to another's session, left out"] += 1
            elif (principal, context_id) not in found.bound:
                self.counts["bindings"] += 1
                yield Binding(principal, context_id, session_id)

    def _claimed(self, found: EarlierState) -> Iterator[Write]:
        for session_id, identity, until in found.claims:
            if until > self._now and session_id not in self._owners and session_id not in found.ours:
                self.counts["pending claims"] += 1
                principal = self._name(identity)
                row = SessionRow(session_id=session_id, principal=principal, claimed_until=int(until * 1000))
                yield evolve(row, place=UNSEEN)
        self._waiting = {
            task_id: f"{kind} {request_id}"
            for request_id, kind, task_id, until in found.interrupts
            if until > self._now
        }

    # --- tasks --------------------------------------------------------------------------------------------

    def task(self, found: EarlierTask) -> Sequence[Write]:
        """The row of a task; none where it cannot be read, or has no owner."""
        task = _read(found)
        if task is None:
            self.counts["tasks that cannot be read, left out"] += 1
            return ()
        session_id = _session_of(task)
        principal = self._owner(found, session_id)
        if principal is None:
            self.counts["tasks of unknown owners, left out"] += 1
            return ()
        self.counts["tasks"] += 1
        if not task.status.state.terminal:
            self.counts["of them unfinished, ended as failed"] += 1
            task = self._ended(task)
        moment = _moment(task) or found.updated_at or int(self._now * 1000)
        asked = next((message for message in task.history if message.role is Role.USER), None)
        return [
            TaskRow(
                task_id=task.id,
                context_id=task.context_id,
                principal=principal,
                message_id="" if asked is None else asked.message_id,
                state=task.status.state.value,
                finished=True,
                created_at=moment,
                updated_at=moment,
                session_id=session_id,
                prompt_id=None,
                last_seq=1,
                snapshot=encode_task(task),
                options=b"{}",
            )
        ]

    def _owner(self, found: EarlierTask, session_id: str | None) -> str | None:
        """By the task's own row; before 1.x by its session and its context, which must not disagree.

        One that ended before it had a session is the only principal's, where there is no other.
        """
        if found.owner is not None:
            return self._name(found.owner)
        names = set(self._contexts.get(found.context_id, ()))
        if session_id in self._owners:
            names.add(self._owners[session_id])
        return names.pop() if len(names) == 1 else self._only if not names else None

    def _ended(self, task: Task) -> Task:
        """An unfinished task, as failed: which prompt it was is not on record, and none may run twice."""
        waiting = self._waiting.get(task.id)
        text = _UNFINISHED
        if waiting is not None:
            self.counts["interrupts, noted in their tasks"] += 1
            text += _WAITED.format(waiting)
        notice = Message(
            message_id=f"{task.id}:imported",
            role=Role.AGENT,
            parts=(TextPart(text=text),),
            context_id=task.context_id,
            task_id=task.id,
        )
        status = TaskStatus(state=TaskState.FAILED, message=notice, timestamp=timestamp(self._now))
        metadata: JsonObject = {**(task.metadata or {}), "opencode": {"error": {"type": STOPPED}}}
        return evolve(task, status=status, metadata=metadata)

    def done(self) -> None:
        """Log what was imported."""
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items()) or "nothing new"
        _log.warning("imported from the tables of an earlier release: %s. Those tables stay as they are", counts)


def _read(found: EarlierTask) -> Task | None:
    document: dict[str, Any] = {"id": found.task_id, "contextId": found.context_id, **found.members}
    document = {name: value for name, value in document.items() if value is not None}
    try:
        codec = CODECS.get(found.protocol_version or "", CODECS["0.3"])
        return codec.parse_task({"kind": "task", **document})
    except ProtocolError:
        return None


def _identities(found: EarlierState) -> set[str]:
    identities = {identity for _, identity in found.owners} | {identity for identity, _, _ in found.bindings}
    return identities | {identity for _, identity, _ in found.claims} | set(found.task_owners)


def _session_of(task: Task) -> str | None:
    return text_at(task.metadata, "shared", "session", "id")


def _moment(task: Task) -> int | None:
    try:
        return None if task.status.timestamp is None else epoch_ms(task.status.timestamp)
    except ValueError:
        return None


def _listed(names: Iterable[str]) -> str:
    known = sorted(names)
    shown = ", ".join(repr(name[:80]) for name in known[:_MOST_NAMED])
    return shown if len(known) <= _MOST_NAMED else f"{shown} and {len(known) - _MOST_NAMED} more"
