"""Wires the application: settings in, a running ASGI application out, everything closed in order at the end."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import attrs
from attrs import frozen

from opencode_a2a.agent.extension_methods import Methods
from opencode_a2a.agent.instance_opening import Surroundings, open_instance
from opencode_a2a.agent.instances import Instances
from opencode_a2a.agent.metrics import open_metrics, watch_agent
from opencode_a2a.agent.model_tool import ModelTool
from opencode_a2a.agent.opencode_agent import OpenCodeAgent
from opencode_a2a.agent.served_cards import Cards
from opencode_a2a.agent.turns.shared_interrupts import SharedInterrupts
from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.config.settings import Settings
from opencode_a2a.loose_thread import LooseThread
from opencode_a2a.metrics.endpoint import MetricsEndpoint
from opencode_a2a.metrics.loop_lag import watch_loop_lag
from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.server.console.console import Console
from opencode_a2a.server.console.page_files import read_page
from opencode_a2a.server.http.asgi import Application, Asgi
from opencode_a2a.server.http.card_signing import load_card_key
from opencode_a2a.server.http.dispatch import Dispatch
from opencode_a2a.server.http.payload_log import PayloadLog
from opencode_a2a.server.identity.opening import identity_options, open_identities
from opencode_a2a.server.push.outbound_client import CheckedClient
from opencode_a2a.server.replicas.opening import locks_of, tickets_of
from opencode_a2a.server.replicas.others import Others
from opencode_a2a.server.signals import Reload
from opencode_a2a.server.store import SharedOptions, Store, open_store
from opencode_a2a.server.surface import Surface
from opencode_a2a.server.task_server import TaskLimits, TaskServer
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.tool.called_agents import called_agents
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.cards.security import SecurityScheme, published
from sansio.a2a.model import JsonObject
from sansio.a2a.server import ServedProtocol
from sansio.access import CredentialSet
from sansio.access.oidc import DISCOVERY_PATH
from sansio.access.sessions import session_bounds
from sansio.extensions.methods.method_rows import MethodExtension, Toggle
from sansio.extensions.published.profile import Deployment, Environment, profile_of
from sansio.guards.origins import AllowedOrigins, origin_of
from sansio.http import OPENAPI_PATH
from sansio.limits import StreamLimits
from sansio.opencode.extension_names import EXTENSION_NAMES, SHARED_URIS
from sansio.outbound import OutboundPolicy
from sansio.redact import Secret

if TYPE_CHECKING:
    from opencode_a2a.agent.upgrade import EarlierImport


@frozen
class Running:
    """The application and what its operator's shell needs of it."""

    asgi: Asgi
    a2a: Application
    instances: Instances
    cards: Cards
    tasks: TaskServer
    tool: ModelTool | None = None
    metrics: MetricsEndpoint | None = None
    reloads: tuple[Reload, ...] = ()
    meters: Meters = NO_METERS

    @property
    def bus(self) -> EventBus:
        """The event bus of the default instance."""
        return self.instances.first.bus

    def listening(self, settings: Settings) -> None:
        """The address is known now: the cards name it, and OpenCode reaches the tool there."""
        self.a2a.cards = cards = self.cards.at(_deployment(settings, self.a2a.authenticator.schemes))
        cards.prepare()
        if self.tool is not None:
            self.tool.listening(settings)


def _deployment(settings: Settings, schemes: Sequence[str]) -> Deployment:
    return Deployment(
        title=settings.title,
        description=settings.description,
        version=settings.version,
        url=settings.public_url,
        schemes=_security(settings, schemes),
        versions=settings.supported_protocol_versions,
        bindings=settings.bindings,
        default_version=settings.protocol_version,
        project=settings.project,
        documentation_url=settings.documentation_url or settings.public_url.rstrip("/") + OPENAPI_PATH,
        workspace_root=settings.workspace_root if settings.expose_workspace_root_in_card else None,
        agent=settings.agent,
        variant=settings.variant,
        directory_override=settings.allow_directory_override,
        streams_stay_open=settings.stream_stays_open_on_interrupt,
        switched_on=_switched_on(settings),
        environment=Environment(
            sandbox_mode=settings.sandbox_mode,
            filesystem_scope=settings.sandbox_filesystem_scope,
            writable_roots=settings.sandbox_writable_roots,
            network_access=settings.network_access,
            allowed_domains=settings.network_allowed_domains,
            approval_policy=settings.approval_policy,
            escalation_behavior=settings.approval_escalation_behavior,
            write_scope=settings.write_access_scope,
            write_outside_workspace=settings.write_access_outside_workspace,
        ),
    )


