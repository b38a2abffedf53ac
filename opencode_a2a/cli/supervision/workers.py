"""Serves in several processes: binds the sockets, and runs the server in each worker.

The parent binds and does not listen: as long as no worker does, callers are refused as before a start.
"""

from __future__ import annotations

import argparse
import logging
import mmap
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from attrs import evolve, frozen

from opencode_a2a.cli.supervision.parent import Worker, run_workers
from opencode_a2a.cli.supervision.sockets import Sockets
from opencode_a2a.config.settings import METRICS_ADDRESS, Settings, read_dotenv
from opencode_a2a.logs import LIFECYCLE, logging_to
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.serving import bind_socket
from opencode_a2a.server.signals import Hangups, until_signalled
from opencode_a2a.tracing.opentelemetry_switch import tracing
from sansio.redact import Secret
from sansio.supervision.workers import BEAT, HANG, Supervisor
from sansio.transport.sharing import ABSENT, AcceptShare

_log = logging.getLogger(LIFECYCLE)
_COUNT = 8  # bytes of one count


def serve_in_workers(
    options: argparse.Namespace,
    settings: Settings,
    runtime: Runtime,
    *,
    serve: Callable[..., Coroutine[Any, Any, None]],
    say: Callable[[str], None],
    announce: Callable[[str], None],
) -> int:
    """Serve in `settings.workers` processes until a signal comes; return the exit code. Raises `ListenError`.

    `serve`: that of the command. `say`: prints or logs a line. `announce`: takes the URL once a worker listens.
    """
    # until the counts are shared, nothing may start a thread or an event loop here
    from opencode_a2a.server.store import sql  # noqa: F401 - imported once, for all workers and their restarts

    counts, beats = (memoryview(mmap.mmap(-1, _COUNT * settings.workers)).cast("q") for _ in range(2))
    for place in range(settings.workers):
        counts[place] = ABSENT
    with ExitStack() as stack:
        served = stack.enter_context(bind_socket(settings.host, settings.port))
        metrics = [
            stack.enter_context(bind_socket(settings.metrics_host, port, METRICS_ADDRESS))
            for port in _metrics_ports(settings)
        ]
        work = _Work(
            options, settings, runtime, serve, served, metrics, counts, beats, Secret(secrets.token_urlsafe(32))
        )

        def gone(number: int) -> None:
            counts[number - 1] = ABSENT

        return run_workers(
            Supervisor(settings.workers, grace=settings.shutdown_grace_seconds, patience=HANG),
            work,
            announce=announce,
            say=say,
            ended=gone,
            beats=beats,
        )


def _metrics_ports(settings: Settings) -> list[int]:
    """The port of each worker's metrics; none where there are no metrics."""
    first = settings.metrics_port
    if not settings.metrics_enabled or first is None:
        return []
    return [first + place if first else 0 for place in range(settings.workers)]


@frozen(eq=False)
class _Work:
    """The work of each worker. `tool`: the secret of the endpoint of the model's tool, the same in all."""

    options: argparse.Namespace
    settings: Settings
    runtime: Runtime
    serve: Callable[..., Coroutine[Any, Any, None]]
    served: socket.socket
    metrics: list[socket.socket]
    counts: memoryview[int]
    beats: memoryview[int]
    tool: Secret

    def __call__(self, worker: Worker) -> int:
        """Serve, in the process of a worker; return its exit code."""
        from opencode_a2a.cli.main import reported

        logging.getLogger().handlers.clear()  # the parent's
        in_json = self.settings.log_format == "json"
        log = logging_to(
            sys.stderr,
            self.settings.log_level,
            json=in_json,
            lifecycle=True,
            fields={"worker": worker.number},
        )

        def say(text: str) -> None:
            if in_json:
                _log.info("%s", text)
            else:
                print(f"opencode-a2a: worker {worker.number}: {text}", file=sys.stderr, flush=True)

        with log:
            return reported(partial(self._serve, worker, say), self.options)

    def _serve(self, worker: Worker, say: Callable[[str], None]) -> int:
        settings, place = self.settings, worker.number - 1
        name = f"{settings.replica_name or socket.gethostname()} worker {worker.number}"
        hangups = Hangups()
        sockets = Sockets(
            served=f"fd://{self.served.dup().detach()}",
            metrics=f"fd://{self.metrics[place].dup().detach()}" if self.metrics else None,
            share=AcceptShare(self.counts, place),
        )
        missed: list[int] = []
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda number, _: missed.append(number))
        for bound in (self.served, *self.metrics):
            bound.close()
        serving = partial(
            self.serve,
            evolve(settings, replica_name=name),
            self.runtime,
            stop=partial(until_stopped, hangups, worker.parent, missed),
            ready=worker.ready,
            say=say,
            hangups=hangups,
            tracer=tracing(settings.version, read_dotenv(Path(".env")), lambda text: say(f"warning: {text}")),
            sockets=sockets,
            tool_secret=self.tool,
        )
        self.runtime.run(partial(beating, self.beats, place, serving))
        return 0


async def beating(beats: memoryview[int], place: int, serving: Callable[[], Awaitable[None]]) -> None:
    """Serve, and raise the count of this worker as long as the event loop turns, also while it drains."""
    async with anyio.create_task_group() as tasks:

        async def beat() -> None:
            while True:
                beats[place] += 1
                await anyio.sleep(BEAT)

        tasks.start_soon(beat)
        await serving()
        tasks.cancel_scope.cancel()


async def until_stopped(hangups: Hangups, parent: int, missed: Sequence[int] = ()) -> None:
    """Return when the parent wants the worker to stop, or is gone itself.

    `missed`: not empty where SIGHUP came while the worker started, when files may have been read already.
    """
    async with anyio.create_task_group() as tasks:

        async def wait_for_parent() -> None:
            await anyio.wait_readable(parent)
            _log.warning("the parent process is gone: this worker stops")
            tasks.cancel_scope.cancel()

        early: list[int] = []

        async def look_at_early_signals() -> None:
            if early:
                tasks.cancel_scope.cancel()

        tasks.start_soon(wait_for_parent)
        tasks.start_soon(look_at_early_signals)
        if missed:
            tasks.start_soon(hangups.run)
        # A second one that came with the first is raised again by trio, for the handler that was there before.
        signal.signal(signal.SIGTERM, lambda number, _frame: early.append(number))
        try:
            await until_signalled(hangups, stopping=(signal.SIGTERM,), ends_at_the_second=False)
        finally:
            # It drains; who wants it to end at once has SIGKILL. Nothing else may run before that: systemd and the
            # parent both send SIGTERM, and asyncio has given it back its default action.
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        tasks.cancel_scope.cancel()
