"""Prints the trace of one turn as a tree with durations: `python -m tests.traces [--runtime trio] [TEXT]`.

The turn runs before a scripted OpenCode, whose words choose what happens: `hi`, `TOOL`, `SUBTASK`. With `--listen`,
spans of another server are collected instead, whose OTEL_EXPORTER_OTLP_ENDPOINT names this program.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial

from opencode_a2a.config.settings import Settings
from opencode_a2a.tracing.opentelemetry_switch import ENDPOINTS, tracing
from tests.shell.harness import CREDENTIALS, RUNTIMES, agent_at, quick, served
from tests.shell.tracing.collector import Collector, collecting


async def one_turn(runtime: str, text: str) -> None:
    """Stream one turn of a server that sends its spans to the collector of the environment."""
    fake_opencode = quick()
    async with (
        served(runtime, fake_opencode) as url,
        tracing("0", {}, print) as tracer,
        agent_at(runtime, fake_opencode, Settings(opencode_url=url, credentials=CREDENTIALS), tracer=tracer) as agent,
    ):
        await agent.caller().stream(text)


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
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
