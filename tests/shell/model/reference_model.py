"""What a served agent promises, as a simple model: who has which tasks, and what each of them may be by now.

It is told what was asked and what was answered, and says what may be answered next. Where that depends on how far
OpenCode is, it knows a set of states, and every look narrows it. Must not know how anything is asked or served.
"""

from __future__ import annotations

from attrs import define, field, frozen

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO, words
from opencode_a2a.fake_opencode.scripts import AFTER_THOUGHT, BEFORE_TOOL
from sansio.a2a.model import (
    ArtifactUpdate,
    DataPart,
    Part,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TextPart,
)
from sansio.a2a.timestamps import epoch_ms
from tests.shell.folding import Said, artifacts_of, folded

_LONG = "".join(f"w{index} " for index in range(40))


@frozen(kw_only=True)
class Script:
    """What a prompt leads to. `longest`: the tokens of its longest text; None: it says nothing and never waits.

    `says` None: how many prompts its session has had.
    """

    text: str
    says: str | None = field(default="", repr=False)
    longest: int | None = field(default=None, repr=False)
    asks: bool = field(default=False, repr=False)
    end: TaskState = field(default=TaskState.COMPLETED, repr=False)

    def waits_at(self, tokens: int | None) -> bool:
        """Whether a gate holds it that closes after so many tokens of a text (None: before anything is done)."""
        return self.longest is not None and (tokens is None or self.longest > tokens)


def _saying(text: str, says: str, **more: bool) -> Script:
    return Script(text=text, says=says, longest=len(words(says)), asks=more.get("asks", False))


SCRIPTS = (
    _saying("plain words", HELLO),
    _saying("ECHO one two three four", "one two three four"),
    Script(text="COUNT", says=None, longest=len(words("You have said 1 things."))),
    _saying("THINK", AFTER_THOUGHT),
    Script(text="STEPS", says=BEFORE_TOOL + AFTER_TOOL, longest=3),
    _saying("LONG 40", _LONG),
    _saying("RETRY", HELLO),
    _saying("PERMISSION", AFTER_TOOL, asks=True),
    Script(text="FAIL500", longest=0, end=TaskState.FAILED),
    Script(text="FAIL401", longest=0, end=TaskState.AUTH_REQUIRED),
    Script(text="EMPTY"),
)


def marked(mark: str) -> Script:
    """A script that says what nobody else is told."""
    says = f"only for {mark}"
    return _saying(f"ECHO {says}", says)


@define(eq=False, kw_only=True)
class Target:
    """Where a push configuration sends to. `whole`: it must be told of the end; `cut`: it must not be.

    For a task that lacks credentials, which OpenCode is done with, that is the end.
    """

    path: str
    token: str
    whole: bool
    cut: bool = False


