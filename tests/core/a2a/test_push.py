"""What a receiver is told of a task, in which headers, and what follows from its answer."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import LocalError, ProtocolError
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    Message,
    PushAuthentication,
    PushConfig,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.push_notifications import (
    Announcer,
    Notification,
    Schedule,
    Verdict,
    as_it_is,
    check_headers,
    decode_config,
    encode_config,
    headers_of,
    notification_id,
    retry_after,
    verdict_of,
)
from sansio.a2a.tasks.task_log import (
    ArtifactChunk,
    LogEvent,
    MessageAdded,
    MetadataChanged,
    Snapshot,
    StatusChanged,
    TaskLog,
)
from tests.strategies import log_events, push_configs

CODECS = ("0.3", "1.0", "0.3-proto")


def status(state: TaskState, text: str | None = None, at: str = "2026-01-01T00:00:00Z") -> StatusChanged:
    message = Message(message_id="m", role=Role.AGENT, parts=(TextPart(text=text),)) if text is not None else None
    return StatusChanged(status=TaskStatus(state=state, message=message, timestamp=at))


def chunk(text: str, *, append: bool = True, last: bool = False, id: str = "a") -> ArtifactChunk:
    artifact = Artifact(artifact_id=id, parts=(TextPart(text=text),))
    return ArtifactChunk(artifact=artifact, append=append, last_chunk=last, joins=True)


def log_of(events: Iterable[LogEvent]) -> TaskLog:
    log = TaskLog("t", "c")
    for event in events:
        log.append(event)
    return log


def told(log: TaskLog, form: str, cursor: int = 0, *, interrupts_only: bool = False) -> list[Notification]:
    announcer = Announcer(log.at(cursor), form, interrupts_only=interrupts_only)
    taken = (announcer.take(entry) for entry in log.since(cursor))
    return [notification for notification in taken if notification is not None]


def text_of(artifact: Artifact) -> str:
    return "".join(part.text for part in artifact.parts if isinstance(part, TextPart))


TURN: Sequence[LogEvent] = (
    status(TaskState.SUBMITTED),
    MessageAdded(Message(message_id="q", role=Role.USER, parts=(TextPart(text="hi"),))),
    status(TaskState.WORKING),
    evolve(status(TaskState.WORKING), metadata={"progress": 1}),
    chunk("Hel", append=False),
    chunk("lo "),
    status(TaskState.INPUT_REQUIRED, "may I?"),
    evolve(status(TaskState.INPUT_REQUIRED, "may I?"), metadata={"progress": 2}),
    status(TaskState.INPUT_REQUIRED, "and this?"),
    status(TaskState.INPUT_REQUIRED, "may I?", at="2026-01-01T00:00:01Z"),
    status(TaskState.WORKING),
    chunk("world"),
    chunk("", last=True),
    MetadataChanged({"usage": 1}),
    status(TaskState.COMPLETED),
)
TURN_STATES = ["submitted", "working", *["input-required"] * 3, "working", "completed"]


def test_version_1_0_is_told_each_news_of_the_status_and_each_artifact_once_and_whole() -> None:
    notifications = told(log_of(TURN), "1.0")

    assert [n.number for n in notifications] == [1, 3, 7, 9, 10, 11, 13, 15]
    updates = [n.item for n in notifications if isinstance(n.item, StatusUpdate)]
    assert [update.status.state.value for update in updates] == TURN_STATES
    (artifact,) = (n.item for n in notifications if isinstance(n.item, ArtifactUpdate))
    assert (text_of(artifact.artifact), artifact.append, artifact.last_chunk) == ("Hello world", False, True)


@pytest.mark.parametrize("form", ["0.3", "0.3-proto"])
def test_version_0_3_is_told_the_whole_task_as_of_each_news_of_its_status(form: str) -> None:
    log = log_of(TURN)

    notifications = told(log, form)

    tasks = [n.item for n in notifications if isinstance(n.item, Task)]
    assert [n.number for n in notifications] == [1, 3, 7, 9, 10, 11, 15]
    assert [task.status.state.value for task in tasks] == TURN_STATES
    assert tasks == [log.at(n.number) for n in notifications]
    assert text_of(tasks[3].artifacts[0]) == "Hello "


def test_what_happened_before_the_cursor_is_not_told_but_known() -> None:
    log = log_of(TURN)

    assert [n.number for n in told(log, "1.0", cursor=11)] == [13, 15]
    assert isinstance(update := told(log, "1.0", cursor=11)[0].item, ArtifactUpdate)
    assert text_of(update.artifact) == "Hello world"
    assert told(log, "1.0", cursor=log.last) == []


def test_each_completion_of_an_artifact_that_is_replaced_is_told() -> None:
    log = log_of(
        [status(TaskState.WORKING), chunk("one", append=False, last=True), chunk("two", append=False, last=True)]
    )

    items = [n.item for n in told(log, "1.0", cursor=1)]

    assert [text_of(item.artifact) for item in items if isinstance(item, ArtifactUpdate)] == ["one", "two"]


def test_task_taken_up_unchanged_after_a_crash_is_not_told_again_and_its_end_is() -> None:
    log = log_of(TURN[:6])
    log.recover()
    log.append(status(TaskState.FAILED, "stopped"))

    for form in CODECS:
        (notification,) = told(log, form, cursor=3)
        assert notification.number == log.last


def test_nothing_follows_the_end_of_a_task() -> None:
    ended = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.COMPLETED))
    log = log_of([status(TaskState.WORKING)])

    assert [Announcer(ended, form).take(entry) for form in CODECS for entry in log.since(0)] == [None] * 3


@pytest.mark.parametrize("form", CODECS)
def test_snapshot_with_news_is_told_as_the_task(form: str) -> None:
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.COMPLETED))

    (notification,) = told(log_of([Snapshot(task)]), form)

    assert notification == Notification(1, task)


@given(st.lists(log_events(), max_size=12), st.sampled_from(CODECS), st.data())
def test_notifications_are_in_order_without_repeats_and_end_with_the_final_state(
    events: list[LogEvent], form: str, data: st.DataObject
) -> None:
    log = log_of(events)
    log.append(StatusChanged(status=TaskStatus(state=TaskState.COMPLETED)))

    notifications = told(log, form)

    numbers = [n.number for n in notifications]
    assert numbers == sorted(set(numbers))
    last = notifications[-1].item
    assert isinstance(last, StatusUpdate | Task)
    assert last.status == log.task().status
    assert all(not isinstance(n.item, Task) or n.item == log.at(n.number) for n in notifications if form != "1.0")
    cursor = data.draw(st.sampled_from([0, *numbers]))
    assert told(log, form, cursor) == [n for n in notifications if n.number > cursor]


@given(st.lists(log_events(), max_size=12))
def test_version_1_0_can_put_every_completed_artifact_together_from_what_it_is_told(events: list[LogEvent]) -> None:
    log = log_of(events)

    for notification in told(log, "1.0"):
        if isinstance(notification.item, ArtifactUpdate):
            assert notification.item.artifact in log.at(notification.number).artifacts


# --- interrupts only --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", CODECS)
def test_who_wants_interrupts_only_is_sent_each_question_and_nothing_else(form: str) -> None:
    notifications = told(log_of(TURN), form, interrupts_only=True)

    assert [n.number for n in notifications] == [7, 9, 10]
    assert notifications == [n for n in told(log_of(TURN), form) if n.number in (7, 9, 10)]


@pytest.mark.parametrize("form", CODECS)
@pytest.mark.parametrize("state", TaskState)
def test_a_state_is_an_interrupt_where_the_task_waits_for_its_user(state: TaskState, form: str) -> None:
    log = log_of([status(TaskState.WORKING), status(state, "well?")])

    sent = told(log, form, cursor=1, interrupts_only=True)

    assert bool(sent) is (state in (TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED))


@pytest.mark.parametrize("form", CODECS)
def test_a_snapshot_is_sent_where_the_task_has_begun_to_wait(form: str) -> None:
    waits = Task(id="t", context_id="c", status=status(TaskState.INPUT_REQUIRED, "may I?").status)
    works = evolve(waits, status=TaskStatus(state=TaskState.WORKING))
    more = evolve(waits, metadata={"cost": 1})
    log = log_of([Snapshot(works), Snapshot(waits), Snapshot(more)])

    assert told(log, form, interrupts_only=True) == [Notification(2, waits)]


@given(st.lists(log_events(), max_size=12), st.sampled_from(CODECS))
def test_interrupts_are_those_of_all_notifications_that_show_a_task_which_waits(
    events: list[LogEvent], form: str
) -> None:
    log = log_of(events)

    sent = told(log, form, interrupts_only=True)

    everything = told(log, form)
    assert all(n in everything for n in sent)
    assert all(isinstance(n.item, StatusUpdate | Task) and n.item.status.state.interrupted for n in sent)
    assert sent == [n for n in everything if n in sent]
    asked = [n for n in everything if isinstance(n.item, StatusUpdate) and n.item.status.state.interrupted]
    assert all(n in sent for n in asked)


def test_the_task_as_it_is_stands_for_lost_notifications_where_it_waits() -> None:
    waits = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.AUTH_REQUIRED))
    works = evolve(waits, status=TaskStatus(state=TaskState.WORKING))

    assert as_it_is(works, 4) == Notification(4, works)
    assert as_it_is(works, 4, interrupts_only=True) is None
    assert as_it_is(waits, 4, interrupts_only=True) == Notification(4, waits)


# --- headers ----------------------------------------------------------------------------------------------

CONFIG = PushConfig(
    url="https://hooks.example.org/",
    id="mine",
    task_id="t",
    token="tok-1",
    authentication=PushAuthentication(scheme="Bearer", credentials="s3cret"),
)


@pytest.mark.parametrize(
    ("form", "type", "version"),
    [
        ("1.0", "application/a2a+json", "1.0"),
        ("0.3", "application/json", "0.3"),
        ("0.3-proto", "application/json", "0.3"),
    ],
)
def test_headers_say_what_it_is_who_sent_it_and_which_one(form: str, type: str, version: str) -> None:
    assert headers_of(CONFIG, form, 7) == [
        ("Content-Type", type),
        ("A2A-Version", version),
        ("X-A2A-Notification-Id", "t/mine/7"),
        ("X-A2A-Notification-Token", "tok-1"),
        ("Authorization", "Bearer s3cret"),
    ]


def test_nothing_is_presented_that_was_not_given() -> None:
    bare = evolve(CONFIG, token=None, authentication=PushAuthentication(scheme="Basic"))

    assert len(headers_of(bare, "1.0", 7)) == 3


@pytest.mark.parametrize(
    ("form", "header"),
    [("1.0", "A2A-Extensions"), ("0.3", "X-A2A-Extensions"), ("0.3-proto", "X-A2A-Extensions")],
)
def test_a_notification_names_the_extension_that_limits_its_configuration(form: str, header: str) -> None:
    limited = headers_of(evolve(CONFIG, interrupts_only=True), form, 7)

    assert (header, "urn:opencode-a2a:extension:push-interrupts:v1") in limited
    assert len(limited) == len(headers_of(CONFIG, form, 7)) + 1


@pytest.mark.parametrize(
    ("config", "form", "field"),
    [
        (evolve(CONFIG, token="a\r\nX: y"), "1.0", "push.token"),
        (evolve(CONFIG, token=" a"), "1.0", "push.token"),
        (evolve(CONFIG, token=""), "1.0", "push.token"),
        (evolve(CONFIG, token="naïve"), "0.3", "push.token"),
        (evolve(CONFIG, token="x" * 8193), "0.3", "push.token"),
        (evolve(CONFIG, authentication=PushAuthentication(scheme="Be arer")), "1.0", "push.authentication.scheme"),
        (evolve(CONFIG, authentication=PushAuthentication(scheme="B\n")), "0.3", "push.authentication.schemes[0]"),
        (
            evolve(CONFIG, authentication=PushAuthentication(scheme="Bearer", credentials="a\nb")),
            "1.0",
            "push.authentication.credentials",
        ),
    ],
)
def test_what_no_header_can_carry_is_refused_with_its_field(config: PushConfig, form: str, field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_headers(config, ("push",), form)

    assert [violation.field for violation in caught.value.violations] == [field]


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "Digest", "X-Custom+1"])
def test_any_scheme_goes_as_it_was_given(scheme: str) -> None:
    config = evolve(CONFIG, authentication=PushAuthentication(scheme=scheme, credentials='a="b c", d'))

    check_headers(config, ("push",), "1.0")

    assert ("Authorization", f'{scheme} a="b c", d') in headers_of(config, "1.0", 1)


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(CODECS))
def test_accepted_headers_are_single_lines(token: str, credentials: str, form: str) -> None:
    authentication = PushAuthentication(scheme="Bearer", credentials=credentials)
    config = evolve(CONFIG, token=token, authentication=authentication)
    try:
        check_headers(config, ("push",), form)
    except ProtocolError:
        return
    printable = set(string.printable) - set("\t\n\r\x0b\x0c")
    assert all(set(value) <= printable and value == value.strip() for _, value in headers_of(config, form, 1))


@given(
    st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.integers(0), st.integers(0)
)
def test_notification_ids_differ_where_anything_does(a: str, b: str, c: str, d: str, m: int, n: int) -> None:
    one, other = notification_id(a, b, m), notification_id(c, d, n)

    assert (one == other) == ((a, b, m) == (c, d, n))
    assert one.isascii()
    assert one.isprintable()


# --- answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", range(200, 300, 9))
def test_every_2xx_is_a_delivery(status: int) -> None:
    assert verdict_of(status) is Verdict.DELIVERED


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 408, 425, 429, 500, 502, 503, 504, 599])
def test_redirects_and_errors_are_failures_to_be_tried_again(status: int) -> None:
    assert verdict_of(status) is Verdict.FAILED


def test_gone_ends_the_configuration() -> None:
    assert verdict_of(410) is Verdict.GONE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0),
        ("Thu, 01 Jan 1970 00:20:00 -0000", 200.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("9" * 13, None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, 1000.0) == seconds


@given(st.text(), st.floats(0, 4e9))
def test_any_retry_after_is_no_less_than_now_or_nothing(text: str, now: float) -> None:
    seconds = retry_after(text, now)

    assert seconds is None or seconds >= 0


def test_pauses_double_up_to_a_bound_and_end_with_the_attempts() -> None:
    schedule = Schedule(attempts=6, shortest=2, longest=20)

    assert [schedule.pause(failures, 1.0) for failures in range(1, 7)] == [2, 4, 8, 16, 20, None]
    assert schedule.pause(3, 0.25) == 2.0


def test_receiver_that_names_a_time_is_left_alone_so_long_within_bounds() -> None:
    schedule = Schedule(shortest=2, patience=600)

    assert schedule.pause(1, 1.0, 30) == 30
    assert schedule.pause(1, 1.0, 1) == 2
    assert schedule.pause(1, 1.0, 10_000) == 600
    assert schedule.pause(8, 1.0, 30) is None


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e12))
def test_every_pause_is_bounded(failures: int, chance: float, asked: float | None) -> None:
    schedule = Schedule(attempts=5000)

    seconds = schedule.pause(failures, chance, asked)

    assert (seconds is None) == (failures >= 5000)
    assert seconds is None or 0 <= seconds <= max(schedule.longest, schedule.patience)


# --- how it is kept ---------------------------------------------------------------------------------------


@given(push_configs("1.0"), st.booleans())
def test_configuration_is_kept_with_all_it_has(config: PushConfig, interrupts_only: bool) -> None:
    whole = evolve(config, task_id="t", id="i", interrupts_only=interrupts_only)

    assert decode_config(encode_config(whole), task_id="t", config_id="i") == whole


def test_configuration_of_an_earlier_release_names_everything() -> None:
    body = b'{"url":"https://hooks.example.org/","id":"i","taskId":"t"}'

    assert decode_config(body, task_id="t", config_id="i") == PushConfig(
        url="https://hooks.example.org/", id="i", task_id="t"
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"url": 5, "token": "s3cret"}'])
def test_unreadable_configuration_is_an_error_of_ours_without_its_content(body: bytes) -> None:
    with pytest.raises(LocalError) as caught:
        decode_config(body, task_id="t", config_id="i")

    assert "s3cret" not in str(caught.value)
