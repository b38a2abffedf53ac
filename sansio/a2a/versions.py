"""Negotiation of the protocol version (specification 1.0, section 3.6).

A pure rule: header or query parameter first, then a name or path that only one version has, then the default.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError

HEADER = "a2a-version"
VERSIONS = tuple(DIALECTS)
"""The versions that this core supports, oldest first."""

_VERSION = re.compile(r"\s*(\d{1,9})\.(\d{1,9})(\.\d{1,9})?\s*\Z", re.ASCII)


def version_of(version: str) -> str | None:
    """Return `Major.Minor` of a version text; patch numbers are ignored. `None`: it is no version."""
    match = _VERSION.match(version)
    return f"{int(match[1])}.{int(match[2])}" if match else None


def negotiate(
    requested: str | None,
    *,
    hint: str | None,
    supported: Sequence[str] = VERSIONS,
    default: str = "0.3",
) -> str:
    """Return the version to answer on.

    `requested` is the `A2A-Version` header (else the query parameter of that name); missing or empty means none was
    given. Then `hint` decides (the version that alone has the method or path), or else `default`. Raises
    `ProtocolError` (VERSION_NOT_SUPPORTED) with the versions on offer.
    """
    if requested is not None and requested.strip():
        version = version_of(requested)
        if version is not None and version in supported:
            return version
        raise _unsupported(requested.strip()[:64], supported, default)
    if hint is not None and hint in supported:
        return hint
    return default if default in supported else supported[0]


def version_of_errors(requested: str | None, hint: str | None, default: str) -> str:
    """Return the version whose error shape refuses an unsupported one: `hint`'s, else that of clients who name it.

    A client of 0.3 names no version, so one that names a later version reads errors as 1.0 has them.
    """
    if hint is not None:
        return hint
    version = version_of(requested or "")
    return "1.0" if version is not None and not version.startswith("0.") else default


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