@define(eq=False, kw_only=True)
class Known:
    """A task as its client must know it. `before`: those of the same context that came before it.

    `held`: the stand-in does not let it end; `answered`: what it asks may have been answered. `plain`: 0.3 over
    HTTP+JSON tells of it as the schema has it. `since`: the timestamp of the status that was seen last;
    `ended_since`: the same once it has ended.
    """

    name: str
    owner: str
    script: Script
    message_id: str
    before: tuple[Known, ...]
    held: bool
    plain: bool
    context: str | None
    id: str = ""
    state: TaskState = TaskState.SUBMITTED
    answered: bool = False
    since: str | None = None
    ended_since: str | None = None
    said: str = ""
    session: str | None = None
    configs: dict[str, Target] = field(factory=dict)
    events: dict[int, object] = field(factory=dict)

    @property
    def over(self) -> bool:
        """OpenCode is done with it, though it may be that the client is not: where credentials are missing."""
        return self.state.terminal or self.state is TaskState.AUTH_REQUIRED

    @property
    def stays_open(self) -> bool:
        """It cannot be over, nor can it without a step of the program's."""
        if self.over:
            return False
        return self.held or (self.script.asks and not self.answered) or self.waits_in_line

    @property
    def waits_in_line(self) -> bool:
        """One before it stays open."""
        return any(one.stays_open for one in self.before)

    @property
    def waits_for_its_client(self) -> bool:
        """It may take a message, as an answer or to try again."""
        return not self.state.terminal and (self.script.asks or self.script.end is TaskState.AUTH_REQUIRED)

    @property
    def may_ask(self) -> bool:
        """It may wait for an answer, which needs to name nothing but the context."""
        return self.script.asks and not self.state.terminal

    @property
    def may_be(self) -> frozenset[TaskState]:
        """The states that it may be told to be in from now on, as long as the program takes no step."""
        if self.over:
            return frozenset({self.state})
        if self.waits_in_line:
            return frozenset({TaskState.SUBMITTED})
        found = {TaskState.WORKING}
        if self.state is TaskState.SUBMITTED:
            found.add(TaskState.SUBMITTED)
        if self.script.asks:
            found.add(TaskState.INPUT_REQUIRED)
        if not self.stays_open:
            found.add(self.script.end)
        return frozenset(found)

    @property
    def may_say(self) -> list[str]:
        """The answers it may come to."""
        if self.script.says is not None:
            return [self.script.says]
        least = sum(one.state is not TaskState.CANCELED for one in self.before)
        return [f"You have said {count} things." for count in range(least + 1, len(self.before) + 2)]

    def is_in(self, state: TaskState) -> None:
        """It was told to be in a state: which it may be, and no earlier task of its context is open any more."""
        allowed = " or ".join(sorted(one.value for one in self.may_be))
        assert state in self.may_be, f"{self.name} is said to be {state.value}: it can only be {allowed}"
        self.state = state
        if state not in (TaskState.SUBMITTED, TaskState.CANCELED):  # one in line can be canceled, too
            for one in self.before:
                if not one.over:
                    one.state = one.script.end

    def seen(self, task: Task, *, history: int | None = None, artifacts: bool = True) -> None:
        """It was told as it is now, with so much of its history."""
        self.is_told(task, history=history)
        self.is_in(task.status.state)
        shared = (task.metadata or {}).get("shared", {})
        session = shared.get("session", {}).get("id")
        assert session == self.session or self.session is None, f"{self.name} changed its session"
        self.session = session or self.session
        assert task.status.timestamp is not None
        assert self.since is None or task.status.timestamp >= self.since, (
            f"{self.name}: its status is older than before"
        )
        assert self.ended_since in (None, task.status.timestamp), f"{self.name}: its end has moved"
        self.since = task.status.timestamp
        if self.state.terminal:
            self.ended_since = self.since
        if artifacts:
            self._says(answer_in(task), self.state)
        else:
            assert not task.artifacts, f"{self.name} is listed with artifacts, unasked"

    def is_told(self, task: Task, *, history: int | None = None) -> None:
        """What never changes of a task. `history`: how much of it was asked for."""
        assert task.id == self.id, f"{self.name} is {self.id}, not {task.id}"
        assert task.context_id == self.context, f"{self.name} belongs to {self.context}, not to {task.context_id}"
        messages = [message.message_id for message in task.history]
        expected = [] if history == 0 else [self.message_id]
        assert messages == expected, f"{self.name} has a history of {messages} instead of {expected}"

    def _says(self, text: str, state: TaskState) -> None:
        over = state is self.script.end
        right = text in self.may_say if over else any(one.startswith(text) for one in self.may_say)
        assert right, f"{self.name}, {state.value}, says {text!r} of {self.may_say}"
        assert text.startswith(self.said), f"{self.name} has said {self.said!r}, and now it is {text!r}"
        self.said = text

    def streamed(self, numbered: list[tuple[int, StreamItem]], after: int | None, now: Task) -> None:
        """A stream of it has ended, and this is the task: both are the same, and every stream has the same events."""
        items = [item for _, item in numbered]
        first = items[0]
        assert isinstance(first, Task), f"a stream of {self.name} begins with {first}"
        begin, later = split(numbered)
        from_start = numbered[0][0] == 0 and after is not None and begin < after  # it asked for what is not there yet
        asked = numbered[0][0] if after is None or from_start else after
        assert numbered[0][0] == asked, f"a stream of {self.name} goes on after {numbered[0][0]}, not {after}"
        self.is_told(first)
        numbers = [number for number, _ in later]
        assert numbers == sorted(set(numbers)), f"a stream of {self.name} is out of order: {numbers}"
        state, artifacts = add_up(items)
        if not ends_early(state, now.status.state):
            same = state is now.status.state or state is TaskState.AUTH_REQUIRED  # which can be canceled later
            assert same, f"a stream of {self.name} ends as {state.value}: it is {now.status.state.value}"
            told, known = artifacts, artifacts_of(now)
            assert told == known, f"a stream of {self.name} adds up to {told}: it is {known}"
        for number, item in later:
            before = self.events.setdefault(number, essence(item))
            assert before == essence(item), f"event {number} of {self.name} is {before} and {essence(item)}"

    def missing(self, numbered: list[tuple[int, StreamItem]]) -> set[int]:
        """Events that other streams had and this one, which was read to the end, had not."""
        begin, later = split(numbered)
        numbers = {number for number, _ in later}
        state, _ = add_up([item for _, item in numbered])
        whole = self.script.end.terminal and not ends_early(state, self.state)
        last = max(self.events, default=0) if whole else max(numbers, default=0)
        return {number for number in self.events if begin < number <= last} - numbers


