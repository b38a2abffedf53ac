"""The inputs that a message's model takes, by OpenCode's catalogue; read only where a message holds media.

What a file is, and what is taken for granted, is decided in `sansio.opencode.file_inputs`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from attrs import frozen

from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from sansio.a2a.model import FilePart, Part
from sansio.opencode.file_inputs import SAFE, declared, is_media, model_of_config
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.requests import Location, Model, UpstreamCall

_log = logging.getLogger(__name__)

_FRESH = 60.0  # seconds for which an answer is used again
_PLACES_LIMIT = 64  # places whose answers are remembered


@frozen
class _Known:
    """`catalogue`, `config`: as OpenCode answered at `at`, epoch seconds."""

    catalogue: Any
    config: Any
    at: float


class ModelInputs:
    """`own_agent`: the deployment names an agent, which may have a model of its own. `wall`: epoch seconds."""

    def __init__(self, upstream: Upstream, *, own_agent: bool, wall: Callable[[], float]) -> None:
        self._upstream = upstream
        self._own_agent = own_agent
        self._wall = wall
        self._known: dict[Location, _Known] = {}

    async def takes(
        self, parts: Sequence[Part], model: Model | None, location: Location, *, new: bool
    ) -> frozenset[str]:
        """The media types that the model takes beside text. `model`: the one that the message names.

        `new`: the message begins a conversation. In any other one OpenCode goes on with the model it used last,
        which is not known here.
        """
        if not any(isinstance(part, FilePart) and is_media(part) for part in parts):
            return SAFE
        if model is None and (self._own_agent or not new):
            return SAFE
        known = await self._look(location)
        if known is None:
            return SAFE
        named = (model.provider_id, model.model_id) if model is not None else model_of_config(known.config)
        found = declared(known.catalogue, *named) if named is not None else None
        return SAFE if found is None else found

    async def _look(self, location: Location) -> _Known | None:
        """The catalogue and the config, not older than counts as fresh; None if OpenCode cannot be asked."""
        known = self._known.get(location)
        if known is not None and self._wall() - known.at < _FRESH:
            return known
        try:
            catalogue = await self._read(requests.usable_providers(location))
            config = await self._read(requests.config(location))
        except (UpstreamError, orjson.JSONDecodeError) as exc:
            _log.info("what models take is not known: %s", exc)
            return None
        if len(self._known) >= _PLACES_LIMIT:
            del self._known[next(iter(self._known))]
        self._known[location] = _Known(catalogue, config, self._wall())
        return self._known[location]

    async def _read(self, call: UpstreamCall) -> Any:
        return orjson.loads((await self._upstream.request(call)).body)
