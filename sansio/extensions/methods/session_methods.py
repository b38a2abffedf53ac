"""The rows of `opencode.sessions.*`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from sansio.a2a.bindings.json_output import Steps
from sansio.a2a.model import JsonObject, Message
from sansio.extensions.methods.method_rows import (
    Access,
    Before,
    MethodExtension,
    MethodRow,
    Ownership,
    Project,
    Reply,
    Result,
    Toggle,
)
from sansio.extensions.methods.parameters import Arguments, Parameter
from sansio.extensions.methods.parts import COMMAND_MODEL, FILE_PARTS, FORMAT, PROMPT_PARTS
from sansio.extensions.methods.routing import BY_DIRECTORY, BY_METADATA, ROUTED
from sansio.extensions.methods.shapes import MODEL, Flag, Identifier, MapOf, Number, Text
from sansio.opencode.projections.session_projections import (
    diffs_of,
    listed,
    message_of,
    record,
    shell_message_of,
    statuses_of,
    summary_of,
    task_of,
    todos_of,
)
from sansio.opencode.upstream import method_requests as upstream
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.requests import Location, UpstreamCall

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
SESSION_SHELL = "session_shell"
"""The capability that a credential needs for shell commands."""

OTHER_PAGING = ("cursor", "page", "size")

_SESSION = Parameter(name="session_id", shape=Identifier(), about="The session's id in OpenCode.", required=True)
_LIMIT = Parameter(
    name="limit",
    shape=Number(least=1, most=MAX_LIMIT),
    about=f"How many at most: 1 to {MAX_LIMIT}.",
    aliases=("query.limit",),
    default=DEFAULT_LIMIT,
)
_OK: Mapping[str, str] = {"ok": "boolean", "session_id": "string"}


def _request(name: str, shape: Any, about: str, *, required: bool = False) -> Parameter:
    return Parameter(name=f"request.{name}", shape=shape, about=about, required=required)


_MESSAGE_ID = _request("messageID", Identifier("msg"), "The id that the new message is to have.")
_AGENT = _request("agent", Text(), "The OpenCode agent that is to do it.")
_VARIANT = _request("variant", Text(), "The variant of the model.")


_MESSAGES_AT_ONCE = 8  # in a step: each may have texts of 100 kB, which are joined


def _of_session(make: Callable[[str, Location], UpstreamCall]) -> Callable[[Arguments, Location], UpstreamCall]:
    return lambda given, location: make(given["session_id"], location)


def _with_body(
    make: Callable[[str, JsonObject, Location], UpstreamCall],
) -> Callable[[Arguments, Location], UpstreamCall]:
    return lambda given, location: make(given["session_id"], given.below("request"), location)


def _tasks(reply: Reply, given: Arguments) -> JsonObject:
    return {"items": [task_of(session) for session in listed(reply.value, "the sessions")]}


def _summary(reply: Reply, given: Arguments) -> JsonObject:
    return {"item": summary_of(reply.value)}


def _done(reply: Reply, given: Arguments) -> JsonObject:
    return {"ok": reply.value is not False, "session_id": given["session_id"]}


def _items(project: Callable[[Any], list[JsonObject]]) -> Project:
    return lambda reply, given: {"items": project(reply.value)}


def _messages(reply: Reply, given: Arguments) -> Steps[JsonObject]:
    items: list[Message] = []
    for message in listed(reply.value, "the messages"):
        items.append(message_of(given["session_id"], message))
        if len(items) % _MESSAGES_AT_ONCE == 0:
            yield
    return {"items": items, "next_cursor": reply.cursor}


def _command_body(given: Arguments, location: Location) -> UpstreamCall:
    """Make the body of a command. Its model is one text, where prompts have an object."""
    body = given.below("request")
    if isinstance(model := body.get("model"), dict):
        body["model"] = f"{model['providerID']}/{model['modelID']}"
    return upstream.command(given["session_id"], body, location)


def _list(given: Arguments, location: Location) -> UpstreamCall:
    return upstream.sessions(
        location,
        limit=given["limit"],
        roots=given.get("roots"),
        start=given.get("start"),
        search=given.get("search"),
    )


def _messages_call(given: Arguments, location: Location) -> UpstreamCall:
    return upstream.session_messages(given["session_id"], location, limit=given["limit"], before=given.get("before"))


def _needs_model(given: Arguments) -> bool:
    return given.get("request.providerID") is None or given.get("request.modelID") is None


def _with_model_of_session(given: Arguments, reply: Reply) -> Arguments:
    """Add the session's own model for a summary, where none was named."""
    model = record(reply.value, "a session").get("model")
    if not isinstance(model, dict):
        return given
    named = {"request.providerID": model.get("providerID"), "request.modelID": model.get("id")}
    return Arguments({**given.values, **{name: value for name, value in named.items() if isinstance(value, str)}})


