"""What a turn waits for, under any interleaving of requests, answers, losses and readings.

The status always asks what has waited longest; without anything that waits it is working; each request is told once
when it is asked and once when it is resolved.
"""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sansio.a2a.model import JsonObject, TaskState, TextPart
from sansio.a2a.tasks.task_log import LogEvent, MetadataChanged, StatusChanged
from sansio.opencode.interrupts.render import text_of
from sansio.opencode.interrupts.replies import Answer, permission_reply, question_reply
from sansio.opencode.interrupts.tracker import MOST_RESOLVED
from sansio.opencode.turns.recovery import recovered_output
from sansio.opencode.turns.turn import BusPosition, Turn
from sansio.opencode.upstream.events import BusEvent, InterruptAsked, SessionStatus
from sansio.opencode.upstream.requests import Location
from tests.core.recorded import CONTEXT, NOW, TASK, shared_of, task_of

ROOT, CHILD = "ses_root", "ses_child"
BUSY = SessionStatus(session_id=ROOT, type="busy")


def new_turn() -> Turn:
    return Turn(task_id=TASK, context_id=CONTEXT, session_id=ROOT, prompt_id="msg_1")


def asked(request_id: str, kind: str = "permission", session_id: str = ROOT) -> InterruptAsked:
    body: JsonObject = {"permission": request_id, "questions": [{"question": request_id, "options": []}]}
    return InterruptAsked(session_id=session_id, kind=kind, request_id=request_id, body=body)


def answer_to(request: InterruptAsked) -> Answer:
    if request.kind == "permission":
        return permission_reply(request, "once", None, Location())
    return question_reply(request, [["yes"]], Location())


def text(event: StatusChanged) -> str | None:
    message = event.status.message
    return None if message is None else "".join(part.text for part in message.parts if isinstance(part, TextPart))


class AnyAsking(RuleBasedStateMachine):
    """OpenCode on one side, what the task's readers are told on the other; between them a bus and readings."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = new_turn()
        self.open: dict[str, InterruptAsked] = {}
        self.bus: deque[BusEvent] = deque()
        self.past: list[BusEvent] = []
        self.requests: dict[str, InterruptAsked] = {}
        self.reading: tuple[list[InterruptAsked], frozenset[str], int, BusPosition] | None = None
        self.losses = self.made_good = 0
        self.out: list[LogEvent] = []
        self.waiting: list[str] = []  # as a reader of the events has it
        self.listed: list[str] = []  # as a reader of the task has it
        self.recorded: list[JsonObject] = []  # what has ended, as a reader of the task has it
        self.told: list[tuple[str, str]] = []
        self.noted: dict[str, str] = {}
        self.before: tuple[int, int] = (0, 0)  # as counted by earlier runs of the server
        self.take(self.turn.begin(NOW))

    def take(self, out: list[LogEvent]) -> None:
        for event in out:
            if isinstance(event, MetadataChanged):
                shared = event.metadata["shared"]
                self.listed = [one["request_id"] for one in shared["interrupts"]]
                self.recorded = shared.get("resolved_interrupts", self.recorded)
                continue
            assert isinstance(event, StatusChanged)
            for interrupt in shared_of([event], "interrupt"):
                self.heard(interrupt, event)
        self.out += out

    def heard(self, interrupt: JsonObject, event: StatusChanged) -> None:
        request_id, phase = interrupt["request_id"], interrupt["phase"]
        assert (request_id, phase) not in self.told
        self.told.append((request_id, phase))
        understood = None
        if phase == "asked":
            self.waiting.append(request_id)
        else:
            assert interrupt == {**self.recorded[-1], "phase": "resolved"}
            assert interrupt["asked_at"] == NOW
            self.waiting.remove(request_id)
            understood = self.noted.pop(request_id, None)
        assert self.listed == self.waiting
        oldest = text_of(self.requests[self.waiting[0]]) if self.waiting else None
        assert text(event) == ("\n\n".join(one for one in (understood, oldest) if one) or None)

    # --- what OpenCode does -------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(("permission", "question")), session_id=st.sampled_from((ROOT, CHILD)))
    def ask(self, kind: str, session_id: str) -> None:
        request = asked(f"req_{len(self.requests)}", kind, session_id)
        self.requests[request.request_id] = self.open[request.request_id] = request
        self.bus.append(request)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), resolution=st.sampled_from(("replied", "rejected")))
    def resolve(self, data: st.DataObject, resolution: str) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.open)))
        self.bus.append(self.open.pop(request_id).ended(resolution))

    # --- what the turn hears ------------------------------------------------------------------------------

    @precondition(lambda self: self.bus)
    @rule(count=st.integers(1, 3))
    def hear(self, count: int) -> None:
        for _ in range(min(count, len(self.bus))):
            event = self.bus.popleft()
            self.past.append(event)
            self.take(self.turn.feed(event, NOW))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def hear_again_what_was_resolved_or_waits(self, data: st.DataObject) -> None:
        self.take(self.turn.feed(data.draw(st.sampled_from(self.past)), NOW))

    @rule()
    def hear_of_a_stranger(self) -> None:
        self.take(self.turn.feed(asked("nobody's").ended("replied"), NOW))

    @rule()
    def lose_the_connection(self) -> None:
        self.bus.clear()
        self.losses += 1
        self.turn.gap()

    @precondition(lambda self: self.turn.interrupt_tracker.pending)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """OpenCode has taken an answer of the client's: it is told before the bus does."""
        request = data.draw(st.sampled_from([*self.turn.interrupt_tracker.pending.values()]))
        answer = answer_to(request)
        self.noted[request.request_id] = answer.understood
        self.turn.interrupt_tracker.note(request.request_id, answer)
        if self.open.pop(request.request_id, None) is None:
            self.turn.interrupt_tracker.note(request.request_id, None)  # somebody else was faster
            del self.noted[request.request_id]
            return
        self.bus.append(request.ended("replied"))
        self.take(self.turn.feed(answer.ended, NOW))

    # --- what is read -------------------------------------------------------------------------------------

    @rule()
    def begin_to_read(self) -> None:
        self.reading = (
            [*self.open.values()],
            frozenset(self.turn.interrupt_tracker.pending),
            self.losses,
            self.turn.bus_position,
        )

    @precondition(lambda self: self.reading)
    @rule()
    def have_read(self) -> None:
        assert self.reading is not None
        (found, waited_for, losses, heard), self.reading = self.reading, None
        self.made_good = max(self.made_good, losses)
        self.take(self.turn.reconcile([], BUSY, NOW, asked=found, waited_for=waited_for, since=heard))

    @rule()
    def crash(self) -> None:
        """Another run of the server goes on from what was told; what is on the bus meanwhile is lost."""
        self.before = self.counted()
        self.turn = new_turn()
        self.turn.recover(recovered_output(task_of(self.out), self.out, ROOT))
        self.bus.clear()
        self.reading = None
        self.noted.clear()
        self.losses += 1
        self.past = []  # a bus that is opened anew tells nothing old
        self.begin_to_read()
        self.have_read()

    def counted(self) -> tuple[int, int]:
        tracker = self.turn.interrupt_tracker
        return self.before[0] + tracker.asked_count, self.before[1] + tracker.ended_count

    # --- what holds ---------------------------------------------------------------------------------------

    @invariant()
    def the_status_is_of_what_waited_longest(self) -> None:
        newest = next(event for event in reversed(self.out) if isinstance(event, StatusChanged))
        assert newest.status.state is (TaskState.INPUT_REQUIRED if self.waiting else TaskState.WORKING)
        assert [*self.turn.interrupt_tracker.pending] == self.waiting

    @invariant()
    def each_request_is_counted_once_by_all_runs_together(self) -> None:
        phases = [phase for _, phase in self.told]
        assert self.counted() == (phases.count("asked"), phases.count("resolved"))

    @invariant()
    def the_task_lists_what_has_ended_in_that_order(self) -> None:
        ended = [request_id for request_id, phase in self.told if phase == "resolved"]
        assert [one["request_id"] for one in self.recorded] == ended[-MOST_RESOLVED:]

    @invariant()
    def once_all_was_heard_or_read_exactly_what_is_open_waits(self) -> None:
        if not self.bus and self.made_good == self.losses:
            assert set(self.waiting) == self.open.keys()


