"""Ids that OpenCode gives, where a caller sends one: what can be an id, and how it is put into a path.

Pure. An id is put into the path of a request, so that nothing else than letters, digits and `_ . : -` can be one.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from sansio.a2a.errors import ErrorKind, ProtocolError

ID_LIMIT = 256
"""Characters of the longest id."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")

_ID_IN_PATH = re.compile(r"(?<=/)(session|message|permission|question|mcp|workspace)/(?!status$)[^/]+")

SESSION = "ses"
"""Prefix of the id of a session."""


def is_identifier(value: str, begins: str = "") -> bool:
    """Return whether `value` can be an id of OpenCode with the prefix `begins`."""
    return len(value) <= ID_LIMIT and value.startswith(begins) and _ID.fullmatch(value) is not None


def segment(value: str) -> str:
    """Quote an id as one segment of a path. Raises `ProtocolError` (INVALID_PARAMS) for what cannot be an id.

    Quoting alone is not enough: `..` needs no quoting, and OpenCode's router resolves it.
    """
    if not is_identifier(value):
        raise ProtocolError(ErrorKind.INVALID_PARAMS, "This cannot be an id of OpenCode's")
    return quote(value, safe="")


def path_template(target: str) -> str:
    """Return the path of a request's target with `{id}` for each id, so that alike requests have one name."""
    return _ID_IN_PATH.sub(r"\1/{id}", target.partition("?")[0])


def encoded_directory(path: str) -> str:
    """Encode a directory for a query or a header of OpenCode's, before the encoding that the query itself needs.

    OpenCode 1.18.33 percent-decodes `directory` once more after the query was decoded. Without this step a
    directory named `%2e%2e%2fx` means `../x` to it.
    """
    return quote(path, safe="")