def _row(name: str, key: str, access: Access, about: str, **more: Any) -> MethodRow:
    return MethodRow(
        name=f"opencode.sessions.{name}",
        key=key,
        extension=MethodExtension.SESSION_MANAGEMENT,
        access=access,
        about=about,
        **more,
    )


READS = (
    _row(
        "status",
        "status",
        Access.READ,
        "Which sessions are at work, and which wait for another try.",
        parameters=ROUTED,
        ownership=Ownership.LISTS,
        result=Result(members={"items": "SessionStatusSummary[]"}),
        call=lambda given, location: requests.statuses(location),
        project=_items(statuses_of),
    ),
    _row(
        "list",
        "list_sessions",
        Access.READ,
        "The sessions of a directory as tasks, those used last first.",
        parameters=(
            _LIMIT,
            Parameter(name="roots", shape=Flag(), about="Leave out subagents' sessions.", aliases=("query.roots",)),
            Parameter(
                name="start",
                shape=Number(least=0, most=2**53),
                about="Leave out what was last used before this: epoch milliseconds.",
                aliases=("query.start",),
            ),
            Parameter(
                name="search", shape=Text(), about="Only those whose title holds this.", aliases=("query.search",)
            ),
            evolve(BY_DIRECTORY, aliases=("query.directory",)),
            *BY_METADATA,
        ),
        unsupported=OTHER_PAGING,
        ownership=Ownership.LISTS,
        result=Result(members={"items": "Task[]"}),
        call=_list,
        project=_tasks,
    ),
    _row(
        "messages.list",
        "get_session_messages",
        Access.READ,
        "The last messages of a session, oldest first; `next_cursor` is `before` of the page before them.",
        parameters=(
            _SESSION,
            _LIMIT,
            Parameter(
                name="before",
                shape=Text(longest=1024),
                about="The `next_cursor` of an earlier answer.",
                aliases=("query.before",),
            ),
            *ROUTED,
        ),
        unsupported=OTHER_PAGING,
        ownership=Ownership.READS,
        result=Result(members={"items": "Message[]", "next_cursor": "string|null"}),
        call=_messages_call,
        project=_messages,
    ),
    _row(
        "get",
        "get_session",
        Access.READ,
        "A session as a task.",
        parameters=(_SESSION, *ROUTED),
        ownership=Ownership.READS,
        result=Result(members={"item": "Task"}),
        call=_of_session(requests.get_session),
        project=lambda reply, given: {"item": task_of(record(reply.value, "a session"))},
    ),
    _row(
        "children",
        "get_session_children",
        Access.READ,
        "The sessions of a session's subagents, as tasks.",
        parameters=(_SESSION, *ROUTED),
        ownership=Ownership.READS,
        result=Result(members={"items": "Task[]"}),
        call=_of_session(requests.children),
        project=_tasks,
    ),
    _row(
        "todo",
        "get_session_todo",
        Access.READ,
        "What a session has on its list of things to do.",
        parameters=(_SESSION, *ROUTED),
        ownership=Ownership.READS,
        result=Result(members={"items": "Todo[]"}),
        call=_of_session(upstream.session_todo),
        project=_items(todos_of),
    ),
    _row(
        "diff",
        "get_session_diff",
        Access.READ,
        "Which files a session, or one of its messages, has changed.",
        parameters=(
            _SESSION,
            Parameter(name="message_id", shape=Identifier("msg"), about="Only what this message changed."),
            *ROUTED,
        ),
        ownership=Ownership.READS,
        result=Result(members={"items": "FileDiff[]"}),
        call=lambda given, location: upstream.session_diff(given["session_id"], given.get("message_id"), location),
        project=_items(diffs_of),
    ),
    _row(
        "messages.get",
        "get_session_message",
        Access.READ,
        "One message of a session.",
        parameters=(
            _SESSION,
            Parameter(
                name="message_id", shape=Identifier("msg"), about="The message's id in OpenCode.", required=True
            ),
            *ROUTED,
        ),
        ownership=Ownership.READS,
        result=Result(members={"item": "Message"}),
        call=lambda given, location: upstream.session_message(given["session_id"], given["message_id"], location),
        project=lambda reply, given: {"item": message_of(given["session_id"], reply.value)},
    ),
)

