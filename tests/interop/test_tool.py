"""The model's tool with the official client of the Model Context Protocol: it is real MCP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opencode_a2a.tool.mcp_endpoint import TOOL_PATH
from tests.interop.driver import ROOT
from tests.interop.environments import python_of
from tests.real.deadline import Deadline
from tests.real.installation import UnavailableError
from tests.real.process import Process

pytestmark = pytest.mark.interop

START_SECONDS = 90
CLIENT = ROOT / "tests" / "interop" / "drivers" / "mcp_tool.py"


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter that has the client."""
    try:
        return python_of("mcp")
    except UnavailableError as unavailable:
        if os.environ.get("TEST_REQUIRE_INTEROP") == "1":
            pytest.fail(str(unavailable), pytrace=False)
        pytest.skip(str(unavailable))


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_the_official_client_uses_the_tool(runtime: str, python: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.interop.tool_server", runtime]
    process = Process.start(command, cwd=ROOT, env=dict(os.environ))
    try:
        deadline = Deadline.within(START_SECONDS)
        secret = process.output.wait_for(r"secret (\S+)", deadline).group(1)
        url = process.output.wait_for(r"listening on (\S+)", deadline).group(1)
        done = subprocess.run(
            [str(python), str(CLIENT), f"{url}{TOOL_PATH}", secret],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        process.output.wait_for("cancelled t", Deadline.within(START_SECONDS))
    finally:
        process.stop()
    seen = json.loads(done.stdout)

    assert seen["version"] == "2025-11-25"
    assert seen["server"] == "opencode-a2a"
    assert seen["tools"] == ["call"]
    assert seen["progress"] == ["on it"]
    assert seen["text"].endswith("hello")
    assert seen["structured"]["task_id"] == "t"
    assert not seen["failed"]
    assert seen["late"] == [True, "a2a_timeout: The agent did not answer in time: it was silent for 30 s"]
    assert "no such tool" in seen["unknown"]
    assert seen["after"] == seen["text"]
