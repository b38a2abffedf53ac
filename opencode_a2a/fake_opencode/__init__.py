"""A scripted fake of `opencode serve`: its HTTP API and event bus without a model, for the demo and for tests.

It must not know of A2A, of the service that calls it, or of who serves it: it is an ASGI application.
"""

from __future__ import annotations

from opencode_a2a.fake_opencode.app import FakeOpenCode
from opencode_a2a.fake_opencode.exchange import Request
from opencode_a2a.fake_opencode.scripts import (
    AFTER_TOOL,
    HELLO,
    SPACED,
    Act,
    Ask,
    CallServer,
    CallTool,
    Delegate,
    Permission,
    Prompt,
    Refuse,
    RetryLater,
    Say,
    Script,
    Think,
    script_for,
    words,
)

__all__ = [
    "AFTER_TOOL",
    "HELLO",
    "SPACED",
    "Act",
    "Ask",
    "CallServer",
    "CallTool",
    "Delegate",
    "FakeOpenCode",
    "Permission",
    "Prompt",
    "Refuse",
    "Request",
    "RetryLater",
    "Say",
    "Script",
    "Think",
    "script_for",
    "words",
]
