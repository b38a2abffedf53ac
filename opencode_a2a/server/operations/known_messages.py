"""Finds the task that a message has already, so that a message which is sent again runs once.

A message that names its context is known by its id in that context. One that names none is known by its id and its
content, whatever context it got. Knows nothing of how a task begins.
"""

from __future__ import annotations

import logging
from typing import TypeAlias
from weakref import WeakValueDictionary

import anyio

from opencode_a2a.server.agent import AgentHooks, AgentRequest
from opencode_a2a.server.store import Store, StoredTask, StoreError, TaskQuery
from opencode_a2a.server.store.store_errors import Holding, from_store
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Locks
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from sansio.a2a.errors import LocalError
from sansio.a2a.model import Message
from sansio.a2a.tasks.repeated_messages import MessageFilter, first_message, same_parts

_log = logging.getLogger(__name__)

_MessageKey: TypeAlias = tuple[str, str | None, str]  # principal, context, message

_ANSWERS_LIMIT = 4096  # answers without a task that are known when they are sent again
_SAME_ID_LIMIT = 16  # stored tasks of one message id that are compared, the newest
_LATEST = 4  # tasks of a context whose messages are compared, the latest
_PAGE = 256  # message ids that are read from the store at once: so many hold the loop for less than a millisecond
_AGAIN = 15.0  # seconds before the store is asked again for what it could not read


class KnownMessages:
    """The messages that have a task, of every principal. A filter in memory saves the look into the store."""

    def __init__(self, store: Store, registry: TaskRegistry, hooks: AgentHooks, locks: Locks) -> None:
        self._store = store
        self._registry = registry
        self._hooks = hooks
        self._filter = MessageFilter()
        self._locks = locks
        self._answers: dict[_MessageKey, str] = {}  # to which task a message was the answer that named none
        self._started: WeakValueDictionary[_MessageKey, ActiveTask] = WeakValueDictionary()

    async def load(self) -> None:
        """Fill the filter from the store. Until that is done, every message costs a look into the store."""
        after: tuple[str, str] | None = None
        while True:
            try:
                page = await self._store.message_ids(after, _PAGE)
            except StoreError as error:
                _log.warning("the ids of known messages could not be read, and will be later: %s", error)
                await anyio.sleep(_AGAIN)
                continue
            for principal, message_id in page:
                self._filter.add(principal, message_id)
            if len(page) < _PAGE:
                self._filter.complete = True
                return
            after = page[-1]

    def arrival(self, request: AgentRequest) -> Holding:
        """Let equal messages in one after the other. Raises `ProtocolError` if the store fails."""
        message = request.message
        return Holding(self._locks.of(("message", request.principal, message.context_id, message.message_id)))

    async def known(self, request: AgentRequest) -> ActiveTask | None:
        """The task that a message has already, within its `arrival`; None: it is new.

        Raises `ProtocolError` if the store fails.
        """
        principal, message = request.principal, request.message
        if message.context_id is None:
            return await self._with_content(request)
        return await self._in_context(principal, message.context_id, message.message_id)

    def began(self, active: ActiveTask) -> None:
        """Know the message of a new task."""
        facts = active.facts
        self._started[facts.principal, facts.context_id, facts.message_id] = active
        self._filter.add(facts.principal, facts.message_id)

    async def findable(self, active: ActiveTask, last: int = 0) -> None:
        """Return once every server finds what follows event `last`: where others get messages, it has to be stored.

        Raises `ProtocolError` if the store fails.
        """
        if self._store.ownership.replica_id is not None:
            await from_store(active.changed(last))

    def answered(self, principal: str, message: Message, task_id: str) -> None:
        """Know a message that was an answer, and named nothing but its context."""
        if len(self._answers) >= _ANSWERS_LIMIT:
            del self._answers[next(iter(self._answers))]
        self._answers[principal, message.context_id, message.message_id] = task_id

    async def _in_context(self, principal: str, context_id: str, message_id: str) -> ActiveTask | None:
        """The task of a message in the context that it names, whatever it says."""
        key = (principal, context_id, message_id)
        known = self._started.get(key)
        if known is not None and not (known.ended or known.lost):  # it may have ended elsewhere
            known = await from_store(self._registry.find(known.facts.task_id))
        if (known is None or known.lost) and key in self._answers:
            known = await from_store(self._registry.find(self._answers[key]))
        if known is not None and not known.lost:
            return known
        if not self._filter.may_hold(principal, message_id):
            return None
        stored = await from_store(self._store.started_by(principal, context_id, message_id))
        if stored is not None:
            return await from_store(self._registry.of_stored(stored))
        if self._store.ownership.replica_id is None:
            return None
        return await self._answered_elsewhere(principal, context_id, message_id)

    async def _answered_elsewhere(self, principal: str, context_id: str, message_id: str) -> ActiveTask | None:
        """The task of a context that has a message as its answer, which any of the servers may have taken."""
        query = TaskQuery(principal=principal, context_id=context_id, limit=_LATEST)
        for row in (await from_store(self._store.tasks(query))).rows:
            active = await from_store(self._registry.of_stored(StoredTask(row, ())))
            if active.has_message(message_id):
                return active
        return None

    async def _with_content(self, request: AgentRequest) -> ActiveTask | None:
        """The newest task of a message without a context, which says the same and runs in the same way.

        Clients may use an id again, such as "1" in each conversation: the same id alone is not the same message.
        """
        principal, message = request.principal, request.message
        if not self._filter.may_hold(principal, message.message_id):
            return None
        running = [
            task.active
            for task in self._registry
            if task.active.facts.message_id == message.message_id
            and task.principal == principal
            and not task.active.lost
        ]
        for active in reversed(running):
            if self._is_repeat(active, request):
                return await from_store(self._registry.find(active.facts.task_id))
        found = self._store.tasks_of_message(principal, message.message_id, _SAME_ID_LIMIT)
        for row in await from_store(found):
            try:
                active = await from_store(self._registry.of_stored(StoredTask(row, ())))
            except LocalError as exc:
                _log.error("task %s cannot be read, nor compared: %s", row.task_id, exc)
                continue
            if self._is_repeat(active, request):
                return await from_store(self._registry.find(row.task_id))
        return None

    def _is_repeat(self, active: ActiveTask, request: AgentRequest) -> bool:
        first = first_message(active.task(), active.facts.message_id)
        if first is None or not same_parts(first.parts, request.message.parts):
            return False
        return self._hooks.is_repeat(active, request)
