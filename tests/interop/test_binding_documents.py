"""The clients in ten lines, as the documents of the bindings have them, in the environments of their libraries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO
from tests.interop.environments import python_of
from tests.interop.server import running_server
from tests.real.adapter import TOKEN
from tests.real.installation import UnavailableError

pytestmark = pytest.mark.interop

DOCUMENTS = Path(__file__).parents[2] / "docs" / "bindings"


def example(document: str, title: str = "A client in ten lines", begins: str = "import") -> str:
    section = (DOCUMENTS / document).read_text("utf-8").partition(f"\n## {title}\n")[2]
    block = re.search(rf"^    {begins} .*\n(?:(?:    .*)?\n)*", section, re.M)
    assert block is not None
    return textwrap.dedent(block[0])


@pytest.mark.parametrize(
    ("document", "client", "runtime"),
    [("grpc.md", "python-1", "asyncio"), ("websocket.md", "websockets", "trio")],
)
def test_the_client_in_ten_lines_gets_an_answer(document: str, client: str, runtime: str, tmp_path: Path) -> None:
    try:
        python = python_of(client)
    except UnavailableError as unavailable:
        if os.environ.get("TEST_REQUIRE_INTEROP") == "1":
            pytest.fail(str(unavailable), pytrace=False)
        pytest.skip(str(unavailable))
    with running_server(runtime, tmp_path) as served:
        address = served.adapter.url.removeprefix("http://")
        code = example(document).replace("127.0.0.1:8000", address).replace("a-long-random-text", TOKEN)
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "TASK_STATE_COMPLETED" in done.stdout
    assert HELLO in done.stdout


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_the_page_answers_a_permission_on_the_connection_of_its_stream(runtime: str, tmp_path: Path) -> None:
    if (node := shutil.which("node")) is None:
        if os.environ.get("TEST_REQUIRE_INTEROP") == "1":
            pytest.fail("node is not installed", pytrace=False)
        pytest.skip("node is not installed")
    with running_server(runtime, tmp_path) as served:
        code = example("websocket.md", "A page", "const").replace("http://127.0.0.1:8000", served.adapter.url)
        command = [
            node,
            "--experimental-websocket",
            "--input-type=module",
            "-e",
            code.replace("a-long-random-text", TOKEN),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    states = re.findall(r'"state":"TASK_STATE_(\w+)"', done.stdout)
    assert "INPUT_REQUIRED" in states
    assert (states[-1], AFTER_TOOL in done.stdout) == ("COMPLETED", True)
