"""The OpenCodes that a server works with: a list in one variable, or a TOML file.

Reads no environment: whoever loads the settings gives it. No password stands in either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import field, frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.groups.password_file import password_of_file
from opencode_a2a.config.settings_values import SettingRefusedError
from opencode_a2a.regular_files import read_regular
from sansio.redact import Secret, redact_url
from sansio.transport.addresses import host_and_port

LARGEST_FILE: Final = 262_144
"""Bytes. A file that is larger holds something else."""

LONGEST_NAME: Final = 64
"""Characters of a name."""

MOST_INSTANCES: Final = 32
"""Instances of one server: each costs a connection for events, and a label value in the metrics about it."""

_NAME: Final = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9_.:\[\]-]*")
_NAMED: Final = re.compile(r"([^/=]+)=(.*)", re.DOTALL)
_MEMBERS: Final = ("name", "url", "username", "password_variable", "password_file", "workspace_root")


@frozen(kw_only=True)
class OpenCodeInstance:
    """One OpenCode. `named`: it has a name that other servers on the same database know it by.

    `username`, `password`, `workspace_root`: None for those of the settings.
    """

    name: str
    url: str = field(repr=lambda url: repr(redact_url(url)))
    named: bool = True
    username: str | None = None
    password: Secret | None = None
    workspace_root: str | None = None


def default_name(url: str) -> str:
    """Return the name of an instance that is given none: its host and port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return host_and_port(host, port)


def is_instance_name(text: str) -> bool:
    """Return whether a text can name an instance: letters, digits and any of _ . : - [ ], and not too many."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def is_file(text: str) -> bool:
    """Return whether the text of the setting is the path of a file."""
    return text.endswith(".toml") and "://" not in text


def listed_instances(text: str) -> tuple[OpenCodeInstance, ...]:
    """Parse `[NAME=]URL`, one or several with commas between them. Raises `SettingRefusedError`."""
    entries = [entry.strip() for entry in text.split(",")]
    return _checked([_listed(entry, only=len(entries) == 1) for entry in entries])


def setting_of_instances(text: str) -> str:
    """Check the text of the setting; return it with its URLs as they are used. Raises `SettingRefusedError`."""
    if is_file(text):
        return text
    found = listed_instances(text)
    return ",".join(f"{one.name}={one.url}" if one.named else one.url for one in found)


def _listed(entry: str, *, only: bool) -> OpenCodeInstance:
    named = _NAMED.fullmatch(entry)
    url = values.opencode_url(entry if named is None else named[2].strip())
    if named is None:
        return OpenCodeInstance(name=default_name(url), url=url, named=not only)
    return OpenCodeInstance(name=named[1].strip(), url=url)


def instances_of_file(path: str, environ: Mapping[str, str]) -> tuple[OpenCodeInstance, ...]:
    """Read the instances of a TOML file. `environ`: where passwords are. Raises `SettingRefusedError`."""
    try:
        content, _ = read_regular(path, LARGEST_FILE + 1)
    except OSError as error:
        raise SettingRefusedError(f"{path!r} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise SettingRefusedError(f"{path!r} is larger than {LARGEST_FILE} bytes")
    import tomllib  # most servers have no such file

    try:
        document = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise SettingRefusedError(f"{path!r} is no TOML") from None
    found = document.get("opencode")
    if not isinstance(found, list) or not found or document.keys() != {"opencode"}:
        raise SettingRefusedError(f"{path!r} holds [[opencode]] tables, one at least, and nothing else")
    entries: list[OpenCodeInstance] = []
    for number, entry in enumerate(found, 1):
        try:
            entries.append(_instance(entry, environ))
        except SettingRefusedError as error:
            raise SettingRefusedError(f"{path!r}, opencode {number}: {error}") from None
    return _checked(entries)


def _instance(entry: Any, environ: Mapping[str, str]) -> OpenCodeInstance:
    if not isinstance(entry, dict):
        raise SettingRefusedError("is no table")
    for name, value in entry.items():
        if name not in _MEMBERS:
            raise SettingRefusedError(f"{name[:40]!r} is no member: it takes {', '.join(_MEMBERS)}")
        if not isinstance(value, str) or not value.strip():
            raise SettingRefusedError(f"{name} must be a text")
    if "url" not in entry:
        raise SettingRefusedError("url is missing")
    url = _parsed("url", values.opencode_url, entry["url"])
    username = entry.get("username")
    return OpenCodeInstance(
        name=entry.get("name", default_name(url)),
        url=url,
        username=None if username is None else _parsed("username", values.user_name, username),
        password=_password(entry, environ),
        workspace_root=entry.get("workspace_root"),
    )


def _parsed(name: str, parse: Callable[[str], str], text: str) -> str:
    try:
        return parse(text)
    except ValueError as error:
        reason = str(error) if isinstance(error, SettingRefusedError) else ""
    raise SettingRefusedError(f"{name}: {reason or 'is not accepted'}")


def _password(entry: Mapping[str, str], environ: Mapping[str, str]) -> Secret | None:
    variable, path = entry.get("password_variable"), entry.get("password_file")
    if variable is not None and path is not None:
        raise SettingRefusedError("password_variable and password_file are both given; leave one out")
    if variable is not None:
        if not environ.get(variable):
            raise SettingRefusedError(f"password_variable: the variable {variable[:80]!r} is not set")
        return Secret(environ[variable])
    if path is None:
        return None
    try:
        password, _ = password_of_file(path)
    except SettingRefusedError as error:
        raise SettingRefusedError(f"password_file: {error}") from None
    return Secret(password)


def _checked(entries: Sequence[OpenCodeInstance]) -> tuple[OpenCodeInstance, ...]:
    """Refuse names that are none, or that two have. Raises `SettingRefusedError`."""
    if len(entries) > MOST_INSTANCES:
        raise SettingRefusedError(f"it names {len(entries)} OpenCodes, and takes {MOST_INSTANCES}")
    seen: set[str] = set()
    for entry in entries:
        if entry.named and not is_instance_name(entry.name):
            reason = f"takes letters, digits and any of _ . : - [ ], {LONGEST_NAME} at most"
            raise SettingRefusedError(f"a name of an OpenCode {reason}")
        if entry.name in seen:
            raise SettingRefusedError(f"two OpenCodes have the name {entry.name}")
        seen.add(entry.name)
    return tuple(entries)
