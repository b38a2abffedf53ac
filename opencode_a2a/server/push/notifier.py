"""Delivers push notifications: one task per configuration follows its A2A task, in order, until the receiver has all.

What is sent, and what an answer means, is decided in the core; this remembers how far each receiver is.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field, frozen

from opencode_a2a.server.push.delivery_span import delivery_span
from opencode_a2a.server.push.outbound_client import CheckedClient, UndeliveredError
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.store import FencedError, PushDropped, PushRow, Store, StoreError
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.tracing.exchange_span import ExchangeSpan
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.bindings.json_output import Steps
from sansio.a2a.counted import counted
from sansio.a2a.errors import LocalError
from sansio.a2a.model import PushConfig, StreamItem
from sansio.a2a.tasks.push_notifications import (
    Announcer,
    Notification,
    Schedule,
    Verdict,
    as_it_is,
    check_headers,
    decode_config,
    encode_config,
    headers_of,
    retry_after,
    verdict_of,
)
from sansio.fair_queue import FairQueue
from sansio.outbound import FieldPath, origin_of

_log = logging.getLogger(__name__)

PARALLEL: Final = 128
"""Notifications that are under way at once; the others wait for their turn."""
OF_PRINCIPAL: Final = 16
"""Of one principal's tasks: their receivers may hang, and the others' notifications must not wait for that."""
OF_RECEIVER: Final = 8
"""Of one principal's tasks to one receiver (scheme, host and port)."""

_AT_ONCE: Final = 64  # configurations that a server takes over before others may take some

Render: TypeAlias = Callable[[StreamItem], Steps[list[bytes]]]


@frozen(kw_only=True)
class Counters:
    """Counts of notifications by outcome. `given_up` counts configurations, `retries` further attempts."""

    deliveries: int = 0
    retries: int = 0
    given_up: int = 0


@define(eq=False)
class _Delivery:
    """A configuration with something to deliver. `row` is how far it is; `live` is None until it is found."""

    row: PushRow
    config: PushConfig
    active: ActiveTask | None = None
    pausing: bool = False
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)

    @property
    def key(self) -> tuple[str, str]:
        return self.row.task_id, self.row.config_id


