"""The rows of the table of settings, each written as an attribute of a class.

Knows no variable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from attrs import frozen

from sansio.redact import redact_url


@frozen(kw_only=True)
class Variable:
    """A row of the table: how one environment variable is read, and its description.

    `verbatim`: white space around the value belongs to it. `secret`: no error repeats the value.
    """

    name: str
    attribute: str
    group: str
    parse: Callable[[str], object]
    default: str
    takes: str
    secret: bool
    verbatim: bool


def row(
    group: str,
    name: str,
    parse: Callable[[str], object],
    default: object,
    takes: str,
    *,
    default_text: str | None = None,
    secret: bool = False,
    verbatim: bool = False,
) -> Any:
    """An attribute of `Settings` and the variable it is read from. `default_text` is its default in words."""
    variable = Variable(
        name=name,
        attribute="",
        group=group,
        parse=parse,
        default=_as_text(default) if default_text is None else default_text,
        takes=takes,
        secret=secret,
        verbatim=verbatim,
    )
    redacted = name.endswith("_URL")
    return attrs.field(default=default, metadata={Variable: variable}, repr=_shown_url if redacted else True)


def _shown_url(value: object) -> str:
    return repr(redact_url(value) if isinstance(value, str) else value)


def _as_text(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
