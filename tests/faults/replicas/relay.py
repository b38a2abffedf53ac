"""A relay of bytes on loopback, which can be cut, or made silent: between a server and its database."""

from __future__ import annotations

import anyio
from anyio.abc import SocketStream
from attrs import define

from tests.faults.proxy import BROKEN, Forwarder, reset


@define(eq=False)
class Relay(Forwarder):
    """Relays bytes, both ways. `silent`: it takes what comes, passes on nothing, and keeps the connections."""

    silent: bool = False

    async def _connection(self, stream: SocketStream) -> None:
        try:
            async with (
                await anyio.connect_tcp("127.0.0.1", self.target) as upstream,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._pump, stream, upstream)
                tasks.start_soon(self._pump, upstream, stream)
        except* BROKEN:
            pass
        finally:
            reset(stream)
            await anyio.aclose_forcefully(stream)

    async def _pump(self, source: SocketStream, target: SocketStream) -> None:
        lost = False  # a connection of which something was lost stays silent
        while True:
            data = await source.receive()
            lost = lost or self.silent
            if not lost:
                await target.send(data)
