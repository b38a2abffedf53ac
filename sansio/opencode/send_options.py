"""Options of a message beyond its parts: read from its metadata and configuration, or refused by name.

Pure. Raises `ProtocolError` before any task exists; whether a session may be used is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from sansio.a2a.errors import ErrorKind, ProtocolError, invalid, shortened
from sansio.a2a.media_types import JSON, PLAIN_TEXT
from sansio.a2a.message_checks import ID_LIMIT, check_id
from sansio.a2a.model import JsonObject, SendRequest
from sansio.a2a.refusals import Refusals
from sansio.opencode.instances import INSTANCE, LONGEST_NAME
from sansio.opencode.locations import DIRECTORY, WORKSPACE
from sansio.opencode.projections.session_projections import CONTEXT_PREFIX
from sansio.opencode.upstream.identifiers import SESSION, is_identifier
from sansio.opencode.upstream.requests import Model

ANSWER_MODE = PLAIN_TEXT
"""The media type of every answer. A client that does not accept it cannot be served."""

DATA_MODE = JSON
SESSION_PATH = ("metadata", "shared", "session", "id")
"""The media type of tool calls. A client that does not accept it gets them as text."""

_PATH_LIMIT = 4096


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
        directory=refusals.attempt(_directory, request),
        workspace=refusals.attempt(_workspace, request),
        instance=refusals.attempt(_instance, request),
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
    found = _member(request, "shared", "session") or {}
    session_id = _text(found, "id", ("metadata", "shared", "session"), required=False)
    check_id(session_id, SESSION_PATH)
    if session_id is not None:
        return _identifier(session_id, SESSION, SESSION_PATH)
    context_id = request.message.context_id or ""
    if context_id.startswith(CONTEXT_PREFIX):
        return _identifier(context_id.removeprefix(CONTEXT_PREFIX), SESSION, ("message", "contextId"))
    return None


def _model(request: SendRequest) -> Model | None:
    """Read the model: both names or neither, as half a choice would silently be none."""
    path = ("metadata", "shared", "model")
    found = _member(request, "shared", "model")
    if found is None or not ({"providerID", "modelID"} & found.keys()):
        return None
    refusals = Refusals()
    provider_id, model_id = (refusals.attempt(_text, found, name, path) for name in ("providerID", "modelID"))
    refusals.done()
    assert provider_id is not None  # required texts are there
    assert model_id is not None
    return Model(provider_id=provider_id, model_id=model_id)


def _directory(request: SendRequest) -> str | None:
    return _location(request, "directory", "value", DIRECTORY, _PATH_LIMIT, "a path")


def _workspace(request: SendRequest) -> str | None:
    found = _location(request, "workspace", "id", WORKSPACE, ID_LIMIT, "a string")
    return None if found is None else _identifier(found, "", WORKSPACE)


def _instance(request: SendRequest) -> str | None:
    return _location(request, "instance", "value", INSTANCE, LONGEST_NAME, "a name")


def _identifier(value: str, begins: str, path: tuple[str, ...]) -> str:
    """Return an id that goes into a request to OpenCode. Raises `ProtocolError` naming the field."""
    if not is_identifier(value, begins):
        start = f"begin with {begins}, and " if begins else ""
        raise invalid(path, f"must {start}hold nothing but letters, digits and any of _ . : -")
    return value


def _location(
    request: SendRequest, name: str, inner: str, path: tuple[str, ...], limit: int, takes: str
) -> str | None:
    """Read `metadata.opencode.<name>`, of which `inner` is the text."""
    found = _member(request, "opencode", name)
    if found is None:
        return None
    value = found.get(inner)
    if not isinstance(value, str) or not value or len(value) > limit or "\0" in value:
        raise invalid(path, f"must be {takes} of at most {limit} characters")
    return value


def _member(request: SendRequest, namespace: str, name: str) -> JsonObject | None:
    """Read `metadata.<namespace>.<name>`, which for all but plain choices is an object."""
    for metadata in (request.metadata, request.message.metadata):
        outer = (metadata or {}).get(namespace)
        if outer is None:
            continue
        if not isinstance(outer, dict):
            raise invalid(("metadata", namespace), "must be an object")
        value = outer.get(name)
        if value is None:
            continue
        if namespace == "shared" and not isinstance(value, dict):
            raise invalid(("metadata", namespace, name), "must be an object")
        return value if isinstance(value, dict) else {"value": value}
    return None


def _text(source: JsonObject, name: str, path: tuple[str, ...], *, required: bool = True) -> str | None:
    value = source.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise invalid((*path, name), "is required and must be a string" if value is None else "must be a string")
    return value
