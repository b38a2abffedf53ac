"""Asks the server on this machine whether it lives, for containers without curl: `-m opencode_a2a.server.probe`.

Reads the server's settings to know its port. Knows nothing of what a probe means.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from opencode_a2a.config.settings import load_settings
from opencode_a2a.config.settings_values import url_of
from sansio.http import LIVE_PATH, READY_PATH

TIMEOUT = 4.0
"""Seconds that the server has to answer."""

_USED = ("host", "port", "tls_cert_file")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Return 0 where the server lives, or, with `--ready`, where it can take a message; else 1, with a line why."""
    path = READY_PATH if "--ready" in arguments else LIVE_PATH
    settings, _ = load_settings(environ, dotenv=Path(".env"), used=_USED)
    url = url_of(settings.host, settings.port, tls=settings.uses_tls)
    try:
        status = _asked(url, path)
    except (OSError, http.client.HTTPException) as error:
        print(f"{url}{path}: {type(error).__name__}", file=sys.stderr)
        return 1
    if status != 200:
        print(f"{url}{path}: {status}", file=sys.stderr)
    return 0 if status == 200 else 1


def _asked(url: str, path: str) -> int:
    """Return the status of the answer."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        # The certificate is for the name that clients use, and nothing secret is sent or believed here.
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=trusting)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
