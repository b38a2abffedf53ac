"""Metadata that a client writes and the server reads: what is chosen on one side arrives on the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import Message, Role, SendRequest, TextPart
from sansio.opencode.message_metadata import message_metadata, split_model
from sansio.opencode.send_options import SendOptions, same_target, send_options_of
from sansio.opencode.upstream.requests import Model

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._", min_size=1, max_size=20)
CHOSEN = st.none() | NAMES


@given(
    session=CHOSEN, provider=CHOSEN, name=st.lists(NAMES, min_size=1, max_size=3), directory=CHOSEN, instance=CHOSEN
)
def test_what_a_client_chooses_is_what_the_server_reads(
    session: str | None, provider: str | None, name: list[str], directory: str | None, instance: str | None
) -> None:
    session = None if session is None else f"ses_{session}"
    model = None if provider is None else "/".join((provider, *name))
    metadata = message_metadata(session=session, model=model, directory=directory, instance=instance)
    message = Message(message_id="m", role=Role.USER, parts=(TextPart(text="hi"),), metadata=metadata)

    read = send_options_of(SendRequest(message=message), ())

    assert (read.session_id, read.directory, read.instance) == (session, directory, instance)
    assert read.model == (None if provider is None else Model(provider_id=provider, model_id="/".join(name)))
    assert (metadata is None) is (session is provider is directory is instance is None)


def test_the_instance_is_kept_with_the_task_and_part_of_what_a_message_asks_for() -> None:
    metadata = {"opencode": {"instance": "a"}}
    message = Message(message_id="m", role=Role.USER, parts=(TextPart(text="hi"),), metadata=metadata)

    read = send_options_of(SendRequest(message=message), ())

    assert read.instance == "a"
    assert SendOptions.of_kept(read.kept()) == read
    assert same_target(read.kept(), None, read.kept())
    assert not same_target(read.kept(), None, {})


@pytest.mark.parametrize("name", ["session", "model"])
def test_what_extensions_share_of_a_message_is_an_object(name: str) -> None:
    message = Message(message_id="m", role=Role.USER, parts=(TextPart(text="hi"),), metadata={"shared": {name: "x"}})

    with pytest.raises(ProtocolError) as caught:
        send_options_of(SendRequest(message=message), ())

    assert [(one.field, one.message) for one in caught.value.violations] == [
        (f"metadata.shared.{name}", "must be an object")
    ]


@pytest.mark.parametrize("text", ["", "model", "/model", "provider/", " a/b", "a/b\n", "a/\x1b"])
def test_what_is_no_provider_and_model_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PROVIDER/MODEL"):
        split_model(text)


def test_a_models_name_may_hold_slashes() -> None:
    assert split_model("openrouter/anthropic/claude") == ("openrouter", "anthropic/claude")
