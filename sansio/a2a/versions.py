"""Which protocol line a request speaks (specification 1.0, section 3.6).

A pure rule: header or query parameter first, then what only one line can mean, then the default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from sansio.a2a.errors import ErrorKind, ProtocolError

HEADER = "a2a-version"
LINES = ("0.3", "1.0")
"""The lines this core can speak, oldest first."""

A2A_JSON = "application/a2a+json"


@frozen(kw_only=True)
class Dialect:
    """What the server does differently on one version of the protocol.

    ``rest_media_type``: of answers over HTTP+JSON. ``errors_in_streams``: a refused stream over JSON-RPC is a
    stream with the error in it, where clients of that version look for it.
    ``cancels_canceled``: a task that is canceled can be canceled; 1.0 calls it idempotent (section 3.3.1).
    ``replays_ended``: a subscription to a task that has ended gets it once more.
    ``confirms_deletion``: the result of a deletion is an empty object, not nothing.
    """

    version: str
    rest_media_type: str
    errors_in_streams: bool
    cancels_canceled: bool
    replays_ended: bool
    confirms_deletion: bool


DIALECTS: Mapping[str, Dialect] = {
    "0.3": Dialect(
        version="0.3",
        rest_media_type="application/json",
        errors_in_streams=True,
        cancels_canceled=False,
        replays_ended=True,
        confirms_deletion=False,
    ),
    "1.0": Dialect(
        version="1.0",
        rest_media_type=A2A_JSON,
        errors_in_streams=False,
        cancels_canceled=True,
        replays_ended=False,
        confirms_deletion=True,
    ),
}

_VERSION = re.compile(r"\s*(\d{1,9})\.(\d{1,9})(\.\d{1,9})?\s*\Z", re.ASCII)


def line_of(version: str) -> str | None:
    """``Major.Minor`` of a version text; patch numbers are ignored; None where it is not a version."""
    match = _VERSION.match(version)
    return f"{int(match[1])}.{int(match[2])}" if match else None


def negotiate(
    requested: str | None,
    *,
    hint: str | None,
    supported: Sequence[str] = LINES,
    default: str = "0.3",
) -> str:
    """The line to answer on.

    ``requested`` is the ``A2A-Version`` header (else the query parameter of that name); missing or empty
    means none was given, and then ``hint`` (the line that alone knows the method or path) decides, and
    failing that ``default``. Raises ``ProtocolError`` (VERSION_NOT_SUPPORTED) with the lines on offer.
    """
    if requested is not None and requested.strip():
        line = line_of(requested)
        if line is not None and line in supported:
            return line
        raise _unsupported(requested.strip()[:64], supported, default)
    if hint is not None and hint in supported:
        return hint
    return default if default in supported else supported[0]


def version_of_errors(requested: str | None, hint: str | None, default: str) -> str:
    """The version in whose shape a version is refused: ``hint``'s, else the one whose clients name such versions.

    A client of 0.3 names no version, so one that names a later version reads errors as 1.0 has them.
    """
    if hint is not None:
        return hint
    line = line_of(requested or "")
    return "1.0" if line is not None and not line.startswith("0.") else default


def _unsupported(requested: str, supported: Sequence[str], default: str) -> ProtocolError:
    return ProtocolError(
        ErrorKind.VERSION_NOT_SUPPORTED,
        f"Unsupported A2A version: {requested}; on offer: {', '.join(supported)}",
        data={
            "type": "VERSION_NOT_SUPPORTED",
            "requested_version": requested,
            "supported_protocol_versions": list(supported),
            "default_protocol_version": default,
        },
        metadata={
            "requestedVersion": requested,
            "supportedVersions": ", ".join(supported),
            "defaultVersion": default,
        },
    )
