"""Serves a fake OpenCode whose model may be hostile.

Run it by `python -m tests.interop.console.fake_opencode_server RUNTIME`.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial

from opencode_a2a.fake_opencode import Ask, CallTool, FakeOpenCode, Permission, Prompt, Say, Script, Think, words
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from tests.serving_alone import serve_alone

HOSTILE = (
    "<script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 2'>",
    "<svg onload='window.broken = 3'></svg>",
    "[a link](javascript:window.broken=4)",
    "[data](data:text/html,<script>window.broken=5</script>)",
    "![picture](https://thief.test/picture.png)",
    "[an honest link](https://example.test/a)",
    "<iframe src='javascript:window.broken=6'></iframe>",
    "<style>body { display: none }</style>",
)
"""Paragraphs that a page must show, and must not obey."""

HIDDEN_COMMAND = "echo \u202egpj.exe\u200b && rm -r data <b onclick=alert(1)>"


def _hostile(prompt: Prompt) -> Script:
    text = "\n\n".join(HOSTILE)
    permission = Permission(
        permission="bash",
        patterns=("<i>*</i>",),
        metadata={"command": HIDDEN_COMMAND, "<u>key": text},
        always=("rm *",),
    )
    tool = CallTool(
        tool="<b>bash</b>",
        input={"command": HIDDEN_COMMAND, "more": text},
        title="<img src=x onerror='window.broken = 7'>",
        output=text,
        permission=permission,
    )
    return Script(((Think((text,)), tool), (Say((text,)),)))


def _several(prompt: Prompt) -> Script:
    colours = [{"label": name, "description": f"as {name} as it gets"} for name in ("red", "green", "blue")]
    questions = (
        {"question": "Which colours?", "header": "Colours", "options": colours, "multiple": True},
        {"question": "Which <b>name</b>?", "header": "Name", "options": []},
    )
    return Script(((Ask(questions),), (Say(words("Thank you.")),)))


def _ticks(prompt: Prompt) -> Script:
    return Script(((Say(tuple(f"tick{number} " for number in range(80)), ticking=True),),))


def main(runtime_name: str) -> None:
    runtime = importlib.import_module(f"runtime_{runtime_name}")
    scripts = {**SCRIPTS, "HOSTILE": _hostile, "SEVERAL": _several, "TICKS": _ticks}
    opencode = FakeOpenCode(pause=0.005, tick=0.1, scripts=scripts)
    runtime.run(partial(serve_alone, runtime, opencode))


if __name__ == "__main__":
    main(sys.argv[1])
