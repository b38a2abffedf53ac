"""What a client reads of the answers about push configurations, deletions and the extended card."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sansio.a2a.cards.parse import Interface
from sansio.a2a.client.calls import (
    read_card_answer,
    read_deletion,
    read_push_config_answer,
    read_push_configs_answer,
)
from sansio.a2a.client.client_errors import AgentError, InvalidAnswerError
from sansio.a2a.model import PushConfig

RPC_1 = Interface(binding="JSONRPC", version="1.0", url="http://a")
REST_1 = Interface(binding="HTTP+JSON", version="1.0", url="http://a")
RPC_0 = Interface(binding="JSONRPC", version="0.3", url="http://a")

ONE = {"id": "c", "url": "http://b"}
NESTED = {"taskId": "t", "pushNotificationConfig": ONE}


def answer(result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


@pytest.mark.parametrize(
    ("interface", "body"),
    [(RPC_1, answer({**ONE, "taskId": "t"})), (REST_1, json.dumps(ONE).encode()), (RPC_0, answer(NESTED))],
    ids=["1.0 JSONRPC", "1.0 HTTP+JSON, its task unnamed", "0.3 JSONRPC"],
)
def test_a_push_configuration_is_that_of_the_task(interface: Interface, body: bytes) -> None:
    found = read_push_config_answer(interface, "t", 200, body)

    assert found == PushConfig(url="http://b", id="c", task_id="t")


def test_push_configurations_come_as_a_page_or_as_a_list() -> None:
    page = read_push_configs_answer(RPC_1, "t", 200, answer({"configs": [ONE], "nextPageToken": "n"}))
    whole = read_push_configs_answer(RPC_0, "t", 200, answer([NESTED, NESTED]))
    none = read_push_configs_answer(REST_1, "t", 200, b"{}")

    assert ([config.id for config in page.configs], page.next_page_token) == (["c"], "n")
    assert ([config.task_id for config in whole.configs], whole.next_page_token) == (["t", "t"], "")
    assert none.configs == ()


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b"null", answer(None)])
def test_a_deletion_may_be_answered_with_nothing(body: bytes) -> None:
    read_deletion(200, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b""), (200, b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "no"}}')],
    ids=["status", "error"],
)
def test_a_deletion_that_is_refused_is_an_error(status: int, body: bytes) -> None:
    with pytest.raises(AgentError):
        read_deletion(status, body)


def test_the_extended_card_is_an_object() -> None:
    assert read_card_answer(RPC_1, 200, answer({"name": "A"})) == {"name": "A"}
    with pytest.raises(InvalidAnswerError, match="not a JSON object"):
        read_card_answer(RPC_1, 200, answer(["A"]))
