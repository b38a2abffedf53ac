"""Exceptions of outbound requests. Their texts hold no more of a URL than its scheme, host and port."""

from __future__ import annotations

import httpx

from sansio.a2a.errors import ProtocolError


class OutboundError(httpx.TransportError):
    """Root of the exceptions of this package."""


class TargetRefusedError(OutboundError):
    """The policy does not allow the target. `refusal` names the field and the reason."""

    def __init__(self, refusal: ProtocolError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class AnswerTooLargeError(OutboundError):
    """The answer has more bytes than its limit."""


class EncodedAnswerError(OutboundError):
    """The answer is compressed, though nobody asked for that: it may be larger than it looks."""


class CertificatesError(OutboundError):
    """The trusted certificates cannot be loaded."""
