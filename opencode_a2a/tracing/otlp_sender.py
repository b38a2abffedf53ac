"""Sends encoded spans to a collector by HTTP, as the variables `OTEL_EXPORTER_OTLP_…` say. Blocks: for a thread.

Nothing of a URL or a header is in the log: they may hold credentials.
"""

from __future__ import annotations

import gzip
import logging
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage
from threading import Event
from typing import IO, Final
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

_log = logging.getLogger(__name__)

COMPLAINT_SECONDS: Final = 60.0
"""Seconds between two lines in the log about a collector that takes nothing."""

_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_PATH: Final = "/v1/traces"
_SECONDS: Final = 10.0  # as in OpenTelemetry's own exporter for Python: a number of seconds
_FIRST_PAUSE: Final = 1.0
_ANSWER: Final = 65536  # bytes of an answer that are read
_TRY_AGAIN: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_COMPRESSIONS: Final[Mapping[str, Callable[[bytes], bytes]]] = {"gzip": gzip.compress, "deflate": zlib.compress}


class OtlpSender:
    """Sends to the collector that the variables name. Raises `ValueError`, `OSError` for variables that are bad."""

    def __init__(self, environ: Mapping[str, str], user_agent: str) -> None:
        self._url = _url(environ)
        self._headers = {"content-type": "application/x-protobuf", "user-agent": user_agent, **_headers(environ)}
        self._seconds = float(_value(environ, "TIMEOUT") or _SECONDS)
        compression = _value(environ, "COMPRESSION").lower() or "none"
        self._compress = None if compression == "none" else _COMPRESSIONS.get(compression)
        if self._compress is not None:
            self._headers["content-encoding"] = compression
        elif compression != "none":
            raise ValueError(f"{_PREFIX}COMPRESSION must be gzip, deflate or none")
        self._open = build_opener(HTTPSHandler(context=_tls(environ)), _NoRedirects()).open
        self._closing = Event()
        self._silent_until = 0.0

    def send(self, body: bytes) -> None:
        """Send a request, and again where the collector asks for it, within the time limit. Failures are logged."""
        data = body if self._compress is None else self._compress(body)
        ends, pause = time.monotonic() + self._seconds, _FIRST_PAUSE
        while True:
            problem, wanted = self._attempt(data, max(0.1, ends - time.monotonic()))
            if not problem:
                return
            wait = pause if wanted is None else wanted
            if wait < 0 or time.monotonic() + wait >= ends or self._closing.wait(wait):
                self._complain(problem)
                return
            pause *= 2

    def close(self) -> None:
        """Let a request that is to be sent again be given up."""
        self._closing.set()

    def _attempt(self, data: bytes, seconds: float) -> tuple[str, float | None]:
        """Send once; return the problem, empty for none, and the pause that is wanted; below 0: not again."""
        request = Request(self._url, data, self._headers, method="POST")
        try:
            with self._open(request, timeout=seconds) as answer:
                answer.read(_ANSWER)
            return "", None
        except HTTPError as error:
            error.close()
            retry_after = error.headers.get("retry-after", "")
            wanted = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
            return f"the answer is {error.code}", wanted if error.code in _TRY_AGAIN else -1.0
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None)
            return type(reason if isinstance(reason, Exception) else error).__name__, None

    def _complain(self, problem: str) -> None:
        """Log now and then that spans are lost: a collector that is away loses each batch."""
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + COMPLAINT_SECONDS
            _log.warning("spans cannot be sent to the collector, and are lost: %s", problem)


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is no answer: the headers of the request may hold credentials for the collector alone."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        return None


def _value(environ: Mapping[str, str], name: str) -> str:
    """The value of a variable for traces, or else of the one for all signals."""
    return environ.get(f"{_PREFIX}TRACES_{name}", "").strip() or environ.get(f"{_PREFIX}{name}", "").strip()


def _url(environ: Mapping[str, str]) -> str:
    own, base = (environ.get(f"{_PREFIX}{name}", "").strip() for name in ("TRACES_ENDPOINT", "ENDPOINT"))
    url = own or base.rstrip("/") + _PATH
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{_PREFIX}ENDPOINT must begin with http:// or https://")
    return url


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in _value(environ, "HEADERS").split(",") if "=" in pair)
    return {unquote(name).strip().lower(): unquote(value).strip() for name, _, value in pairs}


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=_value(environ, "CERTIFICATE") or None)
    certificate, key = _value(environ, "CLIENT_CERTIFICATE"), _value(environ, "CLIENT_KEY")
    if certificate:
        context.load_cert_chain(certificate, key or None)
    return context
