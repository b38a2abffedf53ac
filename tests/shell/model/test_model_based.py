"""Whatever two principals do on all four wires at once, the agent answers what the reference model says.

A program of random steps is run against a served agent, one step after the other, while streams and blocking sends go
on beside it. A failure tells what is wrong, and the whole program, with the answers, up to the step that went wrong.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from hypothesis import Phase, given, settings

from opencode_a2a.fake_opencode import FakeOpenCode, Refuse, Script
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from tests.shell.harness import agent_before
from tests.shell.model.program_player import Play
from tests.shell.model.program_pushes import Pushes
from tests.shell.model.random_program import Program, programs
from tests.shell.push_receiver import receiving

STANDIN_SCRIPTS = {**SCRIPTS, "FAIL500": lambda prompt: Script(((Refuse(status=500, message="it is broken"),),))}


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def played(backend: str, program: Program) -> str | None:
    """What went wrong, after all that was done before."""
    journal: list[str] = []
    settings: dict[str, Any] = {"task_store_backend": "memory", "push_allow_private_hosts": True}
    fake_opencode = FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, scripts=STANDIN_SCRIPTS)
    async with agent_before(backend, fake_opencode, **settings) as agent, receiving() as receiver:
        try:
            async with anyio.create_task_group() as beside:
                await Play(agent, Pushes(receiver), beside, journal=journal).run(program)
        except Exception as error:
            causes = ["".join(traceback.format_exception(one)[-4:]) for one in _leaves(error)]
            reason = " and ".join(str(one) or type(one).__name__ for one in _leaves(error))
            return "\n".join([reason, "", *journal, "", *causes])
    return None


# a reader that hangs up leaves generators of httpx's behind, of which trio complains
@pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=14, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(program=programs)
def test_the_agent_answers_what_the_model_says(backend: str, program: Program) -> None:
    # without shrinking, which would take minutes: the journal of a failure is short enough to be read
    failure = anyio.run(played, backend, program, backend=backend)
    if failure is not None:
        raise AssertionError(failure)
