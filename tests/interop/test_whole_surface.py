"""Listing, cancelling, subscribing, push notifications and the extended card, with every client that has them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from opencode_a2a.fake_opencode import HELLO
from tests.interop.agent import Agent, Way, every_way_with, means, states, texts_of
from tests.interop.driver import ClientError, Json
from tests.interop.receiver import Push, Receiver, running_receiver
from tests.interop.server import Served

pytestmark = pytest.mark.interop


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
def held(served: Served) -> Iterator[Served]:
    """Turns wait once they have said a little, until they are released."""
    served.hold()
    try:
        yield served
    finally:
        served.release()


# --- list -------------------------------------------------------------------------------------------------


def page_of(agent: Agent, **fields: object) -> Json:
    return agent.begin("list", **fields).one()


def listed(agent: Agent, **fields: object) -> list[str]:
    return [task["task"] for task in page_of(agent, **fields)["tasks"]]


@every_way_with("list")
@pytest.mark.operation("list")
def test_a_context_lists_its_tasks_newest_first(agent: Agent) -> None:
    first = agent.send("hi")
    second = agent.send("hi", context=first["context"])

    page = page_of(agent, context=first["context"])

    assert [task["task"] for task in page["tasks"]] == [second["task"], first["task"]]
    assert page["total"] == 2
    assert page["next"] == ""


@every_way_with("list")
@pytest.mark.operation("list")
def test_pages_hold_every_task_once(agent: Agent) -> None:
    sent = [agent.send("hi")]
    context = sent[0]["context"]
    sent += [agent.send("hi", context=context) for _ in range(2)]

    seen: list[str] = []
    token: str = ""
    while True:
        page = page_of(agent, context=context, page_size=1, page_token=token)
        assert (page["total"], page["size"]) == (3, 1)
        seen += [task["task"] for task in page["tasks"]]
        token = page["next"]
        if not token:
            break

    assert seen == [task["task"] for task in reversed(sent)]


@every_way_with("list")
@pytest.mark.operation("list")
def test_artifacts_are_listed_where_they_are_asked_for(agent: Agent) -> None:
    sent = agent.send("hi")

    [bare] = page_of(agent, context=sent["context"])["tasks"]
    [whole] = page_of(agent, context=sent["context"], include_artifacts=True)["tasks"]

    assert bare["artifacts"] == []
    assert HELLO in texts_of(whole).values()


@every_way_with("list")
@pytest.mark.operation("list")
def test_tasks_are_listed_by_their_state(agent: Agent) -> None:
    done = agent.send("hi")
    context = done["context"]
    dropped = agent.cancel(agent.send("SLOW", context=context, blocking=False)["task"])

    assert listed(agent, context=context, status="TASK_STATE_COMPLETED") == [done["task"]]
    assert listed(agent, context=context, status="TASK_STATE_CANCELED") == [dropped["task"]]
    assert listed(agent, context=context, status="TASK_STATE_WORKING") == []


@every_way_with("list")
@pytest.mark.operation("list")
def test_tasks_are_listed_by_the_time_of_their_state(agent: Agent) -> None:
    context = agent.send("hi")["context"]
    newest = agent.send("hi", context=context)["task"]
    changed = datetime.fromisoformat(page_of(agent, context=context)["tasks"][0]["updated"])
    before, after = ((changed + timedelta(milliseconds=ms)).isoformat() for ms in (-1, 1))

    assert listed(agent, context=context, since=before) == [newest]
    assert listed(agent, context=context, since=after) == []


@every_way_with("list")
@pytest.mark.operation("list")
def test_listed_tasks_have_as_much_history_as_is_asked_for(agent: Agent) -> None:
    context = agent.send("hi")["context"]

    [bare] = page_of(agent, context=context, history_length=0)["tasks"]
    [told] = page_of(agent, context=context, history_length=1)["tasks"]

    assert (len(bare["history"]), len(told["history"])) == (0, 1)


@every_way_with("list")
@pytest.mark.operation("list")
def test_a_page_token_of_nobodys_is_refused(agent: Agent) -> None:
    with pytest.raises(ClientError):
        page_of(agent, page_token="not-a-token")


# --- cancel -----------------------------------------------------------------------------------------------


def started(agent: Agent) -> Json:
    """A task that works until somebody stops it."""
    return agent.send("SLOW", blocking=False)


@pytest.mark.operation("cancel")
def test_a_cancelled_task_is_cancelled_for_everyone(agent: Agent) -> None:
    conversation = agent.begin("stream", text="SLOW")
    first = conversation.next()
    assert first is not None

    cancelled = agent.cancel(first["task"])

    assert cancelled["state"] == "canceled"
    assert states([first, *conversation])[-1] == "canceled"
    assert agent.get(first["task"])["state"] == "canceled"


@pytest.mark.operation("cancel")
def test_to_cancel_a_canceled_task_is_an_error_on_0_3_and_changes_nothing_on_1_0(agent: Agent) -> None:
    task = started(agent)["task"]
    agent.cancel(task)

    if agent.way.version == "0.3":
        with pytest.raises(ClientError) as raised:
            agent.cancel(task)
        assert means(raised.value, agent.way, name="NotCancelable", code=-32002, status=409), raised.value
    else:
        assert agent.cancel(task)["state"] == "canceled"
    assert agent.get(task)["state"] == "canceled"


@pytest.mark.operation("cancel")
def test_a_finished_task_cannot_be_cancelled(agent: Agent) -> None:
    task = agent.send("hi")["task"]

    with pytest.raises(ClientError) as raised:
        agent.cancel(task)

    assert means(raised.value, agent.way, name="NotCancelable", code=-32002, status=409), raised.value


# --- subscribe --------------------------------------------------------------------------------------------

TOLD_FIRST = "2"
"""The id of a stream's first frame, which tells of the task with its message."""


