"""Serves an agent over A2A with its tasks, its card and its push notifications: the whole server in one call.

async with open_agent(MyAgent(), card=card, credentials=credentials) as server:
    await server.serve(runtime, "127.0.0.1:8000")
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ssl import SSLContext

import anyio
from attrs import evolve, frozen

from opencode_a2a.server.agent import Agent, AgentHooks
from opencode_a2a.server.http.asgi import Application, ExtensionMethods, Surface
from opencode_a2a.server.http.card_documents import CardDocuments
from opencode_a2a.server.http.card_signing import CardKey
from opencode_a2a.server.http.dispatch import Dispatch
from opencode_a2a.server.identity.authenticator import Authenticator
from opencode_a2a.server.push.outbound_client import CheckedClient
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.serving import serve_tasks
from opencode_a2a.server.signals import until_signalled
from opencode_a2a.server.store import open_store
from opencode_a2a.server.task_server import TaskLimits, TaskServer
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.bindings.jsonrpc import method_not_found
from sansio.a2a.cards.agent_card import CardSpec
from sansio.a2a.operations import Operation
from sansio.a2a.server import ServedProtocol
from sansio.access import CredentialSet, Identity
from sansio.limits import StreamLimits
from sansio.outbound import OutboundPolicy
from sansio.transport.connections import ConnectionLimits


class NoMethods:
    """An agent without methods of its own."""

    async def run(self, name: str, params: object, identity: Identity, version: str) -> bytes:
        """Refuse the method. Raises `ProtocolError` (METHOD_NOT_FOUND)."""
        raise method_not_found(name, version)


@frozen(kw_only=True)
class ServerOptions:
    """Bounds and places of a server, all with usable defaults.

    `store`: "memory", or a database's URL. `body_limit`, `gzip_minimum`: bytes. `push_timeout`: seconds for one
    notification; `outbound`: where notifications may go. `tracer`: records spans.
    """

    store: str = "memory"
    body_limit: int = 16 * 1024 * 1024
    gzip_minimum: int = 1400
    default_version: str = "0.3"
    limits: TaskLimits = TaskLimits()
    stream_limits: StreamLimits = StreamLimits()
    outbound: OutboundPolicy = OutboundPolicy()
    push_timeout: float = 10.0
    tracer: Tracer = NO_TRACER


class AgentServer:
    """An agent's ASGI application `asgi`, and its tasks."""

    def __init__(self, asgi: Application, tasks: TaskServer, card: CardSpec, key: CardKey | None) -> None:
        self.asgi = asgi
        self.tasks = tasks
        self._card = card
        self._key = key

    async def serve(
        self,
        runtime: Runtime,
        bind: str,
        *,
        stop: Callable[[], Awaitable[None]] = until_signalled,
        ready: Callable[[str], None] = lambda url: None,
        grace: float = 10.0,
        limits: ConnectionLimits | None = None,
        tls: Callable[[], SSLContext] | None = None,
    ) -> None:
        """Serve on `bind` (`host:port`; port 0 takes a free one) until `stop` returns, then let tasks end.

        `stop` waits for SIGINT or SIGTERM where none is given. `ready` gets the URL. `grace`: seconds. A card whose
        `url` is empty names the address that is listened on. `tls`: returns the context for the next handshake; HTTP
        without TLS where None. Raises `ListenError`.
        """

        def listening(address: str) -> None:
            url = f"{'http' if tls is None else 'https'}://{address}"
            if not self._card.url:
                self.asgi.cards = CardDocuments(evolve(self._card, url=url), self._key)
            ready(url)

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
    """Open an agent's server. Raises `StoreError` where the store cannot be opened.

    What the card says of streaming, push notifications and an extended card is what this server does. `hooks`: what
    the agent may do beyond `Agent`; where the agent is an `AgentHooks` itself, they are its own.
    """
    options = ServerOptions() if options is None else options
    if hooks is None:
        hooks = agent if isinstance(agent, AgentHooks) else AgentHooks()
    card = evolve(card, streaming=True, push_notifications=True, extended_card=False)
    failure: Exception | None = None
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(options.store))
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
            locks=LocalLocks(),
            tracer=options.tracer,
            agent_name=card.name,
        )
        surface = Surface(
            authenticator=Authenticator(credentials),
            protocol=ServedProtocol(
                versions=tuple(sorted(card.versions)),
                default_version=options.default_version,
                extensions={extension.uri: extension.uri for extension in card.extensions},
                withheld=frozenset({Operation.EXTENDED_CARD}),
            ),
            body_limit=options.body_limit,
            gzip_minimum=options.gzip_minimum,
            limits=options.stream_limits,
            started=wall(),
            tracer=options.tracer,
        )
        await tasks.start()
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
            yield AgentServer(asgi, tasks, card, key)
        except Exception as exc:  # kept out of the task group, which would wrap it in a group
            failure = exc
        finally:
            tasks.leave()
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure
