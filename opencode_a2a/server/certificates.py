"""The server's certificate: read from its files, judged at the start, and read again while connections are open.

Knows no connection: it gives whoever serves one the context for the next handshake.
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from attrs import Factory, define, field, frozen

from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.config.settings_tls import CERT_FILE, KEY_FILE, KEY_PASSWORD_FILE
from opencode_a2a.loose_thread import BlockedError, LooseThread
from opencode_a2a.regular_files import read_regular
from sansio.certificate import Certificate, CertificateError, read_certificate
from sansio.doctor.certificate import day

_log = logging.getLogger(__name__)

LARGEST_FILE: Final = 1_048_576
"""Bytes. No chain of certificates is as large; a file that is must be another one, perhaps one that never ends."""

LONGEST_PASSWORD: Final = 1024
"""Bytes of a key's password that OpenSSL takes."""

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secret and authenticated; those of 1.3 all are
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


@frozen(kw_only=True)
class CertificateFiles:
    """Paths of PEM files: the certificate's chain, its key, and the password of the key where it has one."""

    cert: str
    key: str
    password: str | None = None


@define(eq=False)
class ServedCertificate:
    """The certificate in use, and its `claims`. `http2`: whether handshakes may choose HTTP/2."""

    _files: CertificateFiles
    _http2: bool
    _context: ssl.SSLContext = field(repr=False)
    claims: Certificate | None = None
    _thread: LooseThread = field(default=Factory(partial(LooseThread, "certificate")), repr=False)

    @classmethod
    async def open(cls, settings: Settings) -> ServedCertificate | None:
        """Do the same as `of`. The wait for the files can be cancelled. Raises `SettingsError`."""
        return await LooseThread("certificate").run(partial(cls.of, settings))

    @classmethod
    def of(cls, settings: Settings) -> ServedCertificate | None:
        """Read the files that the settings name; None where they name none. Blocks. Raises `SettingsError`."""
        if settings.tls_cert_file is None:
            for name, path in (
                (KEY_FILE, settings.tls_key_file),
                (KEY_PASSWORD_FILE, settings.tls_key_password_file),
            ):
                if path is not None:
                    raise SettingsError([f"{name}: is set, but {CERT_FILE} is not"])
            return None
        cert = settings.tls_cert_file
        files = CertificateFiles(
            cert=cert, key=settings.tls_key_file or cert, password=settings.tls_key_password_file
        )
        return cls(files, settings.speaks_http2, *_loaded(files, settings.speaks_http2))

    def context(self) -> ssl.SSLContext:
        """Return the context for the next handshake."""
        return self._context

    def ends(self) -> float | None:
        """Return when the certificate expires, in epoch seconds; None where it cannot be read."""
        return None if self.claims is None else self.claims.ends

    async def reload(self) -> None:
        """Read the files again. Open connections go on. Files that cannot be used change nothing, with a warning."""
        try:
            self._context, self.claims = await self._thread.run(partial(_loaded, self._files, self._http2))
        except (SettingsError, BlockedError) as error:
            _log.warning("the certificate is not replaced: %s", error)
        else:
            _log.info("the certificate was read again: new connections get that of %s", self._files.cert)
            self.warn_of_end(time.time())

    def warn_of_end(self, now: float) -> None:
        """Log that the certificate ends soon, or has ended. `now`: epoch seconds."""
        if self.claims is not None and self.claims.ends_soon(now):
            when = "expired on" if self.claims.ends <= now else "expires on"
            _log.warning("%s: the certificate %s %s: replace it", CERT_FILE, when, day(self.claims.ends))


def _loaded(files: CertificateFiles, http2: bool) -> tuple[ssl.SSLContext, Certificate | None]:
    """Make the context of these files. Blocks. Raises `SettingsError` with one line that names the variable."""
    _holding(CERT_FILE, files.cert, b"-----BEGIN CERTIFICATE-----", "certificate")
    key = _holding(KEY_FILE, files.key, b"PRIVATE KEY-----", "private key")
    if key.st_mode & stat.S_IROTH:
        _log.warning("%s: the key can be read by other users: chmod 600 %s", KEY_FILE, files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    password = _password(files)
    try:
        context.load_cert_chain(files.cert, files.key, password)
    except ssl.SSLError as error:
        problem = _problem(error, files)
    except OSError as error:
        problem = f"{CERT_FILE}: {error.strerror or 'cannot be read'}"
    except ValueError:  # what OpenSSL's callers refuse before they ask it
        problem = f"{CERT_FILE}, {KEY_FILE}: {files.cert} and {files.key} cannot be used"
    else:
        return context, _claims(files)
    raise SettingsError([problem])  # out here, so that no error travels along that holds more


def _claims(files: CertificateFiles) -> Certificate | None:
    """Read what the certificate says of itself; None where only OpenSSL can read it."""
    try:
        return read_certificate(_content(CERT_FILE, files.cert)[0])
    except CertificateError:
        return None


def _problem(error: ssl.SSLError, files: CertificateFiles) -> str:
    """Say which file is wrong, by OpenSSL's reason."""
    if error.reason in _MISMATCHES:
        return f"{KEY_FILE}: the key in {files.key} is not that of the certificate in {files.cert}"
    if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        return f"{CERT_FILE}: the certificate in {files.cert} is too weak: {error.reason.lower().replace('_', ' ')}"
    if _is_encrypted(files.key):
        if files.password is None:
            return f"{KEY_PASSWORD_FILE}: is not set, but the key in {files.key} is encrypted"
        return f"{KEY_PASSWORD_FILE}: the password in {files.password} does not open the key in {files.key}"
    return f"{CERT_FILE}, {KEY_FILE}: {files.cert} and {files.key} are not a PEM certificate and its key"


def _is_encrypted(path: str) -> bool:
    return b"ENCRYPTED" in _content(KEY_FILE, path)[0]


def _password(files: CertificateFiles) -> Callable[[], str]:
    """Return the function that OpenSSL gets the password from; without one, it would ask at the terminal."""
    if files.password is None:
        return str
    first = (_content(KEY_PASSWORD_FILE, files.password)[0].splitlines() or [b""])[0]
    if len(first) > LONGEST_PASSWORD:
        raise SettingsError(
            [f"{KEY_PASSWORD_FILE}: the password in {files.password} is longer than {LONGEST_PASSWORD} bytes"]
        )
    try:
        password = first.decode()
    except UnicodeDecodeError:
        password = ""
    if not password:
        raise SettingsError([f"{KEY_PASSWORD_FILE}: {files.password} has no password in its first line"])
    return lambda: password


def _holding(variable: str, path: str, mark: bytes, what: str) -> os.stat_result:
    content, status = _content(variable, path)
    if mark not in content:
        raise SettingsError([f"{variable}: {path} has no {what} in it, in PEM"])
    return status


def _content(variable: str, path: str) -> tuple[bytes, os.stat_result]:
    try:
        content, status = read_regular(path, LARGEST_FILE + 1)
    except OSError as error:
        problem = f"{variable}: {path!r} cannot be read: {error.strerror}"
    else:
        if len(content) <= LARGEST_FILE:
            return content, status
        problem = f"{variable}: {path} is too large"
    raise SettingsError([problem])