@pytest.mark.operation("subscribe")
def test_a_subscriber_sees_the_task_and_then_all_that_comes(agent: Agent, held: Served) -> None:
    task = agent.send("LONG 20", blocking=False)["task"]
    conversation = agent.begin("subscribe", task=task)
    snapshot = conversation.next()
    assert snapshot is not None

    held.release()

    items = [snapshot, *conversation]
    assert snapshot["kind"] == "task"
    assert {item["kind"] for item in items[1:]} == {"status", "artifact"}
    assert items[-1]["state"] == "completed"
    assert agent.texts(items) == texts_of(agent.get(task))


@pytest.mark.operation("subscribe")
def test_a_subscriber_goes_on_where_it_was_cut_off(agent: Agent) -> None:
    task = agent.send("STEPS please")

    items = agent.begin("subscribe", task=task["task"], after=TOLD_FIRST).all()

    assert (items[0]["kind"], items[0]["state"], items[0]["artifacts"]) == ("task", "submitted", [])
    assert {item["kind"] for item in items[1:]} == {"status", "artifact"}
    assert items[-1]["state"] == "completed"
    assert agent.texts(items) == texts_of(task)


@pytest.mark.operation("subscribe")
def test_two_readers_see_the_same_end(agent: Agent) -> None:
    conversation = agent.begin("stream", text="SLOW")
    first = conversation.next()
    assert first is not None
    second = agent.begin("subscribe", task=first["task"])
    snapshot = second.next()
    assert snapshot is not None

    agent.cancel(first["task"])

    told, heard = [first, *conversation], [snapshot, *second]
    assert agent.texts(told) == agent.texts(heard)
    assert told[-1] == heard[-1]