def _security(settings: Settings, schemes: Sequence[str]) -> Sequence[SecurityScheme]:
    discovery = (settings.oidc_issuer or "").rstrip("/") + DISCOVERY_PATH
    return published(schemes, api_key_header=settings.api_key_header, discovery_url=discovery)


def _publish_schemes(settings: Settings, a2a: Application) -> None:
    """Publish the schemes that are on now: a file of credentials can turn some on, and others off."""
    if isinstance(a2a.cards, Cards):
        a2a.cards = cards = a2a.cards.offering(_security(settings, a2a.authenticator.schemes))
        cards.prepare()


def _switched_on(settings: Settings) -> frozenset[Toggle]:
    switches = {
        Toggle.SESSION_SHELL: settings.enable_session_shell,
        Toggle.WORKSPACE_MUTATIONS: settings.enable_workspace_mutations,
    }
    return frozenset(toggle for toggle, on in switches.items() if on)


def _store_of(settings: Settings, importer: Callable[[], EarlierImport], meters: Meters) -> Store:
    """The store of tasks, which other servers may have open, too, where it is PostgreSQL. Raises `StoreUrlError`."""
    options = SharedOptions(
        lease=settings.replica_lease_seconds,
        name=settings.replica_name or socket.gethostname(),
        listen_url=settings.listen_database_url,
        affinities=frozenset({"", *(one.name for one in settings.instances)}),
    )
    return open_store(settings.store_url, importer, meters, shared=settings.shares_store, options=options)


def _importer(settings: Settings, credentials: CredentialSet, wall: Callable[[], float]) -> EarlierImport:
    # A store in memory imports nothing, and needs no SQLAlchemy.
    from opencode_a2a.agent.upgrade import EarlierImport, Names

    return EarlierImport(Names.of(credentials, settings.import_principals), wall())


async def _model_tool(
    stack: AsyncExitStack,
    settings: Settings,
    *,
    instances: Instances,
    tracer: Tracer,
    secret: Secret | None,
    others: Others | None,
) -> ModelTool | None:
    """The tool by which the model calls other agents; None where it is turned off."""
    if not settings.tool_enabled:
        return None
    agents = await stack.enter_async_context(called_agents(settings, extensions=SHARED_URIS))
    return ModelTool(
        settings,
        agents,
        instances,
        tracer=tracer,
        secret=secret,
        others=others,
    )


async def _console(settings: Settings, store: Store, origins: AllowedOrigins, prefix: str) -> Console | None:
    """The page for the person in the loop; None where it is turned off."""
    if not settings.console:
        return None
    files = await LooseThread("console").run(partial(read_page, "opencode_a2a.console"))
    return Console(
        files,
        tickets_of(store, session_bounds(settings.console_session_seconds)),
        agent={"name": settings.title, "version": settings.version},
        origins=origins,
        prefix=prefix,
    )