class Notifier:
    """The push configurations of all tasks, and their deliveries as long as there are any.

    `find`: a task with all that is kept of it. `render`: how a task's items look in a form, for the one who made
    it. `wall`: epoch seconds. `pause`: sleeps that many seconds before another attempt.
    """

    def __init__(
        self,
        *,
        store: Store,
        tasks: TaskGroup,
        client: CheckedClient,
        find: Callable[[str], Awaitable[ActiveTask | None]],
        render: Callable[[ActiveTask, str], Render],
        wall: Callable[[], float],
        rng: random.Random,
        schedule: Schedule = Schedule(),  # noqa: B008 - a frozen value
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._tracer = tracer
        self._store = store
        self._tasks = tasks
        self._client = client
        self._find = find
        self._render = render
        self._wall = wall
        self._rng = rng
        self._schedule = schedule
        self._pause = pause
        self._locations: FairQueue[anyio.Event] = FairQueue(
            most=PARALLEL, of_principal=OF_PRINCIPAL, of_receiver=OF_RECEIVER
        )
        self._deliveries: dict[tuple[str, str], _Delivery] = {}
        self._one_less = Wakeup()
        self._draining = False
        self.counters = Counters()

    @property
    def pending(self) -> int:
        """The number of configurations whose task may have more to notify about."""
        return len(self._deliveries)

    # --- configurations -----------------------------------------------------------------------------------

    async def check(self, config: PushConfig, path: FieldPath, form: str = "1.0") -> None:
        """Refuse what cannot be delivered to, as far as is known now.

        Raises `ProtocolError` that names the field below `path`, and repeats nothing of it.
        """
        check_headers(config, path, form)
        await self._client.check(config.url, (*path, "url"))

    def begin(self, active: ActiveTask, config: PushConfig, form: str, cursor: int) -> PushConfig:
        """Tell the receiver what happens after event `cursor`; returns the configuration with its ids.

        One with the same id is replaced. Its row is on its way to the store: `Store.commit` waits for it.
        """
        config = evolve(config, id=config.id or str(uuid.uuid4()), task_id=active.facts.task_id)
        row = PushRow(
            task_id=active.facts.task_id,
            config_id=config.id or "",
            form=form,
            created_at=int(self._wall() * 1000),
            cursor=cursor,
            finished=active.over and active.log.state.terminal and cursor >= active.visible,
            body=encode_config(config),
        )
        self._stop((row.task_id, row.config_id))
        self._store.put([row])
        if not row.finished and not self._draining:
            self._start(_Delivery(row, config, active))
        return config

    async def configs(self, task_id: str) -> tuple[PushConfig, ...]:
        """The task's configurations, oldest first. Raises `StoreError`."""
        found: list[PushConfig] = []
        for row in await self._store.push_configs(task_id):
            config = _config_of(row)
            if config is not None:
                found.append(config)
        return tuple(found)

    async def drop(self, task_id: str, config_id: str) -> bool:
        """Send nothing more to this one; False if there was none. Raises `StoreError`."""
        self._stop((task_id, config_id))
        known = any(row.config_id == config_id for row in await self._store.push_configs(task_id))
        await self._store.commit([PushDropped(task_id, config_id)])
        return known

    # --- life ---------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Go on with what an earlier run of the server, or another server, has not delivered. Raises `StoreError`."""
        left = True
        while left and not self._draining:
            rows = await self._store.ownership.adopt_pushes(_AT_ONCE)
            for row in rows:
                config = _config_of(row)
                if config is None:
                    self._store.put([evolve(row, finished=True)])
                elif (row.task_id, row.config_id) not in self._deliveries:
                    self._start(_Delivery(row, config))
            left = bool(rows)

    def abandon(self) -> None:
        """Deliver nothing more of what there is: another server does."""
        for key in list(self._deliveries):
            self._stop(key)

    async def go_on(self, active: ActiveTask) -> None:
        """Follow a task again that was at rest, and is not any more. Raises `StoreError`."""
        for row in await self._store.ownership.claim_pushes(active.facts.task_id):
            config = _config_of(row)
            if config is not None and not self._draining:
                self._stop((row.task_id, row.config_id))
                self._start(_Delivery(row, config, active))

    async def drain(self, grace: float) -> None:
        """Let deliveries end within `grace` seconds, except those that only wait to try again; stop the others.

        What is left is kept for `recover`. The tasks should have ended before this is called.
        """
        self._draining = True
        for delivery in self._deliveries.values():
            if delivery.pausing:
                delivery.scope.cancel()
        with anyio.move_on_after(grace):
            await self._all_ended()
        for delivery in self._deliveries.values():
            delivery.scope.cancel()
        await self._all_ended()

    async def _all_ended(self) -> None:
        while self._deliveries:
            await self._one_less.wait()

    def _start(self, delivery: _Delivery) -> None:
        self._deliveries[delivery.key] = delivery
        self._tasks.start_soon(self._run, delivery)

    def _stop(self, key: tuple[str, str]) -> None:
        delivery = self._deliveries.pop(key, None)
        if delivery is not None:
            delivery.scope.cancel()

    async def _run(self, delivery: _Delivery) -> None:
        try:
            with delivery.scope:
                await self._follow(delivery)
        except Exception:
            # whatever it is, it must not take the other deliveries along; the next start tries again
            _log.exception("push notifications of task %s stopped", delivery.row.task_id)
        finally:
            if self._is_current(delivery):
                del self._deliveries[delivery.key]
            self._one_less.wake()

    # --- delivering ---------------------------------------------------------------------------------------

    async def _follow(self, delivery: _Delivery) -> None:
        row = delivery.row
        active = delivery.active or await self._find(row.task_id)
        if active is None:
            return await self._moved(delivery, row.cursor, finished=True)
        render = self._render(active, row.form)
        limited = delivery.config.interrupts_only
        async with aclosing(_notifications(active, row, interrupts_only=limited)) as notifications:
            async for notification in notifications:
                body = await in_turns(render(notification.item))
                verdict = await self._deliver(delivery, active, notification, body)
                del body  # the next notification may be hours away
                if verdict is Verdict.GONE:
                    return self._gone(delivery)
                if verdict is Verdict.FAILED:
                    return await self._moved(delivery, delivery.row.cursor, finished=True)
                await self._moved(delivery, notification.number)
        # one that only waits for credentials may be resumed
        ended = active.log.state.terminal
        return await self._moved(delivery, active.visible, finished=ended, rests=not ended)

    async def _deliver(
        self, delivery: _Delivery, active: ActiveTask, notification: Notification, body: Sequence[bytes]
    ) -> Verdict:
        """Send until it is delivered, or there is no point in it any more."""
        config, failures = delivery.config, 0
        headers = headers_of(config, delivery.row.form, notification.number)
        while True:
            async with self._location(active.facts.principal, origin_of(config.url)):
                with delivery_span(self._tracer, active, config.url, failures) as attempt:
                    sent = [*headers, *attempt.headers]
                    verdict, reason, asked = await self._attempt(config.url, sent, body, attempt)
            if verdict is Verdict.DELIVERED:
                self.counters = evolve(self.counters, deliveries=self.counters.deliveries + 1)
            if verdict is not Verdict.FAILED:
                return verdict
            failures += 1
            seconds = self._schedule.pause(failures, self._rng.random(), asked)
            if seconds is None:
                self._give_up(delivery, failures, reason)
                return verdict
            await self._wait(delivery, seconds)
            self.counters = evolve(self.counters, retries=self.counters.retries + 1)

    async def _attempt(
        self, url: str, headers: list[tuple[str, str]], body: Sequence[bytes], attempt: ExchangeSpan
    ) -> tuple[Verdict, str, float | None]:
        """The outcome, its reason, and for how many seconds the receiver wants no more."""
        try:
            answer = await self._client.post(url, headers, body)
        except UndeliveredError as error:
            attempt.failed(type(error.__context__ or error).__name__)
            return Verdict.FAILED, str(error), None
        attempt.answered(answer.status)
        asked = retry_after(answer.retry_after, self._wall())
        return verdict_of(answer.status), f"the answer was {answer.status}", asked

    @asynccontextmanager
    async def _location(self, principal: str, receiver: str) -> AsyncGenerator[None]:
        """Wait for a place, in turn with other principals and other receivers."""
        given = anyio.Event()
        self._locations.join(principal, receiver, given)
        self._give_places()
        try:
            await given.wait()
        except BaseException:
            if not given.is_set():
                self._locations.leave(principal, receiver, given)
            else:
                self._locations.give_back(principal, receiver)
                self._give_places()
            raise
        try:
            yield
        finally:
            self._locations.give_back(principal, receiver)
            self._give_places()

    def _give_places(self) -> None:
        while (given := self._locations.take()) is not None:
            given.set()

    async def _wait(self, delivery: _Delivery, seconds: float) -> None:
        if self._draining:
            delivery.scope.cancel()
        delivery.pausing = True
        try:
            await self._pause(seconds)
        finally:
            delivery.pausing = False

    # --- how far it is ------------------------------------------------------------------------------------

    def _is_current(self, delivery: _Delivery) -> bool:
        """Whether it has not been dropped or replaced, though its delivery may not have noticed yet."""
        return self._deliveries.get(delivery.key) is delivery

    async def _moved(self, delivery: _Delivery, cursor: int, *, finished: bool = False, rests: bool = False) -> None:
        """Remember how far it is before anything else is sent: a crash repeats one notification, not two."""
        if not self._is_current(delivery):
            return
        delivery.row = evolve(delivery.row, cursor=cursor, finished=finished, rests=rests)
        try:
            await self._store.commit([delivery.row])
        except FencedError:
            delivery.scope.cancel()  # another server delivers by now
        except StoreError:
            if self._is_current(delivery):
                self._store.put([delivery.row])  # which the store tries again, while the receiver need not wait

    def _gone(self, delivery: _Delivery) -> None:
        if self._is_current(delivery):
            self._store.put([PushDropped(*delivery.key)])

    def _give_up(self, delivery: _Delivery, attempts: int, reason: str) -> None:
        self.counters = evolve(self.counters, given_up=self.counters.given_up + 1)
        _log.error(
            "push notifications of task %s to %s are given up after %s: %s",
            delivery.row.task_id,
            origin_of(delivery.config.url),
            counted(attempts, "attempt"),
            reason,
        )


async def _notifications(active: ActiveTask, row: PushRow, *, interrupts_only: bool) -> AsyncGenerator[Notification]:
    """The notifications that a configuration lacks, to the task's end; the task as it is, where they are gone."""
    cursor = row.cursor
    while True:
        try:
            announcer = Announcer(active.log.at(cursor), row.form, interrupts_only=interrupts_only)
            async with aclosing(active.read(cursor)) as batches:
                async for entries in batches:
                    for entry in entries:
                        notification = announcer.take(entry)
                        cursor = entry.number
                        if notification is not None:
                            yield notification
            return
        except LookupError:
            cursor = active.visible
            whole = as_it_is(active.log.at(cursor), cursor, interrupts_only=interrupts_only)
            if whole is not None:
                yield whole


def _config_of(row: PushRow) -> PushConfig | None:
    try:
        return decode_config(row.body, task_id=row.task_id, config_id=row.config_id)
    except LocalError as error:
        _log.error("push notifications of task %s: %s", row.task_id, error)
        return None
