"""Serves an agent over A2A with its tasks, its card and its push notifications: the whole server in one call.

async with open_agent(MyAgent(), card=card, credentials=credentials) as server:
    await server.serve(runtime, "127.0.0.1:8000")
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from ssl import SSLContext

import anyio
from attrs import evolve, frozen

from opencode_a2a.server.agent import Agent, AgentHooks
from opencode_a2a.server.http.asgi import Application, ExtensionMethods
from opencode_a2a.server.http.card_documents import CardDocuments
from opencode_a2a.server.http.card_signing import CardKey
from opencode_a2a.server.http.dispatch import Dispatch
from opencode_a2a.server.identity.authenticator import Authenticator
from opencode_a2a.server.identity.opening import IdentityOptions, open_identities
from opencode_a2a.server.push.outbound_client import CheckedClient
from opencode_a2a.server.replicas.opening import locks_of, tickets_of
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.serving import serve_tasks
from opencode_a2a.server.signals import Hangups, Reload, until_signalled
from opencode_a2a.server.store import SharedOptions, Store, open_store
from opencode_a2a.server.surface import Surface
from opencode_a2a.server.task_server import TaskLimits, TaskServer
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.bindings.jsonrpc import method_not_found
from sansio.a2a.cards.agent_card import PUSH_INTERRUPTS_EXTENSION, CardSpec
from sansio.a2a.cards.parse import GRPC, WEBSOCKET
from sansio.a2a.cards.security import SecurityScheme, published
from sansio.a2a.operations import Operation
from sansio.a2a.server import ServedProtocol
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS, PUSH_INTERRUPTS_URI
from sansio.a2a.websocket.messages import PATH
from sansio.access import CredentialSet, Identity
from sansio.guards.proxies import NO_PROXIES, TrustedProxies
from sansio.limits import StreamLimits
from sansio.outbound import OutboundPolicy
from sansio.transport.connections import ConnectionLimits


class NoMethods:
    """An agent without methods of its own."""

    async def run(self, name: str, params: object, identity: Identity, version: str) -> list[bytes]:
        """Refuse the method. Raises `ProtocolError` (METHOD_NOT_FOUND)."""
        raise method_not_found(name, version)


@frozen(kw_only=True)
class ServerOptions:
    """Bounds and places of a server, all with usable defaults.

    `store`: "memory", or a database's URL; `shared`: other servers may have it open, too; None: this one alone.
    `body_limit`, `gzip_minimum`: bytes. `push_timeout`: seconds for one notification; `outbound`: where notifications
    may go. `tracer`: records spans. `identity`: methods of authentication beside the credentials; None: none.
    `proxies`: those whose headers count.
    """

    store: str = "memory"
    shared: SharedOptions | None = None
    body_limit: int = 16 * 1024 * 1024
    gzip_minimum: int = 1400
    default_version: str = "0.3"
    limits: TaskLimits = TaskLimits()
    stream_limits: StreamLimits = StreamLimits()
    outbound: OutboundPolicy = OutboundPolicy()
    push_timeout: float = 10.0
    tracer: Tracer = NO_TRACER
    identity: IdentityOptions | None = None
    proxies: TrustedProxies = NO_PROXIES

    def __attrs_post_init__(self) -> None:
        if self.identity is not None and self.identity.certificate_header and not self.proxies.networks:
            raise ValueError("a header of certificates needs proxies that are trusted")


class AgentServer:
    """An agent's ASGI application `asgi`, and its tasks. `reloads`: read the file of credentials again, if any.

    `body_limit`: bytes of a message over WebSocket, 0 for no limit.
    """

    def __init__(
        self,
        asgi: Application,
        tasks: TaskServer,
        card: CardSpec,
        key: CardKey | None,
        reloads: Sequence[Reload] = (),
        body_limit: int = 0,
    ) -> None:
        self.asgi = asgi
        self.tasks = tasks
        self.reloads = reloads
        self._card = card
        self._key = key
        self._body_limit = body_limit

    def publish(self, schemes: Sequence[str | SecurityScheme], url: str = "") -> None:
        """Show other security schemes in the card from now on, and `url` where it has none."""
        self._card = evolve(self._card, schemes=schemes, url=self._card.url or url)
        self.asgi.cards = CardDocuments(self._card, self._key)

    async def serve(
        self,
        runtime: Runtime,
        bind: str,
        *,
        stop: Callable[[], Awaitable[None]] | None = None,
        ready: Callable[[str], None] = lambda url: None,
        grace: float = 10.0,
        limits: ConnectionLimits | None = None,
        tls: Callable[[], SSLContext] | None = None,
    ) -> None:
        """Serve on `bind` (`host:port`; port 0 takes a free one) until `stop` returns, then let tasks end.

        `stop` waits for SIGINT or SIGTERM where none is given, and SIGHUP calls `reloads` then. `ready` gets the URL.
        `grace`: seconds. A card whose `url` is empty names the address that is listened on. `tls`: returns the
        context for the next handshake; HTTP without TLS where None. Raises `ListenError`.
        """

        def listening(address: str) -> None:
            url = f"{'http' if tls is None else 'https'}://{address}"
            self.publish(self._card.schemes, url)
            ready(url)

        if GRPC in self._card.bindings:
            limits = evolve(limits or ConnectionLimits(), http2=True)
        if WEBSOCKET in self._card.bindings:
            limits = evolve(limits or ConnectionLimits(), websockets=PATH, largest_message=self._body_limit)
        if stop is None:
            hangups = Hangups()
            for reload in self.reloads:
                hangups.add(reload)
            stop = partial(until_signalled, hangups)
        await serve_tasks(
            self.asgi, self.tasks, runtime, bind, stop=stop, listening=listening, grace=grace, limits=limits, tls=tls
        )


@asynccontextmanager
async def open_agent(
    agent: Agent,
    *,
    card: CardSpec,
    credentials: CredentialSet,
    hooks: AgentHooks | None = None,
    methods: ExtensionMethods | None = None,
    health: Callable[[], dict[str, object]] = lambda: {"status": "ok"},
    key: CardKey | None = None,
    options: ServerOptions | None = None,
    wall: Callable[[], float] = time.time,
) -> AsyncGenerator[AgentServer]:
    """Open an agent's server. Raises `StoreError` where the store cannot be opened, and `SettingsError` for what
    `open_identities` cannot use.

    What the card says of streaming, push notifications and an extended card is what this server does, and the
    extension of notifications is on it. With `options.identity`, so is what it says of security. `hooks`: what the
    agent may do beyond `Agent`; where the agent is an `AgentHooks` itself, they are its own.
    """
    options = ServerOptions() if options is None else options
    if hooks is None:
        hooks = agent if isinstance(agent, AgentHooks) else AgentHooks()
    card = evolve(card, streaming=True, push_notifications=True, extended_card=False)
    if all(extension.uri != PUSH_INTERRUPTS_URI for extension in card.extensions):
        card = evolve(card, extensions=(*card.extensions, PUSH_INTERRUPTS_EXTENSION))
    failure: Exception | None = None
    async with AsyncExitStack() as stack:
        identities = await stack.enter_async_context(
            open_identities(credentials, options.identity or IdentityOptions(), realm="a2a", wall=wall)
        )
        authenticator = identities.authenticator
        store = await stack.enter_async_context(_store_of(options))
        client = await stack.enter_async_context(CheckedClient(options.outbound, timeout=options.push_timeout))
        group = await stack.enter_async_context(anyio.create_task_group())
        tasks = TaskServer(
            agent,
            hooks,
            store=store,
            publisher=TaskPublisher(store, options.tracer),
            client=client,
            tasks=group,
            wall=wall,
            limits=evolve(options.limits, look_every=options.stream_limits.look_every),
            locks=locks_of(store),
            tracer=options.tracer,
            agent_name=card.name,
        )
        surface = Surface(
            authenticator=authenticator,
            proxies=options.proxies,
            protocol=ServedProtocol(
                versions=tuple(sorted(card.versions)),
                default_version=options.default_version,
                extensions={
                    **{extension.uri: extension.uri for extension in card.extensions},
                    PUSH_INTERRUPTS_URI: PUSH_INTERRUPTS,
                },
                withheld=frozenset({Operation.EXTENDED_CARD}),
                bindings=frozenset(card.bindings),
            ),
            body_limit=options.body_limit,
            gzip_minimum=options.gzip_minimum,
            limits=options.stream_limits,
            started=wall(),
            tracer=options.tracer,
            tickets=tickets_of(store),
        )
        await tasks.start()
        group.start_soon(identities.run)
        try:
            documents = CardDocuments(card, key)
            asgi = Application(
                surface,
                Dispatch(tasks.operations),
                methods or NoMethods(),
                documents,
                health,
                lambda: tasks.unready,
            )
            tasks.draining, tasks.drained = asgi.drain, asgi.stop
            server = AgentServer(asgi, tasks, card, key, identities.reloads, options.body_limit)
            if options.identity is not None:
                authenticator.changed = partial(_publish_schemes, server, authenticator, options.identity)
                authenticator.changed()
            yield server
        except Exception as exc:  # kept out of the task group, which would wrap it in a group
            failure = exc
        finally:
            tasks.leave()
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _publish_schemes(server: AgentServer, authenticator: Authenticator, options: IdentityOptions) -> None:
    """Show the schemes in the card that a request can authenticate with now."""
    discovery_url = "" if options.oidc is None else options.oidc.discovery_url
    server.publish(
        published(authenticator.schemes, api_key_header=options.api_key_header, discovery_url=discovery_url)
    )


def _store_of(options: ServerOptions) -> Store:
    if options.shared is None:
        return open_store(options.store)
    return open_store(options.store, shared=True, options=options.shared)
