"""Following one task of another agent: breaks, resumption, snapshots, reads, and what adds up in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.backoff import Backoff
from sansio.a2a.client.client_errors import (
    AgentError,
    BusyAgentError,
    ClientError,
    InvalidAnswerError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
)
from sansio.a2a.client.following import LARGEST_TASK, LONGEST_WAIT, Following, Read, Stop, Subscribe
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    FilePart,
    Message,
    Part,
    Role,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)

PAUSES = Backoff((1.0, 2.0))
LOST = UnavailableError("lost")
WORKING = TaskStatus(state=TaskState.WORKING)
DONE = TaskStatus(state=TaskState.COMPLETED)
ASKS = TaskStatus(state=TaskState.INPUT_REQUIRED, timestamp="2026-01-01T00:00:00Z")


def follower(*, patience: float = 10.0, pauses: Backoff | None = PAUSES, streaming: bool = True) -> Following:
    made = Following(patience=patience, pauses=pauses)
    made.begin(0.0, streaming=streaming)
    return made


def status(now: TaskStatus, *, final: bool = False, task: str = "t") -> StatusUpdate:
    return StatusUpdate(task_id=task, context_id="c", status=now, final=final)


def chunk(text: str | Part, *, append: bool = True, artifact: str = "a") -> ArtifactUpdate:
    part = TextPart(text=text) if isinstance(text, str) else text
    return ArtifactUpdate(
        task_id="t", context_id="c", artifact=Artifact(artifact_id=artifact, parts=(part,)), append=append
    )


def task(now: TaskStatus, **texts: str) -> Task:
    artifacts = [Artifact(artifact_id=name, parts=(TextPart(text=text),)) for name, text in texts.items()]
    return Task(id="t", context_id="c", status=now, artifacts=tuple(artifacts))


@define
class Fold:
    """What a caller adds up from the items."""

    texts: dict[str, str] = field(factory=dict)
    state: TaskState | None = None

    def add(self, items: list[StreamItem]) -> None:
        for item in items:
            match item:
                case Task():
                    self.state = item.status.state
                    self.texts = {one.artifact_id: text_of(one) for one in item.artifacts}
                case StatusUpdate():
                    self.state = item.status.state
                case ArtifactUpdate():
                    before = self.texts.get(item.artifact.artifact_id, "") if item.append else ""
                    self.texts[item.artifact.artifact_id] = before + text_of(item.artifact)


def text_of(artifact: Artifact) -> str:
    return "".join(part.text for part in artifact.parts if isinstance(part, TextPart))


# --- one stream -------------------------------------------------------------------------------------------


def test_a_stream_that_ends_with_its_task_is_all_there_is() -> None:
    one = follower()

    assert one.feed(task(WORKING)) == [task(WORKING)]
    assert one.feed(chunk("Hi")) == [chunk("Hi")]
    assert one.feed(status(DONE)) == [status(DONE)]
    assert one.over
    one.ended(1.0)
    assert one.next() == Stop()
    assert (one.task_id, one.context_id, one.status) == ("t", "c", DONE)


def test_a_message_without_a_task_is_the_whole_answer() -> None:
    one = follower()
    message = Message(message_id="m", role=Role.AGENT, parts=(TextPart(text="Hi"),))

    assert one.feed(message) == [message]
    assert one.over
    assert one.rests
    one.ended(1.0)
    assert one.next() == Stop()


def test_the_first_terminal_state_wins() -> None:
    one = follower()
    one.feed(status(DONE))

    assert one.feed(status(TaskStatus(state=TaskState.FAILED))) == []
    assert one.feed(task(TaskStatus(state=TaskState.FAILED), a="more")) == [
        evolve(chunk("more", append=False), last_chunk=True)
    ]
    assert one.status == DONE


def test_an_item_of_another_task_is_not_taken() -> None:
    one = follower()
    one.feed(task(WORKING))

    with pytest.raises(InvalidAnswerError, match="another task"):
        one.feed(status(WORKING, task="other"))
    with pytest.raises(InvalidAnswerError, match="another task"):
        one.feed(evolve(task(WORKING), id="other"))


def test_what_is_kept_of_a_task_is_bounded() -> None:
    one = follower()
    piece = "x" * (LARGEST_TASK // 2)
    one.feed(chunk(piece))

    with pytest.raises(InvalidAnswerError, match="larger than"):
        one.feed(chunk(piece))


def test_an_answer_without_a_task_cannot_be_followed() -> None:
    one = follower()

    with pytest.raises(UnavailableError, match="before the task was over"):
        one.ended(1.0)


# --- breaks -----------------------------------------------------------------------------------------------


def test_a_stream_that_breaks_is_resumed_after_its_last_event_with_growing_pauses() -> None:
    one = follower()
    one.subscribed()
    one.feed(task(WORKING), "1")
    one.feed(chunk("Hel"), "2")

    one.failed(LOST, 1.0)
    assert one.next() == Subscribe(0.25, "2")
    one.failed(LOST, 2.0)
    assert one.next() == Subscribe(0.5, "2")
    one.subscribed()
    one.feed(chunk("lo"), "3")
    one.failed(LOST, 3.0)
    assert one.next() == Subscribe(0.25, "3"), "something has come in between"


def test_a_message_that_may_not_have_arrived_is_not_taken_for_sent() -> None:
    one = Following(patience=10.0, pauses=PAUSES, task_id="t")
    one.begin(0.0)

    with pytest.raises(UnavailableError, match="lost"):
        one.failed(LOST, 1.0)


def test_patience_ends_where_nothing_comes() -> None:
    one = follower(patience=5.0)
    one.feed(chunk("Hel"))
    one.failed(LOST, 4.0)
    one.failed(LOST, 9.0)

    with pytest.raises(UnavailableError, match="lost"):
        one.failed(LOST, 9.1)


def test_signs_of_life_are_no_progress() -> None:
    one = follower(patience=5.0)
    one.feed(chunk("Hel"))
    one.looked(4.0)
    one.feed(chunk("lo"))
    one.looked(8.0)
    one.looked(13.0)  # a comment

    with pytest.raises(TimedOutError, match="not changed for 5 s"):
        one.looked(13.1)


def test_a_task_that_waits_for_its_user_may_wait_longer() -> None:
    one = follower(patience=5.0)
    one.feed(status(ASKS))
    one.looked(1.0)
    one.looked(100.0)
    one.answering = one.status

    one.looked(104.0)
    with pytest.raises(TimedOutError):
        one.looked(106.0)


def test_an_agent_that_repeats_itself_has_not_come_further() -> None:
    one = follower(patience=5.0)
    one.feed(chunk("Hel", append=False))
    one.failed(LOST, 1.0)
    one.subscribed()
    one.feed(chunk("Hel", append=False))

    with pytest.raises(UnavailableError, match="lost"):
        one.failed(LOST, 7.0)


def test_what_goes_wrong_after_the_end_does_not_matter() -> None:
    one = follower()
    one.feed(status(DONE))
    one.failed(LOST, 1.0)

    assert one.next() == Stop()


def test_a_stream_that_ends_in_order_before_the_task_does_is_followed_by_reads() -> None:
    one = follower()
    one.feed(status(WORKING, final=True))
    one.ended(1.0)

    assert one.next() == Read(1.0)
    assert one.read(task(WORKING, a="Hi"), 2.0) == [evolve(chunk("Hi", append=False), last_chunk=True)]
    assert one.next() == Read(2.0)
    one.read(task(DONE, a="Hi"), 3.0)
    assert one.next() == Stop()


@pytest.mark.parametrize(("wait", "pause"), [(7.0, 7.0), (1e6, LONGEST_WAIT), (0.0, 0.25)])
def test_an_agent_that_asks_to_be_left_alone_is(wait: float, pause: float) -> None:
    one = broken()
    one.failed(BusyAgentError("too many requests", http_status=429, retry_after=wait), 2.0)

    action = one.next()
    assert isinstance(action, Subscribe)
    assert pause <= action.pause <= max(pause, 1.0)
    one.failed(LOST, 3.0)
    after = one.next()
    assert isinstance(after, Subscribe)
    assert after.pause <= 5.0


# --- refusals ---------------------------------------------------------------------------------------------


def broken() -> Following:
    one = follower()
    one.feed(task(WORKING, a="Hel"))
    one.failed(LOST, 1.0)
    one.next()
    return one


def test_a_subscription_that_is_refused_is_replaced_by_reading_the_task() -> None:
    one = broken()
    one.failed(UnsupportedError("no streams"), 2.0)

    assert one.next() == Read(0.0)
    assert one.read(task(WORKING, a="Hello"), 3.0) == [evolve(chunk("lo"), last_chunk=True)]
    assert one.next() == Read(1.0)
    assert one.read(task(DONE, a="Hello"), 4.0) == [status(DONE)]
    assert one.next() == Stop()


def test_a_task_that_has_ended_meanwhile_is_read_once() -> None:
    one = broken()
    one.failed(UnsupportedError("it has ended"), 2.0)
    one.next()

    assert one.read(task(DONE, a="Hello"), 3.0) == [evolve(chunk("lo"), last_chunk=True), status(DONE)]
    assert one.next() == Stop()


def test_an_agent_that_is_busy_is_asked_again() -> None:
    one = broken()
    one.failed(BusyAgentError("restarting", http_status=503), 2.0)

    assert isinstance(one.next(), Subscribe)


def test_where_reading_is_switched_off_the_refusal_is_the_answer() -> None:
    one = follower(pauses=None)
    one.feed(task(WORKING))
    one.failed(LOST, 1.0)
    one.next()
    one.failed(UnsupportedError("no streams"), 2.0)
    one.next()

    with pytest.raises(UnsupportedError, match="no streams"):
        one.read(task(WORKING), 3.0)


def test_a_refused_read_is_final() -> None:
    one = broken()
    one.failed(UnsupportedError("no streams"), 2.0)
    one.next()

    with pytest.raises(AgentError, match="gone"):
        one.failed(AgentError("gone", http_status=404), 3.0)


# --- agents without streams, tasks that wait --------------------------------------------------------------


def test_an_agent_without_streams_is_read_until_its_task_ends_or_nothing_changes() -> None:
    one = follower(streaming=False, patience=5.0)
    one.feed(task(WORKING))
    one.ended(0.0)

    assert one.next() == Read(1.0)
    one.read(task(WORKING), 1.0)
    assert one.next() == Read(2.0)
    one.failed(LOST, 2.0)
    assert one.next() == Read(2.0)
    with pytest.raises(TimedOutError, match="has not changed for 5 s"):
        one.read(task(WORKING), 6.0)


def test_an_agent_that_waits_with_its_answer_needs_no_reading() -> None:
    one = follower(streaming=False)
    one.feed(task(DONE, a="Hi"))
    one.ended(0.0)

    assert one.next() == Stop()


def test_a_stream_that_was_answered_with_one_item_is_followed_by_reads() -> None:
    one = follower()
    one.feed(task(WORKING))
    one.ended(1.0, whole=True)

    assert one.next() == Read(1.0)


def test_a_task_that_waits_rests_until_an_answer_is_on_its_way() -> None:
    one = follower()
    one.feed(task(WORKING))
    one.feed(status(ASKS))
    assert (one.rests, one.over) == (True, False), "a stream may stay open where a task waits"

    one.answering = one.status
    one.ended(1.0)
    assert isinstance(one.next(), Subscribe)
    one.subscribed()
    assert one.feed(task(ASKS)) == []
    one.ended(2.0)
    assert isinstance(one.next(), Subscribe), "it has not changed yet"
    one.subscribed()
    one.feed(status(evolve(ASKS, timestamp="2026-01-01T00:00:01Z")))
    one.ended(3.0)
    assert one.next() == Stop()


# --- snapshots --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "now", "missing"),
    [
        ((), (TextPart(text="a"),), ((TextPart(text="a"),), True)),
        ((TextPart(text="a"),), (TextPart(text="a"),), None),
        ((TextPart(text="a"), TextPart(text="b")), (TextPart(text="ab"),), None),
        ((TextPart(text="a"),), (TextPart(text="abc"),), ((TextPart(text="bc"),), True)),
        ((TextPart(text="abc"),), (TextPart(text="ab"),), ((TextPart(text="ab"),), False)),
        ((TextPart(text="a"),), (DataPart(data=1),), ((DataPart(data=1),), False)),
        ((DataPart(data=1),), (DataPart(data=1), DataPart(data=2)), ((DataPart(data=2),), True)),
        ((DataPart(data=1),), (DataPart(data=1, metadata={"m": 1}),), None),
        ((FilePart(url="u"),), (FilePart(url="v"),), ((FilePart(url="v"),), False)),
        ((FilePart(url="u"),), (FilePart(url="u"), TextPart(text="t")), ((TextPart(text="t"),), True)),
    ],
)
def test_a_snapshot_adds_what_is_missing(
    seen: tuple[Part, ...], now: tuple[Part, ...], missing: tuple[tuple[Part, ...], bool] | None
) -> None:
    one = follower()
    one.feed(task(WORKING))
    one.feed(chunk("", append=False))
    for part in seen:
        one.feed(chunk(part))

    found = one.feed(Task(id="t", context_id="c", status=WORKING, artifacts=(Artifact(artifact_id="a", parts=now),)))

    assert [(item.artifact.parts, item.append) for item in found if isinstance(item, ArtifactUpdate)] == (
        [] if missing is None else [missing]
    )


def test_an_artifact_that_was_streamed_under_another_id_is_not_repeated() -> None:
    one = follower()
    one.feed(chunk("Hello", artifact="stream"))
    one.failed(LOST, 1.0)

    assert one.feed(task(WORKING, whole="Hello")) == [status(WORKING)]


@define
class Network:
    """An agent whose connection is cut after some events, and which resumes in its own way."""

    events: list[StreamItem]
    cuts: list[int]
    manner: str  # "ids", "snapshot", "from now"
    missed: int
    at: int = 0

    def snapshot(self) -> Task:
        fold = Fold()
        fold.add(self.events[: self.at])
        return task(TaskStatus(state=fold.state or TaskState.SUBMITTED), **fold.texts)

    def deliver(self) -> Iterator[tuple[StreamItem, str]]:
        count = self.cuts.pop(0) if self.cuts else len(self.events)
        for _ in range(count):
            if self.at == len(self.events):
                return
            self.at += 1
            yield self.events[self.at - 1], str(self.at) if self.manner == "ids" else ""

    def resume(self, last_event_id: str) -> list[tuple[StreamItem, str]]:
        if self.manner == "ids":
            self.at = int(last_event_id or 0)
            return []
        self.at = min(self.at + self.missed, len(self.events))
        return [(self.snapshot(), "")] if self.manner == "snapshot" else []


@given(
    texts=st.lists(st.tuples(st.sampled_from("ab"), st.text("xyz", max_size=3), st.booleans()), max_size=12),
    cuts=st.lists(st.integers(0, 4), max_size=5),
    manner=st.sampled_from(["ids", "snapshot", "from now"]),
    missed=st.integers(0, 3),
)
def test_whatever_breaks_the_same_adds_up(
    texts: list[tuple[str, str, bool]], cuts: list[int], manner: str, missed: int
) -> None:
    chunks = [chunk(text, append=append, artifact=name) for name, text, append in texts]
    events: list[StreamItem] = [status(WORKING), *chunks, status(DONE)]
    network, one, seen = Network(events, cuts, manner, missed), follower(patience=1e9), Fold()
    if cuts and not cuts[0]:
        cuts[0] = 1  # a task that nobody has seen cannot be resumed
    one.subscribed()
    arriving = [*network.deliver()]
    for _ in range(100):
        for item, number in arriving:
            seen.add(one.feed(item, number))
        if one.over:
            one.ended(0.0)
        else:
            one.failed(LOST, 0.0)
        match one.next():
            case Stop():
                break
            case Subscribe(_, last_event_id):
                if network.at == len(events) and manner != "ids":
                    one.failed(UnsupportedError("it has ended"), 0.0)
                    arriving = []
                    assert one.next() == Read(0.0)
                    seen.add(one.read(network.snapshot(), 0.0))
                    continue
                one.subscribed()
                arriving = [*network.resume(last_event_id), *network.deliver()]
            case Read():
                network.at = len(events)
                seen.add(one.read(network.snapshot(), 0.0))
                arriving = []
    else:
        raise AssertionError("it did not end")

    whole = Fold()
    whole.add(events)
    assert {name: text for name, text in seen.texts.items() if text} == {
        name: text for name, text in whole.texts.items() if text
    }
    assert seen.state is TaskState.COMPLETED


def test_each_error_is_a_client_error() -> None:
    assert issubclass(BusyAgentError, UnavailableError)
    assert issubclass(BusyAgentError, AgentError)
    assert issubclass(InvalidAnswerError, ClientError)


MANY = 20_000
LARGE = "x" * (1024 * 1024)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(lambda number: chunk(DataPart(data={"a": [LARGE]})), id="data"),
        pytest.param(lambda number: chunk(DataPart(data={LARGE: number})), id="names of data"),
        pytest.param(lambda number: chunk(FilePart(url="http://h/", filename=LARGE)), id="names of files"),
        pytest.param(lambda number: chunk("", artifact=f"{LARGE}{number}"), id="ids of artifacts"),
        pytest.param(
            lambda number: Message(
                message_id="m", role=Role.AGENT, task_id="t", context_id="c", parts=(TextPart(text=LARGE),)
            ),
            id="messages",
        ),
    ],
)
def test_everything_that_is_kept_counts(item: Callable[[int], StreamItem]) -> None:
    following = follower()
    following.feed(status(WORKING))
    for number in range(LARGEST_TASK // len(LARGE) - 1):
        following.feed(item(number))
    with pytest.raises(InvalidAnswerError, match="larger than"):
        following.feed(item(-1))


def test_a_text_that_is_replaced_again_and_again_counts_once() -> None:
    following = follower()
    for number in range(1, 200):
        following.feed(chunk(LARGE + "y" * number, append=False))
    following.feed(chunk("", append=False))
    for _ in range(LARGEST_TASK // len(LARGE) - 2):
        following.feed(chunk(LARGE))
    with pytest.raises(InvalidAnswerError, match="larger than"):
        following.feed(chunk(LARGE * 4))


def test_many_artifacts_of_a_snapshot_take_no_longer_for_being_many() -> None:
    following = follower()
    for number in range(MANY):
        following.feed(chunk(f"old {number}", artifact=f"old-{number}"))
    snapshot = task(DONE, **{f"new-{number}": f"new {number}" for number in range(MANY)})
    began = time.process_time()
    assert len(following.feed(snapshot)) == MANY + 1
    assert time.process_time() - began < 5.0