TestAnyAsking = AnyAsking.TestCase
TestAnyAsking.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_the_task_lists_what_it_waits_for() -> None:
    turn = new_turn()
    question = InterruptAsked(
        session_id="ses_root",
        kind="question",
        request_id="q",
        body={"questions": [{"question": "Which?"}], "id": "q"},
    )

    first = turn.feed(question, NOW)[0]
    both = turn.feed(asked("a"), NOW)[0]
    last = turn.cancel(NOW)[2]

    listed = [one.metadata["shared"]["interrupts"] for one in (first, both, last) if isinstance(one, MetadataChanged)]
    of_question = {"request_id": "q", "type": "question", "details": {"questions": [{"question": "Which?"}]}}
    of_permission = {"request_id": "a", "type": "permission", "details": {"permission": "a"}}
    assert listed == [[of_question], [of_question, of_permission], []]


def test_the_time_of_each_request_is_known() -> None:
    turn = new_turn()
    turn.feed(asked("a"), "2026-01-01T00:00:00Z")
    turn.feed(asked("b"), "2026-01-01T00:00:09Z")

    assert turn.interrupt_tracker.asked_at == {"a": "2026-01-01T00:00:00Z", "b": "2026-01-01T00:00:09Z"}


def test_an_answer_that_did_not_take_effect_is_not_told() -> None:
    turn = new_turn()
    turn.feed(asked("a"), NOW)
    turn.interrupt_tracker.note("a", answer_to(asked("a")))
    turn.interrupt_tracker.note("a", None)

    [_, resolved] = turn.feed(asked("a").ended("replied"), NOW)

    assert isinstance(resolved, StatusChanged)
    assert text(resolved) is None


def test_what_an_aborted_turn_of_the_session_has_left_is_not_asked_again() -> None:
    turn = new_turn()
    left, ours = asked("left"), asked("ours")
    left.body["tool"] = {"messageID": "msg_0", "callID": "c"}
    ours.body["tool"] = {"messageID": "msg_2", "callID": "c"}

    turn.reconcile([], BUSY, NOW, asked=[left, ours])

    assert [*turn.interrupt_tracker.pending] == ["ours"]
