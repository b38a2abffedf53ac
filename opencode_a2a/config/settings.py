"""Settings: loads the table of variables from an environment and a `.env` file, judges it, and describes it.

Knows no runtime, no socket and no store.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import attrs

from opencode_a2a.config.groups.opencode_instances import instances_of_file, is_file, listed_instances
from opencode_a2a.config.groups.password_file import password_of_file
from opencode_a2a.config.settings_earlier import translate
from opencode_a2a.config.settings_names import unknown
from opencode_a2a.config.settings_rows import Variable
from opencode_a2a.config.settings_table import VARIABLES, Settings
from opencode_a2a.config.settings_values import SettingRefusedError
from opencode_a2a.distribution import how_to_install, is_installed
from opencode_a2a.regular_files import is_open_to_others
from sansio.a2a.cards.parse import GRPC
from sansio.access import Credential, CredentialsError, CredentialSet
from sansio.redact import Secret, redact_url

__all__ = [
    "VARIABLES",
    "Settings",
    "SettingsError",
    "Variable",
    "check_bindings",
    "check_exposure",
    "check_workers",
    "help_text",
    "load_settings",
    "read_dotenv",
    "with_generated_token",
]

GENERATED_PRINCIPAL: Final = "local"
PASSWORD_FILE: Final = "OPENCODE_SERVER_PASSWORD_FILE"
METRICS_ADDRESS: Final = "A2A_METRICS_HOST and A2A_METRICS_PORT"
_LAST_PORT: Final = 65_535


class SettingsError(ValueError):
    """Settings the program cannot start with: all of them at once, a line each, which names the variable."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load_settings(
    environ: Mapping[str, str], *, dotenv: Path | None = None, used: Collection[str] | None = None
) -> tuple[Settings, list[str]]:
    """The settings in `environ` and, where it is silent, in the file `dotenv`; and warnings.

    That file need not exist. Names count in any case, as they did in 0.7.1. A blank value is an unset one.
    `used`: the attributes that the caller reads; the others keep their defaults, whatever is set. None: all.
    Raises `SettingsError`.
    """
    names = [variable.name for variable in VARIABLES]
    translated = translate(_folded(read_dotenv(dotenv)) | _folded(environ), names)
    if translated.problems and used is None:  # what is not offered any more was of the server's
        raise SettingsError(translated.problems)
    given = translated.given
    read = [variable for variable in VARIABLES if used is None or variable.attribute in used]
    texts = {variable.attribute: text for variable in read if (text := _given(variable, given))}
    settings = _structured(texts)
    if settings.protocol_version not in settings.supported_protocol_versions:
        offered = ", ".join(settings.supported_protocol_versions)
        raise SettingsError(
            [
                f"A2A_PROTOCOL_VERSION: {settings.protocol_version} is not among "
                f"A2A_SUPPORTED_PROTOCOL_VERSIONS ({offered})"
            ]
        )
    settings, about_file = _with_password_of_file(settings)
    settings = _with_instances(settings, read_dotenv(dotenv) | dict(environ))
    return settings, [*translated.warnings, *about_file, *_unused(texts, settings), *unknown(given, names)]


def _folded(environ: Mapping[str, str]) -> dict[str, str]:
    """By upper-case name; a name spelt that way goes before other spellings of it."""
    exact = {name: text for name, text in environ.items() if name == name.upper()}
    return {name.upper(): text for name, text in environ.items()} | exact


def read_dotenv(path: Path | None) -> dict[str, str]:
    """Return the variables of a `.env` file, which need not exist. Raises `SettingsError`."""
    if path is None or not path.is_file():
        return {}
    # most servers have no such file, and this imports some twenty modules
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    else:
        return {name: text for name, text in found.items() if text is not None}
    raise SettingsError([f"{path}: cannot be read: {reason}"])


def _given(variable: Variable, given: Mapping[str, str]) -> str:
    text = given.get(variable.name, "")
    return text if variable.verbatim and text.strip() else text.strip()


def _structured(texts: Mapping[str, str]) -> Settings:
    """Parse the texts of attributes. Raises `SettingsError` with all that are refused."""
    values: dict[str, Any] = {}
    causes: dict[str, Exception] = {}
    for variable in VARIABLES:
        if variable.attribute in texts:
            try:
                values[variable.attribute] = variable.parse(texts[variable.attribute])
            except Exception as error:
                causes[variable.attribute] = error
    if not causes:
        return Settings(**values)
    # Raised out here so that no parser's error, which may hold the text it failed on, travels along.
    raise SettingsError(
        [
            _problem(variable, texts[variable.attribute], causes[variable.attribute])
            for variable in VARIABLES
            if variable.attribute in causes
        ]
    )


def _problem(variable: Variable, text: str, cause: Exception) -> str:
    if isinstance(cause, (SettingRefusedError, CredentialsError)) and str(cause):
        reason = str(cause)
    elif variable.secret or "@" in text:
        reason = "the value is not accepted"
    else:
        reason = f"{redact_url(text)[:60]!r} is not accepted"
    return f"{variable.name}: {reason}. It sets {variable.takes}"


