"""Refusals of agents: which class of error each becomes."""

from __future__ import annotations

import orjson
import pytest

from sansio.a2a.client.agent_errors import agent_error, postponed
from sansio.a2a.client.client_errors import (
    AgentError,
    AuthenticationError,
    BusyAgentError,
    PermissionDeniedError,
    UnsupportedError,
)
from sansio.a2a.errors import ErrorKind, ProtocolError, http_error, jsonrpc_error
from sansio.a2a.versions import VERSIONS

CLASSES = {
    ErrorKind.UNAUTHENTICATED: AuthenticationError,
    ErrorKind.FORBIDDEN: PermissionDeniedError,
    ErrorKind.METHOD_NOT_FOUND: UnsupportedError,
    ErrorKind.METHOD_NOT_ALLOWED: UnsupportedError,
    ErrorKind.UPGRADE_REQUIRED: UnsupportedError,
    ErrorKind.UNSUPPORTED_OPERATION: UnsupportedError,
    ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED: UnsupportedError,
    ErrorKind.CONTENT_TYPE_NOT_SUPPORTED: UnsupportedError,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: UnsupportedError,
    ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED: UnsupportedError,
    ErrorKind.EXTENSION_SUPPORT_REQUIRED: UnsupportedError,
    ErrorKind.VERSION_NOT_SUPPORTED: UnsupportedError,
    ErrorKind.OVERLOADED: BusyAgentError,
    ErrorKind.RATE_LIMITED: BusyAgentError,
    ErrorKind.AUTHENTICATION_UNAVAILABLE: BusyAgentError,
    ErrorKind.STORE_UNAVAILABLE: BusyAgentError,
    ErrorKind.REQUEST_TIMEOUT: BusyAgentError,
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "kind", [kind for kind in ErrorKind if kind is not ErrorKind.METHOD_NOT_FOUND], ids=lambda kind: str(kind.name)
)
def test_each_error_of_the_protocol_has_its_class_over_http(kind: ErrorKind, version: str) -> None:
    status, body = http_error(ProtocolError(kind), version)

    assert type(agent_error(status, orjson.dumps(body))) is CLASSES.get(kind, AgentError)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind.row.specific], ids=lambda kind: str(kind.name))
def test_each_error_of_a2a_has_its_class_over_json_rpc(kind: ErrorKind, version: str) -> None:
    error = agent_error(200, orjson.dumps({"error": jsonrpc_error(ProtocolError(kind), version)}))

    assert type(error) is CLASSES.get(kind, AgentError)
    assert error.is_kind(kind)
    assert not error.is_kind(ErrorKind.INTERNAL_ERROR)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (429, BusyAgentError),
        (502, BusyAgentError),
        (503, BusyAgentError),
        (405, UnsupportedError),
        (500, AgentError),
        (404, AgentError),
    ],
)
def test_a_status_alone_has_a_class_too(status: int, error: type[AgentError]) -> None:
    assert type(agent_error(status, b"<html>")) is error


def test_a_method_that_is_not_there_is_not_supported() -> None:
    error = agent_error(200, orjson.dumps({"error": {"code": -32601, "message": "Method not found"}}))

    assert type(error) is UnsupportedError


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"slow down", "slow down; try again in 8 s"),
        (b'{"error": {"code": -32603, "message": "Busy."}}', "Busy; try again in 8 s"),
        (b'{"message": "Too many requests; try again in 8 s", "type": "RATE_LIMITED"}', None),
        (b"The store is away; try again", "The store is away; try again in 8 s"),
        (b"Busy. Please try again later.", "Busy; try again in 8 s"),
        (b"", "HTTP 429 Too Many Requests; try again in 8 s"),
    ],
)
def test_an_agent_that_is_busy_says_when_to_ask_again(body: bytes, message: str | None) -> None:
    error = postponed(429, body, 7.2)

    assert type(error) is BusyAgentError
    assert error.retry_after == 7.2
    assert error.message == (message or "Too many requests; try again in 8 s")
