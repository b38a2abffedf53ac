"""Refusals of agents: every shape that an error answer has, read into one.

JSON-RPC errors of both versions, AIP-193 bodies, flat 0.3 bodies, problem details, plain text. Never raises itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import orjson

from sansio.a2a.client.client_errors import AgentError, refusal
from sansio.a2a.codecs.json_values import integer_at, list_at, text_at
from sansio.a2a.model import JsonObject

_TEXT_LIMIT = 300
_AGAIN = re.compile(r"([;,.]? *(please )?try again( later)?)?\.*$", re.IGNORECASE)
"""The end of a message that asks for another attempt without its time."""
_MESSAGE_NAMES = ("message", "detail", "error_description", "title", "error")


def agent_error(status: int, body: bytes) -> AgentError:
    """Return the error in an answer whose HTTP status is not 2xx."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return refusal(_plain(body) or _phrase(status), http_status=status)
    if isinstance(value, dict):
        return fault_in(status, value)
    message = _one_line(text_at(value) or "")
    return refusal(message or _phrase(status), http_status=status, data=value)


def postponed(status: int, body: bytes, seconds: float) -> AgentError:
    """Return the error of an answer that says after how many seconds to ask again; its message says so, too."""
    error = agent_error(status, body)
    message = error.message
    if "again in" not in message:  # ours says it itself
        message = f"{_AGAIN.sub('', message)}; try again in {math.ceil(seconds)} s"
    return refusal(
        message,
        code=error.code,
        http_status=status,
        reason=error.reason,
        data=error.data,
        retry_after=seconds,
    )


def fault_in(status: int, value: JsonObject) -> AgentError:
    """Make the error in a decoded body: under `error` (an object or a text), or flat."""
    inner = value.get("error")
    if not isinstance(inner, dict):
        return _flat(status, value)
    details = inner.get("details") if "details" in inner else inner.get("data")
    # AIP-193's code repeats the HTTP status; JSON-RPC's are negative by convention, but any integer will do
    is_rpc = "details" not in inner and not isinstance(inner.get("status"), str)
    return refusal(
        _with_fields(_message(inner) or _phrase(status), details),
        code=integer_at(inner, "code") if is_rpc else None,
        http_status=status,
        reason=_reason(details) or _filled(inner, "status"),
        data=details,
    )


def _flat(status: int, value: JsonObject) -> AgentError:
    message = _message(value) or _phrase(status)
    return refusal(
        _with_fields(message, value.get("data") or value.get("detail")),
        http_status=status,
        reason=_filled(value, "type"),
        data=value,
    )


def _message(value: JsonObject) -> str | None:
    for name in _MESSAGE_NAMES:
        line = _one_line(text_at(value, name) or "")
        if line:
            return line
    return None


def _filled(value: Any, name: str) -> str | None:
    return text_at(value, name) or None


def _one_or_many(value: Any) -> Iterator[JsonObject]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item


def _reason(details: Any) -> str | None:
    """Return the reason of an error: version 1.0 has it in `ErrorInfo`, 0.3 in the data's `type`."""
    for item in _one_or_many(details):
        reason = _filled(item, "reason")
        if reason:
            return reason
    return _filled(details, "type")


def _violations(details: Any) -> Iterator[str]:
    for item in _one_or_many(details):
        for violation in _one_or_many(item.get("fieldViolations")):
            field, description = text_at(violation, "field"), text_at(violation, "description")
            yield ": ".join(text for text in (field, description) if text)
        message = text_at(item, "msg")
        if message:
            path = ".".join(str(step) for step in list_at(item, "loc"))
            yield f"{path}: {message}" if path else message


def _with_fields(message: str, details: Any) -> str:
    """Return the message with the wrong fields it does not name itself."""
    unsaid = [text for text in _violations(details) if text and text not in message]
    return _one_line("; ".join([message, *unsaid]), 3 * _TEXT_LIMIT)


def _one_line(text: str, limit: int = _TEXT_LIMIT) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _plain(body: bytes) -> str:
    """Return the text of a body that is not JSON; empty for a page made for browsers."""
    text = body[: 8 * _TEXT_LIMIT].decode("utf-8", "replace")
    return "" if re.match(r"\s*<", text) else _one_line(text)


def _phrase(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
