"""What one server asks of another: it arrives as it was asked, and an error is rendered as where it arose."""

from __future__ import annotations

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.errors import ErrorKind, LocalError, ProtocolError, http_error, invalid, jsonrpc_error
from sansio.a2a.model import PushConfig, SendRequest
from sansio.a2a.replicas.commands import (
    AgentCommand,
    Cancel,
    Command,
    DropPush,
    Send,
    SetPush,
    decode_answer,
    decode_command,
    encode_command,
    encode_error,
    encode_result,
    is_refusal,
)
from sansio.extensions.methods.method_errors import ExtensionErrorKind, interrupt_error
from tests.strategies import json_objects, kept_push_configs, names, optional_names, send_requests

traces = st.builds(
    TraceContext, st.just("0af7651916cd43dd8448eb211c80319c"), st.just("b7ad6b7169203331"), st.booleans()
)


def limited(send: SendRequest) -> SendRequest:
    push = send.configuration.push
    if push is None:
        return send
    return evolve(send, configuration=evolve(send.configuration, push=evolve(push, interrupts_only=True)))


configs = st.builds(evolve, kept_push_configs(), interrupts_only=st.booleans())
sends = send_requests("1.0") | send_requests("1.0").map(limited)
requests = st.builds(evolve, sends, codec_name=optional_names)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Send, principal=names, send=requests, view=names, trace=st.none() | traces),
    st.builds(Cancel, principal=names, task_id=names, again=st.booleans()),
    st.builds(SetPush, principal=names, config=configs, view=names),
    st.builds(DropPush, principal=names, task_id=names, config_id=names),
    st.builds(AgentCommand, principal=names, name=names, arguments=json_objects),
)
errors: st.SearchStrategy[ProtocolError] = st.one_of(
    st.builds(
        ProtocolError,
        st.sampled_from(ErrorKind),
        st.none() | names,
        data=st.none() | json_objects,
        data_v1=st.none() | json_objects,
        metadata=st.dictionaries(names, names, max_size=3),
    ),
    st.builds(invalid, st.lists(names | st.integers(0, 9), min_size=1, max_size=4), names),
    st.builds(interrupt_error, st.just(ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND), names),
)


@given(commands)
def test_a_command_arrives_as_it_was_asked(command: Command) -> None:
    assert decode_command(encode_command(command)) == command


def test_a_message_of_a_server_of_an_earlier_release_limits_no_push_configuration() -> None:
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
    send = {"message": message, "configuration": {"taskPushNotificationConfig": {"url": "https://example.org/"}}}
    body = {"kind": "Send", "principal": "ada", "send": send, "codec": None, "view": "1.0", "trace": None}

    command = decode_command(orjson.dumps(body))

    assert isinstance(command, Send)
    assert command.send.configuration.push == PushConfig(url="https://example.org/")


@given(json_objects | st.none() | names)
def test_a_result_arrives(result: object) -> None:
    assert decode_answer(encode_result(result)) == result
    assert not is_refusal(encode_result(result))


@given(errors)
def test_an_error_is_rendered_as_where_it_arose(error: ProtocolError) -> None:
    with pytest.raises(ProtocolError) as raised:
        decode_answer(encode_error(error))

    relayed = raised.value
    assert is_refusal(encode_error(error))
    assert relayed.kind is error.kind
    for version in ("0.3", "1.0"):
        assert jsonrpc_error(relayed, version) == jsonrpc_error(error, version)
        assert http_error(relayed, version) == http_error(error, version)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind": "Send"}',
        b'{"kind": "Stop", "principal": "ada"}',
        b'{"kind": "Cancel", "principal": "ada"}',
        b'{"kind": "AgentCommand", "principal": "ada", "name": "reply"}',
        b'{"kind": "Send", "principal": "ada", "send": {"message": 1}, "codec": null, "view": "", "trace": null}',
    ],
)
def test_anything_else_is_no_command(data: bytes) -> None:
    with pytest.raises(LocalError, match="cannot be read"):
        decode_command(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"error": {}}', b'{"error": {"kind": "LOST"}}'])
def test_anything_else_is_no_answer(data: bytes) -> None:
    with pytest.raises(LocalError, match="cannot be read"):
        decode_answer(data)
