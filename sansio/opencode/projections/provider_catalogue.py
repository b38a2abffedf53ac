"""OpenCode's catalogue of providers and models as the summaries that clients get.

There are thousands of models, in megabytes of JSON, so each provider can be made less of as soon as it is decoded.
Raises `ValueError` where an answer is not what OpenCode's interface promises.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from sansio.a2a.model import JsonObject
from sansio.opencode.projections.session_projections import record
from sansio.opencode.projections.summaries import MODEL


@frozen
class Provider:
    """A provider, with the published fields of its models."""

    id: str
    name: str
    source: str | None
    models: list[JsonObject]


@frozen
class _Catalogue:
    """`defaults`: model by provider; `connected`: in order, and quick to look up."""

    providers: list[Provider]
    defaults: dict[str, str]
    connected: dict[str, None]

    def as_json(self, items: list[JsonObject]) -> JsonObject:
        return {"items": items, "default_by_provider": self.defaults, "connected": list(self.connected)}


def shrunk(value: Any) -> Any:
    """Keep only the published fields of a provider. Return a malformed entry unchanged."""
    if not isinstance(value, dict) or not isinstance(value.get("models"), dict):
        return value
    provider_id, name, source = value.get("id"), value.get("name"), value.get("source")
    if not isinstance(provider_id, str) or not provider_id:
        return value
    models = [_model(provider_id, key, model) for key, model in value["models"].items() if isinstance(model, dict)]
    named = name if isinstance(name, str) else provider_id
    return Provider(provider_id, named, source if isinstance(source, str) else None, models)


def _model(provider_id: str, name: str, model: JsonObject) -> JsonObject:
    return MODEL.of(model, provider_id=provider_id, model_id=name, name=name)


def providers_of(value: Any) -> JsonObject:
    """Return the providers, which model each has as its default, and to which of them OpenCode has a login."""
    catalogue = _read(value)
    return catalogue.as_json([_summary(catalogue, provider) for provider in catalogue.providers])


def _summary(catalogue: _Catalogue, provider: Provider) -> JsonObject:
    item: JsonObject = {
        "provider_id": provider.id,
        "name": provider.name,
        "connected": provider.id in catalogue.connected,
        "model_count": len(provider.models),
    }
    if provider.source is not None:
        item["source"] = provider.source
    if provider.id in catalogue.defaults:
        item["default_model_id"] = catalogue.defaults[provider.id]
    return item


def models_of(value: Any, provider_id: str | None) -> JsonObject:
    """Return the models of one provider, or of all."""
    catalogue = _read(value)
    items: list[JsonObject] = []
    for provider in catalogue.providers:
        if provider_id in (None, provider.id):
            connected, default = provider.id in catalogue.connected, catalogue.defaults.get(provider.id)
            for model in provider.models:  # nobody else has them
                model["connected"] = connected
                model["default"] = model["model_id"] == default
            items += provider.models
    return catalogue.as_json(items)


def _read(value: Any) -> _Catalogue:
    found = record(value, "the catalogue")
    given, connected = found.get("all"), found.get("connected")
    if not isinstance(given, list) or not isinstance(connected, list):
        raise ValueError("the catalogue: all and connected must be lists")
    providers = [item if isinstance(item, Provider) else shrunk(item) for item in given]
    if not all(isinstance(item, Provider) for item in providers):
        raise ValueError("the catalogue: holds something that is no provider")
    defaults = record(found.get("default"), "the catalogue's defaults")
    return _Catalogue(
        providers,
        {name: model for name, model in defaults.items() if isinstance(model, str)},
        dict.fromkeys(name for name in connected if isinstance(name, str)),
    )