@asynccontextmanager
async def application(
    settings: Settings,
    *,
    wall: Callable[[], float] = time.time,
    tracer: Tracer = NO_TRACER,
    tool_secret: Secret | None = None,
    others_serve: Callable[[], bool] = lambda: False,
) -> AsyncGenerator[Running]:
    """The application, ready to be served. `wall`: epoch seconds. Raises `StoreError`, `SettingsError`.

    `tool_secret`: of the endpoint of the model's tool, where several processes have the same; None makes one.
    `others_serve`: whether others of them serve that endpoint, so that the tool stays when this one ends.
    """
    key_of = partial(load_card_key, settings.card_signing_key_file, settings.card_signing_key_id)
    key = await LooseThread("card key").run(key_of)
    metrics = open_metrics(settings)
    meters = metrics.meters
    async with AsyncExitStack() as stack:
        identities = await stack.enter_async_context(
            open_identities(settings.credentials, identity_options(settings), realm="opencode-a2a", wall=wall)
        )
        authenticator = identities.authenticator
        importer = partial(_importer, settings, identities.credentials, wall)
        store = await stack.enter_async_context(_store_of(settings, importer, meters))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        locks = locks_of(store)
        publisher = TaskPublisher(store, tracer)
        shared = Surroundings(store=store, locks=locks, publisher=publisher, meters=meters, tracer=tracer, wall=wall)
        instances = Instances(
            [await open_instance(stack, settings, settings.completed(one), shared) for one in settings.instances]
        )
        policy = OutboundPolicy(allow_private=settings.push_allow_private_hosts, allowed=settings.push_allowed_hosts)
        client = await stack.enter_async_context(CheckedClient(policy, timeout=settings.push_timeout_seconds))
        agent = OpenCodeAgent(instances, store)
        limits = StreamLimits(
            bytes=settings.stream_max_bytes,
            duration=settings.stream_max_duration_seconds,
            idle=settings.stream_idle_timeout_seconds,
        )
        served = TaskServer(
            agent,
            agent,
            store=store,
            publisher=publisher,
            client=client,
            tasks=tasks,
            wall=wall,
            limits=TaskLimits(
                streams=settings.max_concurrent_streams,
                retention=settings.task_event_retention_seconds,
                task_retention=settings.task_retention_seconds,
                tasks_per_principal=settings.max_tasks_per_principal,
                look_every=limits.look_every,
                push_attempts=settings.push_max_attempts,
            ),
            locks=locks,
            tracer=tracer,
            agent_name=settings.title,
        )
        others = None if store.ownership.replica_id is None else served.others
        tool = agent.tool = await _model_tool(
            stack, settings, instances=instances, tracer=tracer, secret=tool_secret, others=others
        )
        for instance in instances:
            await tasks.start(instance.bus.run)
        await served.start()
        tasks.start_soon(identities.run)
        for instance in instances:
            tasks.start_soon(instance.turns.watch)
            tasks.start_soon(instance.checks.watch)
            tasks.start_soon(instance.interrupts.watch)
        if metrics.endpoint is not None:
            served.watch(meters)
            watch_agent(meters, instances)
            tasks.start_soon(watch_loop_lag, meters, settings.runtime)
        if tool is not None:
            tasks.start_soon(tool.watch)
            tasks.start_soon(tool.agents.watch)

        profile = {
            **profile_of(_deployment(settings, authenticator.schemes)),
            "protocol_version": settings.protocol_version,
        }

        def health() -> JsonObject:
            return {
                **instances.health(store_works=store.trouble is None),
                "service": "opencode-a2a",
                "version": settings.version,
                "profile": profile,
                "push_notifications": attrs.asdict(served.push_counters),
                "store": "ok" if store.trouble is None else "unavailable",
            }

        def unready() -> list[str]:
            return [*instances.unready(), *served.unready]

        methods = Methods(
            instances=instances,
            choice=agent.choice,
            interrupts=SharedInterrupts(served.others),
            switched_on=_switched_on(settings),
        )
        origins = attrs.evolve(
            settings.allowed_origins, own=origin_of(settings.public_url), key_header=settings.api_key_header
        )
        prefix = urlsplit(settings.public_url).path.rstrip("/")
        console = authenticator.sessions = await _console(settings, store, origins, prefix)
        surface = Surface(
            authenticator=authenticator,
            protocol=ServedProtocol(
                versions=settings.supported_protocol_versions,
                default_version=settings.protocol_version,
                extensions=EXTENSION_NAMES,
                bindings=frozenset(settings.bindings),
            ),
            body_limit=settings.max_request_body_bytes,
            gzip_minimum=settings.http_gzip_minimum_size,
            limits=limits,
            started=wall(),
            meters=meters,
            metrics=metrics.endpoint if settings.workers == 1 else None,  # else it were any worker's
            payloads=PayloadLog.of(settings.log_payloads, settings.log_body_limit),
            hosts=settings.allowed_hosts,
            proxies=settings.proxies,
            rates=settings.request_rates(),
            stays_open=settings.stream_stays_open_on_interrupt,
            stays_open_for=frozenset({MethodExtension.INTERACTIVE_INTERRUPT.label}),
            origins=origins,
            prefix=prefix,
            tracer=tracer,
            tickets=tickets_of(store),
            websockets_per_principal=settings.max_websockets_per_principal,
            console=console,
        )
        try:
            cards = Cards(_deployment(settings, authenticator.schemes), key, health)
            a2a = Application(surface, Dispatch(served.operations), methods, cards, health, unready)
            authenticator.changed = partial(_publish_schemes, settings, a2a)
            served.draining, served.drained = a2a.drain, a2a.stop
            asgi = a2a if tool is None else tool.endpoint.before(a2a)
            yield Running(asgi, a2a, instances, cards, served, tool, metrics.endpoint, identities.reloads, meters)
        finally:
            if tool is not None and not others_serve():
                await tool.leave()
            served.leave()
            tasks.cancel_scope.cancel()