def ends_early(state: TaskState, now: TaskState) -> bool:
    """Whether a stream that ends in `state` ended where the task waited for its user, who has answered since."""
    return state is TaskState.INPUT_REQUIRED and now is not state


def split(numbered: list[tuple[int, StreamItem]]) -> tuple[int, list[tuple[int, StreamItem]]]:
    """The event as of which a stream begins, and what follows that.

    One that was to go on after an event that there is not, or that was before the task had its message, tells first
    what there is: under the number it was asked with, and only at the end of that under its own.
    """
    numbers = [number for number, _ in numbered]
    asked = numbers[0]
    others = (index for index, number in enumerate(numbers) if number != asked)
    anew = next((index for index in others if numbers[index] < asked or asked < 2), 0)
    return numbers[anew], numbered[anew + 1 :]


def answer_in(task: Task) -> str:
    """The text of the artifact with the answer, which comes first once there is any."""
    names = [artifact.name for artifact in task.artifacts]
    assert "response" not in names[1:], f"the answer comes after {names[0]}"
    return next((said.text for said in artifacts_of(task) if said.name == "response"), "")


def add_up(items: list[StreamItem]) -> tuple[TaskState, list[Said]]:
    """What a stream comes to that begins with a task, in the way of a simple client."""
    first, *rest = items
    assert isinstance(first, Task)
    state = first.status.state
    whole = [
        ArtifactUpdate(task_id=first.id, context_id=first.context_id, artifact=artifact)
        for artifact in first.artifacts
    ]
    for item in rest:
        assert not (state.terminal and isinstance(item, StatusUpdate) and item.status.state is not state), "two ends"
        if isinstance(item, StatusUpdate):
            state = item.status.state
    return state, folded([*whole, *rest])


def essence(item: StreamItem) -> object:
    """What is the same of an event on both versions."""
    match item:
        case StatusUpdate():
            return (item.status.state.value, item.status.timestamp)
        case ArtifactUpdate():
            artifact = item.artifact
            parts = [content(part) for part in artifact.parts]
            return (artifact.artifact_id, artifact.name, item.append, item.last_chunk, parts)
        case _:
            return type(item).__name__


def content(part: Part) -> object:
    """What a part holds."""
    match part:
        case TextPart():
            return part.text
        case DataPart():
            return part.data
        case _:
            return part.url or part.raw


def likeness(task: Task) -> object:
    """What of a task is the same on every wire."""
    history = [(message.message_id, [content(part) for part in message.parts]) for message in task.history]
    return (task.id, task.context_id, task.status.state, task.status.timestamp, artifacts_of(task), history)


@frozen(kw_only=True)
class Wanted:
    """A list that is asked for. `after`: RFC 3339."""

    owner: str
    context: str | None = None
    state: TaskState | None = None
    after: str | None = None

    def surely(self, task: Known) -> bool:
        """The task must be on the list."""
        return (
            self._may_ever(task)
            and (self.state is None or task.may_be == {self.state})
            and (self.after is None or (task.ended_since or "") >= self.after)
        )

    def perhaps(self, task: Known) -> bool:
        """The task may be on the list."""
        return (
            self._may_ever(task)
            and (self.state is None or self.state in task.may_be)
            and (self.after is None or task.ended_since is None or task.ended_since >= self.after)
        )

    def _may_ever(self, task: Known) -> bool:
        return task.owner == self.owner and self.context in (None, task.context)


