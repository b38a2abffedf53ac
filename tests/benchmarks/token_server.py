"""Serves an agent that says its tokens at once, with `opencode_a2a.server`: what `sdk_grpc_server` is for a2a-sdk.

`python -m tests.benchmarks.token_server --runtime trio TOKEN...`. Every binding; tasks are kept in memory. The bearer
token is in A2A_TOKEN.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from opencode_a2a.server import AgentRequest, RunningTask, find_runtime, open_agent
from sansio.a2a.cards.agent_card import CardSpec, Skill
from sansio.a2a.cards.parse import SERVED
from sansio.access import Credential, CredentialSet

TEXT = ("text/plain",)


@frozen
class Tokens:
    """Says the tokens of a turn."""

    tokens: Sequence[str]

    async def accept(self, request: AgentRequest) -> None:
        """Accept everything."""

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        for token in self.tokens:
            task.text(token)


async def main(options: argparse.Namespace) -> None:
    credentials = CredentialSet((Credential.bearer(os.environ["A2A_TOKEN"], principal="me"),))
    about: dict[str, Any] = {
        "name": "Tokens",
        "description": "Says tokens.",
        "input_modes": TEXT,
        "output_modes": TEXT,
    }
    skills = [Skill(id="say", tags=["test"], **about)]
    card = CardSpec(**about, version="1.0.0", schemes=credentials.schemes, skills=skills, bindings=SERVED)
    async with open_agent(Tokens(options.tokens), card=card, credentials=credentials) as server:
        runtime = find_runtime(options.runtime)
        await server.serve(runtime, "127.0.0.1:0", ready=lambda url: print(f"listening on {url}", flush=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.token_server", description=__doc__)
    parser.add_argument("--runtime", default="asyncio", help="asyncio or trio")
    parser.add_argument("tokens", nargs="+", metavar="TOKEN")
    given = parser.parse_args()
    find_runtime(given.runtime).run(lambda: main(given))
