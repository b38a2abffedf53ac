"""Serves an agent over gRPC with PyPI's a2a-sdk 1.3.0 and grpcio, as that library's own example does.

Run in that library's environment: `python -m tests.benchmarks.sdk_grpc_server TOKEN...`. Its executor has no
upstream and waits for nothing: it says the tokens of a turn at once, in an artifact event each.
"""

# The library is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped, misc"

from __future__ import annotations

import argparse
import asyncio
import sys

import grpc
from a2a.server.agent_execution import RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import a2a_pb2_grpc

from tests.interop.peers.sdk_1_agent import CancelingExecutor, begun, card_of, say


class Tokens(CancelingExecutor):
    """Says the tokens of a turn."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        updater = await begun(context, event_queue)
        await say(updater, "text", self._tokens)
        await updater.complete()


async def serve(tokens: list[str]) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    card = card_of("tokens", ("GRPC", "1.0", f"127.0.0.1:{port}"))
    handler = DefaultRequestHandler(agent_executor=Tokens(tokens), task_store=InMemoryTaskStore(), agent_card=card)
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), server)
    await server.start()
    print(f"listening on http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sdk_grpc_server")
    parser.add_argument("tokens", nargs="+", metavar="TOKEN")
    asyncio.run(serve(parser.parse_args().tokens))


if __name__ == "__main__":
    main()