@pytest.mark.operation("subscribe")
def test_a_subscription_to_a_finished_task_replays_it_or_is_refused(agent: Agent) -> None:
    task = agent.send("hi")
    conversation = agent.begin("subscribe", task=task["task"])

    if agent.way.version == "0.3":
        replayed = conversation.one()
        assert (replayed["kind"], replayed["state"]) == ("task", "completed")
        assert texts_of(replayed) == texts_of(task)
        return
    with pytest.raises(ClientError) as raised:
        conversation.all()
    assert means(raised.value, agent.way, name="UnsupportedOperation", code=-32004, status=400), raised.value


# --- push notifications -----------------------------------------------------------------------------------


def wanted(receiver: Receiver, path: str = "/pushed") -> Json:
    return {
        "config": uuid.uuid4().hex,
        "url": f"{receiver.url}{path}",
        "token": "token-of-the-receiver",
        "scheme": "Bearer",
        "credentials": "credentials-of-the-receiver",
    }


def understood(agent: Agent, pushes: list[Push]) -> list[Json]:
    """What the client's own models make of notifications: tasks on version 0.3, a stream's items on version 1.0."""
    return [agent.begin("read_push", body=push.body).one() for push in pushes]


ENDS = ("completed", "canceled", "TASK_STATE_COMPLETED", "TASK_STATE_CANCELED")


def tells_the_end(push: Push) -> bool:
    """Whether the task is over, on either version: `{"status": …}` or `{"statusUpdate": {"status": …}}`."""
    [status, *_] = [value["status"] for value in (push.body, *push.body.values()) if "status" in value] or [{}]
    return status.get("state") in ENDS


def all_to(receiver: Receiver, path: str = "/pushed") -> list[Push]:
    """All that was pushed there, once the task's end was."""
    pushes = receiver.until(lambda pushes: any(push.path == path and tells_the_end(push) for push in pushes))
    return [push for push in pushes if push.path == path]


@pytest.mark.operation("push")
@pytest.mark.parametrize("sending", ["send", "stream"])
def test_a_task_that_was_sent_with_a_configuration_is_pushed_to_its_end(
    agent: Agent, receiver: Receiver, sending: str
) -> None:
    [*_, told] = agent.begin(sending, text="TOOL please", push=wanted(receiver)).all()

    pushes = all_to(receiver)

    task = agent.get(told["task"])
    items = understood(agent, pushes)
    assert states(items)[-1] == task["state"] == "completed"
    assert agent.texts(items) == texts_of(task)
    if agent.way.version == "0.3":
        assert {item["kind"] for item in items} == {"task"}
        assert items[-1] == task
    else:
        assert {item["kind"] for item in items} == {"status", "artifact"}


@pytest.mark.operation("push")
def test_a_notification_shows_who_it_is_from(agent: Agent, receiver: Receiver) -> None:
    agent.send("hi", blocking=False, push=wanted(receiver))

    pushes = all_to(receiver)

    media_type = {"0.3": "application/json", "1.0": "application/a2a+json"}[agent.way.version]
    for push in pushes:
        assert push.headers["x-a2a-notification-token"] == "token-of-the-receiver"
        assert push.headers["authorization"] == "Bearer credentials-of-the-receiver"
        assert push.headers["a2a-version"] == agent.way.version
        assert push.headers["content-type"] == media_type


@pytest.mark.operation("push_set")
def test_a_configuration_set_later_is_pushed_to(agent: Agent, receiver: Receiver) -> None:
    task = started(agent)["task"]
    config = wanted(receiver)

    answered = agent.begin("push_set", task=task, push=config).one()
    agent.cancel(task)

    assert (answered["task"], answered["config"], answered["url"]) == (task, config["config"], config["url"])
    assert understood(agent, all_to(receiver))[-1]["state"] == "canceled"


@pytest.mark.operation("push_set")
def test_each_of_several_configurations_is_pushed_to(agent: Agent, receiver: Receiver) -> None:
    task = started(agent)["task"]
    for path in ("/one", "/other"):
        agent.begin("push_set", task=task, push=wanted(receiver, path)).one()

    agent.cancel(task)

    one, other = ([push.body for push in all_to(receiver, path)] for path in ("/one", "/other"))
    assert one[-1] == other[-1]


