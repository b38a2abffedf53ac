"""Exit codes of the commands that call an agent, and the words for what has gone wrong."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final

from opencode_a2a.client.options import CallTarget
from opencode_a2a.terminal.output import Printer
from sansio.a2a.client.client_errors import AgentError, ClientError, UnsupportedByBindingError, UsageError
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import TaskState

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
WAITS: Final = 3
BROKEN: Final = 4
CANCELED: Final = 5
INTERRUPTED: Final = 130

OF_STATE: Final = {
    TaskState.COMPLETED: DONE,
    TaskState.FAILED: FAILED,
    TaskState.REJECTED: FAILED,
    TaskState.INPUT_REQUIRED: WAITS,
    TaskState.AUTH_REQUIRED: WAITS,
    TaskState.CANCELED: CANCELED,
}
"""The code for the state that a task was left in. A task at work has none."""


def failure_text(error: Exception, target: CallTarget) -> str:
    """Return the words for an error of usage, of the network or of the agent."""
    if isinstance(error, UnsupportedByBindingError):
        return f"{error}. Choose another binding or version with --binding or --protocol-version"
    return _refusal_text(error, target) if isinstance(error, AgentError) else str(error)


def _refusal_text(error: AgentError, target: CallTarget) -> str:
    """Say what an agent refused, and which setting may help."""
    code = "" if error.code is None else f" (code {error.code})"
    text = f"The agent refused: {error.message}{code}"
    if error.http_status != HTTPStatus.UNAUTHORIZED:
        return text
    if target.options.has_credentials:
        return f"{text}. It does not accept the credentials that are set"
    return f"{text}. {target.credential_hint}"


async def reported(command: Awaitable[int], printer: Printer, target: CallTarget) -> int:
    """Await a command's exit code, and close its printer.

    An error of usage, of the network, of the agent or of the output is one line instead, and the code for it.
    """
    try:
        return await command
    except UsageError as error:
        printer.fault(str(error))
        return USAGE
    except (ClientError, ProtocolError) as error:
        printer.fault(failure_text(error, target))
        return BROKEN
    except BrokenPipeError:
        return INTERRUPTED  # whoever read the answer has seen enough
    except OSError as error:
        printer.fault(f"cannot write the answer: {error.strerror}")
        return BROKEN
    finally:
        printer.close()
