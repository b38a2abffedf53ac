"""Replies of clients to permissions and questions, as OpenCode takes them: by method, or in plain words.

Pure. Whether the request still waits, and whether this caller may answer it, is not known here. Errors are
`ProtocolError` (INVALID_PARAMS) naming the field; the request then waits on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from sansio.a2a.codecs.json_values import objects_at, text_at
from sansio.a2a.counted import counted
from sansio.a2a.errors import ProtocolError, invalid
from sansio.a2a.model import DataPart, JsonObject, Message, TextPart
from sansio.a2a.refusals import Refusals
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.events import (
    BY_CLIENT,
    BY_TIMEOUT,
    REPLIES,
    InterruptAsked,
    InterruptEnded,
    answers_as_text,
)
from sansio.opencode.upstream.requests import Location, UpstreamCall

_WORDS = {
    "once": "once yes y yep yeah ok okay sure allow approve approved accept accepted granted go|go ahead|do it|"
    "yes please|allow once|just once|this time|only this time|approve once",
    "always": "always forever|yes always|always allow|allow always|approve always|every time|always yes",
    "reject": "reject rejected no n nope deny denied decline declined refuse refused never stop cancel|"
    "no thanks|no thank you|do not|don't|dont|not now|don't do it|do not do it",
}


def _phrases() -> dict[str, str]:
    """Return every phrase with the reply it stands for. Before the first bar each word is a phrase of its own."""
    found: dict[str, str] = {}
    for reply, text in _WORDS.items():
        words, *phrases = text.split("|")
        found |= dict.fromkeys([*words.split(), *phrases], reply)
    return found


_PHRASES = _phrases()
_QUIET = re.compile(r"[\s.!,;:\"“”]+")


@frozen(kw_only=True)
class Answer:
    """An answer: the call to OpenCode, the event for the turn, and a sentence on how it was understood."""

    call: UpstreamCall
    ended: InterruptEnded
    understood: str


# --- by method --------------------------------------------------------------------------------------------


def permission_reply(asked: InterruptAsked, reply: str, message: str | None, location: Location) -> Answer:
    """Answer a permission.

    `reply`: `once`, `always` or `reject`. `message`: for the model, and only with a rejection.
    """
    if reply not in REPLIES:
        raise invalid(("reply",), f"must be one of {', '.join(REPLIES)}")
    permission = text_at(asked.body, "permission")
    subject = "the action" if permission is None else permission
    sentences = {
        "once": f"Allowed once: {subject}.",
        "always": f"Allowed from now on: {subject}.",
        "reject": f"Rejected: {subject}." + (f" Told the model: {message}" if message else ""),
    }
    resolution = "rejected" if reply == "reject" else "replied"
    return Answer(
        call=requests.permission_reply(asked.request_id, reply, message, location),
        ended=asked.ended(resolution, by=BY_CLIENT, reply=reply, answer=message if reply == "reject" else None),
        understood=sentences[reply],
    )


def question_reply(asked: InterruptAsked, answers: Sequence[Sequence[str]], location: Location) -> Answer:
    """Answer each question, in their order, by a list of labels or free texts."""
    questions = objects_at(asked.body, "questions")
    if len(answers) != len(questions):
        rule = f"must hold {counted(len(questions), 'list')}, one for each question, and holds {len(answers)}"
        raise invalid(("answers",), rule)
    answer = answers_as_text(answers)
    return Answer(
        call=requests.question_reply(asked.request_id, answers, location),
        ended=asked.ended("replied", by=BY_CLIENT, answer=answer),
        understood=f"Answered: {answer}.",
    )


def question_reject(asked: InterruptAsked, location: Location) -> Answer:
    """Make the answer that rejects a question."""
    return Answer(
        call=requests.question_reject(asked.request_id, location),
        ended=asked.ended("rejected", by=BY_CLIENT),
        understood="The question was rejected.",
    )


def expired(asked: InterruptAsked, location: Location) -> Answer:
    """Make the rejection of a request that nobody answered in time, so that the turn continues."""
    if asked.kind == "permission":
        answer = permission_reply(asked, "reject", "Nobody answered in time.", location)
    else:
        answer = question_reject(asked, location)
    ended = asked.ended("rejected", by=BY_TIMEOUT)
    return Answer(call=answer.call, ended=ended, understood="Nobody answered in time, so it was rejected.")


def abandoned(asked: InterruptAsked, location: Location) -> UpstreamCall:
    """Build the rejection of a request whose turn was stopped: OpenCode lists it until it is answered."""
    if asked.kind == "permission":
        return requests.permission_reply(asked.request_id, "reject", None, location)
    return requests.question_reject(asked.request_id, location)


# --- in plain words ---------------------------------------------------------------------------------------


def understand(asked: InterruptAsked, message: Message, location: Location) -> Answer:
    """Parse a message as the answer to a request: its data part, if it has one, else its text."""
    for index, part in enumerate(message.parts):
        if isinstance(part, DataPart):
            return _from_data(asked, part.data, ("message", "parts", index), location)
        if not isinstance(part, TextPart):
            raise invalid(("message", "parts", index), "a file cannot answer; send text, or a data part")
    text = "\n".join(part.text for part in message.parts if isinstance(part, TextPart)).strip()
    if not text:
        raise invalid(("message", "parts"), "hold no answer")
    if asked.kind == "permission":
        reply = _PHRASES.get(_QUIET.sub(" ", text).strip().lower())
        if reply is None:
            return permission_reply(asked, "reject", text, location)
        return permission_reply(asked, reply, None, location)
    return question_reply(asked, _answers_in(objects_at(asked.body, "questions"), text), location)


def request_named(message: Message) -> str | None:
    """Return the request id that a message answers, from its data or `metadata.shared.interrupt.request_id`."""
    for part in message.parts:
        named = text_at(part.data, "request_id") if isinstance(part, DataPart) else None
        if named is not None:
            return named
    return text_at(message.metadata, "shared", "interrupt", "request_id")


def _from_data(asked: InterruptAsked, data: Any, path: tuple[str | int, ...], location: Location) -> Answer:
    if not isinstance(data, dict):
        raise invalid(path, "must be an object")
    if asked.kind == "permission":
        reply, message = data.get("reply"), data.get("message")
        refusals = Refusals()
        if not isinstance(reply, str):
            refusals.add(invalid((*path, "reply"), f"must be one of {', '.join(REPLIES)}"))
            reply = ""
        if message is not None and not isinstance(message, str):
            refusals.add(invalid((*path, "message"), "must be a string"))
        refusals.done()
        return _below(path, lambda: permission_reply(asked, reply, message, location))
    if data.get("reject") is True:
        return question_reject(asked, location)
    answers = texts_of(data.get("answers"), (*path, "answers"))
    return _below(path, lambda: question_reply(asked, answers, location))


def _below(path: tuple[str | int, ...], answer: Callable[[], Answer]) -> Answer:
    """Return the answer; the field that is wrong with it is named from the message's root."""
    try:
        return answer()
    except ProtocolError as error:
        [violation] = error.violations
        raise invalid((*path, *violation.path), violation.message) from None


