"""Which pages may call from a browser, and what CORS tells it; the media type and the prefix of a request."""

from __future__ import annotations

import pytest
from attrs import evolve

from sansio import http
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.guards.origins import (
    NO_ORIGINS,
    AllowedOrigins,
    check_origin,
    cors_headers,
    origin_of,
    parse_allowed_origins,
    preflight,
)
from sansio.http import check_media_type, without_prefix

PAGE, OTHER = "https://page.example", "https://other.example"
LISTED = AllowedOrigins(frozenset({PAGE}), own="https://host.example")
ANYONE = AllowedOrigins(frozenset({"*"}))
SANDBOX = AllowedOrigins(frozenset({"null"}))


def passes(allowed: AllowedOrigins, **headers: str) -> bool:
    try:
        check_origin({name.replace("_", "-"): value for name, value in headers.items()}, allowed)
    except ProtocolError as error:
        return error.kind is not ErrorKind.FORBIDDEN
    return True


@pytest.mark.parametrize("allowed", [NO_ORIGINS, LISTED, ANYONE, SANDBOX])
def test_what_is_no_page_of_another_origin_passes(allowed: AllowedOrigins) -> None:
    assert passes(allowed, host="127.0.0.1:8000")
    assert passes(allowed, host="127.0.0.1:8000", origin="http://127.0.0.1:8000")
    assert passes(allowed, host="host", origin="https://host")  # a proxy has added TLS
    assert passes(allowed, host="HOST:80", origin="http://host")
    assert passes(allowed, host="inside:8000", origin=OTHER, sec_fetch_site="same-origin")
    assert passes(allowed, host="x", sec_fetch_site="none")


@pytest.mark.parametrize("origin", [OTHER, "null", "http://page.example", f"{PAGE}:444", "", "HTTPS://PAGE.EXAMPLE"])
def test_pages_of_origins_that_are_not_listed_are_refused(origin: str) -> None:
    assert not passes(LISTED, host="x", origin=origin)
    assert not passes(NO_ORIGINS, host="x", origin=origin)
    assert not passes(LISTED, host="", origin=origin, sec_fetch_site="same-site")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "what"])
def test_requests_without_an_origin_are_known_by_their_site(site: str) -> None:
    assert not passes(NO_ORIGINS, host="x", sec_fetch_site=site)
    assert not passes(LISTED, host="x", sec_fetch_site=site)
    assert passes(LISTED, host="x", sec_fetch_site=site, origin=PAGE)
    assert passes(ANYONE, host="x", sec_fetch_site=site)


def test_listed_origins_pass_and_so_does_that_of_the_public_url() -> None:
    assert passes(LISTED, host="x", origin=PAGE)
    assert passes(LISTED, host="inside:8000", origin="https://host.example")
    assert passes(SANDBOX, host="x", origin="null")
    assert passes(ANYONE, host="x", origin=OTHER)
    assert passes(ANYONE, host="x", origin="null")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://host/agents/oc/", "https://host"),
        ("https://HOST:443", "https://host"),
        ("http://h:80/x", "http://h"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://h:80/x", "https://h:80"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_lists_of_origins_are_parsed() -> None:
    assert parse_allowed_origins(f" {PAGE},null , http://[::1]:8080").names == {PAGE, "null", "http://[::1]:8080"}
    assert parse_allowed_origins("*").names == {"*"}
    assert parse_allowed_origins("chrome-extension://abc").names == {"chrome-extension://abc"}


@pytest.mark.parametrize(
    "text", ["page.example", f"{PAGE}/", f"{PAGE}:443", "https://*.example", "HTTPS://x", "https://", "**"]
)
def test_what_no_browser_would_send_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        parse_allowed_origins(text)


# --- CORS -------------------------------------------------------------------------------------------------------


def told(allowed: AllowedOrigins, origin: str | None) -> dict[str, str]:
    return dict(cors_headers({} if origin is None else {"origin": origin}, allowed))


def test_where_no_origin_is_allowed_nothing_is_told() -> None:
    assert told(NO_ORIGINS, PAGE) == told(NO_ORIGINS, None) == {}


def test_a_listed_page_may_read_the_answer_and_its_headers() -> None:
    headers = told(LISTED, PAGE)

    assert headers["access-control-allow-origin"] == PAGE
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"
    exposed = headers["access-control-expose-headers"].split(", ")
    assert {"a2a-version", "a2a-extensions", "last-event-id", "www-authenticate"} <= set(exposed)


def test_caches_keep_the_answers_of_origins_apart() -> None:
    assert told(LISTED, None) == told(LISTED, OTHER) == {"vary": "Origin"}


@pytest.mark.parametrize(
    ("allowed", "origin", "name"),
    [(ANYONE, OTHER, "*"), (ANYONE, "null", "*"), (SANDBOX, "null", "null")],
)
def test_who_is_not_known_by_name_brings_no_login(allowed: AllowedOrigins, origin: str, name: str) -> None:
    headers = told(allowed, origin)

    assert headers["access-control-allow-origin"] == name
    assert "access-control-allow-credentials" not in headers


def test_an_origin_that_is_listed_beside_everybody_has_its_login() -> None:
    both = AllowedOrigins(frozenset({"*", PAGE}))

    assert told(both, PAGE)["access-control-allow-credentials"] == "true"
    assert "access-control-allow-credentials" not in told(both, OTHER)


def test_a_browser_that_asks_before_it_sends_is_answered() -> None:
    asks = {"origin": PAGE, "access-control-request-method": "POST"}
    private = {**asks, "access-control-request-private-network": "true"}

    headers = dict(preflight(asks, LISTED, "OPTIONS, POST"))

    assert headers["access-control-allow-methods"] == "OPTIONS, POST"
    assert {"authorization", "content-type", "a2a-version", "a2a-extensions", "last-event-id"} <= set(
        headers["access-control-allow-headers"].split(", ")
    )
    assert "access-control-allow-private-network" not in headers
    assert dict(preflight(private, LISTED, "GET"))["access-control-allow-private-network"] == "true"
    assert preflight({"origin": PAGE}, LISTED, "GET") == ()
    assert preflight({**asks, "origin": OTHER}, LISTED, "GET") == ()


def test_a_page_may_send_its_api_key_in_the_header_for_it() -> None:
    asks = {"origin": PAGE, "access-control-request-method": "POST"}

    allowed = dict(preflight(asks, evolve(LISTED, key_header="X-My-Key"), "POST"))["access-control-allow-headers"]

    assert allowed.split(", ")[-1] == "x-my-key"
    assert not dict(preflight(asks, LISTED, "POST"))["access-control-allow-headers"].endswith(", ")


def test_guards_come_before_everything_but_what_everybody_may_read() -> None:
    page = {"origin": OTHER, "host": "x"}
    for method, path in (("POST", "/"), ("GET", "/tasks"), ("OPTIONS", "/"), ("GET", "/health"), ("GET", "/nothing")):
        with pytest.raises(ProtocolError) as refused:
            http.answer_before_body(Request(method, path, b"", page), LISTED)
        assert refused.value.kind is ErrorKind.FORBIDDEN
    for path in ("/.well-known/agent-card.json", "/openapi.json"):
        assert http.answer_before_body(Request("GET", path, b"", page), LISTED) is None


# --- the media type ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        *("application/json", "application/a2a+json", "Application/JSON; charset=utf-8", "application/x.y-z+json"),
        "application/json;x",
    ],
)
def test_json_is_taken(given: str) -> None:
    check_media_type(Request("POST", "/", b"", {"content-type": given, "content-length": "2"}))


