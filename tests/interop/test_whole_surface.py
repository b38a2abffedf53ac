"""Listing, cancelling, subscribing, push notifications and the extended card, with every client that has them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from opencode_a2a.standin import HELLO

from .agent import Agent, Way, states, texts_of
from .driver import ClientError, Json
from .receiver import Push, Receiver, running_receiver

pytestmark = pytest.mark.interop

LISTS_TASKS = frozenset({"python-1", "javascript-1"})
"""The clients that can list tasks, on line 1.0 alone: line 0.3 has no such operation."""


def lists_configs(way: Way) -> bool:
    """Whether the client can list and delete push configurations this way."""
    return way.client != "python-0.3" and way != Way("python-1", "0.3", "rest")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


# --- list -------------------------------------------------------------------------------------------------


@pytest.fixture
def listing(agent: Agent) -> Agent:
    if agent.way.client not in LISTS_TASKS or agent.way.line != "1.0":
        pytest.skip("this client cannot list tasks this way")
    return agent


def test_a_context_lists_its_tasks_newest_first(listing: Agent) -> None:
    first = listing.send("hi")
    second = listing.send("hi", context=first["context"])

    page = listing.begin("list", context=first["context"]).one()

    assert [task["task"] for task in page["tasks"]] == [second["task"], first["task"]]
    assert page["total"] == 2
    assert page["next"] == ""


def test_pages_hold_every_task_once(listing: Agent) -> None:
    sent = [listing.send("hi")]
    context = sent[0]["context"]
    sent += [listing.send("hi", context=context) for _ in range(2)]

    seen: list[str] = []
    token: str = ""
    while True:
        page = listing.begin("list", context=context, page_size=1, page_token=token).one()
        assert page["total"] == 3
        seen += [task["task"] for task in page["tasks"]]
        token = page["next"]
        if not token:
            break

    assert seen == [task["task"] for task in reversed(sent)]


def test_artifacts_are_listed_where_they_are_asked_for(listing: Agent) -> None:
    sent = listing.send("hi")

    [bare] = listing.begin("list", context=sent["context"]).one()["tasks"]
    [whole] = listing.begin("list", context=sent["context"], include_artifacts=True).one()["tasks"]

    assert bare["artifacts"] == []
    assert HELLO in texts_of(whole).values()


# --- cancel -----------------------------------------------------------------------------------------------


def started(agent: Agent) -> Json:
    """A task that works for half a minute unless somebody stops it."""
    return agent.send("SLOW", blocking=False)


def test_a_cancelled_task_is_cancelled_for_everyone(agent: Agent) -> None:
    conversation = agent.begin("stream", text="SLOW")
    first = conversation.next()
    assert first is not None

    cancelled = agent.cancel(first["task"])

    assert cancelled["state"] == "canceled"
    assert states([first, *conversation])[-1] == "canceled"
    assert agent.get(first["task"])["state"] == "canceled"


def test_a_cancelled_task_can_be_cancelled_again(agent: Agent) -> None:
    task = started(agent)["task"]
    agent.cancel(task)

    assert agent.cancel(task)["state"] == "canceled"


def test_a_finished_task_cannot_be_cancelled(agent: Agent) -> None:
    task = agent.send("hi")["task"]

    with pytest.raises(ClientError) as raised:
        agent.cancel(task)

    error = raised.value
    known = error.code == -32002 or error.status in (400, 409) or "NotCancelable" in error.name
    assert known or "Code: -32002" in error.text, error


# --- subscribe --------------------------------------------------------------------------------------------


def test_a_subscriber_sees_the_task_and_then_all_that_comes(agent: Agent) -> None:
    task = agent.send("LONG 60", blocking=False)["task"]

    items = agent.begin("subscribe", task=task).all()

    assert items[0]["kind"] == "task"
    assert items[-1]["state"] == "completed"
    assert agent.texts(items) == texts_of(agent.get(task))


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


def test_a_subscription_to_a_finished_task_replays_it_or_is_refused(agent: Agent) -> None:
    task = agent.send("hi")
    conversation = agent.begin("subscribe", task=task["task"])

    if agent.way.line == "0.3":
        replayed = conversation.one()
        assert (replayed["kind"], replayed["state"]) == ("task", "completed")
        assert texts_of(replayed) == texts_of(task)
        return
    with pytest.raises(ClientError) as raised:
        conversation.all()
    assert "UnsupportedOperation" in raised.value.name


# --- push notifications -----------------------------------------------------------------------------------


def wanted(receiver: Receiver) -> Json:
    return {
        "config": uuid.uuid4().hex,
        "url": f"{receiver.url}/pushed",
        "token": "token-of-the-receiver",
        "scheme": "Bearer",
        "credentials": "credentials-of-the-receiver",
    }


def state_of(push: Push, line: str) -> str | None:
    """The state a notification tells of, as line 0.3 writes it."""
    if line == "0.3":
        assert push.body["kind"] == "task"
        return str(push.body["status"]["state"])
    [(kind, value)] = push.body.items()
    assert kind in ("task", "message", "statusUpdate", "artifactUpdate")
    state = value.get("status", {}).get("state")
    return state and str(state).removeprefix("TASK_STATE_").lower().replace("_", "-")


def tells_the_end(agent: Agent, pushes: list[Push]) -> bool:
    return any(state_of(push, agent.way.line) in ("completed", "canceled") for push in pushes)


def test_a_send_with_a_push_configuration_is_pushed_to_its_end(agent: Agent, receiver: Receiver) -> None:
    task = agent.send("LONG 60", blocking=False, push=wanted(receiver))

    pushes = receiver.until(lambda pushes: tells_the_end(agent, pushes))

    assert {push.path for push in pushes} == {"/pushed"}
    assert {push.headers["x-a2a-notification-token"] for push in pushes} == {"token-of-the-receiver"}
    assert {push.headers["authorization"] for push in pushes} == {"Bearer credentials-of-the-receiver"}
    told = [state for state in (state_of(push, agent.way.line) for push in pushes) if state]
    assert told[-1] == agent.get(task["task"])["state"] == "completed"


def test_a_configuration_set_later_is_pushed_to(agent: Agent, receiver: Receiver) -> None:
    task = started(agent)["task"]
    config = wanted(receiver)

    answered = agent.begin("push_set", task=task, push=config).one()
    agent.cancel(task)

    assert (answered["task"], answered["config"], answered["url"]) == (task, config["config"], config["url"])
    assert receiver.until(lambda pushes: tells_the_end(agent, pushes))


def test_a_configuration_reads_as_it_was_set(agent: Agent, receiver: Receiver) -> None:
    task = agent.send("hi")["task"]

    answered = agent.begin("push_set", task=task, push=wanted(receiver)).one()

    assert agent.begin("push_get", task=task, config=answered["config"]).one() == answered


def test_configurations_are_listed_and_deleted(agent: Agent, receiver: Receiver) -> None:
    if not lists_configs(agent.way):
        pytest.skip("this client cannot list configurations this way")
    task = agent.send("hi")["task"]
    kept, dropped = (agent.begin("push_set", task=task, push=wanted(receiver)).one() for _ in range(2))

    listed = agent.begin("push_list", task=task).all()
    agent.begin("push_delete", task=task, config=dropped["config"]).one()

    assert {config["config"] for config in listed} == {kept["config"], dropped["config"]}
    assert agent.begin("push_list", task=task).all() == [kept]


# --- the card ---------------------------------------------------------------------------------------------


def test_the_card_says_what_there_is(agent: Agent) -> None:
    card = agent.card()

    assert card["push"] is True
    assert card["extended"] is True


def test_the_extended_card_is_for_those_who_are_known(agent: Agent) -> None:
    card = agent.begin("extended_card").one()

    assert card["name"] == agent.card()["name"]
    assert set(card["skills"]) >= set(agent.card()["skills"])
    with pytest.raises(ClientError):
        agent.begin("extended_card", token="not-the-token").one()


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["get", "cancel", "send", "stream", "subscribe"])
def test_a_task_that_does_not_exist_is_the_clients_own_error_for_it(agent: Agent, operation: str) -> None:
    if agent.way == Way("python-0.3", "0.3", "rest"):
        pytest.skip("this client shows the HTTP status and nothing else")

    with pytest.raises(ClientError) as raised:
        agent.begin(operation, task="no-such-task", text="hi").all()

    error = raised.value
    assert "TaskNotFound" in error.name or error.code == -32001 or "Code: -32001" in error.text, error
