"""Drives `handler message send --stream` of a2a-handler: run as `python -m tests.interop.drivers.handler`.

Says what it prints. A text after a question is for the task that asks.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator

from tests.interop.drivers.dialogue import Json, converse

SECONDS = 40.0
PROGRAM = (sys.executable, "-c", "from a2a_handler.cli import main; main()")
TOKEN = "HANDLER_TOKEN"


async def talk(command: Json) -> AsyncIterator[Json]:
    interrupt_tracker: list[str] = []
    for text in command["texts"]:
        arguments = ["message", "send", "--url", command["url"], "--bearer-env", TOKEN, "--stream", "--text", text]
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *arguments,
            *interrupt_tracker,
            env={**os.environ, TOKEN: command["token"]},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            printed = (await asyncio.wait_for(process.communicate(), SECONDS))[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
        task = re.search(r"^task id: (\S+)$", printed, re.MULTILINE)
        asks = task is not None and f"event: task input_required ({task[1][:8]})" in printed
        interrupt_tracker = ["--task-id", task[1]] if task and asks else []
        yield {"kind": "turn", "task": task and task[1], "text": printed, "asks": printed if asks else None}


def explain(error: Exception) -> Json:
    return {"code": None, "status": None}


if __name__ == "__main__":
    converse({"talk": talk}, explain)
