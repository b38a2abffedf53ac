"""Requests made up from the OpenAPI document, right and wrong ones: each is answered as it says, never with a 5xx.

schemathesis makes them up and judges the answers; what is sent is the same in every run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.shell.harness import Serving, client
from tests.shell.method_calls import AS_CAROL, EVERYTHING_ON

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(240),
    # schemathesis' own doing, in the making of wrong requests
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = {GenerationMode.POSITIVE: 4, GenerationMode.NEGATIVE: 2}
"""Requests for each operation of the HTTP surface; that behind which all methods are gets more."""

OF_THE_ENDPOINT = 12  # times as many


def can_be_wrong(operation: Any) -> bool:
    """Whether there is anything in a request for it, besides the path, that could be of a wrong form."""
    raw = operation.definition.raw
    return "requestBody" in raw or any(parameter["in"] == "query" for parameter in raw.get("parameters", ()))


def each_case(operation: Any, mode: GenerationMode, judge: Callable[[Any], None]) -> None:
    """Make requests up, always the same ones, and hand each to `judge`."""

    @settings(
        max_examples=EXAMPLES[mode] * (OF_THE_ENDPOINT if operation.path == "/" else 1),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def each(case: Any) -> None:
        if mode is GenerationMode.NEGATIVE:  # with anything in an id's place, a path may be another's
            case.path_parameters = dict.fromkeys(case.path_parameters or (), "x7")
        judge(case)

    each()


def tried(document: dict[str, Any], url: str, headers: Mapping[str, str]) -> Counter[int]:
    """How often which status was answered. Blocks; raises where an answer is not as the document says."""
    statuses: Counter[int] = Counter()

    def judge(case: Any) -> None:
        response = case.call(base_url=url, headers=headers, timeout=20)
        case.validate_response(response, checks=CHECKS)
        statuses[response.status_code] += 1

    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        each_case(operation, GenerationMode.POSITIVE, judge)
        if can_be_wrong(operation):
            each_case(operation, GenerationMode.NEGATIVE, judge)
    return statuses


async def document_of(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    async with client(url, None) as http:
        answer = await http.get("/openapi.json", headers=headers)
    found: dict[str, Any] = answer.json()
    return found


async def statuses_of(serving: Serving, headers: Mapping[str, str]) -> Counter[int]:
    """Serve an agent with everything on, and try its own description of itself."""
    async with serving(**EVERYTHING_ON) as agent:
        document = await document_of(agent.url, headers)
        statuses = await anyio.to_thread.run_sync(tried, document, agent.url, headers)
    print(
        f"{statuses.total()} requests:",
        ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())),
    )
    return statuses


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_what_the_document_allows_is_answered_as_it_says(serving: Serving) -> None:
    statuses = await statuses_of(serving, AS_CAROL)

    assert statuses.total() > 200
    assert statuses[200] > 50
    assert 401 not in statuses


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_without_credentials_the_document_tells_what_is_refused(serving: Serving) -> None:
    statuses = await statuses_of(serving, {})

    assert statuses.total() > 200
    assert statuses[401] > statuses[200] > 5
