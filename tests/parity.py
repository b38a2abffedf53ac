"""`python -m tests.parity`: every method of 0.7.1, what was recorded of it, and what of it is here, as markdown.

Made from the recorded shapes and the tables; a method that only one side has is told as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from attrs import frozen

from sansio.a2a.codecs.schemas import OPERATION_TYPES
from sansio.a2a.operations import RPC_0_3
from sansio.extensions.methods.method_rows import MethodRow
from sansio.extensions.methods.method_table import METHODS

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = ("method", "0.7.1 declared", "0.7.1 answered", "here", "its answer")


_OF_THE_PROTOCOL = {
    "message/send": "a task",
    "message/stream": "a stream",
    "tasks/get": "a task",
    "tasks/cancel": "error -32002 for a task that had ended",
    "tasks/resubscribe": "a stream of the task as it had ended",
    "tasks/pushNotificationConfig/set": "error -32603",
    "tasks/pushNotificationConfig/list": "error 500 over HTTP+JSON",
    "agent/getAuthenticatedExtendedCard": "the card, over HTTP+JSON",
}
"""What was recorded of the protocol's own methods, in words."""


@frozen
class Parity:
    """A row of the table, and what of the recorded is missing here."""

    cells: tuple[str, ...]
    missing: tuple[str, ...] = ()


def _recorded() -> tuple[dict[str, list[str]], dict[str, str], dict[str, Any]]:
    """Of 0.7.1: the members of each method's result, the methods' availability, and their answers."""
    card = orjson.loads((FIXTURES / "contracts" / "0.7.1-extended.json").read_bytes())["extensions"]
    kept = card["a2a-compatibility-profile-v1"]["params"]["method_retention"]
    conditional = card["a2a-wire-contract-v1"]["params"]["extensions"]["conditionally_available_methods"]
    declared = {name: "switched off by default" if name in conditional else "always" for name in kept}
    answers: dict[str, Any] = {}
    for path in sorted((FIXTURES / "methods").glob("*.json")):
        found = orjson.loads(path.read_bytes())
        if "result" in found or found["method"] not in answers:
            answers[found["method"]] = found
    members = {name: list(one["result"]) for name, one in answers.items() if "result" in one}
    return members, declared, answers


def parity() -> Iterator[Parity]:
    """The rows of the table, first those of 0.7.1, then those it lacked."""
    members, declared, answers = _recorded()
    for name in (*declared, *(name for name in (*RPC_0_3, *METHODS) if name not in declared)):
        answered = answers.get(name)
        told = _OF_THE_PROTOCOL.get(name, "not recorded")
        if answered is not None:
            told = ", ".join(members[name]) if name in members else f"error {answered['error']['code']}"
        row = METHODS.get(name)
        here = _here(name, row)
        lacking = () if row is None else tuple(m for m in members.get(name, ()) if m not in row.result.members)
        yield Parity((name, declared.get(name, "not there"), told, here, _answer(name, row)), lacking)


def _here(name: str, row: MethodRow | None) -> str:
    if row is None:
        return "on both versions" if name in RPC_0_3 else "missing"
    return f"needs {row.toggle.value} and {row.capability}" if row.toggle is not None else "always"


def _answer(name: str, row: MethodRow | None) -> str:
    if row is not None:
        return ", ".join(row.result.members)
    return OPERATION_TYPES[RPC_0_3[name]]["0.3"].result.replace("|", " or ") if name in RPC_0_3 else "missing"


def markdown() -> str:
    """The table."""
    rows = [NAMES, tuple("---" for _ in NAMES), *(one.cells for one in parity())]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


if __name__ == "__main__":
    print(markdown())
