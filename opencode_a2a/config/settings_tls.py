"""The settings of TLS: the files with the server's certificate and its key.

Knows neither what is in the files nor how they are read.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config.settings_rows import row
from opencode_a2a.config.settings_telemetry import TelemetrySettings

CERT_FILE: Final = "A2A_TLS_CERT_FILE"
KEY_FILE: Final = "A2A_TLS_KEY_FILE"
KEY_PASSWORD_FILE: Final = "A2A_TLS_KEY_PASSWORD_FILE"

_TLS: Final = "TLS"


@frozen(kw_only=True, init=False, repr=False, eq=False)
class TlsSettings(TelemetrySettings):
    """The rows of TLS."""

    tls_cert_file: str | None = row(
        _TLS,
        CERT_FILE,
        str,
        None,
        "the certificate with which the server speaks https itself, and those between it and its authority: a PEM "
        "file",
        default_text="none: the server speaks http",
    )
    tls_key_file: str | None = row(
        _TLS,
        KEY_FILE,
        str,
        None,
        "the private key of that certificate: a PEM file",
        default_text=f"the file of {CERT_FILE}",
    )
    tls_key_password_file: str | None = row(
        _TLS,
        KEY_PASSWORD_FILE,
        str,
        None,
        "a file whose first line is the password of that key",
        default_text="none: the key is not encrypted",
    )

    @property
    def uses_tls(self) -> bool:
        """Whether the server speaks https itself."""
        return self.tls_cert_file is not None
