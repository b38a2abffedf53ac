"""Every official client before three servers on one database: nginx gives each request to the next of them.

The tests are those of one server, chosen so that what a client begins on one server goes on at others.
`INTEROP_REPLICAS=1` runs all of the others so, too.
"""

from __future__ import annotations

import pytest

from tests.interop.server import Served
from tests.interop.test_interrupts import (
    test_a_permission_is_given_by_a_message,
    test_a_question_ends_its_stream_and_the_answers_own_goes_on,
)
from tests.interop.test_talking import test_a_context_goes_on, test_what_a_stream_told_is_what_the_task_holds

__all__ = [
    "test_a_context_goes_on",
    "test_a_permission_is_given_by_a_message",
    "test_a_question_ends_its_stream_and_the_answers_own_goes_on",
    "test_what_a_stream_told_is_what_the_task_holds",
]

pytestmark = pytest.mark.interop


@pytest.fixture(scope="session", params=["replicas"])
def served(replicas: Served) -> Served:
    return replicas