@pytest.mark.operation("push_set")
def test_a_configuration_that_cannot_be_delivered_to_is_refused(agent: Agent) -> None:
    task = agent.send("hi")["task"]

    with pytest.raises(ClientError) as raised:
        agent.begin("push_set", task=task, push={"config": "c", "url": "ftp://receiver.example/pushed"}).one()

    error = raised.value
    if agent.way == Way("python-1", "0.3", "rest"):
        assert "HTTP Error 400" in error.text  # and it says nothing else
    else:
        assert means(error, agent.way, name="(InvalidParams|RequestMalformed)", code=-32602, status=400), error


@pytest.mark.operation("push_get")
def test_a_configuration_reads_as_it_was_set(agent: Agent, receiver: Receiver) -> None:
    task = agent.send("hi")["task"]

    answered = agent.begin("push_set", task=task, push=wanted(receiver)).one()

    assert agent.begin("push_get", task=task, config=answered["config"]).one() == answered


@every_way_with("push_list")
@pytest.mark.operation("push_list")
def test_configurations_are_listed(agent: Agent, receiver: Receiver) -> None:
    task = agent.send("hi", push=wanted(receiver))["task"]
    set_later = agent.begin("push_set", task=task, push=wanted(receiver)).one()

    configs = agent.begin("push_list", task=task).all()

    assert len(configs) == 2
    assert set_later in configs


@every_way_with("push_delete", "push_list")
@pytest.mark.operation("push_delete")
def test_a_deleted_configuration_is_pushed_to_no_more(agent: Agent, receiver: Receiver) -> None:
    task = started(agent)["task"]
    dropped, kept = (
        agent.begin("push_set", task=task, push=wanted(receiver, path)).one() for path in ("/dropped", "/kept")
    )

    agent.begin("push_delete", task=task, config=dropped["config"]).one()
    agent.cancel(task)

    assert agent.begin("push_list", task=task).all() == [kept]
    assert all_to(receiver, "/kept")
    assert not any(tells_the_end(push) for push in receiver.pushes if push.path == "/dropped")


# --- the card ---------------------------------------------------------------------------------------------


@pytest.mark.operation("card")
def test_the_card_says_what_there_is(agent: Agent) -> None:
    card = agent.card()

    assert card["push"] is True
    assert card["extended"] is True


@pytest.mark.operation("extended_card")
def test_the_extended_card_is_for_those_who_are_known(agent: Agent) -> None:
    card = agent.begin("extended_card").one()

    assert card["name"] == agent.card()["name"]
    assert set(card["skills"]) >= set(agent.card()["skills"])
    with pytest.raises(ClientError):
        agent.begin("extended_card", token="not-the-token").one()


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["get", "cancel", "send", "stream", "subscribe"])
def test_a_task_that_does_not_exist_is_the_clients_own_error_for_it(agent: Agent, operation: str) -> None:
    with pytest.raises(ClientError) as raised:
        agent.begin(operation, task="no-such-task", text="hi").all()

    error = raised.value
    if (agent.way, operation) == (Way("python-0.3", "0.3", "rest"), "subscribe"):
        assert "got 'application/json'" in error.text  # it only looks whether the answer is a stream
    else:
        assert means(error, agent.way, name="TaskNotFound", code=-32001, status=404), error


@pytest.mark.parametrize("operation", ["push_set", "push_get"])
def test_notifications_of_a_task_that_does_not_exist_are_the_clients_own_error_for_it(
    agent: Agent, receiver: Receiver, operation: str
) -> None:
    with pytest.raises(ClientError) as raised:
        agent.begin(operation, task="no-such-task", push=wanted(receiver), config="c").all()

    assert means(raised.value, agent.way, name="TaskNotFound", code=-32001, status=404), raised.value
