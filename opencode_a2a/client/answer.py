"""An answer over HTTP whose head has come: its body, which can be left at any time, and failures as typed errors."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import anyio
import httpx

from opencode_a2a.outbound.outbound_errors import (
    AnswerTooLargeError,
    CertificatesError,
    EncodedAnswerError,
    TargetRefusedError,
)
from sansio.a2a.cards.parse import Origin
from sansio.a2a.client.agent_errors import postponed
from sansio.a2a.client.client_errors import (
    ClientError,
    InvalidAnswerError,
    RefusedTargetError,
    TimedOutError,
    UnavailableError,
)
from sansio.a2a.media_types import EVENT_STREAM
from sansio.a2a.tasks.push_notifications import retry_after
from sansio.redact import HIDDEN

ANSWER_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of an answer that is read whole."""

_POSTPONED: Final = (429, 503)
_LARGEST_REFUSAL: Final = 1024 * 1024  # bytes
_CLOSING: Final = 1.0  # seconds for closing a connection in peace

_UNKNOWN: Final = re.compile(r"self[- ]signed certificate|unable to get (local )?issuer certificate")
"""OpenSSL's words for a certificate whose authority is not trusted; one that has expired is another case."""

_DEEPEST: Final = 8  # errors behind one another that are looked at for words

_TRUST: Final = ". To trust a certificate of your own, name it, or its authority's, in SSL_CERT_FILE (PEM)"


class Answer:
    """An answer whose head has come. Use `pieces` or `read`, and `close` it."""

    def __init__(self, response: httpx.Response, origin: Origin, silence: float, presented: bytes = b"") -> None:
        """`presented`: the credential that the request carried; no error may repeat it."""
        self._presented = presented
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._origin = origin
        self._silence = silence
        self._pieces: AsyncIterator[bytes] | None = None

    @property
    def streams(self) -> bool:
        """Whether the body is a stream of events."""
        return self.status == HTTPStatus.OK and self.content_type == EVENT_STREAM

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        text: str = self.headers.get("content-type", "")
        return text.partition(";")[0].strip().lower()

    @property
    def may_be_postponed(self) -> bool:
        """Whether the answer is a refusal that may say when to ask again."""
        return self.status in _POSTPONED

    async def check_postponed(self) -> None:
        """Raise the `AgentError` of an answer that says when to ask again (429 or 503 with `Retry-After`)."""
        if self.may_be_postponed:
            seconds = retry_after(self.headers.get("retry-after"), time.time())
            if seconds is not None:
                raise postponed(self.status, await self.read(_LARGEST_REFUSAL), seconds)

    async def piece(self) -> bytes | None:
        """Return the next piece of the body; None at its end. Raises `UnavailableError`, `InvalidAnswerError`."""
        if self._pieces is None:
            encoding = self.headers.get("content-encoding", "identity").strip().lower()
            if encoding not in ("", "identity"):
                raise InvalidAnswerError(f"{self._origin} compressed its answer, which was not asked for")
            self._pieces = self._response.aiter_raw()
        try:
            return await anext(self._pieces, None)
        except httpx.HTTPError as error:
            raise failure(error, self._origin, self._silence) from None

    async def read(self, limit: int = ANSWER_LIMIT) -> bytes:
        """Return the whole body. Raises like `piece`, and where it is larger than `limit` bytes."""
        body = bytearray()
        while (piece := await self.piece()) is not None:
            body += piece
            if len(body) > limit:
                raise InvalidAnswerError(f"The agent's answer is larger than {limit} bytes")
        return self._without_credential(bytes(body))

    async def begin(self) -> None:
        """Wait until it is known whether a stream begins. Raises the `AgentError` that it is refused with."""

    def check_end(self) -> None:
        """Raise the `AgentError` that a stream has ended with, where the binding has it after the body."""

    def _without_credential(self, body: bytes) -> bytes:
        """Return the body; an error that repeats the request does not show its credential to whoever reads it."""
        if not self._presented or self._presented not in body:
            return body
        is_error = self.status >= HTTPStatus.BAD_REQUEST or b'"error"' in body
        return body.replace(self._presented, HIDDEN.encode()) if is_error else body

    async def close(self) -> None:
        """Give the connection back where the body has ended, or close it."""
        with anyio.move_on_after(_CLOSING, shield=True):
            if self._pieces is not None and not self._response.is_closed:
                await end_early(self._pieces)
            await self._response.aclose()


async def end_early(pieces: AsyncIterator[bytes]) -> None:
    """End an iterator of httpx over a body that is not wanted any more.

    One that is left early is not closed with those inside it; cancelling its next read is what ends them all.
    """
    with anyio.CancelScope() as scope:
        scope.cancel()
        with suppress(httpx.HTTPError):
            # what has come already is given out without a wait, so that cancelling cannot end it
            while await anext(pieces, None) is not None:
                pass


def failure(error: Exception, origin: Origin, timeout: float) -> ClientError:
    """Return a network error as one of ours. Of its own text only the system's reason for a failed connection."""
    match error:
        case TargetRefusedError():
            return RefusedTargetError(f"{origin}: {error.refusal.message}")
        case AnswerTooLargeError() | EncodedAnswerError():
            return InvalidAnswerError(f"{origin}: {error}")
        case CertificatesError():
            return UnavailableError(f"Cannot talk to {origin}: {error}")
        case httpx.PoolTimeout():
            return TimedOutError(f"No connection to {origin} was free within {timeout:g} s")
        case httpx.ConnectTimeout():
            return TimedOutError(f"Cannot connect to {origin} within {timeout:g} s")
        case httpx.ConnectError():
            text = _reason(error)
            return UnavailableError(f"Cannot connect to {origin}: {text}{_TRUST if _UNKNOWN.search(text) else ''}")
        case httpx.TimeoutException():
            return TimedOutError(f"{origin} was silent for {timeout:g} s")
        case httpx.ProxyError():
            return UnavailableError(f"Cannot reach {origin} through the proxy: {error}")
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return UnavailableError(f"{origin} broke the connection off")
        case _:
            return UnavailableError(f"Cannot talk to {origin}: {type(error).__name__}")


def _reason(error: BaseException) -> str:
    """Return the words of an error, or of the nearest one behind it that has any: on trio, a handshake's has none."""
    behind: BaseException | None = error
    for _ in range(_DEEPEST):
        if behind is None or str(behind):
            break
        behind = behind.__cause__ or behind.__context__
    return type(error).__name__ if behind is None else str(behind) or type(error).__name__
