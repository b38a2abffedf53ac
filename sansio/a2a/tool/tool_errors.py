"""Errors of a call, as the model and programs read them: a code, a sentence, and the exceptions that each stands for.

The codes are those of earlier versions of this server, so that prompts and logs that name them stay true.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import frozen

from sansio.a2a.client.client_errors import (
    AuthenticationError,
    BusyAgentError,
    ClientError,
    InvalidAnswerError,
    InvalidCardError,
    PermissionDeniedError,
    RefusedTargetError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
    UsageError,
)
from sansio.a2a.errors import shortened

LONGEST_DETAIL: Final = 600
"""Characters of the text that follows the sentence of a code."""


class ToolErrorCode(Enum):
    """Codes; each value is the sentence that goes with it."""

    a2a_invalid_input = "The arguments of the call cannot be used"
    a2a_missing_required_input = "An argument that is required is missing"
    a2a_target_refused = "This server does not call that address"
    a2a_too_many_hops = "The call came through too many agents already"
    a2a_peer_auth_failed = "The agent wants credentials, or others than this server has for it"
    a2a_peer_permission_denied = "The agent does not permit this"
    a2a_timeout = "The agent did not answer in time"
    a2a_retryable_unavailable = "The agent cannot answer now; the same call may work later"
    a2a_unavailable = "The agent cannot be reached"
    a2a_unsupported_operation = "The agent cannot do this"
    a2a_invalid_agent_card = "The agent's card cannot be used, or has no binding and version that may be used here"
    a2a_peer_protocol_error = "The agent's answer breaks the protocol"
    a2a_unexpected_response = "The agent answered with nothing that can be used"
    a2a_call_failed = "The call failed"


@frozen
class ToolError:
    """Why a call has no answer. `detail`: for the model; it may quote the agent."""

    code: ToolErrorCode
    detail: str = ""

    @property
    def text(self) -> str:
        """The code first, then the sentence, then the detail."""
        # on one line: what it quotes cannot look like further lines of this server's
        detail = f": {shortened(' '.join(self.detail.split()), LONGEST_DETAIL)}" if self.detail else ""
        return f"{self.code.name}: {self.code.value}{detail}"


ERROR_ROWS: Final[tuple[tuple[type[ClientError], ToolErrorCode], ...]] = (
    (RefusedTargetError, ToolErrorCode.a2a_target_refused),
    (UsageError, ToolErrorCode.a2a_invalid_input),
    (AuthenticationError, ToolErrorCode.a2a_peer_auth_failed),
    (PermissionDeniedError, ToolErrorCode.a2a_peer_permission_denied),
    (BusyAgentError, ToolErrorCode.a2a_retryable_unavailable),
    (UnsupportedError, ToolErrorCode.a2a_unsupported_operation),
    (TimedOutError, ToolErrorCode.a2a_timeout),
    (UnavailableError, ToolErrorCode.a2a_unavailable),
    (InvalidCardError, ToolErrorCode.a2a_invalid_agent_card),
    (InvalidAnswerError, ToolErrorCode.a2a_peer_protocol_error),
    (ClientError, ToolErrorCode.a2a_call_failed),
)
"""The code of each exception of calling an agent; the first row that fits counts."""


def tool_error_of(error: ClientError) -> ToolError:
    """Return the error that a model gets for an exception."""
    code = next(code for kind, code in ERROR_ROWS if isinstance(error, kind))
    return ToolError(code, error.message)
