"""Options of a message beyond its parts: read from its metadata and configuration, or refused by name.

Pure. Raises `ProtocolError` before any task exists; whether a session may be used is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from sansio.a2a.errors import ErrorKind, ProtocolError, invalid, shortened
from sansio.a2a.media_types import JSON, PLAIN_TEXT
from sansio.a2a.model import JsonObject, SendRequest
from sansio.a2a.refusals import Refusals
from sansio.opencode.metadata_fields import (
    DIRECTORY_FIELD,
    INSTANCE_FIELD,
    MODEL_ID,
    PROVIDER_ID,
    SESSION_ID,
    WORKSPACE_ID,
    TextField,
)
from sansio.opencode.projections.session_projections import CONTEXT_PREFIX
from sansio.opencode.upstream.requests import Model

ANSWER_MODE = PLAIN_TEXT
"""The media type of every answer. A client that does not accept it cannot be served."""

DATA_MODE = JSON
"""The media type of tool calls. A client that does not accept it gets them as text."""


@frozen(kw_only=True)
class SendOptions:
    """The options that a message asks for. `None`: not given. `text_only`: data is sent as text.

    `directory`, `workspace`: as requested, not yet checked. `kept` leaves them out: the location that they resolve to
    is stored instead.
    """

    session_id: str | None = None
    model: Model | None = None
    text_only: bool = False
    directory: str | None = None
    workspace: str | None = None
    instance: str | None = None

    def kept(self) -> JsonObject:
        """Serialise the options that are stored with the task."""
        kept: JsonObject = {"modes": "text"} if self.text_only else {}
        if self.session_id is not None:
            kept["session"] = self.session_id
        if self.model is not None:
            kept["model"] = [self.model.provider_id, self.model.model_id]
        if self.instance is not None:
            kept["instance"] = self.instance
        return kept

    @classmethod
    def of_kept(cls, kept: JsonObject) -> SendOptions:
        """Restore the options from `kept`."""
        model = kept.get("model")
        return cls(
            session_id=kept.get("session"),
            model=Model(provider_id=model[0], model_id=model[1]) if model else None,
            text_only=kept.get("modes") == "text",
            instance=kept.get("instance"),
        )


def same_target(kept: JsonObject, session_id: str | None, other: JsonObject) -> bool:
    """Return whether two messages are for the same session, location, model and instance, by their stored options.

    `session_id`: the session that the task of the first one runs in. Of imported tasks, nothing else is known.
    """
    wanted = other.get("session")
    same_session = wanted == kept.get("session") or (wanted is not None and wanted == session_id)
    return same_session and all(kept.get(name) == other.get(name) for name in ("place", "model", "instance"))


def send_options_of(request: SendRequest, supported_modes: Sequence[str]) -> SendOptions:
    """Read what a message asks for. `metadata` of the request goes before that of the message."""
    text_only = _takes_text_only(request.configuration.accepted_output_modes, supported_modes)
    refusals = Refusals()
    options = SendOptions(
        session_id=refusals.attempt(_session, request),
        model=refusals.attempt(_model, request),
        text_only=text_only,
        directory=refusals.attempt(_choice, request, DIRECTORY_FIELD),
        workspace=refusals.attempt(_workspace, request),
        instance=refusals.attempt(_choice, request, INSTANCE_FIELD),
    )
    refusals.done()
    return options


def _takes_text_only(accepted: Sequence[str], supported: Sequence[str]) -> bool:
    """Return whether data must be sent as text. Parameters are ignored; `*/*` and `text/*` are wildcards.

    Raises `ProtocolError` (UNSUPPORTED_OPERATION) where the client does not accept the answer itself.
    """
    if not accepted:
        return False
    taken = {_media_type(mode) for mode in accepted}
    if taken.isdisjoint(_names_for(ANSWER_MODE)):
        raise ProtocolError(
            ErrorKind.UNSUPPORTED_OPERATION,
            f"acceptedOutputModes must include {ANSWER_MODE}: OpenCode's answers are text",
            data={"accepted_output_modes": list(accepted), "supported_output_modes": list(supported)},
            metadata={
                "acceptedOutputModes": shortened(", ".join(accepted)),
                "supportedOutputModes": ", ".join(supported),
            },
        )
    return taken.isdisjoint(_names_for(DATA_MODE))


_SHORT_NAMES = {"text": ANSWER_MODE, "data": DATA_MODE, "json": DATA_MODE, "*": "*/*"}
"""Output modes as old samples write them, by the kind of a part."""


def _media_type(mode: str) -> str:
    """Return the media type of an output mode, without parameters, in lower case."""
    name = mode.partition(";")[0].strip().lower()
    return _SHORT_NAMES.get(name, name)


def _names_for(mode: str) -> set[str]:
    return {mode, mode.partition("/")[0] + "/*", "*/*"}


def _session(request: SendRequest) -> str | None:
    """Return the session that is named, or that the context stands for, as it does in a list of sessions."""
    session_id = _text(_member(request, SESSION_ID), SESSION_ID)
    if session_id is not None:
        return session_id
    context_id = request.message.context_id or ""
    if context_id.startswith(CONTEXT_PREFIX):
        named = context_id.removeprefix(CONTEXT_PREFIX)
        if (rule := SESSION_ID.kind.refusal(named)) is not None:
            raise invalid(("message", "contextId"), rule)
        return named
    return None


def _model(request: SendRequest) -> Model | None:
    """Read the model: both names or neither, as half a choice would silently be none."""
    found = _member(request, PROVIDER_ID)
    if found is None or not ({PROVIDER_ID.path[-1], MODEL_ID.path[-1]} & found.keys()):
        return None
    refusals = Refusals()
    provider_id, model_id = (refusals.attempt(_text, found, field) for field in (PROVIDER_ID, MODEL_ID))
    refusals.done()
    assert provider_id is not None  # required texts are there
    assert model_id is not None
    return Model(provider_id=provider_id, model_id=model_id)


def _workspace(request: SendRequest) -> str | None:
    found = _found(request, WORKSPACE_ID)
    return None if found is None else _text(found if isinstance(found, dict) else {}, WORKSPACE_ID)


def _choice(request: SendRequest, field: TextField) -> str | None:
    """Read a field that stands directly in `metadata.opencode`."""
    return _text({field.path[-1]: _found(request, field)}, field)


def _member(request: SendRequest, field: TextField) -> JsonObject | None:
    """Read the object that a field stands in, in its namespace."""
    value = _found(request, field)
    if value is not None and not isinstance(value, dict):
        raise invalid(field.path[:3], "must be an object")
    return value


def _found(request: SendRequest, field: TextField) -> Any:
    """Read `metadata.<namespace>.<name>` of a field's path: of the request, else of its message."""
    _, namespace, name, *_ = field.path
    for metadata in (request.metadata, request.message.metadata):
        outer = (metadata or {}).get(namespace)
        if outer is None:
            continue
        if not isinstance(outer, dict):
            raise invalid(("metadata", namespace), "must be an object")
        if (value := outer.get(name)) is not None:
            return value
    return None


def _text(source: JsonObject | None, field: TextField) -> str | None:
    """Return the text of a field in the object that it stands in. Raises `ProtocolError` naming the field."""
    value = (source or {}).get(field.path[-1])
    if (rule := field.refusal(value)) is not None:
        raise invalid(field.path, rule)
    return None if value is None else str(value)
