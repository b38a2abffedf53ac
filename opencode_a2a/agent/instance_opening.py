"""Opens the instances of OpenCode that the settings name: connections, event buses, and what works with them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from attrs import frozen

from opencode_a2a.agent.instances import Instance
from opencode_a2a.agent.sessions.location_check import Locations
from opencode_a2a.agent.sessions.session_access import SessionAccess
from opencode_a2a.agent.sessions.session_choice import Sessions
from opencode_a2a.agent.sessions.session_creation import Creations
from opencode_a2a.agent.turns.interrupt_service import InterruptService
from opencode_a2a.agent.turns.model_inputs import ModelInputs
from opencode_a2a.agent.turns.turn_runner import TurnRunner
from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.readiness import UPSTREAM, Readiness, UpstreamChecks
from opencode_a2a.agent.upstream.upstream import Upstream
from opencode_a2a.config.groups.opencode_instances import OpenCodeInstance
from opencode_a2a.config.settings import Settings
from opencode_a2a.metrics.meters import Meters
from opencode_a2a.server.store import Store
from opencode_a2a.server.tasks.keyed_lock import Locks
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.tracing.spans import Tracer
from sansio.opencode.upstream.requests import Location, PromptOptions


@frozen(kw_only=True)
class Surroundings:
    """The parts of a server that its instances share. `wall`: epoch seconds."""

    store: Store
    locks: Locks
    publisher: TaskPublisher
    meters: Meters
    tracer: Tracer
    wall: Callable[[], float]


async def open_instance(
    stack: AsyncExitStack, settings: Settings, asked: OpenCodeInstance, shared: Surroundings
) -> Instance:
    """Make an instance as it is `asked` for. Its connections are closed with `stack`; nothing of it runs yet."""
    wall = shared.wall
    affinity = asked.name if asked.named else ""
    upstream = await stack.enter_async_context(
        Upstream(
            asked.url,
            username=asked.username,
            password=asked.password.reveal() if asked.password is not None else None,
            timeout=settings.opencode_timeout,
            max_requests=settings.max_concurrent_requests,
            tracer=shared.tracer,
        )
    )
    readiness = Readiness()
    bus = EventBus(upstream, clock=wall, note=partial(readiness.note, UPSTREAM))
    location = Location(directory=asked.workspace_root)
    locations = Locations(upstream, location, override=settings.allow_directory_override)
    sessions = Sessions(
        shared.store,
        upstream,
        locations,
        locks=shared.locks,
        creations=Creations(lambda: int(wall() * 1000) + bus.clock_ahead_ms),
        claim_ttl=settings.pending_session_claim_ttl_seconds,
        claims=settings.claims_allowed,
        wall=wall,
        affinity=affinity,
    )
    turns = TurnRunner(
        upstream=upstream,
        bus=bus,
        publisher=shared.publisher,
        sessions=sessions,
        locks=shared.locks,
        options=PromptOptions(agent=settings.agent, system=settings.system, variant=settings.variant),
        location=location,
        silence=settings.opencode_stream_timeout,
        abort_timeout=settings.cancel_abort_timeout_seconds,
        patience=settings.opencode_timeout,
        wall=wall,
        meters=shared.meters,
    )
    return Instance(
        name=asked.name,
        affinity=affinity,
        upstream=upstream,
        bus=bus,
        readiness=readiness,
        locations=locations,
        sessions=sessions,
        access=SessionAccess(sessions, shared.store, upstream, locations),
        turns=turns,
        interrupts=InterruptService(
            turns,
            upstream,
            patience=settings.interrupt_request_ttl_seconds,
            memory=settings.interrupt_request_tombstone_ttl_seconds,
            wall=wall,
        ),
        inputs=ModelInputs(upstream, own_agent=settings.agent is not None, wall=wall),
        checks=UpstreamChecks(upstream, bus, readiness, location, settings.agent),
    )
