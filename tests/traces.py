"""Prints the trace of one turn as a tree with durations: `python -m tests.traces [--runtime trio] [TEXT]`.

The turn runs before a scripted OpenCode, whose words choose what happens: `hi`, `TOOL`, `SUBTASK`; for `PEER` its
model calls the same agent once more. `--svg` draws it as well. With `--listen`, spans of another server are collected
instead, whose OTEL_EXPORTER_OTLP_ENDPOINT names this program.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from pathlib import Path

from attrs import evolve

from opencode_a2a.config.settings import Settings
from opencode_a2a.tracing.opentelemetry_switch import ENDPOINTS, tracing
from sansio.outbound import parse_allowed_hosts
from sansio.redact import Secret
from tests.shell.harness import ALICE, CREDENTIALS, RUNTIMES, agent_at, quick, served
from tests.shell.tracing.collector import Collector, collecting
from tests.shell.tracing.waterfall import waterfall


async def one_turn(runtime: str, text: str) -> None:
    """Stream one turn of a server that sends its spans to the collector of the environment."""
    fake_opencode = quick()
    async with served(runtime, fake_opencode) as url, tracing("0", {}, print) as tracer:
        settings = Settings(
            opencode_url=url,
            credentials=CREDENTIALS,
            client_allowed_hosts=parse_allowed_hosts("127.0.0.1"),
            client_bearer_token=Secret(ALICE),
        )
        async with agent_at(runtime, fake_opencode, settings, tracer=tracer) as agent:
            agent.running.listening(evolve(settings, port=int(agent.url.rpartition(":")[2])))
            await agent.caller().stream(f"PEER {agent.url} hi" if text == "PEER" else text)


def listen(collector: Collector) -> None:
    """Print each second how many spans came, and what came last."""
    print(f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}", flush=True)
    while True:
        time.sleep(1)
        spans, collector.spans = collector.spans, []
        if spans:
            last = spans[-1].trace_id
            shown = Collector(spans=[span for span in spans if span.trace_id == last])
            print(f"\n{len(spans)} spans\n{shown.tree()}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.traces", description="Prints the trace of one turn.")
    parser.add_argument("text", nargs="?", default="hi", help="the message (hi)")
    parser.add_argument("--runtime", choices=sorted(RUNTIMES), default="asyncio")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the trace")
    parser.add_argument("--listen", type=int, metavar="PORT", help="collect from another server instead")
    options = parser.parse_args()
    with collecting(options.listen or 0) as collector:
        if options.listen is not None:
            try:
                listen(collector)
            except KeyboardInterrupt:
                return 130
        os.environ[ENDPOINTS[-1]] = collector.url
        RUNTIMES[options.runtime].run(partial(one_turn, options.runtime, options.text))
        print(collector.tree())
        if options.svg is not None:
            trace_id = collector.named("invoke_agent")[0].trace_id
            options.svg.write_text(
                waterfall([span for span in collector.spans if span.trace_id == trace_id]), "utf-8"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
