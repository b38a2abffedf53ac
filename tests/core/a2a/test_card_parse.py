"""Other agents' cards: which interfaces are found in them, which one is chosen, and what a URL may be."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.cards.agent_card import BINDINGS as SERVED_BINDINGS
from sansio.a2a.cards.agent_card import CardDocument, CardSpec, render_card
from sansio.a2a.cards.parse import (
    BINDINGS,
    HTTP_JSON,
    JSONRPC,
    WEBSOCKET,
    WEBSOCKET_URI,
    Interface,
    Origin,
    at_origin,
    card_urls,
    choose,
    read_card,
)
from sansio.a2a.client.client_errors import NoUsableInterfaceError
from sansio.a2a.errors import ProtocolError
from sansio.a2a.versions import VERSIONS
from tests import strategies

URL = "http://agent.example/a2a"
INTERFACES = [Interface(binding=binding, version=version, url=URL) for version in VERSIONS for binding in BINDINGS]
NAMES, URLS = {WEBSOCKET: WEBSOCKET_URI}, {WEBSOCKET: "ws://agent.example/a2a"}
each_interface = pytest.mark.parametrize("interface", INTERFACES, ids=[str(interface) for interface in INTERFACES])


def interface_of(binding: str, version: str) -> Interface:
    return Interface(binding=binding, version=version, url=URL)


def card(**members: Any) -> bytes:
    return orjson.dumps({"name": "agent", **members})


def supported(*entries: tuple[str, str]) -> list[dict[str, str]]:
    return [
        {"url": URLS.get(binding, URL), "protocolBinding": NAMES.get(binding, binding), "protocolVersion": version}
        for binding, version in entries
    ]


def test_a_card_of_version_1_0_offers_its_interfaces_in_its_own_order() -> None:
    body = card(supportedInterfaces=supported(("HTTP+JSON", "1.0"), ("JSONRPC", "1.0.3"), ("JSONRPC", "0.3")))

    found = read_card(body)

    assert [str(interface) for interface in found.interfaces] == ["HTTP+JSON 1.0", "JSONRPC 1.0", "JSONRPC 0.3"]
    assert choose(found) == interface_of(HTTP_JSON, "1.0")


def test_a_card_of_version_0_3_offers_its_preferred_transport_first_and_nothing_twice() -> None:
    body = card(
        url=URL,
        preferredTransport="HTTP+JSON",
        protocolVersion="0.3.0",
        additionalInterfaces=[{"url": URL, "transport": name} for name in ("JSONRPC", "HTTP+JSON")],
    )

    found = read_card(body)

    assert [str(interface) for interface in found.interfaces] == ["HTTP+JSON 0.3", "JSONRPC 0.3"]


def test_a_0_3_card_that_names_no_transport_means_json_rpc() -> None:
    assert read_card(card(url=URL, protocolVersion="0.3.0")).interfaces == (interface_of(JSONRPC, "0.3"),)


def test_our_own_card_offers_every_binding_on_every_line_and_the_newest_line_is_chosen() -> None:
    spec = CardSpec(
        name="ours",
        description="",
        version="1",
        url=URL,
        versions=VERSIONS,
        schemes=("bearer",),
        skills=(),
        input_modes=("text/plain",),
        output_modes=("text/plain",),
    )

    found = read_card(orjson.dumps(render_card(spec)))

    assert set(found.interfaces) == {
        interface_of(binding, version) for binding in SERVED_BINDINGS for version in VERSIONS
    }
    assert found.streaming
    assert choose(found).version == "1.0"
    assert not found.unusable


def test_a_card_without_security_schemes_has_none_on_one_version_alone() -> None:
    spec = CardSpec(
        name="open",
        description="",
        version="1",
        url=URL,
        versions=("1.0",),
        schemes=(),
        skills=(),
        input_modes=("text/plain",),
        output_modes=("text/plain",),
    )

    body = CardDocument.of(spec).body

    assert "securitySchemes" not in orjson.loads(body)
    assert [str(one) for one in read_card(body).interfaces] == ["HTTP+JSON 1.0", "JSONRPC 1.0"]


def test_extensions_whose_uri_no_header_could_hold_are_left_out() -> None:
    uris = ["urn:one", "two\r\nX: y", "", 5, None, "urn:three"]
    body = card(
        supportedInterfaces=supported(("JSONRPC", "1.0")),
        capabilities={"extensions": [*({"uri": uri} for uri in uris), "urn:four"]},
    )

    assert read_card(body).extensions == ("urn:one", "urn:three")


@each_interface
def test_the_caller_may_insist_on_a_line_and_a_binding(interface: Interface) -> None:
    found = read_card(card(supportedInterfaces=supported(*((i.binding, i.version) for i in INTERFACES))))
    chosen = choose(found, version=interface.version, bindings=(interface.binding,))

    assert evolve(chosen, url=URL) == interface  # gRPC has no path


@pytest.mark.parametrize("preferred", BINDINGS)
def test_the_order_in_which_bindings_are_given_goes_before_the_cards(preferred: str) -> None:
    others = [binding for binding in BINDINGS if binding != preferred]
    entries = [(binding, version) for version in VERSIONS for binding in (*others, preferred)]
    found = read_card(card(supportedInterfaces=supported(*entries)))
    bindings = (preferred, *others)

    assert choose(found, bindings=bindings).binding == preferred
    assert choose(found, bindings=bindings).version == "1.0"
    in_cards_order = choose(found, bindings=bindings, own_order=False).binding
    assert in_cards_order == choose(found).binding == next(one for one in others if one in (JSONRPC, HTTP_JSON))
    assert choose(found, own_order=True).binding == BINDINGS[0]


@pytest.mark.parametrize(
    ("entries", "wanted", "message"),
    [
        ([("SOAP", "1.0")], {}, f"no {' or '.join(BINDINGS)} 0.3 or 1.0; it offers SOAP 1.0"),
        ([("JSONRPC", "1.0")], {"version": "0.3"}, f"no {' or '.join(BINDINGS)} 0.3; it offers JSONRPC 1.0"),
        (
            [("JSONRPC", "1.0"), ("GRPC", "1.0"), ("JSONRPC", "2.0")],
            {"bindings": (HTTP_JSON,)},
            "no HTTP+JSON 0.3 or 1.0; it offers JSONRPC 1.0, GRPC 1.0, JSONRPC 2.0",
        ),
    ],
)
def test_a_card_without_what_is_wanted_is_refused_with_what_it_offers(
    entries: list[tuple[str, str]], wanted: dict[str, Any], message: str
) -> None:
    found = read_card(card(supportedInterfaces=supported(*entries)))

    with pytest.raises(NoUsableInterfaceError) as caught:
        choose(found, **wanted)

    assert caught.value.message == f"The agent card offers {message}"


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://u:p@a/", "http:///x", "http://a\\@b/", "/rpc", "http://a:99999/", 7]
)
def test_an_interface_whose_url_cannot_be_used_is_left_out_and_named(url: object) -> None:
    found = read_card(
        card(supportedInterfaces=[{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}])
    )

    assert found.interfaces == ()
    assert found.unusable[0].startswith("JSONRPC 1.0 (")


@pytest.mark.parametrize("capabilities", [None, {}, {"streaming": False}, {"streaming": "yes"}, []])
def test_an_agent_streams_only_if_its_card_says_so(capabilities: object) -> None:
    assert not read_card(card(url=URL, capabilities=capabilities)).streaming


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"name": "x"}', b"\xff"])
def test_what_is_no_card_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        choose(read_card(body))


_card_members = ("name", "url", "preferredTransport", "protocolVersion", "capabilities", "supportedInterfaces")
_entry_members = ("url", "transport", "protocolBinding", "protocolVersion", "tenant")
_likely = (
    st.sampled_from([URL, "JSONRPC", "HTTP+JSON", "1.0", "0.3", "http://[", "http://a:b"]) | strategies.json_values
)
_card_like = st.dictionaries(
    st.sampled_from((*_card_members, "additionalInterfaces")),
    _likely | st.lists(st.dictionaries(st.sampled_from(_entry_members), _likely), max_size=3),
)


@given(st.binary() | (strategies.json_values | _card_like).map(orjson.dumps), st.sampled_from([None, *VERSIONS]))
def test_any_document_is_a_card_with_a_choice_or_a_protocol_error(body: bytes, version: str | None) -> None:
    try:
        chosen = choose(read_card(body), version=version)
    except ProtocolError:
        return
    assert version in (None, chosen.version)
    assert Origin.of(chosen.url).host


def test_the_card_is_looked_for_below_the_base_url_or_where_the_url_says() -> None:
    assert card_urls("http://a:8000/x/") == (
        "http://a:8000/x/.well-known/agent-card.json",
        "http://a:8000/x/.well-known/agent.json",
    )
    assert card_urls("http://a/cards/7.json?v=1") == ("http://a/cards/7.json?v=1",)


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "http://", "http://a/?q=1", "http://a/#x", "http://u:secret@a/"]
)
def test_a_url_that_cannot_be_called_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|valid") as caught:
        card_urls(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("HTTP://A.example/x", True),
        ("http://a.example:80", True),
        ("https://a.example", False),
        ("http://a.example:81", False),
        ("http://a.example.evil", False),
        ("http://b.example", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, same: bool) -> None:
    assert (Origin.of(url) == Origin.of("http://a.example/rpc")) is same


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.8.9.1", True), ("[::1]", True), ("10.0.0.1", False), ("localhost.example", False)],
)
def test_loopback_is_recognised_by_name_and_address(host: str, loopback: bool) -> None:
    assert Origin.of(f"http://{host}:1").is_loopback is loopback


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost:8000", "http://127.0.0.1:8000", True),
        ("http://[::1]:8000", "http://localhost:8000", True),
        ("http://localhost:8000", "http://127.0.0.1:8001", False),
        ("http://localhost:8000", "https://127.0.0.1:8000", False),
        ("http://localhost:8000", "http://10.0.0.1:8000", False),
        ("http://localhost:8000", "http://localhost.example:8000", False),
        ("http://agent.example", "http://agent.example", False),
    ],
)
def test_names_of_this_machine_are_one_host(one: str, other: str, same: bool) -> None:
    assert Origin.of(one).is_other_name_of(Origin.of(other)) is same
    assert Origin.of(other).is_other_name_of(Origin.of(one)) is same


def test_a_url_at_another_origin_keeps_the_rest() -> None:
    moved = at_origin("http://127.0.0.1:8000/a/b/?x=1", Origin.of("http://[::1]:8000"))

    assert moved == "http://[::1]:8000/a/b/?x=1"
