"""Serves the scripted stand-in for OpenCode: `python -m tests.interop.fake_opencode_server RUNTIME`.

Prints where it listens. Runs until it is told to end. It can be told to hold its turns, as the stand-in itself can.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial

import attrs

from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.fake_opencode.app import Receive, Scope, Send
from tests.serving_alone import serve_alone

HOLD, RELEASE = "/of-the-tests/hold", "/of-the-tests/release"
TOKENS_BEFORE_HELD = 5


@attrs.frozen(eq=False)
class HeldFake:
    """The stand-in, with two more paths: one holds every turn that has said a little, the other lets them go on."""

    fake_opencode: FakeOpenCode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if path == HOLD:
            self.fake_opencode.hold(tokens=TOKENS_BEFORE_HELD)
        elif path == RELEASE:
            self.fake_opencode.release()
        else:
            await self.fake_opencode(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def main(runtime_name: str) -> None:
    runtime = importlib.import_module(f"runtime_{runtime_name}")
    # Quick, but for SLOW, which shall not end by itself while somebody looks.
    fake_opencode = HeldFake(FakeOpenCode(pause=0.005, tick=0.25))
    runtime.run(partial(serve_alone, runtime, fake_opencode))


if __name__ == "__main__":
    main(sys.argv[1])
