"""The server with a certificate, in a process of its own: what it says and refuses, and SIGHUP under a stream."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from opencode_a2a.cli.operator.local_checks import check_files
from opencode_a2a.client.answer import failure
from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.server.certificates import LARGEST_FILE, ServedCertificate
from sansio.a2a.cards.parse import Origin
from sansio.doctor.certificate import TLS
from sansio.doctor.finding import Finding, Outcome
from tests.shell.cli.test_commands import BOTH, CREDENTIALS, DEADLINE, PROGRAM, Serving, Starter, environment
from tests.shell.cli.test_signals import HEADERS, MESSAGE, opencode


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def issue(authority: trustme.CA, folder: Path) -> trustme.LeafCert:
    """Write a certificate for this machine, and its key, as two files."""
    made = authority.issue_cert("localhost", "127.0.0.1")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key = folder / "key.pem"
    key.write_bytes(made.private_key_pem.bytes())
    key.chmod(0o600)
    return made


@contextmanager
def serving(runtime: str, folder: Path, **more: str) -> Iterator[Serving]:
    variables = {
        "A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS,
        "A2A_TASK_STORE_BACKEND": "memory",
        "A2A_SHUTDOWN_GRACE_SECONDS": "0",
        "A2A_TLS_CERT_FILE": str(folder / "cert.pem"),
        "A2A_TLS_KEY_FILE": str(folder / "key.pem"),
        "A2A_TOOL_ENABLED": "false",
        **more,
    }
    with opencode(runtime, folder) as url:
        arguments = ("serve", "--runtime", runtime, "--port", "0", "--opencode", url, "--log-level", "INFO")
        with Starter(folder)(*arguments, **variables) as server:
            yield server


def served_certificate(url: str, trusting: ssl.SSLContext) -> bytes:
    """The certificate that a new connection gets, as DER."""
    where = httpx.URL(url)
    with (
        socket.create_connection((where.host, where.port or 443), timeout=DEADLINE) as raw,
        trusting.wrap_socket(raw, server_hostname=where.host) as tls,
    ):
        found = tls.getpeercert(binary_form=True)
    assert found is not None
    return found


@BOTH
def test_a_certificate_is_replaced_by_sighup_under_an_open_stream(
    tmp_path: Path, runtime: str, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    issue(authority, tmp_path)
    with serving(runtime, tmp_path) as server:
        url = server.find(r"listening on (https://\S+)")
        with (
            httpx.Client(base_url=url, headers=HEADERS, timeout=DEADLINE, verify=trusting) as http,
            http.stream("POST", "/message:stream", json={"message": MESSAGE}) as response,
        ):
            lines = response.iter_lines()
            assert any("TASK_STATE_WORKING" in line for line in lines)
            first = served_certificate(url, trusting)
            issue(authority, tmp_path)
            assert served_certificate(url, trusting) == first
            server.process.send_signal(signal.SIGHUP)
            server.find(r"(INFO .*the certificate was read again)")
            second = served_certificate(url, trusting)
            assert second != first

            (tmp_path / "cert.pem").write_text("nothing of use")
            server.process.send_signal(signal.SIGHUP)
            kept = server.find(r"(WARNING .*the certificate is not replaced: .*)")
            assert "A2A_TLS_CERT_FILE" in kept
            assert served_certificate(url, trusting) == second
            assert any("artifactUpdate" in line for line in lines)
            card = http.get("/.well-known/agent-card.json").json()
            assert {one["url"].partition(":")[0] for one in card["supportedInterfaces"]} == {"https"}
        assert server.stop(signal.SIGTERM) == 0
        assert "Traceback" not in server.said


def expiring(authority: trustme.CA, folder: Path, days: float) -> None:
    """Write a certificate that ends in so many days, and its key."""
    end = datetime.now(UTC) + timedelta(days=days)
    made = authority.issue_cert("127.0.0.1", not_before=end - timedelta(days=90), not_after=end)
    (folder / "cert.pem").write_bytes(made.cert_chain_pems[0].bytes())
    (folder / "key.pem").write_bytes(made.private_key_pem.bytes())
    (folder / "key.pem").chmod(0o600)


@BOTH
def test_a_certificate_that_ends_soon_is_warned_of_at_the_start_and_when_it_is_read_again(
    tmp_path: Path, runtime: str, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    expiring(authority, tmp_path, 13.5)
    with serving(runtime, tmp_path, A2A_METRICS_ENABLED="true", A2A_METRICS_PORT="0") as server:
        server.find(r"listening on (https://\S+)")
        metrics = server.find(r"metrics on (http://\S+)")
        assert server.find(r"(WARNING .*A2A_TLS_CERT_FILE: the certificate expires on .*: replace it)")
        assert abs(ends_in(metrics) - 13.5 * 86_400) < DEADLINE

        expiring(authority, tmp_path, 40)
        server.process.send_signal(signal.SIGHUP)
        server.find(r"(INFO .*the certificate was read again)")
        assert abs(ends_in(metrics) - 40 * 86_400) < DEADLINE
        assert server.said.count("replace it") == 1

        expiring(authority, tmp_path, -1)
        server.process.send_signal(signal.SIGHUP)
        assert server.find(r"(WARNING .*A2A_TLS_CERT_FILE: the certificate expired on .*: replace it)")


def ends_in(metrics: str) -> float:
    """Seconds until the end that the metric names."""
    text = httpx.get(metrics, timeout=DEADLINE, trust_env=False).text
    [value] = re.findall(r"(?m)^a2a_tls_certificate_expiry_timestamp_seconds (\S+)$", text)
    return float(value) - time.time()


def encrypted(folder: Path, made: trustme.LeafCert, password: str) -> None:
    """Write the key anew, behind a password."""
    key = serialization.load_pem_private_key(made.private_key_pem.bytes(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    (folder / "key.pem").write_bytes(pem)


def test_a_key_behind_a_password_is_opened_by_the_one_in_the_file(
    tmp_path: Path, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    encrypted(tmp_path, issue(authority, tmp_path), "correct-horse-5f0c9e")
    (tmp_path / "password").write_text("correct-horse-5f0c9e\n")
    with serving("asyncio", tmp_path, A2A_TLS_KEY_PASSWORD_FILE=str(tmp_path / "password")) as server:
        url = server.find(r"listening on (https://\S+)")
        assert served_certificate(url, trusting)
        assert "correct-horse" not in server.said


def test_a_key_that_others_can_read_is_warned_about(tmp_path: Path, authority: trustme.CA) -> None:
    issue(authority, tmp_path)
    (tmp_path / "key.pem").chmod(0o644)
    with serving("asyncio", tmp_path) as server:
        assert "WARNING" in server.find(r"(.*A2A_TLS_KEY_FILE: the key can be read by other users.*)")
        server.find(r"listening on (https://\S+)")


def _no_certificate(folder: Path, _: trustme.LeafCert) -> None:
    (folder / "cert.pem").unlink()


def _no_key(folder: Path, _: trustme.LeafCert) -> None:
    (folder / "key.pem").unlink()


def _files_swapped(folder: Path, _: trustme.LeafCert) -> None:
    content = (folder / "cert.pem").read_bytes()
    (folder / "cert.pem").write_bytes((folder / "key.pem").read_bytes())
    (folder / "key.pem").write_bytes(content)


def _key_of_another_kind(folder: Path, _: trustme.LeafCert) -> None:
    other = rsa.generate_private_key(65537, 2048)
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(pem)


def _another_key(folder: Path, _: trustme.LeafCert) -> None:
    (folder / "key.pem").write_bytes(trustme.CA().private_key_pem.bytes())


def _broken(folder: Path, _: trustme.LeafCert) -> None:
    (folder / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")


def _a_folder(folder: Path, _: trustme.LeafCert) -> None:
    (folder / "cert.pem").unlink()
    (folder / "cert.pem").mkdir()


def _locked(folder: Path, made: trustme.LeafCert) -> None:
    encrypted(folder, made, "correct-horse-5f0c9e")


def _wrong_password(folder: Path, made: trustme.LeafCert) -> None:
    _locked(folder, made)
    (folder / "password").write_text("battery-staple-77a1d2\n")


def _pipe_for_a_certificate(folder: Path, _: trustme.LeafCert) -> None:
    _pipe(folder / "cert.pem")


def _pipe_for_a_key(folder: Path, _: trustme.LeafCert) -> None:
    _pipe(folder / "key.pem")


def _pipe_for_a_password(folder: Path, made: trustme.LeafCert) -> None:
    _locked(folder, made)
    _pipe(folder / "password")


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _long_password(folder: Path, made: trustme.LeafCert) -> None:
    _locked(folder, made)
    (folder / "password").write_text("77a1d2" * 500)


def _long_password_in_utf_8(folder: Path, made: trustme.LeafCert) -> None:
    _locked(folder, made)
    (folder / "password").write_text("é" * 513, encoding="utf-8")


@BOTH
def test_files_that_become_unusable_neither_replace_the_certificate_nor_keep_the_server_from_its_end(
    tmp_path: Path, runtime: str, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    made = issue(authority, tmp_path)
    _locked(tmp_path, made)
    password = tmp_path / "password"
    password.write_text("correct-horse-5f0c9e")
    with serving(runtime, tmp_path, A2A_TLS_KEY_PASSWORD_FILE=str(password)) as server:
        url = server.find(r"listening on (https://\S+)")
        first = served_certificate(url, trusting)
        for spoil, said in (
            (_long_password, "A2A_TLS_KEY_PASSWORD_FILE: the password in .* is longer than 1024 bytes"),
            (_pipe_for_a_password, "A2A_TLS_KEY_PASSWORD_FILE: '.*' cannot be read: Not a regular file"),
            (_pipe_for_a_key, "A2A_TLS_KEY_FILE: '.*' cannot be read: Not a regular file"),
            (_pipe_for_a_certificate, "A2A_TLS_CERT_FILE: '.*' cannot be read: Not a regular file"),
        ):
            spoil(tmp_path, made)
            server.process.send_signal(signal.SIGHUP)
            server.find(f"(WARNING .*the certificate is not replaced: {said})")
        assert served_certificate(url, trusting) == first
        server.process.send_signal(signal.SIGHUP)
        assert server.stop(signal.SIGTERM) == 0

    assert "Traceback" not in server.said
    assert "77a1d2" not in server.said


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_certificate, r"A2A_TLS_CERT_FILE: '\S+cert.pem' cannot be read: No such file or directory"),
        (_no_key, r"A2A_TLS_KEY_FILE: '\S+key.pem' cannot be read: No such file or directory"),
        (_files_swapped, r"A2A_TLS_CERT_FILE: \S+cert.pem has no certificate in it, in PEM"),
        (_key_of_another_kind, r"A2A_TLS_KEY_FILE: the key in \S+ is not that of the certificate in \S+"),
        (_another_key, r"A2A_TLS_KEY_FILE: the key in \S+ is not that of the certificate in \S+"),
        (_broken, r"A2A_TLS_CERT_FILE, A2A_TLS_KEY_FILE: \S+ and \S+ are not a PEM certificate and its key"),
        (_a_folder, r"A2A_TLS_CERT_FILE: '\S+' cannot be read: Is a directory"),
        (_locked, r"A2A_TLS_KEY_PASSWORD_FILE: is not set, but the key in \S+ is encrypted"),
        (_wrong_password, r"A2A_TLS_KEY_PASSWORD_FILE: the password in \S+ does not open the key in \S+"),
        (_pipe_for_a_certificate, r"A2A_TLS_CERT_FILE: '\S+cert.pem' cannot be read: Not a regular file"),
        (_pipe_for_a_key, r"A2A_TLS_KEY_FILE: '\S+key.pem' cannot be read: Not a regular file"),
        (_pipe_for_a_password, r"A2A_TLS_KEY_PASSWORD_FILE: '\S+' cannot be read: Not a regular file"),
        (_long_password, r"A2A_TLS_KEY_PASSWORD_FILE: the password in \S+ is longer than 1024 bytes"),
        (_long_password_in_utf_8, r"A2A_TLS_KEY_PASSWORD_FILE: the password in \S+ is longer than 1024 bytes"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_files_that_cannot_be_used_are_an_error_of_one_line(
    tmp_path: Path, authority: trustme.CA, spoil: Callable[[Path, trustme.LeafCert], None], said: str
) -> None:
    spoil(tmp_path, issue(authority, tmp_path))

    with pytest.raises(SettingsError) as caught:
        ServedCertificate.of(settings_of(tmp_path))

    [problem] = caught.value.problems
    assert re.fullmatch(said, problem)
    assert caught.value.__context__ is None  # nothing travels along that could hold more


@pytest.mark.anyio
@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\n", b"x" * (LARGEST_FILE + 1)], ids=range(4))
async def test_files_that_cannot_be_used_replace_no_certificate(
    tmp_path: Path, authority: trustme.CA, content: bytes, anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    encrypted(tmp_path, issue(authority, tmp_path), "correct-horse-5f0c9e")
    (tmp_path / "password").write_text("correct-horse-5f0c9e\n")
    served = ServedCertificate.of(settings_of(tmp_path))
    assert served is not None
    first = served.context()

    (tmp_path / "password").write_bytes(content)
    await served.reload()
    kept = served.context()
    (tmp_path / "password").write_text("correct-horse-5f0c9e\n")
    await served.reload()

    assert kept is first
    assert served.context() is not first
    assert "the certificate is not replaced: A2A_TLS_KEY_PASSWORD_FILE: " in caplog.text
    assert "5f0c9e" not in caplog.text


def test_a_certificate_says_when_it_ends(
    tmp_path: Path, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    expiring(authority, tmp_path, 10)
    served = ServedCertificate.of(settings_of(tmp_path))
    assert served is not None
    ends = served.ends()
    assert ends is not None
    for now in (ends - 60 * 86_400, ends - 86_400, ends + 1):
        served.warn_of_end(now)

    assert [("expires on" in line, "expired on" in line) for line in caplog.messages] == [
        (True, False),
        (False, True),
    ]


def settings_of(folder: Path) -> Settings:
    password = folder / "password"
    return Settings(
        tls_cert_file=str(folder / "cert.pem"),
        tls_key_file=str(folder / "key.pem"),
        tls_key_password_file=str(password) if password.exists() else None,
    )


def test_a_key_without_a_certificate_is_an_error(tmp_path: Path) -> None:
    said = "A2A_TLS_KEY_FILE: is set, but A2A_TLS_CERT_FILE is not"

    assert_refused(tmp_path, said, A2A_TLS_KEY_FILE="key.pem")
    with pytest.raises(SettingsError, match=said):
        ServedCertificate.of(Settings(tls_key_file="key.pem"))
    assert ServedCertificate.of(Settings()) is None


def test_the_command_shows_what_is_wrong_and_no_password(tmp_path: Path, authority: trustme.CA) -> None:
    _wrong_password(tmp_path, issue(authority, tmp_path))
    names = {"CERT_FILE": "cert.pem", "KEY_FILE": "key.pem", "KEY_PASSWORD_FILE": "password"}
    variables = {f"A2A_TLS_{name}": str(tmp_path / file) for name, file in names.items()}

    said = r"A2A_TLS_KEY_PASSWORD_FILE: the password in \S+ does not open the key in \S+"
    assert_refused(tmp_path, said, A2A_TASK_STORE_BACKEND="memory", **variables)


def assert_refused(folder: Path, said: str, **variables: str) -> None:
    done = subprocess.run(
        [*PROGRAM, "serve", "--port", "0"],
        env=environment(A2A_STATIC_AUTH_CREDENTIALS=CREDENTIALS, **variables),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if "warning" not in line.lower()]
    [line] = [line for line in lines if "doctor" not in line]
    assert done.returncode == 2
    assert line.startswith("opencode-a2a: ")
    assert re.fullmatch(said, line.removeprefix("opencode-a2a: "))
    assert "5f0c9e" not in done.stderr
    assert "77a1d2" not in done.stderr


@BOTH
def test_a_caller_is_told_how_to_trust_a_certificate_of_ones_own(
    tmp_path: Path, runtime: str, authority: trustme.CA
) -> None:
    issue(authority, tmp_path)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with serving(runtime, tmp_path) as server:
        url = server.find(r"listening on (https://\S+)")

        def call(**variables: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*PROGRAM, "call", url, "hi"],
                env=environment(
                    A2A_RUNTIME=runtime, A2A_CLIENT_BEARER_TOKEN=HEADERS["authorization"].split()[1], **variables
                ),
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )

        strange, trusted = call(), call(SSL_CERT_FILE=str(tmp_path / "authority.pem"))

    assert (strange.returncode, trusted.returncode) == (4, 0), strange.stderr + trusted.stderr
    assert "SSL_CERT_FILE" in strange.stderr
    assert strange.stderr.count("\n") == 1


def test_only_an_authority_that_is_not_trusted_is_a_matter_of_trust() -> None:
    origin = Origin.of("https://agent.example")
    texts = {
        "self-signed certificate in certificate chain": True,
        "unable to get local issuer certificate": True,
        "certificate has expired": False,
        "Hostname mismatch, certificate is not valid for 'agent.example'": False,
    }
    errors = {text: httpx.ConnectError(f"[SSL: CERTIFICATE_VERIFY_FAILED] {text}") for text in texts}
    hinted = {text: "SSL_CERT_FILE" in str(failure(error, origin, 1)) for text, error in errors.items()}

    assert hinted == texts


def test_doctor_judges_the_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    issue(authority, tmp_path)
    settings = Settings(tls_cert_file=str(tmp_path / "cert.pem"), tls_key_file=str(tmp_path / "key.pem"))

    def found() -> Finding:
        [one] = [finding for finding in check_files(settings) if finding.check == TLS]
        return one

    assert found().outcome is Outcome.OK
    (tmp_path / "key.pem").unlink()
    assert found().outcome is Outcome.FAIL
    assert "A2A_TLS_KEY_FILE" in found().detail


def test_doctor_names_a_password_that_is_too_long(tmp_path: Path, authority: trustme.CA) -> None:
    _long_password(tmp_path, issue(authority, tmp_path))
    settings = Settings(
        tls_cert_file=str(tmp_path / "cert.pem"),
        tls_key_file=str(tmp_path / "key.pem"),
        tls_key_password_file=str(tmp_path / "password"),
    )

    [found] = [finding for finding in check_files(settings) if finding.check == TLS]
    assert found.outcome is Outcome.FAIL
    assert "A2A_TLS_KEY_PASSWORD_FILE" in found.detail


def test_the_longest_password_opens_a_key(tmp_path: Path, authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    password = "a" * 1023  # OpenSSL keeps one byte of 1024 where it reads one
    encrypted(tmp_path, issue(authority, tmp_path), password)
    (tmp_path / "password").write_text(password)
    settings = Settings(
        tls_cert_file=str(tmp_path / "cert.pem"),
        tls_key_file=str(tmp_path / "key.pem"),
        tls_key_password_file=str(tmp_path / "password"),
    )

    assert ServedCertificate.of(settings) is not None