CONTROLS = (
    _row(
        "prompt_async",
        "prompt_async",
        Access.CONTROL,
        "Start a turn without waiting for it. It is no task: what comes of it is in the session's messages.",
        parameters=(
            _SESSION,
            _request("parts", PROMPT_PARTS, "What to say: texts, files, agents, subtasks.", required=True),
            _MESSAGE_ID,
            _request("model", MODEL, "The model that is to answer."),
            _AGENT,
            _request("noReply", Flag(), "Only add the message, without an answer."),
            _request("tools", MapOf(Flag()), "Tools by name, each allowed or not."),
            _request("format", FORMAT, "The form of the answer: text, or JSON by a schema."),
            _request("system", Text(empty=True, verbatim=True), "A system prompt for this turn."),
            _VARIANT,
            *BY_METADATA,
        ),
        ownership=Ownership.CLAIMS,
        result=Result(members=_OK),
        call=_with_body(upstream.prompt_async),
        project=_done,
    ),
    _row(
        "command",
        "command",
        Access.CONTROL,
        "Run a command that OpenCode knows by name, and wait for its answer.",
        parameters=(
            _SESSION,
            _request("command", Text(), "The command's name, without the slash.", required=True),
            evolve(
                _request("arguments", Text(empty=True, verbatim=True), "What follows the name, if anything does."),
                default="",
            ),
            _MESSAGE_ID,
            _AGENT,
            _request("model", COMMAND_MODEL, "The model that is to answer: an object, or `provider/model`."),
            _VARIANT,
            _request("parts", FILE_PARTS, "Files to go along."),
            *BY_METADATA,
        ),
        ownership=Ownership.CLAIMS,
        result=Result(members={"item": "Message"}),
        call=_command_body,
        project=lambda reply, given: {"item": message_of(given["session_id"], reply.value)},
    ),
)

SHELL = _row(
    "shell",
    "shell",
    Access.CONTROL,
    "Run a shell command in the session's directory, and wait for its end. The text is what it wrote.",
    parameters=(
        _SESSION,
        _request("agent", Text(), "The OpenCode agent in whose name it runs.", required=True),
        _request("command", Text(verbatim=True), "The command, as a shell takes it.", required=True),
        _MESSAGE_ID,
        _request("model", MODEL, "The model that the message is to name."),
        *BY_METADATA,
    ),
    ownership=Ownership.CLAIMS,
    capability=SESSION_SHELL,
    toggle=Toggle.SESSION_SHELL,
    result=Result(members={"item": "Message"}),
    call=_with_body(upstream.shell),
    project=lambda reply, given: {"item": shell_message_of(given["session_id"], reply.value)},
)

MUTATIONS = (
    _row(
        "fork",
        "fork",
        Access.MUTATION,
        "A new session, the caller's, with the messages of this one.",
        parameters=(
            _SESSION,
            _request("messageID", Identifier("msg"), "The message to stop before; without it, all are taken."),
            *ROUTED,
        ),
        ownership=Ownership.CLAIMS,
        result=Result(members={"item": "SessionSummary"}, made=lambda result: str(result["item"]["id"])),
        call=_with_body(upstream.fork),
        project=_summary,
    ),
    _row(
        "share",
        "share",
        Access.MUTATION,
        "Publish a session on the web; `share_url` is where.",
        parameters=(_SESSION, *ROUTED),
        ownership=Ownership.CLAIMS,
        result=Result(members={"item": "SessionSummary"}),
        call=_of_session(upstream.share),
        project=_summary,
    ),
    _row(
        "unshare",
        "unshare",
        Access.MUTATION,
        "Publish a session no more.",
        parameters=(_SESSION, *ROUTED),
        ownership=Ownership.CLAIMS,
        result=Result(members={"item": "SessionSummary"}),
        call=_of_session(upstream.unshare),
        project=_summary,
    ),
    _row(
        "summarize",
        "summarize",
        Access.MUTATION,
        "Replace what a session holds by a summary. Without a model, the session's own writes it.",
        parameters=(
            _SESSION,
            _request("providerID", Text(), "The provider of the model that writes it; goes with modelID."),
            _request("modelID", Text(), "The model that writes it; goes with providerID."),
            _request("auto", Flag(), "Whether the session goes on by itself after it."),
            *ROUTED,
        ),
        ownership=Ownership.CLAIMS,
        result=Result(members=_OK),
        before=Before(needed=_needs_model, call=_of_session(requests.get_session), absorb=_with_model_of_session),
        call=_with_body(upstream.summarize),
        project=_done,
    ),
    _row(
        "revert",
        "revert",
        Access.MUTATION,
        "Take back a message, what follows it, and what they changed in files.",
        parameters=(
            _SESSION,
            _request("messageID", Identifier("msg"), "The message.", required=True),
            _request("partID", Identifier("prt"), "Only from this part of it on."),
            *ROUTED,
        ),
        ownership=Ownership.CLAIMS,
        result=Result(members={"item": "SessionSummary"}),
        call=_with_body(upstream.revert),
        project=_summary,
    ),
    _row(
        "unrevert",
        "unrevert",
        Access.MUTATION,
        "Bring back what was taken back.",
        parameters=(_SESSION, *ROUTED),
        ownership=Ownership.CLAIMS,
        result=Result(members={"item": "SessionSummary"}),
        call=_of_session(upstream.unrevert),
        project=_summary,
    ),
)

ROWS = (*READS, *CONTROLS, *MUTATIONS, SHELL)
