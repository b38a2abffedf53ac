"""Checks the address, the public URL and streams of a server, whether or not it runs. No turn is started."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.request import getproxies

import anyio
import anyio.to_thread
import httpx
import orjson
from attrs import evolve, frozen

from opencode_a2a.client.answer import end_early
from opencode_a2a.config.settings import Settings
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.cards.agent_card import addresses_of
from sansio.a2a.cards.parse import CARD_PATHS
from sansio.a2a.codecs.json_values import objects_at, text_at
from sansio.a2a.errors import ProtocolError
from sansio.doctor.finding import Finding
from sansio.doctor.server import PROBE_EVENTS, CardFacts, PortFacts, judge_card, judge_hosts, judge_port, judge_stream
from sansio.http import LIVE_PATH
from sansio.transport.addresses import host_and_port

_SECONDS: Final = 4.0
_LARGEST: Final = 1024 * 1024
_MOST_EVENTS: Final = 16 * PROBE_EVENTS  # of a stream that has nothing to do with the probe
_STREAM_TYPE: Final = "text/event-stream"
_PLAIN: Final = {"accept-encoding": "identity"}


@frozen
class _Card:
    """Result of a GET of a card: the URLs of its interfaces, or an error. `is_refused`: it was a 400."""

    error: str | None
    interfaces: tuple[str, ...] = ()
    is_refused: bool = False


async def check_server(settings: Settings) -> list[Finding]:
    """Check the port, the card under the public URL, and whether streams come through to there."""
    local = evolve(settings, public_url_override=None).public_url.rstrip("/")
    public = settings.public_url.rstrip("/")
    # Certificates are for the public name; nothing secret is sent, and nothing that comes is relied on.
    async with httpx.AsyncClient(timeout=_SECONDS, verify=False) as client:
        here = await _card(client, local) if settings.port else _Card("no port is set")
        ours = _names(here, public, local) or (here.error is not None and await _lives(client, settings, local))
    # Loading the trusted certificates takes 25 ms: it is left out where nothing speaks TLS.
    uses_tls = public.startswith("https:") or bool(getproxies())
    async with httpx.AsyncClient(timeout=_SECONDS, verify=uses_tls) as client:
        there = here if public == local else await _card(client, public)
        port = await anyio.to_thread.run_sync(_port, settings, ours)
        facts = CardFacts(
            url=public, error=there.error, interfaces=there.interfaces, running=ours, refused=there.is_refused
        )
        if there.error is None:
            streams = await check_streams(client, public)
        else:
            streams = judge_stream(None, "no server answers at the public URL")
    hosts = [*judge_hosts(public, settings.allowed_hosts)]
    return [judge_port(port), *(hosts or [judge_card(facts)]), streams]


def _names(card: _Card, *urls: str) -> bool:
    own = [address for url in urls for address in addresses_of(url)]
    return any(interface.rstrip("/") in own for interface in card.interfaces)


async def _lives(client: httpx.AsyncClient, settings: Settings, local: str) -> bool:
    """Whether a server of ours answers there which shows its card to other host names only."""
    if not settings.port:
        return False
    try:
        _, body = await _answer(client, f"{local}{LIVE_PATH}")
        return bool(orjson.loads(body) == {"status": "ok"})
    except (httpx.HTTPError, TimeoutError, _TooLargeError, orjson.JSONDecodeError):
        return False


class _TooLargeError(Exception):
    """An answer has more bytes than are read of any."""


async def _answer(client: httpx.AsyncClient, url: str) -> tuple[int, bytes]:
    """GET a URL; return the status, and the body of a 200. Time and bytes are bounded, whatever answers there.

    Raises `httpx.HTTPError`, `TimeoutError`, `_TooLargeError`.
    """
    with anyio.fail_after(_SECONDS):
        async with client.stream("GET", url, headers=_PLAIN) as answer:
            if answer.status_code != 200:
                return answer.status_code, b""
            body = bytearray()
            async with _pieces(answer) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > _LARGEST:
                        raise _TooLargeError
            return answer.status_code, bytes(body)


@asynccontextmanager
async def _pieces(answer: httpx.Response) -> AsyncGenerator[AsyncIterator[bytes]]:
    """The body as it comes, which may be left early."""
    pieces = answer.aiter_raw()
    try:
        yield pieces
    finally:
        with anyio.CancelScope(shield=True):
            await end_early(pieces)


async def _card(client: httpx.AsyncClient, url: str) -> _Card:
    try:
        status, body = await _answer(client, f"{url}{CARD_PATHS[0]}")
        if status != 200:
            return _Card(f"it answers with status {status}", is_refused=status == 400)
        card = orjson.loads(body)
    except (httpx.HTTPError, TimeoutError) as error:
        return _Card(f"it cannot be reached ({type(error).__name__})")
    except _TooLargeError:
        return _Card("its answer is too large for a card")
    except orjson.JSONDecodeError:
        return _Card("its answer is no card")
    interfaces = {text_at(card, "url")} | {text_at(one, "url") for one in objects_at(card, "supportedInterfaces")}
    found = tuple(sorted(url for url in interfaces if url))
    return _Card(None, found) if found else _Card("its answer is no card")


def _port(settings: Settings, ours: bool) -> PortFacts:
    """Try to listen, for a moment. Blocks."""
    host, port = settings.host, settings.port
    address = host_and_port(host, port)
    if ours:
        return PortFacts(address=address, ours=True)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        return PortFacts(address=address, error=error.strerror or str(error), taken=taken)
    return PortFacts(address=address)


async def check_streams(client: httpx.AsyncClient, url: str) -> Finding:
    """Time the events of the server's probe of streams, which costs half a second and runs nothing."""
    times: list[float] = []
    decoder = SseDecoder(4096)
    try:
        with anyio.fail_after(_SECONDS):
            async with client.stream(
                "GET", f"{url}{LIVE_PATH}", headers={**_PLAIN, "accept": _STREAM_TYPE}
            ) as answer:
                if answer.status_code == 404:
                    return judge_stream(None, f"{url}{LIVE_PATH} is not there: let the proxy in front pass it on")
                if not answer.headers.get("content-type", "").startswith(_STREAM_TYPE):
                    return judge_stream(None, f"{url}{LIVE_PATH} leads to no server that can probe streams")
                async with _pieces(answer) as pieces:
                    async for piece in pieces:
                        times += [anyio.current_time()] * len(decoder.feed(piece))
                        if len(times) > _MOST_EVENTS:
                            return judge_stream(None, f"{url}{LIVE_PATH} sends more than a probe of streams")
    except (httpx.HTTPError, ProtocolError, TimeoutError) as error:
        return judge_stream(None, f"the probe of streams broke ({type(error).__name__})")
    return judge_stream(times)
