"""Answers together what is asked while earlier questions are being answered. Knows nothing of what they are.

A question is never answered by work that had begun before it was asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@define(eq=False)
class _Asked(Generic[Question, Answer]):
    """A question that is to be answered. `fault`: why it cannot be."""

    question: Question
    answer: Answer | None = None
    fault: Exception | None = None
    done: anyio.Event = field(factory=anyio.Event)


class Gathering(Generic[Question, Answer]):
    """Gathers questions for `answer`, which gets `most` of them at most, and returns an answer for each, in order.

    It runs in `tasks`: whoever asked may be cancelled, and the others get their answers.
    """

    def __init__(
        self, tasks: TaskGroup, answer: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]], most: int
    ) -> None:
        self._tasks = tasks
        self._answer = answer
        self._most = most
        self._asked: list[_Asked[Question, Answer]] = []
        self._answering = False

    async def ask(self, question: Question) -> Answer:
        """Return the answer. Raises an error of the class that `answer` raises, with the same text."""
        asked = _Asked[Question, Answer](question)
        self._asked.append(asked)
        if not self._answering:
            self._answering = True
            self._tasks.start_soon(self._answer_all)
        await asked.done.wait()
        if asked.fault is not None:
            raise type(asked.fault)(str(asked.fault))
        return asked.answer  # type: ignore[return-value]  # there is one without a fault

    async def _answer_all(self) -> None:
        with anyio.CancelScope(shield=True):  # they wait for what has begun
            while self._asked:
                some, self._asked = self._asked[: self._most], self._asked[self._most :]
                try:
                    answers = await self._answer([one.question for one in some])
                    for one, answer in zip(some, answers, strict=True):
                        one.answer = answer
                except Exception as error:
                    for one in some:
                        one.fault = error
                for one in some:
                    one.done.set()
            self._answering = False