def texts_of(value: Any, path: tuple[str | int, ...]) -> list[list[str]]:
    """Read answers as clients write them: a list with, for each question, a list of texts, or one text."""
    if not isinstance(value, list):
        raise invalid(path, "must be a list with a list of texts for each question")
    refusals = Refusals()
    answers: list[list[str]] = []
    for index, entry in enumerate(value):
        texts = [entry] if isinstance(entry, str) else entry
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            refusals.add(invalid((*path, index), "must be a list of texts"))
        answers.append(texts)
    refusals.done()
    return answers


def _answers_in(questions: Sequence[JsonObject], text: str) -> list[list[str]]:
    """Return the answers in a text: all of it for a single question, else a line for each."""
    if len(questions) == 1:
        return [_choices(questions[0], text)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != len(questions):
        raise invalid(
            ("message", "parts"),
            f"must answer {len(questions)} questions with a line for each, in their order, and has {len(lines)}",
        )
    lines = [re.sub(rf"\A{number}\s*[.):]\s+", "", line) for number, line in enumerate(lines, 1)]
    return [_choices(question, line) for question, line in zip(questions, lines, strict=True)]


def _choices(question: JsonObject, text: str) -> list[str]:
    """Return labels by name or number, several where the question takes several; any other text as it is."""
    labels = _labels(question)
    whole = _choice(labels, text)
    if whole is not None or question.get("multiple") is not True:
        return [text if whole is None else whole]
    pieces = [piece.strip() for piece in re.split(r"[,;\n]", text) if piece.strip()]
    found = [_choice(labels, piece) for piece in pieces]
    if any(one is None for one in found):
        return [text]
    return list(dict.fromkeys(one for one in found if one is not None))


def _choice(labels: Sequence[str], text: str) -> str | None:
    plain = text.strip().rstrip(".").strip().lower()
    for label in labels:
        if label.strip().lower() == plain or label.strip() == text.strip():
            return label
    number = plain.removeprefix("#").removesuffix(")")
    if number.isascii() and number.isdigit() and len(number) < 4 and 1 <= int(number) <= len(labels):
        return labels[int(number) - 1]
    return None


def _labels(question: JsonObject) -> list[str]:
    labels = [text_at(option, "label") for option in objects_at(question, "options")]
    return [label for label in labels if label is not None]
