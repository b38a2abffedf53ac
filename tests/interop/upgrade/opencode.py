"""Serves the fake OpenCode whose turns say something before they ask: `python -m tests.interop.upgrade.opencode`.

Earlier releases subscribe to events only once a turn runs, and never hear of what is asked before. Prints where it
listens, and runs until it is told to end.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial

from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.fake_opencode.scripts import SCRIPTS, Prompt, Say, Script
from tests.serving_alone import serve_alone

BEFORE = ("Just ", "a ", "moment. ", "Still ", "looking. ")


def later(script: Callable[[Prompt], Script]) -> Callable[[Prompt], Script]:
    """Let a script begin with some words, a tick apart."""

    def written(prompt: Prompt) -> Script:
        first, *rest = script(prompt).steps
        assert not callable(first)
        return Script(((Say(BEFORE, ticking=True), *first), *rest))

    return written


def main() -> None:
    runtime = importlib.import_module("runtime_asyncio")
    asking = {keyword: later(SCRIPTS[keyword]) for keyword in ("PERMISSION", "QUESTION")}
    fake_opencode = FakeOpenCode(pause=0.02, tick=0.25, scripts={**SCRIPTS, **asking})
    runtime.run(partial(serve_alone, runtime, fake_opencode))


if __name__ == "__main__":
    main()
