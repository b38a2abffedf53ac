"""The published schemas of parameters do not lie: what they allow is taken, but for what a schema cannot say.

schemathesis makes the values up, the same ones in every run.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok

from sansio.a2a.errors import ProtocolError
from sansio.extensions.methods.method_rows import MethodRow
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.parameters import read
from sansio.extensions.methods.types import params_schema

UNSAID = ("says something else than", "non-empty string", "none of them NUL")
"""What no schema says: that two names of a parameter agree, and that a text is more than white space, without NUL."""


def values_of(schema: dict[str, Any]) -> Any:
    """A strategy for values that a schema allows."""
    content = {"application/json": {"schema": schema}}
    body = {"required": True, "content": content}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "", "version": ""},
        "paths": {"/": {"post": {"requestBody": body, "responses": {"200": {"description": ""}}}}},
    }
    [found] = schemathesis.openapi.from_dict(document).get_all_operations()
    assert isinstance(found, Ok)
    return found.ok().as_strategy()


@pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
def test_what_the_schema_of_a_methods_parameters_allows_is_taken(row: MethodRow) -> None:
    taken: list[object] = []
    refused: list[str] = []

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(values_of(params_schema(row)))
    def each(case: Any) -> None:
        try:
            taken.append(read(row.parameters, case.body, row.unsupported))
        except ProtocolError as error:
            refused.append(error.message)

    each()
    assert taken
    assert [message for message in refused if not any(reason in message for reason in UNSAID)] == []


@pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
def test_what_the_schema_demands_is_demanded(row: MethodRow) -> None:
    schema = params_schema(row)

    if "required" in schema:
        with pytest.raises(ProtocolError) as caught:
            read(row.parameters, {}, row.unsupported)
        assert caught.value.violations[0].field in schema["required"]
    else:
        read(row.parameters, {}, row.unsupported)
