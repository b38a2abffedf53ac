"""Send a message to an A2A agent, print its answer as it comes, and answer one question. A token is in A2A_TOKEN.

python docs/examples/call_agent.py http://127.0.0.1:8000 "Say hello" --runtime trio
"""

from __future__ import annotations

import argparse
import os
import sys

from opencode_a2a.client import ClientOptions, RemoteAgent, connect
from opencode_a2a.server import find_runtime
from sansio.a2a.client.client_errors import AuthenticationError, ClientError, UnavailableError
from sansio.a2a.client.transcript import AnswerText, Transcript
from sansio.a2a.model import TaskState, TaskStatus
from sansio.opencode.extension_names import SHARED_URIS
from sansio.redact import Secret


async def ask(agent: RemoteAgent, text: str, task_id: str | None = None, answering: TaskStatus | None = None) -> None:
    """Send a text; print what comes of it, over as many connections as it takes."""
    transcript = Transcript()
    async with agent.stream(text, task_id=task_id, answering=answering) as events:
        async for item in events:
            for piece in transcript.feed(item):
                if isinstance(piece, AnswerText):
                    print(piece.text, end="", flush=True)
    status = events.status
    print(f"\n[{events.task_id}: {status.state.value if status else 'answered'}]")
    if status is not None and status.state is TaskState.INPUT_REQUIRED and answering is None:
        await ask(agent, "A", task_id=events.task_id, answering=status)


async def main(options: argparse.Namespace) -> None:
    """Connect to the agent and ask it."""
    token = os.environ.get("A2A_TOKEN")
    client = ClientOptions(bearer=Secret(token) if token else None, extensions=SHARED_URIS)
    try:
        async with connect(options.url, client) as agent:
            print(f"{agent.card.name}, {agent.interface}")
            await ask(agent, options.text)
    except AuthenticationError:
        sys.exit("It wants another token: set A2A_TOKEN")
    except UnavailableError as error:
        sys.exit(f"It cannot be reached now: {error}")
    except ClientError as error:
        sys.exit(f"It did not work: {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sends a message to an A2A agent. A token is in A2A_TOKEN.")
    parser.add_argument("url")
    parser.add_argument("text")
    parser.add_argument("--runtime", default="asyncio", help="asyncio or trio")
    given = parser.parse_args()
    find_runtime(given.runtime).run(lambda: main(given))
