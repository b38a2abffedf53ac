"""Serves any agent over A2A: HTTP, tasks, a durable store, push notifications. Knows nothing of OpenCode.

    class Hello:
        async def accept(self, request: AgentRequest) -> None: ...

        async def run(self, request: AgentRequest, task: RunningTask) -> None:
            task.text("Hello")

    async with open_agent(Hello(), card=card, credentials=credentials) as server:
        await server.serve(find_runtime("asyncio"), "127.0.0.1:8000")

`Agent` says what an agent has to do, `AgentHooks` what it may do beside that: answer by itself what a task asks,
recover tasks after a restart, keep options with a task. `ServerOptions` has the store and every bound.

Its exceptions, beside those of `opencode_a2a.server.store`. Callers handle each by itself, so none needs a root:

    ProtocolError
      NotHereError                  a place of the agent's is not reached by this server
    Exception
      ClientLeftError               the client left, and there is nobody to answer
      IssuerUnavailableError        a document of an identity provider could not be had
      OwnedHereError                no other server works on a task, which was asked for it
      RuntimeUnknownError           no runtime of that name is installed
      UndeliveredError              a receiver of push notifications did not answer
    LookupError
      FarBehindError                a reader is behind by more events than are kept in memory
    OSError
      ListenError                   the address cannot be listened on
    ValueError
      KeyRefusedError               a key for signing cards cannot be used
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opencode_a2a.server.agent import Agent, AgentHooks, AgentRequest, Work
    from opencode_a2a.server.agent_server import AgentServer, ServerOptions, open_agent
    from opencode_a2a.server.identity.opening import IdentityOptions
    from opencode_a2a.server.runtimes import Runtime, find_runtime
    from opencode_a2a.server.tasks.running_task import RunningTask

__all__ = [
    "Agent",
    "AgentHooks",
    "AgentRequest",
    "AgentServer",
    "IdentityOptions",
    "RunningTask",
    "Runtime",
    "ServerOptions",
    "Work",
    "find_runtime",
    "open_agent",
]

_MODULES = {
    "agent": ("Agent", "AgentHooks", "AgentRequest", "Work"),
    "agent_server": ("AgentServer", "ServerOptions", "open_agent"),
    "identity.opening": ("IdentityOptions",),
    "runtimes": ("Runtime", "find_runtime"),
    "tasks.running_task": ("RunningTask",),
}
"""The exported names by module, imported when asked for: what serves nothing needs neither a server nor a client."""

if not TYPE_CHECKING:  # a type checker would take any name for one of this package

    def __getattr__(name: str) -> object:
        for module, names in _MODULES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
