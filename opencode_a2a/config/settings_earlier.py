"""The variables of earlier releases that are not settings any more: what each is read as, or what to use instead.

Knows no value of a setting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Final

from attrs import frozen

from opencode_a2a.config.settings_values import FALSE


class Fate(Enum):
    """The fate of a variable of an earlier release; the value is the word in the document."""

    MAPPED = "read as another setting"
    NO_EFFECT = "warned about"
    REFUSED = "stops the start"


@frozen(kw_only=True)
class EarlierVariable:
    """A row: `instead` says what to use, or why nothing is needed. `target`: the setting that it is read as.

    `harmless`: values that ask for what is the case here anyway; they pass without a word.
    """

    name: str
    releases: str
    fate: Fate
    instead: str
    target: str | None = None
    convert: Callable[[str], str] = str
    harmless: tuple[str, ...] = ()


def _bearer(token: str) -> str:
    return json.dumps([{"scheme": "bearer", "token": token, "principal": "automation"}])


def _mapped(
    name: str, releases: str, target: str, convert: Callable[[str], str] = str, more: str = ""
) -> EarlierVariable:
    instead = f"write `{target}`{more}"
    return EarlierVariable(
        name=name, releases=releases, fate=Fate.MAPPED, instead=instead, target=target, convert=convert
    )


def _no_effect(releases: str, instead: str, *names: str, harmless: tuple[str, ...] = ()) -> list[EarlierVariable]:
    return [
        EarlierVariable(name=name, releases=releases, fate=Fate.NO_EFFECT, instead=instead, harmless=harmless)
        for name in names
    ]


def _refused(releases: str, instead: str, *names: str, harmless: tuple[str, ...] = ()) -> list[EarlierVariable]:
    return [
        EarlierVariable(name=name, releases=releases, fate=Fate.REFUSED, instead=instead, harmless=harmless)
        for name in names
    ]


EARLIER: Final[tuple[EarlierVariable, ...]] = (
    _mapped(
        "A2A_BEARER_TOKEN",
        "0.2.0",
        "A2A_STATIC_AUTH_CREDENTIALS",
        _bearer,
        ": it becomes the principal `automation`, without capabilities",
    ),
    _mapped("OPENCODE_DIRECTORY", "0.2.0", "OPENCODE_WORKSPACE_ROOT"),
    _mapped("OPENCODE_AUTH_USERNAME", "1.4.0", "OPENCODE_SERVER_USERNAME"),
    _mapped("OPENCODE_AUTH_PASSWORD", "1.4.0", "OPENCODE_SERVER_PASSWORD"),
    *_refused(
        "0.2.0",
        "there is no OAuth here: name who may call in `A2A_STATIC_AUTH_CREDENTIALS`, and unset this",
        "A2A_OAUTH_AUTHORIZATION_URL",
        "A2A_OAUTH_TOKEN_URL",
        "A2A_OAUTH_METADATA_URL",
        "A2A_OAUTH_SCOPES",
    ),
    *_refused(
        "0.2.0",
        "set the model in OpenCode's configuration, or send `metadata.shared.model`, and unset this",
        "OPENCODE_PROVIDER_ID",
        "OPENCODE_MODEL_ID",
    ),
    *_no_effect("0.2.0", "streams are always on offer", "A2A_STREAMING", harmless=("true", "1")),
    *_no_effect(
        "0.2.0",
        "sessions are kept in the database, for good",
        "A2A_SESSION_CACHE_TTL_SECONDS",
        "A2A_SESSION_CACHE_MAXSIZE",
    ),
    *_no_effect(
        "0.2.0",
        "`OTEL_EXPORTER_OTLP_ENDPOINT` turns traces on, and `false` here keeps them off",
        "A2A_OTEL_INSTRUMENTATION_ENABLED",
        harmless=FALSE,
    ),
)


@frozen
class Translated:
    """The environment in today's names, what to warn about, and what keeps the server from starting."""

    given: Mapping[str, str]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


def translate(given: Mapping[str, str], settings: Collection[str]) -> Translated:
    """Read the earlier variables in an environment with upper-case names. `settings`: the names of today.

    A name that is a setting today is one, whatever it was. No value is repeated.
    """
    result = dict(given)
    warnings: list[str] = []
    problems: list[str] = []
    for row in EARLIER:
        if row.name in settings:
            continue
        text = result.pop(row.name, "")
        if not text.strip():
            continue
        instead = row.instead.replace("`", "")
        if row.target is not None:
            if result.get(row.target, "").strip():
                warnings.append(f"{row.name} has no effect beside {row.target}")
            else:
                result[row.target] = row.convert(text)
                warnings.append(f"{row.name} is a setting of {row.releases}, and read as {row.target}: {instead}")
        elif text.strip().lower() in row.harmless:
            continue
        elif row.fate is Fate.REFUSED:
            problems.append(f"{row.name}: is a setting of {row.releases} that is not offered; {instead}")
        else:
            warnings.append(f"{row.name} is a setting of {row.releases} without effect here: {instead}")
    return Translated(result, tuple(warnings), tuple(problems))
