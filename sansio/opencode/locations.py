"""Locations of turns in OpenCode: which requested ones are granted, and their stored form.

Paths that are compared have been resolved by somebody who can look at the file system. Pure.
"""

from __future__ import annotations

import posixpath
import re

import orjson

from sansio.a2a.errors import LocalError, invalid
from sansio.opencode.upstream.requests import DEFAULT_LOCATION, Location

DIRECTORY = ("metadata", "opencode", "directory")
WORKSPACE = ("metadata", "opencode", "workspace", "id")


def is_inside(root: str, path: str) -> bool:
    """Return whether `path` is `root` or below it. Both are absolute and hold neither links nor dots."""
    root = posixpath.normpath(root)
    path = posixpath.normpath(path)
    return path == root or path.startswith(root.rstrip("/") + "/")


_DECODABLE = re.compile("%[0-9A-Fa-f]{2}")


def is_misread(path: str) -> bool:
    """Return whether OpenCode takes a path for another one.

    OpenCode 1.18.33 percent-decodes the directory of a session when a turn begins, however the request was encoded:
    for `a%2fb` it works in `a/b`, and `%2e%2e%2f` leads out.
    """
    return _DECODABLE.search(path) is not None


def granted_directory(root: str, path: str, *, override: bool, exists: bool) -> Location:
    """Return the location of a requested directory. `override`: directories other than the root may be requested.

    Raises `ProtocolError` naming the field, without a path of the deployment.
    """
    if not is_inside(root, path):
        raise invalid(DIRECTORY, "is outside the workspace of this deployment")
    if not override and posixpath.normpath(path) != posixpath.normpath(root):
        raise invalid(DIRECTORY, "cannot be chosen in this deployment (A2A_ALLOW_DIRECTORY_OVERRIDE is off)")
    if not exists:
        raise invalid(DIRECTORY, "is no directory")
    if is_misread(path):
        raise invalid(DIRECTORY, "has a percent sign and two hexadecimal digits in its path, which OpenCode decodes")
    return Location(directory=path)


def is_where_opencode_works(asked: str, reported: str, *, same: bool, root: str | None) -> bool:
    """Return whether OpenCode works in the directory that was requested.

    `asked`: the requested directory. `reported`: the one that OpenCode names.

    `same`: both are one directory on this machine. `root`: the workspace as OpenCode names it, None where the
    workspace is on this machine. There is no other way to compare links of another machine.
    """
    if is_misread(reported):
        return False
    return asked == reported or same or (root is not None and is_inside(root, reported))


def location_as_text(location: Location) -> str:
    """Return a place as it is kept; empty for nowhere special."""
    if location == DEFAULT_LOCATION:
        return ""
    return orjson.dumps([location.directory, location.workspace]).decode()


def location_of_text(text: str) -> Location:
    """Return the place of `location_as_text`. Raises `LocalError`: only we write these."""
    if not text:
        return DEFAULT_LOCATION
    try:
        directory, workspace = orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError, ValueError) as exc:
        raise LocalError("a stored place cannot be read") from exc
    return Location(directory=directory, workspace=workspace)
