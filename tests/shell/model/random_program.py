"""Random programs for the model-based test: what several clients do to an agent, and when OpenCode is held up.

Data and how to draw it; what a step means is for `test_model_based` and the reference model.
"""

from __future__ import annotations

from random import Random
from typing import Any, TypeAlias

from attrs import frozen
from hypothesis import strategies as st

from sansio.a2a.model import TaskState
from tests.shell.harness import WIRES, Wire
from tests.shell.model.reference_model import SCRIPTS, Script


@frozen
class Pick:
    """One of the tasks there are: of the caller's own, of the others', or one that never was."""

    whose: str
    index: int

    def __str__(self) -> str:
        return f"{self.whose} {self.index}"


@frozen(kw_only=True)
class Step:
    """What somebody does on some wire."""

    who: str
    wire: Wire


@frozen(kw_only=True)
class Send(Step):
    """Starts a task. `context`: a name, that of a task, or None."""

    how: str
    script: Script | None
    context: str | Pick | None
    push: bool


@frozen(kw_only=True)
class Repeat(Step):
    """Sends the message of a task again. `names`: the task, the context, or nothing; `text` None: the same."""

    how: str
    pick: Pick
    names: str
    text: str | None


@frozen(kw_only=True)
class GoOn(Step):
    """Sends another message to a task, which no task takes."""

    pick: Pick
    streaming: bool
    context: str | None


@frozen(kw_only=True)
class Borrow(Step):
    """Asks for the session of a task."""

    pick: Pick


@frozen(kw_only=True)
class Get(Step):
    pick: Pick
    history: int | None


@frozen(kw_only=True)
class List(Step):
    """Lists tasks, page by page. `after`: those whose status changed after that of this task."""

    context: str | Pick | None
    state: TaskState | None
    after: Pick | None
    size: int | None
    history: int | None
    artifacts: bool


@frozen(kw_only=True)
class Cancel(Step):
    pick: Pick


@frozen(kw_only=True)
class Subscribe(Step):
    pick: Pick
    after: int | None
    leaves: bool


@frozen(kw_only=True)
class Push(Step):
    """`what`: set, get, list or delete a configuration; `id` None: one that the server names, or all."""

    what: str
    pick: Pick
    id: str | None


@frozen
class Hold:
    """The stand-in lets no turn go on: after so many tokens, or None: at all."""

    tokens: int | None


@frozen
class Release: ...


@frozen
class Answer:
    """All permissions that are asked for are given."""


@frozen
class Settle:
    """All tasks come to their end."""


Program: TypeAlias = list[Step | Hold | Release | Answer | Settle]

STATES = [state for state in TaskState if state is not TaskState.UNKNOWN]
HOWS = ["send", "send", "send at once", "send at once", "stream", "stream", "stream and leave"]
KINDS: dict[type[Any], int] = {
    Send: 8,
    Repeat: 2,
    GoOn: 2,
    Borrow: 1,
    Get: 2,
    List: 4,
    Cancel: 3,
    Subscribe: 4,
    Push: 5,
    Hold: 3,
    Release: 2,
    Answer: 2,
    Settle: 1,
}
"""Which steps there are, and how often each is taken in comparison."""


def _pick(rng: Random) -> Pick:
    return Pick(rng.choice(["own"] * 7 + ["other's"] * 2 + ["no"]), rng.randrange(8))


def _context(rng: Random) -> str | Pick | None:
    return rng.choice([None, "red", "red", "blue", _pick(rng)])


def _members(kind: type[Any], rng: Random) -> dict[str, Any]:
    """What a step of this kind is about."""
    if kind is Send:
        script = rng.choice([None, None, None, *SCRIPTS])
        return {"how": rng.choice(HOWS), "script": script, "context": _context(rng), "push": rng.random() < 0.4}
    if kind is List:
        return {
            "context": rng.choice([None, _context(rng)]),
            "state": rng.choice([None, rng.choice(STATES)]),
            "after": rng.choice([None, None, _pick(rng)]),
            "size": rng.choice([None, 1, 2, 3, 100]),
            "history": rng.choice([None, None, 0, 1, 5]),
            "artifacts": rng.random() < 0.5,
        }
    members: dict[str, Any] = {"pick": _pick(rng)}
    if kind is Repeat:
        names, text = rng.choice(["task", "context", "nothing"]), rng.choice([None, "COUNT", "plain words"])
        members |= {"how": rng.choice(HOWS), "names": names, "text": text}
    elif kind is GoOn:
        members |= {"streaming": rng.random() < 0.5, "context": rng.choice([None, None, "elsewhere"])}
    elif kind is Get:
        members["history"] = rng.choice([None, None, 0, 1, 5])
    elif kind is Subscribe:
        members |= {"after": rng.choice([None, None, rng.randrange(16), 10**6]), "leaves": rng.random() < 0.3}
    elif kind is Push:
        what = rng.choice(["set", "set", "get", "list", "delete", "delete"])
        members |= {"what": what, "id": rng.choice(["one", "one", "two", None])}
    return members


def _step(rng: Random) -> Step | Hold | Release | Answer | Settle:
    [kind] = rng.choices(list(KINDS), list(KINDS.values()))
    if kind is Hold:
        return Hold(rng.choice([None, None, 0, 2]))
    if not issubclass(kind, Step):
        plain: Release | Answer | Settle = kind()
        return plain
    step: Step = kind(who=rng.choice(["alice", "alice", "bob"]), wire=rng.choice(WIRES), **_members(kind, rng))
    return step


def program_of(rng: Random) -> Program:
    """A program, its steps independent of each other.

    Hypothesis, left to draw each of them, draws much that is alike: it is made for small failures, and so asked only
    for the seed.
    """
    return [_step(rng) for _ in range(rng.randint(24, 36))]


programs = st.integers(0, 2**32 - 1).map(lambda seed: program_of(Random(seed)))
