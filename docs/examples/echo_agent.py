"""Serve a TCP agent over A2A. The bearer token is in A2A_TOKEN.

    python docs/examples/echo_agent.py --runtime trio --port 8000 --agent-port 7000

The agent behind it takes one line of text, and answers with lines; a line with a dot is the end.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import frozen

from opencode_a2a.server import AgentRequest, RunningTask, find_runtime, open_agent
from sansio.a2a.cards.agent_card import CardSpec, Skill
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import TextPart
from sansio.access import Credential, CredentialSet

TEXT = ("text/plain",)


@frozen
class Echo:
    """The agent that listens on `port`."""

    port: int

    async def accept(self, request: AgentRequest) -> None:
        """Refuse what is no text."""
        if not all(isinstance(part, TextPart) for part in request.message.parts):
            raise ProtocolError(ErrorKind.CONTENT_TYPE_NOT_SUPPORTED, "This agent takes text alone")

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        """Send the message's text, and publish each line of the answer as it comes."""
        prompt = " ".join(part.text for part in request.message.parts if isinstance(part, TextPart))
        async with await anyio.connect_tcp("127.0.0.1", self.port) as agent:
            await agent.send(prompt.replace("\n", " ").encode() + b"\n")
            lines = BufferedByteReceiveStream(agent)
            while (line := await lines.receive_until(b"\n", 1 << 20)) != b".":
                task.text(line.decode(errors="replace") + "\n")


async def main(options: argparse.Namespace) -> None:
    """Serve the agent until SIGINT or SIGTERM."""
    credentials = CredentialSet((Credential.bearer(os.environ["A2A_TOKEN"], principal="me"),))
    about: dict[str, Any] = {
        "name": "Echo",
        "description": "Repeats a text.",
        "input_modes": TEXT,
        "output_modes": TEXT,
    }
    card = CardSpec(
        **about,
        version="1.0.0",
        schemes=credentials.schemes,
        skills=[Skill(id="echo", tags=["echo"], **about)],
    )
    async with open_agent(Echo(options.agent_port), card=card, credentials=credentials) as server:
        runtime, bind = find_runtime(options.runtime), f"127.0.0.1:{options.port}"
        await server.serve(runtime, bind, ready=lambda url: print(f"listening on {url}", flush=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serves a TCP agent over A2A. The bearer token is in A2A_TOKEN.")
    parser.add_argument("--runtime", default="asyncio", help="asyncio or trio")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--agent-port", type=int, required=True)
    given = parser.parse_args()
    find_runtime(given.runtime).run(lambda: main(given))