def _with_password_of_file(settings: Settings) -> tuple[Settings, list[str]]:
    """The settings with the password out of its file, if there is one, and warnings. Raises `SettingsError`."""
    path = settings.opencode_password_file
    if path is None:
        return settings, []
    if settings.opencode_password is not None:
        raise SettingsError([f"{PASSWORD_FILE}: is set, and so is OPENCODE_SERVER_PASSWORD; unset one of them"])
    try:
        password, status = password_of_file(path)
    except SettingRefusedError as error:
        raise SettingsError([f"{PASSWORD_FILE}: {error}"]) from None
    warning = f"{PASSWORD_FILE}: {path} can be read by others than its owner: chmod 600 keeps it private"
    return attrs.evolve(settings, opencode_password=Secret(password)), [warning] if is_open_to_others(status) else []


def _with_instances(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """The settings with the OpenCodes that are listed, or stand in a file. Raises `SettingsError`."""
    text = settings.opencode_url
    try:
        found = instances_of_file(text, environ) if is_file(text) else listed_instances(text)
    except SettingRefusedError as error:
        problem = f"OPENCODE_BASE_URL: {error}"
    else:
        named = any(one.named for one in found)
        return attrs.evolve(settings, opencode_url=found[0].url, opencode_instances=found if named else ())
    raise SettingsError([problem])


def _unused(texts: Mapping[str, str], settings: Settings) -> list[str]:
    password = ("opencode_password", "opencode_password_file")
    rows = (
        ("opencode_username", password, "OPENCODE_SERVER_USERNAME", "OPENCODE_SERVER_PASSWORD"),
        ("metrics_port", ("metrics_enabled",), "A2A_METRICS_PORT", "A2A_METRICS_ENABLED"),
    )
    warnings = [
        f"{name} has no effect without {other}"
        for attribute, needed, name, other in rows
        if attribute in texts and texts.keys().isdisjoint(needed)
    ]
    if settings.listen_database_url is not None and not settings.shares_store:
        warnings.append(
            "A2A_LISTEN_DATABASE_URL has no effect: A2A_TASK_STORE_DATABASE_URL names no PostgreSQL database"
        )
    return warnings


def check_exposure(settings: Settings) -> None:
    """Refuses to serve the network without credentials. Raises `SettingsError`."""
    if not (settings.credentials or settings.has_other_callers or settings.is_local):
        raise SettingsError(
            [
                "A2A_STATIC_AUTH_CREDENTIALS: is not set, but A2A_HOST "
                f"({settings.host}) can be reached from other machines. "
                "Set credentials, or listen on 127.0.0.1"
            ]
        )


def check_bindings(settings: Settings) -> None:
    """Refuse a binding whose library is not installed. Raises `SettingsError`."""
    if GRPC in settings.bindings and not is_installed("google.protobuf"):
        raise SettingsError([f"A2A_BINDINGS: GRPC needs the package protobuf: {how_to_install('grpc')}"])


def check_workers(settings: Settings) -> None:
    """Refuse several workers where they cannot share what they have to. Raises `SettingsError`."""
    if settings.workers == 1:
        return
    problems = []
    if not settings.shares_store:
        kept = "memory" if settings.store_url is None else "what A2A_TASK_STORE_DATABASE_URL names"
        if (settings.store_url or "").startswith("sqlite"):
            kept = "a SQLite file"
        problems.append(
            f"A2A_WORKERS: {settings.workers} processes cannot share tasks in {kept}: name a PostgreSQL database "
            "(A2A_TASK_STORE_DATABASE_URL=postgresql://…), or set A2A_WORKERS to 1"
        )
    if not hasattr(os, "fork"):
        problems.append("A2A_WORKERS: this platform cannot fork processes: set it to 1")
    first = settings.metrics_port
    if settings.metrics_enabled and first is None:
        problems.append(
            "A2A_METRICS_PORT: is not set, but each worker has metrics of its own, on a port of its own: "
            f"set the first of {settings.workers} ports"
        )
    elif settings.metrics_enabled and first is not None and first + settings.workers - 1 > _LAST_PORT:
        problems.append(f"A2A_METRICS_PORT: {settings.workers} ports do not fit above {first}")
    if problems:
        raise SettingsError(problems)


def with_generated_token(settings: Settings, token: str) -> Settings:
    """The settings with `token` as their one credential, for a local server that was given none."""
    if settings.credentials:
        raise ValueError("credentials are set already")
    credential = Credential.bearer(token, principal=GENERATED_PRINCIPAL, credential_id="generated")
    return attrs.evolve(settings, credentials=CredentialSet((credential,)))


def help_text(width: int = 100) -> str:
    """The table for a terminal, as the end of `--help`."""
    lines = ["Environment variables (also read from a .env file; the environment goes first):"]
    for group, variables in groupby(VARIABLES, key=lambda variable: variable.group):
        lines += ["", f"{group.replace('`', '')}:"]
        for variable in variables:
            lines.append(f"  {variable.name}")
            text = f"{variable.takes} [default: {variable.default}]"
            lines += textwrap.wrap(
                text, width, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False
            )
    return "\n".join(lines)
