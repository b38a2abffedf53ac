"""Calls other agents: finds them, sends messages, and follows their tasks over broken streams.

    async with connect(url, ClientOptions(bearer=Secret("…"))) as agent:
        task = await agent.send("Say hello")
        async with agent.stream("Count to ten", context_id=task.context_id) as events:
            async for item in events:
                ...

`connect`         connect to the agent at a URL
`ClientOptions`   credentials, limits of time, which interface to use; `ClientOptions.of(settings)`
`RemoteAgent`     the agent: `send`, `stream`, `subscribe`, tasks, push configurations, the extended card
`Sending`         what is sent beside a message
`EventStream`     what a task sends, as an async iterator
`AgentCache`      connections that are kept for the next call
`KnownPeers`      the agents of `A2A_PEERS_FILE`: by name, by URL, with their credentials

The errors are those of `sansio.a2a.client.client_errors`, and beside them:

    UsageError
      UnknownPeerError              no known peer has the name
      PeerCredentialError           the variable with a peer's credential is not set, or holds none

Each name is imported from its module when it is first
used: what only reads options does not load an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opencode_a2a.client.connection import AgentCache, connect
    from opencode_a2a.client.event_stream import EventStream
    from opencode_a2a.client.known_peers import KnownPeers
    from opencode_a2a.client.options import ClientOptions
    from opencode_a2a.client.remote_agent import RemoteAgent, Sending

__all__ = [
    "AgentCache",
    "ClientOptions",
    "EventStream",
    "KnownPeers",
    "RemoteAgent",
    "Sending",
    "connect",
]

_MODULES = {
    "connection": ("AgentCache", "connect"),
    "event_stream": ("EventStream",),
    "known_peers": ("KnownPeers",),
    "options": ("ClientOptions",),
    "remote_agent": ("RemoteAgent", "Sending"),
}

if not TYPE_CHECKING:  # a type checker would take any name for one of this package

    def __getattr__(name: str) -> object:
        for module, names in _MODULES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
