"""Rows of hostile agents whose peer is an object of a test: what each does, and what the client makes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from typing import Any, Final, Generic, TypeVar

import pytest
from attrs import frozen

from opencode_a2a.client import RemoteAgent
from sansio.a2a.client.client_errors import ClientError
from sansio.a2a.model import Task

PeerT = TypeVar("PeerT")
_Test = TypeVar("_Test", bound=Callable[..., Any])

ANSWER: Final = None


@frozen(kw_only=True)
class Case(Generic[PeerT]):
    """`error`: what the client must raise; None: it has the answer. `text`: a part of its message."""

    name: str
    script: Callable[[PeerT], Awaitable[None]]
    error: type[ClientError] | None
    text: str = ""


def each_case(cases: Sequence[Case[Any]]) -> Callable[[_Test], _Test]:
    """Run a test with each case, on the runtimes in turn: what is decided in them knows no runtime."""
    in_turn = list(zip(cycle(("asyncio", "trio")), cases, strict=False))
    names = [f"{runtime}-{case.name.replace(' ', '-')}" for runtime, case in in_turn]
    return pytest.mark.parametrize(("anyio_backend", "case"), in_turn, ids=names)


async def outcome(case: Case[Any], remote: RemoteAgent) -> str:
    """Send to the agent of a case, and check what comes of it; return the message of the error."""
    if case.error is None:
        assert isinstance(await remote.send("hi"), Task)
        return ""
    with pytest.raises(case.error) as caught:
        await remote.send("hi")
    assert case.text in caught.value.message
    return caught.value.message
