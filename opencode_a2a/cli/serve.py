"""Serves the application on a chosen runtime: finds the runtime, listens, prints the address, drains at the end."""

from __future__ import annotations

import argparse
import gc
import linecache
import logging
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

from attrs import evolve

from opencode_a2a.agent.application import Running, application
from opencode_a2a.cli.connection_limits import connection_limits
from opencode_a2a.cli.supervision.sockets import Sockets
from opencode_a2a.client.known_peers import KnownPeers
from opencode_a2a.config.risks import risks
from opencode_a2a.config.settings import (
    METRICS_ADDRESS,
    Settings,
    check_bindings,
    check_exposure,
    check_workers,
    read_dotenv,
    with_generated_token,
)
from opencode_a2a.logs import LIFECYCLE
from opencode_a2a.server.certificates import ServedCertificate
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.serving import also_serving, bind_socket, serve_tasks
from opencode_a2a.server.signals import Hangups, until_signalled
from opencode_a2a.server.task_server import TaskServer
from opencode_a2a.tracing.opentelemetry_switch import tracing
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.counted import counted
from sansio.guards.console import PATH as CONSOLE_PATH
from sansio.http import METRICS_PATH
from sansio.metrics import CERTIFICATE_ENDS
from sansio.redact import Secret
from sansio.transport.addresses import host_and_port

_log = logging.getLogger(LIFECYCLE)

_COLLECTED = (5_000, 50, 1_000)
"""Thresholds of the garbage collector: new objects, looks at the newest, and looks at those that outlived one."""


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Serve until a signal comes; return the exit code."""
    check_exposure(settings)
    check_bindings(settings)
    check_workers(settings)
    KnownPeers.of(settings)  # whose file is to be mended now, and not when a model first calls one
    _check_addresses(settings)
    if not (settings.credentials or settings.has_other_callers):
        token = secrets.token_urlsafe(24)
        settings = with_generated_token(settings, token)
        _print(f"no credentials are set; for this run, the bearer token is {token}")

    say = _log.info if settings.log_format == "json" else _print
    for risk in risks(settings):
        if settings.log_format == "json":
            _log.warning("%s", risk)
        else:
            _print(f"warning: {risk}")

    if settings.workers > 1:
        from opencode_a2a.cli.supervision.workers import serve_in_workers

        code = serve_in_workers(options, settings, runtime, serve=serve, say=say, announce=_announcing(settings, say))
    else:
        code = _serve_alone(settings, runtime, say)
    if settings.log_format == "json":
        say("stopped")
    return code


def _check_addresses(settings: Settings) -> None:
    """Raise `ListenError` where another program listens, before a token is shown or a store is made."""
    bind_socket(settings.host, settings.port).close()
    if settings.metrics_port is not None:
        bind_socket(settings.metrics_host, settings.metrics_port, METRICS_ADDRESS).close()


def _serve_alone(settings: Settings, runtime: Runtime, say: Callable[[str], None]) -> int:
    """Serve in this process."""
    ready = _announcing(settings, say)
    hangups = Hangups()
    stop = partial(until_signalled, hangups)
    tracer = tracing(settings.version, read_dotenv(Path(".env")), lambda text: say(f"warning: {text}"))
    runtime.run(partial(serve, settings, runtime, stop=stop, ready=ready, say=say, hangups=hangups, tracer=tracer))
    return 0


def _announcing(settings: Settings, say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what says, once the server listens at a URL, where it and its console are."""
    workers = f", {settings.workers} workers" if settings.workers > 1 else ""

    def announce(url: str) -> None:
        say(f"listening on {url} ({settings.runtime}{workers})")
        if settings.console:
            say(f"the console is at {url}{CONSOLE_PATH}")

    return announce


def _print(text: str) -> None:
    """Print a line for a person: it is there at once, and is no record of the log."""
    print(f"opencode-a2a: {text}", file=sys.stderr, flush=True)