@pytest.mark.parametrize(
    "given",
    [
        *("", "text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonx"),
        *("application/+json", "application/json, text/plain", "multipart/form-data; x=application/json"),
    ],
)
def test_other_bodies_are_refused_with_the_remedy(given: str) -> None:
    headers = {"content-type": given} if given else {}
    for body, announced in ((b"{}", {}), (b"", {"content-length": "2"}), (b"", {"transfer-encoding": "chunked"})):
        with pytest.raises(ProtocolError, match="-H 'Content-Type: application/json'") as refused:
            check_media_type(Request("POST", "/", b"", headers | announced, body))
        assert refused.value.kind is ErrorKind.UNSUPPORTED_MEDIA_TYPE


def test_no_body_needs_no_media_type() -> None:
    check_media_type(Request("POST", "/", b"", {}))
    check_media_type(Request("POST", "/", b"", {"content-length": "0", "content-type": "text/plain"}))


# --- the prefix -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "method", "path", "found"),
    [
        ("/agents/oc", "POST", "/agents/oc", "/"),
        ("/agents/oc", "POST", "/agents/oc/", "/"),
        ("/agents/oc", "POST", "/", "/"),
        ("/agents/oc", "GET", "/agents/oc/.well-known/agent-card.json", "/.well-known/agent-card.json"),
        ("/agents/oc", "GET", "/agents/oc/openapi.json", "/openapi.json"),
        ("/agents/oc", "POST", "/agents/oc/message:send", "/message:send"),
        ("/agents/oc", "POST", "/message:send", "/message:send"),
        ("/agents/oc", "GET", "/agents/oc/v1/tasks/x", "/v1/tasks/x"),
        ("/agents/oc", "POST", "/agents/ocean", "/agents/ocean"),
        ("/agent", "POST", "/agent/message:send", "/message:send"),  # no tenant of that name
        ("/agent", "GET", "/agent/tasks", "/tasks"),
        ("/agent", "HEAD", "/agent/tasks", "/tasks"),
        ("/agent", "GET", "/agent/authenticatedExtendedCard", "/agent/authenticatedExtendedCard"),
        ("/v1", "POST", "/v1/message:send", "/v1/message:send"),  # of version 0.3, the prefix stripped
        ("/v1", "POST", "/v1/v1/message:send", "/v1/message:send"),
        ("/v1", "POST", "/v1", "/"),
        ("", "GET", "/agents/oc", "/agents/oc"),
    ],
)
def test_paths_are_found_with_the_prefix_and_without_it(prefix: str, method: str, path: str, found: str) -> None:
    assert without_prefix(method, path, prefix) == found
