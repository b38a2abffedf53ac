"""Serves an agent built with PyPI's fasta2a: `python -m tests.interop.peers.fasta2a_server TOKEN`.

Run in that library's environment. It speaks JSON-RPC 1.0; a message always begins a new task.
"""

# The library is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped, misc"

from __future__ import annotations

import contextlib
from typing import Any

import anyio
from fasta2a import FastA2A, Worker
from fasta2a.broker import InMemoryBroker
from fasta2a.storage import InMemoryStorage

from tests.interop.peers.behaviour import ARTIFACT, ASK, FAIL, FAILURE, QUESTION, WAIT, WAITING, serve, words


class Agent(Worker):
    """The behaviour, with the library's own means. Its broker runs one operation at a time, so that a running task
    cannot be canceled: what waits does so for a second.
    """

    async def run_task(self, params: Any) -> None:
        task, context, message = params["id"], params["context_id"], params["message"]
        text = "".join(part.get("text", "") for part in message["parts"])
        kind = text.partition(" ")[0]
        await self.storage.update_task(task, state="working")
        await self.publish_status(task, context, "working")
        if kind == ASK:
            await self._end(task, context, "input-required", QUESTION)
            return
        if kind == FAIL:
            await self._end(task, context, "failed", FAILURE)
            return
        if kind == WAIT:
            await self.publish_artifact(task, context, self._artifact(WAITING))
            await anyio.sleep(10)  # a command that starts meanwhile, on a busy machine, finds it at work
            await self.storage.update_task(task, state="completed", new_artifacts=[self._artifact(WAITING)])
            return
        pieces = words(text)
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            await self.publish_artifact(task, context, self._artifact(piece), append=number > 0, last_chunk=last)
        await self.storage.update_task(task, state="completed", new_artifacts=[self._artifact(text)])

    async def _end(self, task: str, context: str, state: Any, text: str) -> None:
        message = {"role": "agent", "parts": [{"text": text}], "message_id": f"{task}-{state}"}
        await self.storage.update_task(task, state=state, new_messages=[dict(message)])
        await self.publish_status(task, context, state, message)
        await self.broker.event_bus.close(task)

    def _artifact(self, text: str) -> Any:
        return {"artifact_id": ARTIFACT, "parts": [{"text": text}]}

    async def cancel_task(self, params: Any) -> None:
        await self.storage.update_task(params["id"], state="canceled")

    def build_message_history(self, history: Any) -> Any:
        return history

    def build_artifacts(self, result: Any) -> Any:
        return [self._artifact(str(result))]


def application(url: str) -> Any:
    """The application; its worker runs as long as it does."""
    storage: Any = InMemoryStorage()
    broker = InMemoryBroker()
    worker = Agent(storage=storage, broker=broker)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        async with app.task_manager, worker.run():
            yield

    return FastA2A(
        storage=storage,
        broker=broker,
        name="fasta2a",
        url=f"{url}/",
        skills=[],
        lifespan=lifespan,
        default_output_modes=["text/plain"],
    )


if __name__ == "__main__":
    serve(application)
