"""Input that a task requests from its user: permissions and questions with their choices, and typed answers to them.

Requests come from the metadata `shared.interrupt` (extension `interactive-interrupt`); an agent without it asks in
plain text. Typed lines are matched to choices here; how they are typed and sent is not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from sansio.a2a.codecs.json_values import objects_at, text_at, texts_at
from sansio.a2a.model import JsonObject

PERMISSION_REPLIES: Final = {
    "once": "allow it this time",
    "always": "allow it from now on",
    "reject": "do not allow it; `reject REASON` tells the agent why",
}
"""The replies to a permission, and their meaning."""

_REPLY_WORDS: Final = {"yes": "once", "allow": "once", "no": "reject", "deny": "reject"}
_MOST_OPTIONS: Final = 100
_SEPARATORS: Final = re.compile(r"[,;\n]")


@frozen(kw_only=True)
class Option:
    """A choice of a question."""

    label: str
    description: str = ""


@frozen(kw_only=True)
class Question:
    """A question with its options. `multiple`: several may be picked; `free_text`: other answers are taken too."""

    text: str
    header: str = ""
    options: tuple[Option, ...] = ()
    multiple: bool = False
    free_text: bool = True


@frozen(kw_only=True)
class Permission:
    """A permission. `subjects`: the command, or the patterns it is about; `always`: patterns that `always` allows."""

    action: str
    subjects: tuple[str, ...] = ()
    always: tuple[str, ...] = ()


@frozen(kw_only=True)
class InputRequest:
    """A request of the task for input. `kind` and `request_id`: `None` where the agent names none.

    `permission` and `questions` hold the choices, where the agent sends them. `status`: the text, time and message
    id of the status that asks. They distinguish it from a later one that asks the same.
    """

    text: str
    kind: str | None = None
    request_id: str | None = None
    permission: Permission | None = None
    questions: tuple[Question, ...] = ()
    status: tuple[str, str | None, str | None]


@frozen(kw_only=True)
class Reply:
    """An answer to a request. `data`: the same for agents that read data, where the text could be misread."""

    text: str
    data: JsonObject | None = None


@frozen
class UnclearAnswer:
    """A typed line that matches no choice, or more than one. `hint` says what can be typed."""

    hint: str


def read_input_request(text: str, status: tuple[str, str | None, str | None], interrupt: Any) -> InputRequest:
    """Read a request from the metadata of the status that asks. Malformed metadata leaves it a plain one."""
    kind = text_at(interrupt, "type") or None
    return InputRequest(
        text=text,
        kind=kind,
        request_id=text_at(interrupt, "request_id") or None,
        permission=_permission(interrupt) if kind == "permission" else None,
        questions=_questions(interrupt) if kind == "question" else (),
        status=status,
    )


def _permission(interrupt: Any) -> Permission:
    command = text_at(interrupt, "details", "metadata", "command")
    patterns = tuple(texts_at(interrupt, "details", "patterns"))
    return Permission(
        action=text_at(interrupt, "details", "permission") or "",
        subjects=(command,) if command else patterns,
        always=tuple(texts_at(interrupt, "details", "always")),
    )


def _questions(interrupt: Any) -> tuple[Question, ...]:
    return tuple(
        Question(
            text=text_at(question, "question") or "",
            header=text_at(question, "header") or "",
            options=tuple(
                Option(label=label, description=text_at(option, "description") or "")
                for option in objects_at(question, "options")[:_MOST_OPTIONS]
                if (label := text_at(option, "label"))
            ),
            multiple=question.get("multiple") is True,
            free_text=question.get("custom") is not False,
        )
        for question in objects_at(interrupt, "details", "questions")
    )


# --- typed answers ----------------------------------------------------------------------------------------


def permission_answer(line: str) -> str | UnclearAnswer:
    """Match a typed line to a reply: by number, by a unique beginning, or by yes and no. `reject` takes a reason.

    An empty line is no consent, and no rejection either.
    """
    line = line.strip()
    first = re.split(r"[\s,:.!]", line, maxsplit=1)[0].lower()
    replies = [*PERMISSION_REPLIES]
    if first.isdecimal() and 1 <= int(first) <= len(replies):
        reply = replies[int(first) - 1]
    else:
        words = {**{word: word for word in replies}, **_REPLY_WORDS}
        found = {reply for word, reply in words.items() if first and word.startswith(first)}
        if len(found) != 1:
            return UnclearAnswer("type 1 to 3, once, always or reject")
        [reply] = found
    rest = line[len(first) :].strip(" \t,:.!")
    if not rest:
        return reply
    if reply != "reject":
        return UnclearAnswer(f"type {reply} alone; only reject takes a reason")
    return f"no: {rest}"  # never the reason alone: an agent could read it as consent


def question_answer(question: Question, line: str) -> tuple[str, ...] | UnclearAnswer:
    """Match a typed line to labels: by number, by label or by a unique beginning of one; else take it as free text.

    An empty line picks the first option, where one is to be picked.
    """
    line = line.strip()
    labels = [option.label for option in question.options]
    if not line:
        if labels and not question.multiple:
            return (labels[0],)
        return UnclearAnswer(_choices_hint(question) if labels else "type an answer")
    whole = _label(labels, line)
    if whole is not None:
        return (whole,)
    if question.multiple:
        pieces = [piece.strip() for piece in _SEPARATORS.split(line) if piece.strip()]
        if len(pieces) == 1 and re.fullmatch(r"[\d\s]+", pieces[0]):
            pieces = pieces[0].split()
        found = [_label(labels, piece) for piece in pieces]
        if found and all(found):
            return tuple(dict.fromkeys(label for label in found if label))
    numbers = bool(re.fullmatch(r"[\d\s,;]+", line)) and not any(label.isdecimal() for label in labels)
    if labels and (numbers or not question.free_text):
        return UnclearAnswer(_choices_hint(question))
    return (line,)


def _label(labels: Sequence[str], typed: str) -> str | None:
    """Return the label that is typed: whole, by its number, or by a beginning that no other label has."""
    plain = typed.casefold()
    whole = [label for label in labels if label.strip().casefold() == plain]
    if whole:
        return whole[0]
    if typed.isdecimal() and len(typed) < 4:
        return labels[int(typed) - 1] if 1 <= int(typed) <= len(labels) else None
    begun = [label for label in labels if label.strip().casefold().startswith(plain)]
    return begun[0] if len(begun) == 1 else None


def _choices_hint(question: Question) -> str:
    count = len(question.options)
    numbers = "1" if count == 1 else f"a number from 1 to {count}"
    several = ", several with commas between them," if question.multiple else ""
    return f"type {numbers}{several} or the beginning of an option" + (
        ", or an answer in words" if question.free_text else ""
    )


def question_reply(asked: InputRequest, answers: Sequence[Sequence[str]]) -> Reply:
    """Compose the reply to the questions of a request: a line for each, its labels with commas between them."""
    lines = [", ".join(answer) for answer in answers]
    ambiguous = any(len(answer) > 1 and any(_SEPARATORS.search(text) for text in answer) for answer in answers)
    if ambiguous or (len(answers) > 1 and any("\n" in line for line in lines)):
        data = {"request_id": asked.request_id, "answers": [[*answer] for answer in answers]}
        return Reply(text="\n".join(lines), data=data)
    return Reply(text="\n".join(lines))
