"""Client-safe form of an error text of OpenCode or a provider: a sentence of it, or a reference to the log.

Stack traces, paths of the machine and documents are internal. Pure: a reference is made of the text itself.
"""

from __future__ import annotations

import hashlib
import re

import orjson

from sansio.a2a.codecs.json_values import member, text_at

_LONGEST = 200
_INTERNAL = re.compile(
    r"\n\s*at\s|\bat\s+\S+\s+\(|:\d+:\d+\b|node:|bun:|node_modules|Traceback|^\s*[<{\[]"
    r"|(?<![\w:/.])~?/[\w.@%+-]+/[\w./@%+-]+|\b[A-Za-z]:\\\\"
)
"""Frames of a stack, modules, documents, and paths of the machine; a path in a URL is none."""


def plain_reason(text: str) -> str | None:
    """Return a text as it may be read by a client: one line, without credentials. None where it is internal."""
    line = text.strip()
    if not line or "\n" in line or len(line) > _LONGEST or _INTERNAL.search(line):
        return None
    return redact_text(line)


def reference_of(text: str) -> str:
    """Return a short id by which a text is found in the log: the same for the same text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def hidden(text: str) -> str:
    """Return the part of a text for the log alone: all of it, or nothing."""
    return text if text.strip() and plain_reason(text) is None else ""


def with_reason(sentence: str, text: str) -> str:
    """Return a sentence with the reason that a text gives, or with the reference under which the log has it."""
    if not text.strip():
        return sentence
    reason = plain_reason(text)
    return (
        f"{sentence}: {reason}" if reason is not None else f"{sentence} (reference {reference_of(text)} in the log)"
    )


def retry_reason(text: str) -> str:
    """Return the reason for a retry as a client may read it; the log has no line for a retry, so no reference."""
    return plain_reason(text) or "The model's provider reported an error"


def message_in(answer: str) -> str:
    """Return the message in an error answer of OpenCode's, which is JSON; any other answer as it is."""
    try:
        body = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return answer
    for source in (member(body, "data"), body):
        message = text_at(source, "message")
        if message is not None:
            return message
    return answer


_HIDDEN = "***"
_SECRET_IN_TEXT = re.compile(
    r"(?P<before>\b(?:bearer|basic)\s+|\b[\w-]*(?:api[_-]?key|authorization|password|passwd|secret|token)[\"']?\s*[:=]\s*[\"']?)"
    r"(?P<value>(?!(?:bearer|basic)\b)[^\s\"',;}]{4,})"
    r"|(?P<key>\b(?:sk|pk|ghp|gho|xox[abp]|AIza)[-_A-Za-z0-9]{12,})",
    re.IGNORECASE,
)


def redact_text(text: str) -> str:
    """Return the same text with `***` for what looks like a credential: a key, a header, a member named so."""
    return _SECRET_IN_TEXT.sub(lambda found: f"{found['before'] or ''}{_HIDDEN}", text)
