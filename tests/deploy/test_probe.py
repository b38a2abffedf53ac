"""`python -m opencode_a2a.server.probe`, by which a container asks its server."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme

from opencode_a2a.server.http.probes import NOT_READY
from opencode_a2a.server.probe import main


@contextmanager
def answering(status: int, tls: trustme.LeafCert | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers one request; its port and the request line it got."""
    lines: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls is not None:
        tls.configure_cert(context)

    def serve() -> None:
        raw, _ = listener.accept()
        raw.settimeout(10)
        with context.wrap_socket(raw, server_side=True) if tls else raw as connection:
            lines.append(connection.recv(4096).partition(b"\r\n")[0])
            connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield listener.getsockname()[1], lines
        thread.join(10)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
@pytest.mark.parametrize(("arguments", "path"), [([], b"/livez"), (["--ready"], b"/readyz")], ids=["alive", "ready"])
def test_the_exit_code_is_the_servers_answer(
    status: int, code: int, arguments: list[str], path: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(status) as (port, lines):
        assert main(arguments, {"A2A_HOST": "0.0.0.0", "A2A_PORT": str(port)}) == code

    assert lines == [b"GET %b HTTP/1.1" % path]
    said = capsys.readouterr().err
    assert said == ("" if code == 0 else f"http://127.0.0.1:{port}{path.decode()}: 503\n")
    assert NOT_READY not in said


def test_a_server_with_tls_is_asked_over_tls() -> None:
    certificate = trustme.CA().issue_cert("agents.example.org")
    with answering(200, certificate) as (port, lines):
        assert main([], {"A2A_PORT": str(port), "A2A_TLS_CERT_FILE": "server.pem"}) == 0

    assert lines == [b"GET /livez HTTP/1.1"]


def test_a_server_that_is_not_there_is_a_line_and_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert main([], {"A2A_PORT": str(port)}) == 1
    assert capsys.readouterr().err == f"http://127.0.0.1:{port}/livez: ConnectionRefusedError\n"
