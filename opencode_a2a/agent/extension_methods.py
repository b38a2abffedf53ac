"""Runs the extension methods by their rows: who may, with which arguments, where; then OpenCode or the adapter
answers. Large answers are decoded and written in steps, between which everybody else has their turn.

What is decided is decided in `sansio.extensions`; knows neither HTTP nor JSON-RPC.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.lowlevel
from attrs import frozen

from opencode_a2a.agent.instance_choice import InstanceChoice
from opencode_a2a.agent.instances import Instance, Instances
from opencode_a2a.agent.sessions.session_access import sessions_by_id
from opencode_a2a.agent.upstream.upstream import UpstreamError
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.store import StoreError
from opencode_a2a.server.store.store_errors import store_failure
from sansio.a2a.bindings.json_output import encoded_pieces
from sansio.a2a.codecs.json_values import list_at
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import JsonObject
from sansio.access import Identity
from sansio.extensions.methods.method_errors import forbidden, payload_error, upstream_error
from sansio.extensions.methods.method_rows import MethodRow, Ownership, Reply, Scope, Toggle
from sansio.extensions.methods.method_table import row_of
from sansio.extensions.methods.parameters import Arguments, read
from sansio.extensions.methods.rendering import for_version
from sansio.extensions.methods.routing import DIRECTORY, INSTANCE, METADATA_DIRECTORY, WORKSPACE
from sansio.extensions.methods.shapes import INVALID, wrong
from sansio.large_json import decoded
from sansio.opencode.projections.instance_lists import id_of, last_used, merged, of_instance
from sansio.opencode.upstream.requests import Location, UpstreamCall

_CURSOR = b"x-next-cursor"
_WIDER = 5  # times as many sessions are asked for, where some of those listed are other callers'


class Interrupts(Protocol):
    """Replies to pending permissions and questions. All raise `ProtocolError`."""

    async def reply_permission(self, principal: str, request_id: str, reply: str, message: str | None) -> None: ...

    async def reply_question(self, principal: str, request_id: str, answers: Sequence[Sequence[str]]) -> None: ...

    async def reject_question(self, principal: str, request_id: str) -> None: ...

    async def pending(self, principal: str, kind: str) -> list[JsonObject]: ...


@frozen(kw_only=True)
class _MethodCall:
    """One request: the row, who asks, with which arguments, which instance, and where in it."""

    instance: Instance
    row: MethodRow
    principal: str
    given: Arguments
    location: Location


class Methods:
    """The extension methods of a running server. `switched_on`: what its operator has enabled."""

    def __init__(
        self,
        *,
        instances: Instances,
        choice: InstanceChoice,
        interrupts: Interrupts,
        switched_on: Collection[Toggle] = (),
    ) -> None:
        self._instances = instances
        self._choice = choice
        self._interrupts = interrupts
        self.switched_on = frozenset(switched_on)
        self._local: Mapping[str, Callable[[str, Arguments], Awaitable[JsonObject]]] = {
            "opencode.permissions.list": lambda principal, given: self._pending(principal, "permission"),
            "opencode.questions.list": lambda principal, given: self._pending(principal, "question"),
            "a2a.interrupt.permission.reply": self._reply_permission,
            "a2a.interrupt.question.reply": self._reply_question,
            "a2a.interrupt.question.reject": self._reject_question,
        }

    async def run(self, name: str, params: object, identity: Identity, version: str) -> list[bytes]:
        """The result of a method, as the JSON of a version in pieces. Raises `ProtocolError`."""
        row = row_of(name, version, self.switched_on)
        if row.capability is not None and row.capability not in identity.capabilities:
            raise forbidden(name, row.capability, identity.credential_id)
        given = read(row.parameters, params, row.unsupported)
        try:
            if row.scope is Scope.LOCAL:
                result = await self._answered_here(row, identity.principal, given)
            else:
                result = await self._answered_upstream(row, identity.principal, given)
        except StoreError as exc:
            raise store_failure(exc) from exc
        await anyio.lowlevel.checkpoint()  # to make a large one took a while
        return await in_turns(encoded_pieces(for_version(result, version)))

    # --- where --------------------------------------------------------------------------------------------

    async def _requested(self, instance: Instance, given: Arguments) -> Location | None:
        directory, workspace = given.get(DIRECTORY), given.get(WORKSPACE)
        field = METADATA_DIRECTORY if directory is None else DIRECTORY
        try:
            return await instance.locations.requested(directory or given.get(METADATA_DIRECTORY), workspace)
        except ProtocolError as error:
            raise _about_field(error, field) from None

    # --- OpenCode -----------------------------------------------------------------------------------------

    async def _answered_upstream(self, row: MethodRow, principal: str, given: Arguments) -> JsonObject:
        """Ask OpenCode, for a caller who may."""
        session_id = given.get("session_id")
        try:
            if row.ownership is Ownership.LISTS and given.get(INSTANCE) is None and len(self._instances) > 1:
                return await self._of_all(row, principal, given)
            instance = await self._choice.of_method(session_id=session_id, asked=given.get(INSTANCE))
            requested = await self._requested(instance, given)
            call = partial(_MethodCall, row=row, principal=principal, given=given, instance=instance)
            if session_id is None:
                return await self._asked(call(location=requested or instance.locations.default))
            held = await instance.access.look(principal, session_id, requested)
            asked = call(location=held.location)
            if row.ownership is Ownership.READS:
                return await self._asked(asked)
            async with instance.access.claimed(held):
                return await self._asked(asked)
        except UpstreamError as exc:
            raise upstream_error(exc.failure, row.name, session_id) from exc
        except ValueError as exc:
            raise payload_error(f"OpenCode's answer: {exc}", row.name, session_id) from exc

    async def _asked(self, asked: _MethodCall) -> JsonObject:
        if asked.row.ownership is Ownership.LISTS:
            return (await self._listed(asked))[0]
        await asked.instance.locations.verify(asked.location)
        made = asked.row.result.made
        if made is None:
            return (await self._result(asked, asked.given))[0]
        with asked.instance.access.creating():
            result, _ = await self._result(asked, asked.given)
            await asked.instance.access.give(asked.principal, made(result), asked.location)
        return result

    async def _result(self, asked: _MethodCall, given: Arguments) -> tuple[JsonObject, Reply]:
        row = asked.row
        assert row.call is not None  # what is not adapter-local asks OpenCode
        if row.before is not None and row.before.needed(given):
            given = row.before.absorb(given, await self._reply(asked, row.before.call(given, asked.location)))
        reply = await self._reply(asked, row.call(given, asked.location))
        await anyio.lowlevel.checkpoint()  # to decode a large one took a while, and so does what follows
        return await in_turns(row.projected(reply, given)), reply

    async def _reply(self, asked: _MethodCall, call: UpstreamCall) -> Reply:
        response = await asked.instance.upstream.request(call)
        value = await in_turns(decoded(response.body, asked.row.shrink)) if response.body else None
        return Reply(value, response.header(_CURSOR))

    async def _of_all(self, row: MethodRow, principal: str, given: Arguments) -> JsonObject:
        """Merge the lists of all instances that are connected. One that fails, while another answers, is left out.

        Each is asked for as many as are wanted of all, so the first of them are the first of all. A session that two
        instances list, because they share their storage, is listed once.
        """
        lists: dict[str, list[Any]] = {}
        times: dict[str, int] = {}
        problems: list[Exception] = []

        async def ask(instance: Instance) -> None:
            try:
                requested = await self._requested(instance, given)
                location = requested or instance.locations.default
                call = _MethodCall(row=row, principal=principal, given=given, instance=instance, location=location)
                result, used = await self._listed(call)
                lists[instance.name] = result["items"]
                times.update(used)
            except (UpstreamError, ProtocolError, ValueError) as error:
                problems.append(error)

        connected = [instance for instance in self._instances if instance.bus.connected]
        async with anyio.create_task_group() as tasks:
            for instance in connected or list(self._instances):
                tasks.start_soon(ask, instance)
        if not lists:
            raise problems[0]
        in_order = [lists[instance.name] for instance in self._instances if instance.name in lists]
        return {"items": merged(in_order, times)[: given.get("limit")]}

    async def _listed(self, asked: _MethodCall) -> tuple[JsonObject, dict[str, int]]:
        """Leave out what belongs to other callers; if that leaves too few, look at more.

        Returns the list, and when its sessions were last used, as far as OpenCode has that.
        """
        await asked.instance.locations.verify(asked.location)
        limit = asked.given.get("limit")
        result, reply = await self._result(asked, asked.given)
        items = await self._visible(asked, result["items"], reply.value)
        if limit is not None and len(items) < limit == len(result["items"]):
            wider = Arguments({**asked.given.values, "limit": limit * _WIDER})
            result, reply = await self._result(asked, wider)
            items = await self._visible(asked, result["items"], reply.value)
        items = items[:limit]
        if self._instances.are_named:
            items = [of_instance(item, asked.instance.name) for item in items]
        return {**result, "items": items}, last_used(sessions_by_id(list_at(reply.value)))

    async def _visible(self, asked: _MethodCall, items: list[Any], answer: Any) -> list[Any]:
        ids = [id_of(item) for item in items]
        seen = await asked.instance.access.visible(asked.principal, ids, answer, asked.location)
        return [item for session_id, item in zip(ids, items, strict=True) if session_id in seen]

    # --- the adapter --------------------------------------------------------------------------------------

    async def _answered_here(self, row: MethodRow, principal: str, given: Arguments) -> JsonObject:
        try:
            return await self._local[row.name](principal, given)
        except ProtocolError as error:
            raise _with_data(error, given.get("request_id")) from None

    async def _pending(self, principal: str, kind: str) -> JsonObject:
        return {"items": await self._interrupts.pending(principal, kind)}

    async def _reply_permission(self, principal: str, given: Arguments) -> JsonObject:
        request_id = given["request_id"]
        await self._interrupts.reply_permission(principal, request_id, given["reply"], given.get("message"))
        return {"ok": True, "request_id": request_id}

    async def _reply_question(self, principal: str, given: Arguments) -> JsonObject:
        request_id = given["request_id"]
        await self._interrupts.reply_question(principal, request_id, given["answers"])
        return {"ok": True, "request_id": request_id}

    async def _reject_question(self, principal: str, given: Arguments) -> JsonObject:
        request_id = given["request_id"]
        await self._interrupts.reject_question(principal, request_id)
        return {"ok": True, "request_id": request_id}


def _with_data(error: ProtocolError, request_id: str | None = None) -> ProtocolError:
    """An error about fields with the data that version 0.3's clients of methods look at."""
    if error.data is None and error.violations:
        data: JsonObject = {"type": INVALID, "field": error.violations[0].field}
        error.data = data if request_id is None else {**data, "request_id": request_id}
    return error


def _about_field(error: ProtocolError, name: str) -> ProtocolError:
    """The error of a requested directory, about the parameter that named it."""
    if not error.violations or name == METADATA_DIRECTORY:
        return _with_data(error)
    return wrong((name,), error.violations[0].message)
