"""The rows of what waits for an answer, and of answering it: the adapter knows these by itself."""

from __future__ import annotations

from typing import Any

from sansio.extensions.methods.method_errors import ExtensionErrorKind
from sansio.extensions.methods.method_rows import Access, MethodExtension, MethodRow, Result, Scope
from sansio.extensions.methods.parameters import Parameter
from sansio.extensions.methods.routing import BY_METADATA
from sansio.extensions.methods.shapes import Choice, Identifier, Many, Text
from sansio.opencode.upstream.events import REPLIES

_ID = Parameter(name="request_id", shape=Identifier(), about="The request's id, as its task told it.", required=True)


def _recovery(name: str, key: str, about: str) -> MethodRow:
    return MethodRow(
        name=f"opencode.{name}",
        key=key,
        extension=MethodExtension.INTERRUPT_RECOVERY,
        access=Access.READ,
        about=about,
        result=Result(members={"items": "InterruptRequest[]"}),
        scope=Scope.LOCAL,
    )


def _answer(name: str, key: str, about: str, *parameters: Parameter, **more: Any) -> MethodRow:
    return MethodRow(
        name=f"a2a.interrupt.{name}",
        key=key,
        extension=MethodExtension.INTERACTIVE_INTERRUPT,
        access=Access.CONTROL,
        about=about,
        parameters=(_ID, *parameters, *BY_METADATA),
        result=Result(members={"ok": "boolean", "request_id": "string"}),
        scope=Scope.LOCAL,
        errors=(
            ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND,
            ExtensionErrorKind.INTERRUPT_REQUEST_EXPIRED,
            ExtensionErrorKind.INTERRUPT_TYPE_MISMATCH,
            ExtensionErrorKind.UPSTREAM_UNREACHABLE,
            ExtensionErrorKind.UPSTREAM_HTTP_ERROR,
        ),
        **more,
    )


ROWS = (
    _recovery("permissions.list", "list_permissions", "The permissions that the caller's tasks wait for."),
    _recovery("questions.list", "list_questions", "The questions that the caller's tasks wait for."),
    _answer(
        "permission.reply",
        "reply_permission",
        "Allow what a task wants to do, this once or always, or forbid it.",
        Parameter(
            name="reply", shape=Choice(REPLIES, late=True), about="`once`, `always` or `reject`.", required=True
        ),
        Parameter(
            name="message", shape=Text(empty=True), about="With `reject`: what the model is to know of the reason."
        ),
    ),
    _answer(
        "question.reply",
        "reply_question",
        "Answer a task's questions.",
        Parameter(
            name="answers",
            shape=Many(Many(Text(empty=True))),
            about="For each of the questions, in their order, a list of chosen labels or own words.",
            required=True,
        ),
    ),
    _answer("question.reject", "reject_question", "Leave a task's questions unanswered."),
)
