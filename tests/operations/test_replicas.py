"""The task that three servers serve in `docs/scaling.md`, for real: what the page shows is what happens."""

from __future__ import annotations

import re

import pytest

from tests.benchmarks.replicas import postgresql
from tests.operations.replicas import RUNTIMES, scripted_opencode, transcript
from tests.paths import DOCS


def steps(text: str) -> list[str]:
    """The steps of a transcript, without their numbers; not the events, whose number depends on the moment."""
    lines = [line.split(" s  ", 1)[-1] for line in text.splitlines()]
    return [re.sub(r"\d+(\.\d+)?", "N", line.strip()) for line in lines if line and not line.startswith("    ")]


@pytest.mark.timeout(180)  # four processes start, and others may have the cores
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_stream_goes_on_at_another_server_and_a_third_gives_the_permission(
    runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with postgresql() as url, scripted_opencode() as opencode:
        wrong = transcript(runtime, 1.0, opencode.url, url)
    seen = capsys.readouterr().out

    assert wrong == [], seen
    [shown] = re.findall(r"```text\n(.*?)```", (DOCS / "scaling.md").read_text("utf-8"), re.DOTALL)
    assert steps(seen)[1:] == steps(shown)
