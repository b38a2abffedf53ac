"""Requests made up from the OpenAPI document, right and wrong ones: each is answered as it says, never with a 5xx.

schemathesis makes them up and judges the answers; what is sent is the same in every run.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import anyio.to_thread
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.shell.harness import CAROL, Serving, client
from tests.shell.method_calls import EVERYTHING_ON

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = {GenerationMode.POSITIVE: 6, GenerationMode.NEGATIVE: 4}
"""Requests for each operation of the HTTP surface; that behind which all methods are gets more."""

OF_THE_ENDPOINT = 15  # times as many
AS_CAROL = {"authorization": "Basic " + base64.b64encode(":".join(CAROL).encode()).decode()}


def operations(document: Mapping[str, Any]) -> Iterator[Any]:
    """Every operation of the document."""
    for found in schemathesis.openapi.from_dict(dict(document)).get_all_operations():
        yield found.ok()


def is_there(case: Any) -> bool:
    """Whether the path is the operation's own: with anything in an id's place, it may be another's."""
    given = {name: str(value) for name, value in (case.path_parameters or {}).items()}
    return given.get("tenant") != "v1" and all(re.fullmatch("[A-Za-z0-9_-]+", value) for value in given.values())


def tried(document: Mapping[str, Any], url: str, headers: Mapping[str, str]) -> Counter[str]:
    """What came of all requests, by what was asked for and how it ended. Blocks; raises at the first wrong answer."""
    summary: Counter[str] = Counter()
    for operation in operations(document):
        for mode, count in EXAMPLES.items():
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.headers):
                continue
            examples = count * (OF_THE_ENDPOINT if operation.path == "/" else 1)

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                assume(is_there(case))
                response = case.call(base_url=url, headers=headers, timeout=20)
                case.validate_response(response, checks=CHECKS)
                summary[f"{response.status_code}"] += 1
                summary["requests"] += 1

            ask()
    return summary


async def document_of(url: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
    async with client(url, None) as http:
        answer = await http.get("/openapi.json", headers=headers)
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("proved", [True, False], ids=["with-credentials", "without"])
async def test_what_the_document_allows_is_answered_as_it_says(serving: Serving, proved: bool) -> None:
    headers = AS_CAROL if proved else {}
    async with serving(**EVERYTHING_ON) as agent:
        document = await document_of(agent.url, headers)

        summary = await anyio.to_thread.run_sync(tried, document, agent.url, headers)

    print(dict(summary))
    assert summary["requests"] > 300
    assert summary["200"] > (100 if proved else 10)
    assert (summary["401"] > 0) is not proved
