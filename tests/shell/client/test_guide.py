"""The guide to calling agents: its program runs on both runtimes, and its examples are valid code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio.to_thread
import attrs
import pytest

from opencode_a2a.client import RemoteAgent
from opencode_a2a.fake_opencode import HELLO
from sansio.a2a.client import client_errors
from tests.shell.harness import ALICE, Serving

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "calling-agents.md").read_text("utf-8")
PROGRAM = DOCS / "examples" / "call_agent.py"


async def run(backend: str, url: str, text: str, token: str | None = ALICE) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "A2A_TOKEN": token or ""}
    command = [sys.executable, str(PROGRAM), url, text, "--runtime", backend]
    started = partial(subprocess.run, command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    return await anyio.to_thread.run_sync(started)


async def test_the_program_prints_an_answer_and_answers_a_question(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent:
        hello = await run(anyio_backend, agent.url, "hi")
        question = await run(anyio_backend, agent.url, "QUESTION")

    assert (hello.returncode, hello.stderr) == (0, "")
    assert HELLO in hello.stdout
    assert ": completed]" in hello.stdout
    assert [": input-required]" in question.stdout, ": completed]" in question.stdout] == [True, True]


async def test_the_program_says_what_is_wrong(serving: Serving, anyio_backend: str) -> None:
    async with serving() as agent:
        refused = await run(anyio_backend, agent.url, "hi", "another")

    assert (refused.returncode, refused.stderr) == (1, "It wants another token: set A2A_TOKEN\n")


@pytest.mark.parametrize("document", sorted(path.name for path in DOCS.glob("*.md")))
def test_what_the_examples_import_is_there(document: str) -> None:
    for block in re.findall(r"```python\n(.*?)```", (DOCS / document).read_text("utf-8"), re.DOTALL):
        imports: list[ast.stmt] = [
            node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        exec(compile(ast.Module(imports, []), document, "exec"), {})


def section(title: str) -> str:
    return GUIDE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_examples_are_code_and_the_tables_name_what_there_is() -> None:
    for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        compile(block, "calling-agents.md", "exec")

    operations, errors = (section(title) for title in ("Operations", "Errors"))
    methods = {name for row in re.findall(r"^\| (`.*?) \|", operations, re.M) for name in re.findall(r"`(\w+)", row)}
    attributes = {"options", "subscription", *(attribute.name for attribute in attrs.fields(RemoteAgent))}
    assert methods == {name for name in vars(RemoteAgent) if not name.startswith("_")} - attributes
    named = set(re.findall(r"`(\w+Error)`", errors))
    assert named == {name for name in vars(client_errors) if name.endswith("Error")} - {"A2AError", "ProtocolError"}