def _calm_collector() -> None:
    """Keep the collector away from objects that live as long as the server; let it look at young ones in larger lots.

    A stream makes many small values that die at once; the default thresholds spend a tenth of the time on them. A lot
    of 20,000 held the loop for 9 ms.

    The sources of what attrs has generated go as well, 1.5 MB that tracebacks alone need.
    """
    linecache.clearcache()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED)


async def serve(
    settings: Settings,
    runtime: Runtime,
    *,
    stop: Callable[[], Awaitable[None]],
    ready: Callable[[str], None],
    say: Callable[[str], None] = lambda text: None,
    hangups: Hangups | None = None,
    tracer: AbstractAsyncContextManager[Tracer] = nullcontext(NO_TRACER),  # noqa: B008 - it has no state
    sockets: Sockets | None = None,
    tool_secret: Secret | None = None,
) -> None:
    """Serve until `stop` returns, then drain. `ready` gets the URL listened on, `say` what the drain waits for.

    `hangups`: gets the functions that load files again. `tracer`: gives what records spans. `sockets`: those of the
    parent, in a worker; None binds what the settings name. `tool_secret`: of the endpoint of the model's tool, where
    several processes have the same.

    Raises `SettingsError` where the certificate cannot be used, `ListenError` where the address cannot be had,
    `StoreError` where the store cannot be opened.
    """
    _calm_collector()
    certificate = await ServedCertificate.open(settings)
    if certificate is not None and hangups is not None:
        hangups.add(certificate.reload)
    grace = settings.shutdown_grace_seconds
    async with (
        tracer as recording,
        application(
            settings,
            tracer=recording,
            tool_secret=tool_secret,
            others_serve=lambda: sockets is not None and sockets.share.others_accept,
        ) as running,
        _metrics_port(settings, runtime, running, say, None if sockets is None else sockets.metrics),
    ):
        gc.freeze()  # what was made meanwhile; to look at 5,000 recovered tasks took a second
        if certificate is not None:
            certificate.warn_of_end(time.time())
            running.meters.read(CERTIFICATE_ENDS, certificate.ends)
        if hangups is not None:
            for reload in running.reloads:
                hangups.add(reload)

        def listening(address: str) -> None:
            running.listening(evolve(settings, port=int(address.rpartition(":")[2])))
            ready(f"{'http' if certificate is None else 'https'}://{address}")

        await serve_tasks(
            running.asgi,
            running.tasks,
            runtime,
            host_and_port(settings.host, settings.port) if sockets is None else sockets.served,
            stop=stop,
            listening=listening,
            stopping=lambda: say(_farewell(running.tasks, grace)),
            grace=grace,
            limits=connection_limits(settings),
            tls=None if certificate is None else certificate.context,
            share=None if sockets is None else sockets.share,
        )


@asynccontextmanager
async def _metrics_port(
    settings: Settings, runtime: Runtime, running: Running, say: Callable[[str], None], bound: str | None
) -> AsyncGenerator[None]:
    """Serve the metrics on their own port while entered, if there is one. `bound`: a socket, where there is one."""
    if running.metrics is None or settings.metrics_port is None:
        yield
        return
    bind = host_and_port(settings.metrics_host, settings.metrics_port) if bound is None else bound
    async with also_serving(
        running.metrics,
        runtime,
        bind,
        lambda address: say(f"metrics on http://{address}{METRICS_PATH}"),
        METRICS_ADDRESS,
    ):
        yield


def _farewell(served: TaskServer, grace: float) -> str:
    """The line about the tasks and streams that a stopping server waits for, and those that it leaves."""
    tasks, streams = served.awaited_tasks, served.open_streams
    if left := len(served.active_tasks) - tasks:
        wait = "waits for its user and goes" if left == 1 else "wait for their users and go"
        also = f"; {counted(left, 'task')} {wait} on at the next start"
    else:
        also = ""
    if not tasks:
        return f"stopping{also}"
    waited_for = " and ".join(
        counted(number, name) for number, name in ((tasks, "task"), (streams, "stream")) if number
    )
    again = "SIGINT (Ctrl+C) or SIGTERM again ends it at once"
    return f"stopping: waiting up to {grace:g} s for {waited_for}{also}; {again}"
