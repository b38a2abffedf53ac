"""Wires the application: settings in, a running ASGI application out, everything closed in order at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from attrs import frozen

from sansio.a2a.card import CardDocument
from sansio.opencode.deployment import Deployment, card_of
from sansio.opencode.requests import Place, PromptOptions

from .asgi import Application, Surface
from .hub import EventHub
from .service import Service
from .settings import Settings
from .store import open_store
from .turns import Turns
from .upstream import Upstream

_log = logging.getLogger(__name__)


@frozen
class Running:
    """The application and what its operator's shell needs of it."""

    asgi: Application
    service: Service
    hub: EventHub

    def listening(self, settings: Settings) -> None:
        """The address is known now: the card names it."""
        self.asgi.card = _card(settings)


def _card(settings: Settings) -> CardDocument:
    deployment = Deployment(
        title=settings.title,
        description=settings.description,
        version=settings.version,
        url=settings.public_url,
        lines=settings.supported_protocol_versions,
        schemes=settings.credentials.schemes,
        project=settings.project,
        documentation_url=settings.documentation_url,
    )
    return CardDocument.of(card_of(deployment))


@asynccontextmanager
async def application(settings: Settings, *, wall: Callable[[], float] = time.time) -> AsyncGenerator[Running]:
    """The application, ready to be served. ``wall``: epoch seconds. Raises ``StoreError``."""
    password = settings.opencode_password
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.store_url))
        upstream = await stack.enter_async_context(
            Upstream(
                settings.opencode_url,
                username=settings.opencode_username,
                password=password.reveal() if password is not None else None,
                timeout=settings.opencode_timeout,
                max_requests=settings.max_concurrent_requests,
            )
        )
        tasks = await stack.enter_async_context(anyio.create_task_group())
        hub = EventHub(upstream, clock=wall)
        turns = Turns(
            upstream=upstream,
            hub=hub,
            store=store,
            tasks=tasks,
            options=PromptOptions(agent=settings.agent, system=settings.system, variant=settings.variant),
            place=Place(directory=settings.workspace_root),
            silence=settings.opencode_stream_timeout,
            abort_timeout=settings.cancel_abort_timeout_seconds,
            patience=settings.opencode_timeout,
            wall=wall,
        )
        service = Service(store=store, turns=turns, wall=wall, max_streams=settings.max_concurrent_streams)
        left = await service.recover()
        if left:
            _log.warning("%d tasks had been left unfinished and are failed now", left)
        await tasks.start(hub.run)
        tasks.start_soon(turns.watch)
        tasks.start_soon(service.keep_alive)

        def health() -> dict[str, object]:
            return {
                "status": "ok",
                "service": "opencode-a2a",
                "version": settings.version,
                "upstream": {"event_stream": "connected" if hub.connected else "disconnected"},
            }

        surface = Surface(
            credentials=settings.credentials,
            lines=settings.supported_protocol_versions,
            default_line=settings.protocol_version,
            body_limit=settings.max_request_body_bytes,
            started=wall(),
        )
        try:
            yield Running(Application(surface, service, _card(settings), health), service, hub)
        finally:
            tasks.cancel_scope.cancel()