@define(eq=False)
class World:
    """All tasks there are. `closed`: the stand-in holds turns, after `gate` tokens (None: at once)."""

    tasks: list[Known] = field(factory=list)
    closed: bool = False
    gate: int | None = None

    def own(self, owner: str) -> list[Known]:
        return [task for task in self.tasks if task.owner == owner]

    def known(self, owner: str, context: str | None, message_id: str, text: str) -> Known | None:
        """The task of a message that came before: in its context by its id, without one by its content as well."""
        for task in reversed(self.own(owner)):
            same = task.script.text == text if context is None else task.context == context
            if same and task.message_id == message_id:
                return task
        return None

    def begins(self, owner: str, context: str | None, message_id: str, script: Script, *, plain: bool) -> Known:
        """A message was sent that starts a task; its ids are still to be told."""
        return Known(
            name=f"task {len(self.tasks) + 1} of {owner}, {script.text!r},",
            owner=owner,
            script=script,
            message_id=message_id,
            before=tuple(one for one in self.own(owner) if one.context == context) if context is not None else (),
            held=self.closed and script.waits_at(self.gate),
            plain=plain,
            context=context,
        )

    def told(self, task: Known, answer: Task) -> None:
        """The ids of a new task: its context is the one that was asked for, and no id is another task's."""
        assert task.context in (None, answer.context_id), (
            f"{task.name} was for {task.context}, not {answer.context_id}"
        )
        assert answer.id not in {one.id for one in self.tasks}, f"{task.name} has the id of another task: {answer.id}"
        if task.context is None:
            taken = {one.context for one in self.tasks}
            assert answer.context_id not in taken, f"{task.name} got a context that exists: {answer.context_id}"
        task.id, task.context = answer.id, answer.context_id
        self.tasks.append(task)

    def hold(self, tokens: int | None) -> None:
        self.closed, self.gate = True, tokens
        for task in self.tasks:
            if task.waits_in_line or (task.stays_open and not task.held):
                task.held = task.script.waits_at(tokens)

    def release(self) -> None:
        self.closed = False
        for task in self.tasks:
            task.held = False

    def answer(self) -> None:
        """Whatever was asked has been answered."""
        for task in self.tasks:
            if not task.waits_in_line:
                task.answered = True

    def named(self, id: str, owner: str) -> Known:
        """The task with an id, which must be the owner's."""
        task = next((one for one in self.tasks if one.id == id), None)
        assert task is not None, f"there is a task {id} that nobody has started"
        assert task.owner == owner, f"{task.name} is shown to {owner}"
        return task

    def check_sessions(self) -> None:
        """Each context of each principal has a session of its own."""
        locations: dict[str, tuple[str, str | None]] = {}
        sessions: dict[tuple[str, str | None], str] = {}
        for task in self.tasks:
            if task.session is not None:
                location = (task.owner, task.context)
                other = locations.setdefault(task.session, location)
                assert other == location, f"{task.name} in {task.context} shares its session with {other}"
                before = sessions.setdefault(location, task.session)
                assert before == task.session, f"{task.name} is in another session than the rest of {task.context}"

    def expects(self, wanted: Wanted) -> Expected:
        """What a list that is asked for now may hold."""
        return Expected(
            sure={task.id: task.name for task in self.tasks if wanted.surely(task)},
            possible={task.id: task.name for task in self.tasks if wanted.perhaps(task)},
            still={task.id for task in self.tasks if task.ended_since is not None or task.waits_in_line},
        )


@frozen(kw_only=True)
class Expected:
    """A list to come: the tasks that must and may be on it, and those whose status does not change meanwhile."""

    sure: dict[str, str]
    possible: dict[str, str]
    still: set[str]

    def check(self, listed: list[Task], totals: list[int]) -> None:
        """All pages of a list together, and what each said of the length of the list."""
        ids = [task.id for task in listed]
        assert len(ids) == len(set(ids)), f"listed twice: {ids}"
        # a task that changes while the pages are read goes to the front, which may have been read by then
        missing = [
            name for one, name in self.sure.items() if one not in ids and (len(totals) == 1 or one in self.still)
        ]
        assert not missing, f"not listed: {missing}"
        assert set(ids) <= self.possible.keys(), f"listed wrongly: {[one for one in ids if one not in self.possible]}"
        for total in totals:
            right = len(self.sure) <= total <= len(self.possible)
            assert right, f"totalSize {total}: at least {len(self.sure)}, at most {len(self.possible)} are right"
        keys = [(epoch_ms(task.status.timestamp or ""), task.id) for task in listed if task.id in self.still]
        assert keys == sorted(keys, reverse=True), f"not in the order of their last changes: {keys}"
