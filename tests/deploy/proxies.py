"""Runs nginx and Caddy with the files of `deploy/proxies`, but for addresses and certificates."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic, sleep

import anyio
import httpx
import trustme
from attrs import frozen

from tests.deploy.tools import DEPLOY, program
from tests.shell.harness import DEADLINE
from tests.shell.ports import free_port

NAME = "agents.example.org"
PREFIX = "/opencode"


@frozen
class Proxy:
    """A proxy that runs: `url` is where its clients reach the agent."""

    origin: str
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return self.origin + PREFIX


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """The text with each of the changes, all of which have something to change."""
    for pattern, by in changes:
        text, count = re.subn(pattern, by, text, flags=re.MULTILINE)
        assert count, pattern
    return text


def nginx(folder: Path, upstream: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The command of nginx with our file in a configuration around it."""
    text = replaced(
        (DEPLOY / "proxies" / "nginx.conf").read_text(),
        (r"server 127\.0\.0\.1:8000;", f"server {upstream};"),
        (r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (r"/etc/ssl/agents\.example\.org", str(folder)),
    )
    return nginx_command(folder, text), {}


@contextmanager
def before_several(folder: Path, servers: Sequence[str], port: int) -> Iterator[None]:
    """nginx on loopback before several servers, with our file for that: each request goes to the next of them.

    The header `X-Served-By` of an answer names the one that gave it.
    """
    text = (DEPLOY / "docker" / "nginx.replicas.conf").read_text()
    places = "\n".join(f"server {server.removeprefix('http://')};" for server in servers)
    text = replaced(
        text,
        (
            r"^    server opencode-a2a-1:8000.*\n    server opencode-a2a-2:8000.*\n    server opencode-a2a-3:8000.*$",
            places,
        ),
        (r"listen 8080;", f"listen 127.0.0.1:{port};\n    add_header X-Served-By $upstream_addr always;"),
    )
    with started(nginx_command(folder, text), {}, folder / "proxy.log") as said:
        deadline = monotonic() + DEADLINE
        while not _connects(port):
            assert said() == ""
            assert monotonic() < deadline
            sleep(0.02)
        yield


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def nginx_command(folder: Path, text: str) -> list[str]:
    """The command of nginx with a file of ours in a configuration around it, which nginx finds without fault."""
    (folder / "opencode-a2a.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}\ndaemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr warn;\n"
        f"events {{ worker_connections 256; }}\nhttp {{ access_log off;\n{temporary}\ninclude opencode-a2a.conf; }}\n"
    )
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr
    return command


def caddy(folder: Path, upstream: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The command of Caddy with our file, a certificate of ours, and nothing else that it does by itself."""
    text = replaced(
        (DEPLOY / "proxies" / "Caddyfile").read_text(),
        (r"127\.0\.0\.1:8000", upstream),
        (r"^agents\.example\.org \{", f"https://{NAME}:{port} {{\n\ttls {folder}/fullchain.pem {folder}/key.pem"),
    )
    alone = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n}\n"
    (folder / "Caddyfile").write_text(alone + text)
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return [program("caddy"), "run", "--config", str(folder / "Caddyfile")], environment


@asynccontextmanager
async def running(kind: str, folder: Path, upstream: str) -> AsyncGenerator[Proxy]:
    """A proxy before the server at `upstream`."""
    trusting, port = certified(folder, NAME), free_port()

    class ToLoopback(httpx.AsyncHTTPTransport):
        """Connects to this machine, whatever the name in the URL is; the certificate is judged by that name."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions["sni_hostname"] = request.url.host
            request.url = request.url.copy_with(host="127.0.0.1")
            return await super().handle_async_request(request)

    origin = f"https://{NAME}:{port}"
    async with (
        listening(kind, folder, upstream, port),
        httpx.AsyncClient(transport=ToLoopback(verify=trusting), base_url=origin, timeout=DEADLINE) as http,
    ):
        yield Proxy(origin, http)


def certified(folder: Path, name: str) -> ssl.SSLContext:
    """Write the certificate of a proxy, and of who signed it (`authority.pem`). The context trusts it."""
    authority = trustme.CA()
    certificate = authority.issue_cert(name)
    (folder / "fullchain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    authority.cert_pem.write_to_path(folder / "authority.pem")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    return trusting


@asynccontextmanager
async def listening(kind: str, folder: Path, upstream: str, port: int) -> AsyncGenerator[None]:
    """A proxy on `port`, with the certificate in `folder`, before the server at `upstream`."""
    command, environment = {"nginx": nginx, "caddy": caddy}[kind](folder, upstream.removeprefix("http://"), port)
    with started(command, environment, folder / "proxy.log") as said:
        await _listening(port, said)
        yield


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[Callable[[], str]]:
    """Run a program. Gives a function that returns what it has said once it has ended, and nothing before."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out)
    try:
        yield lambda: "" if process.poll() is None else log.read_text() or "it has ended"
    finally:
        process.terminate()
        process.wait(10)


async def _listening(port: int, said: Callable[[], str]) -> None:
    with anyio.fail_after(DEADLINE):
        while True:
            assert said() == ""
            try:
                async with await anyio.connect_tcp("127.0.0.1", port):
                    return
            except OSError:
                await anyio.sleep(0.02)
