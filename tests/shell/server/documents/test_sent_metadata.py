"""Metadata of extensions, as turns send it: each field is one of the published ones, and of its type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from sansio.a2a.tasks.shared_metadata import STREAM_HINTS, STREAM_RESUME
from sansio.opencode.extension_names import EXTENSION_URIS
from sansio.opencode.metadata_fields import FIELDS, Carrier, metadata_schema
from tests.shell.harness import REST_03, REST_10, Caller, Serving, Wire

pytestmark = [
    pytest.mark.anyio,
    # one runtime: no event loop has a part in metadata
    pytest.mark.parametrize("anyio_backend", ["trio"]),
]

PROMPTS = ("ECHO one two", "THINK", "STEPS", "RETRY", "PERMISSION")
ACTIVATED = (STREAM_HINTS, STREAM_RESUME)
_CLOSED = {"details", "model"}
"""Members that one row describes as a whole."""

Found = tuple[Carrier, dict[str, Any]]


def uris(version: str) -> str:
    return ", ".join(EXTENSION_URIS[name][version] for name in ACTIVATED)


async def sent(caller: Caller, prompt: str) -> list[dict[str, Any]]:
    """The items of a turn's stream; a turn that asks is allowed once, and its rest and its task are read too."""
    header = {"X-A2A-Extensions": uris("0.3")} if caller.wire.version == "0.3" else {}
    async with caller.opened(caller.request("stream", caller.params(prompt, {}), **header)) as stream:
        await stream.whole()
    items = [event.json for event in stream.events]
    if prompt == "PERMISSION":
        await caller.send("once", taskId=stream.task.id)
        headers = {**header, "Last-Event-ID": str(stream.events[-1].number)}
        async with caller.opened(caller.request("subscribe", {"id": stream.task.id}, **headers)) as rest:
            await rest.whole()
        items += [event.json for event in rest.events]
        task = (await caller.ask("get", {"id": stream.task.id})).json()
        items.append(task if caller.wire.version == "0.3" else {"task": task})
    return items


def holders(item: dict[str, Any], version: str) -> Iterator[Found]:
    """Everything of an item that has metadata, with what it is."""
    kind, body = (item["kind"], item) if version == "0.3" else next(iter(item.items()))
    if kind == "task":
        yield from ((Carrier.ARTIFACT, one) for one in body.get("artifacts", ()))
    if kind in ("artifact-update", "artifactUpdate"):
        yield Carrier.ARTIFACT, body["artifact"]
        yield Carrier.ARTIFACT_EVENT, body
    else:
        yield Carrier.TASK if kind == "task" else Carrier.STATUS, body


def leaves(value: dict[str, Any], path: str) -> Iterator[str]:
    """The names of all fields inside an object."""
    for name, member in value.items():
        if isinstance(member, dict) and name not in _CLOSED:
            yield from leaves(member, f"{path}.{name}")
        else:
            yield f"{path}.{name}"


@pytest.mark.parametrize("wire", [REST_03, REST_10], ids=str)
async def test_what_turns_send_is_of_the_published_schemas(serving: Serving, wire: Wire) -> None:
    known = {
        carrier: {row.name for name in ACTIVATED for row in FIELDS[name] if carrier in row.carriers}
        for carrier in Carrier
    }
    seen: set[str] = set()

    async with serving() as agent:
        caller = Caller(agent.http, wire, extensions=uris(wire.version))
        for prompt in PROMPTS:
            for item in await sent(caller, prompt):
                for carrier, holder in holders(item, wire.version):
                    metadata = holder.get("metadata", {})
                    fields = set(leaves(metadata.get("shared", {}), "metadata.shared"))
                    assert fields <= known[carrier], (carrier, metadata)
                    for name in ACTIVATED:
                        Draft202012Validator(metadata_schema(name, carrier)).validate(metadata)
                    seen |= fields

    never = {name for names in known.values() for name in names} - seen
    assert never == {
        "metadata.shared.resume.last_event_id",  # of requests
        "metadata.shared.session.title",  # of a method's tasks
        "metadata.shared.interrupt.answer",  # of questions and rejections
        *(f"metadata.shared.progress.{name}" for name in ("tool", "call_id")),  # of tools that report how they get on
    }
