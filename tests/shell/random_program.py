"""Random programs for the model-based test: what several clients do to an agent, and when OpenCode is held up.

Data and how to draw it; what a step means is for ``test_model_based`` and the reference model.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from attrs import frozen
from hypothesis import strategies as st

from sansio.a2a.model import TaskState
from tests.shell.harness import WIRES, Wire
from tests.shell.reference_model import SCRIPTS, Script


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
    """Starts a task. ``context``: a name, that of a task, or None."""

    how: str
    script: Script | None
    context: str | Pick | None
    push: bool


@frozen(kw_only=True)
class Repeat(Step):
    """Sends the message of a task again."""

    how: str
    pick: Pick
    by_task: bool
    text: str


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
    """Lists tasks, page by page. ``after``: those whose status changed after that of this task."""

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
    """``what``: set, get, list or delete a configuration; ``id`` None: one that the server names, or all."""

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

picks = st.builds(Pick, st.sampled_from(["own"] * 7 + ["other's"] * 2 + ["no"]), st.integers(0, 7))
contexts = st.none() | st.sampled_from(["red", "blue"]) | picks
hows = st.sampled_from(["send", "send", "send at once", "send at once", "stream", "stream", "stream and leave"])
few = st.sampled_from([None, None, 0, 1, 5])


def step(kind: type[Step], **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.builds(kind, who=st.sampled_from(["alice", "alice", "bob"]), wire=st.sampled_from(WIRES), **members)


sends = step(Send, how=hows, script=st.none() | st.sampled_from(SCRIPTS), context=contexts, push=st.booleans())
lists = step(
    List,
    context=st.none() | contexts,
    state=st.none() | st.sampled_from([state for state in TaskState if state is not TaskState.UNKNOWN]),
    after=st.none() | st.none() | picks,
    size=st.sampled_from([None, 1, 2, 3, 100]),
    history=few,
    artifacts=st.booleans(),
)
holds = st.builds(Hold, st.sampled_from([None, None, 0, 2]))
gates = st.one_of(holds, holds, st.builds(Release), st.builds(Answer))
steps = st.one_of(
    sends,
    sends,
    sends,
    step(Repeat, how=hows, pick=picks, by_task=st.booleans(), text=st.sampled_from(["COUNT", "other words"])),
    step(GoOn, pick=picks, streaming=st.booleans(), context=st.none() | st.just("elsewhere"))
    | step(Borrow, pick=picks),
    step(Get, pick=picks, history=few),
    lists,
    lists,
    step(Cancel, pick=picks),
    step(
        Subscribe,
        pick=picks,
        after=st.none() | st.integers(0, 15) | st.just(10**6),
        leaves=st.booleans(),
    ),
    step(
        Push,
        what=st.sampled_from(["set", "set", "get", "list", "delete", "delete"]),
        pick=picks,
        id=st.sampled_from(["one", "one", "two", None]),
    ),
    gates,
    gates | st.builds(Settle),
)
programs = st.lists(steps, min_size=24, max_size=36)
