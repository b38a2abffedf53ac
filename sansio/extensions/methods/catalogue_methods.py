"""The rows of providers and models, and of projects, workspaces and worktrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_rows import Access, MethodExtension, MethodRow, Reply, Result, Toggle
from sansio.extensions.methods.parameters import Arguments, Parameter
from sansio.extensions.methods.routing import BY_METADATA
from sansio.extensions.methods.shapes import AnyJson, Identifier, Text
from sansio.opencode.projections.provider_catalogue import models_of, providers_of, shrunk
from sansio.opencode.projections.session_projections import as_it_is, listed, record
from sansio.opencode.upstream import method_requests as upstream
from sansio.opencode.upstream.requests import Location, UpstreamCall

WORKSPACE_MUTATION = "workspace_mutation"
"""The capability that a credential needs to make or remove workspaces and worktrees."""

_DEFAULTS = {"default_by_provider": "map<string,string>", "connected": "string[]"}


def _at_location(make: Callable[[Location], UpstreamCall]) -> Callable[[Arguments, Location], UpstreamCall]:
    return lambda given, location: make(location)


def _with_body(make: Callable[[JsonObject, Location], UpstreamCall]) -> Callable[[Arguments, Location], UpstreamCall]:
    return lambda given, location: make(given.below("request"), location)


def _items(reply: Reply, given: Arguments) -> JsonObject:
    return {"items": listed(as_it_is(reply.value), "the answer")}


def _directories(reply: Reply, given: Arguments) -> JsonObject:
    if not isinstance(reply.value, list) or not all(isinstance(item, str) for item in reply.value):
        raise ValueError("the worktrees: must be a list of strings")
    return {"items": reply.value}


def _item(reply: Reply, given: Arguments) -> JsonObject:
    return {"item": record(as_it_is(reply.value), "the answer")}


def _item_or_none(reply: Reply, given: Arguments) -> JsonObject:
    return {"item": None} if reply.value is None else _item(reply, given)


def _ok(reply: Reply, given: Arguments) -> JsonObject:
    if not isinstance(reply.value, bool):
        raise ValueError("the answer: must be true or false")
    return {"ok": reply.value}


PROVIDERS = (
    MethodRow(
        name="opencode.providers.list",
        key="list_providers",
        extension=MethodExtension.PROVIDER_DISCOVERY,
        access=Access.READ,
        about="Every provider OpenCode knows, and to which of them it has a login.",
        parameters=BY_METADATA,
        result=Result(members={"items": "ProviderSummary[]", **_DEFAULTS}),
        call=_at_location(upstream.providers),
        project=lambda reply, given: providers_of(reply.value),
        shrink=shrunk,
    ),
    MethodRow(
        name="opencode.models.list",
        key="list_models",
        extension=MethodExtension.PROVIDER_DISCOVERY,
        access=Access.READ,
        about="Every model of a provider, or of all.",
        parameters=(
            Parameter(name="provider_id", shape=Text(), about="Only the models of this provider."),
            *BY_METADATA,
        ),
        result=Result(members={"items": "ModelSummary[]", **_DEFAULTS}),
        call=_at_location(upstream.providers),
        project=lambda reply, given: models_of(reply.value, given.get("provider_id")),
        shrink=shrunk,
    ),
)


def _row(name: str, key: str, access: Access, about: str, **more: Any) -> MethodRow:
    return MethodRow(
        name=f"opencode.{name}",
        key=key,
        extension=MethodExtension.WORKSPACE_CONTROL,
        access=access,
        about=about,
        **more,
    )


def _mutation(name: str, key: str, about: str, *parameters: Parameter, **more: Any) -> MethodRow:
    return _row(
        name,
        key,
        Access.MUTATION,
        about,
        parameters=(*parameters, *BY_METADATA),
        capability=WORKSPACE_MUTATION,
        toggle=Toggle.WORKSPACE_MUTATIONS,
        experimental=True,
        **more,
    )


def _request(name: str, shape: Any, about: str, *, required: bool = False) -> Parameter:
    return Parameter(name=f"request.{name}", shape=shape, about=about, required=required)


_WORKTREE = _request("directory", Text(longest=4096), "The worktree's directory.", required=True)

WORKSPACES = (
    _row(
        "projects.list",
        "list_projects",
        Access.READ,
        "The projects OpenCode has worked on.",
        parameters=BY_METADATA,
        result=Result(members={"items": "Project[]"}),
        call=_at_location(upstream.projects),
        project=_items,
    ),
    _row(
        "projects.current",
        "get_current_project",
        Access.READ,
        "The project that OpenCode works on here.",
        parameters=BY_METADATA,
        result=Result(members={"item": "Project"}),
        call=_at_location(upstream.current_project),
        project=_item,
    ),
    _row(
        "workspaces.list",
        "list_workspaces",
        Access.READ,
        "The workspaces of the project.",
        parameters=BY_METADATA,
        experimental=True,
        result=Result(members={"items": "Workspace[]"}),
        call=_at_location(upstream.workspaces),
        project=_items,
    ),
    _row(
        "worktrees.list",
        "list_worktrees",
        Access.READ,
        "The directories of the project's worktrees.",
        parameters=BY_METADATA,
        experimental=True,
        result=Result(members={"items": "string[]"}),
        call=_at_location(upstream.worktrees),
        project=_directories,
    ),
    _mutation(
        "workspaces.create",
        "create_workspace",
        "A new workspace.",
        _request("type", Text(), "Which kind: the name of one of OpenCode's adapters.", required=True),
        _request("id", Identifier("wrk"), "The id it is to have."),
        _request("branch", Text(), "The branch it is to be on."),
        _request("extra", AnyJson(), "What the adapter wants to know besides."),
        result=Result(members={"item": "Workspace"}),
        call=_with_body(upstream.create_workspace),
        project=_item,
    ),
    _mutation(
        "workspaces.remove",
        "remove_workspace",
        "Remove a workspace; the item is null if there was none.",
        Parameter(name="workspace_id", shape=Identifier(), about="The workspace's id.", required=True),
        result=Result(members={"item": "Workspace|null"}),
        call=lambda given, location: upstream.remove_workspace(given["workspace_id"], location),
        project=_item_or_none,
    ),
    _mutation(
        "worktrees.create",
        "create_worktree",
        "A new worktree of the project.",
        _request("name", Text(), "Its name; without it, OpenCode makes one up."),
        _request("startCommand", Text(verbatim=True), "A command to run in it once it is there."),
        result=Result(members={"item": "Worktree"}),
        call=_with_body(upstream.create_worktree),
        project=_item,
    ),
    _mutation(
        "worktrees.remove",
        "remove_worktree",
        "Remove a worktree and its branch.",
        _WORKTREE,
        result=Result(members={"ok": "boolean"}),
        call=_with_body(upstream.remove_worktree),
        project=_ok,
    ),
    _mutation(
        "worktrees.reset",
        "reset_worktree",
        "Put a worktree back to the project's default branch.",
        _WORKTREE,
        result=Result(members={"ok": "boolean"}),
        call=_with_body(upstream.reset_worktree),
        project=_ok,
    ),
)

ROWS = (*PROVIDERS, *WORKSPACES)
