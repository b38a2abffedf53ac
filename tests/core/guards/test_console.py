"""The console's cookie: where it counts, what it is named, and what the page may do."""

from __future__ import annotations

import pytest

from sansio.a2a.bindings.http_messages import NO_SOURCE, Request, Source
from sansio.guards.console import POLICY, cookie_of, file_named, is_of_page, path_of, secret_in
from sansio.guards.origins import NO_ORIGINS, AllowedOrigins

SECRET = "s" * 43
PAGE = {"host": "agent.test:8000", "x-a2a-console": "1"}


def request(source: Source = NO_SOURCE, **headers: str) -> Request:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method="POST", path="/", query_string=b"", headers=PAGE | given, source=source)


def cookie(asked: Request | None = None, prefix: str = "", *, is_secure: bool = False) -> str:
    asked = asked or request()
    asked.is_over_tls = is_secure
    return cookie_of(asked, NO_ORIGINS, prefix, SECRET, 60.0)


def pair(value: str) -> str:
    return value.partition(";")[0]


def test_a_session_comes_back_as_it_was_set() -> None:
    for is_secure in (True, False):
        value = cookie(is_secure=is_secure)
        asked = request(cookie=f"other=1; {pair(value)}; last=2")
        assert secret_in(asked, NO_ORIGINS, "") == SECRET
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=60"} <= set(value.split("; "))
        assert ("Secure" in value.split("; ")) == is_secure == value.startswith("__Host-")


def test_below_a_prefix_it_is_for_that_path() -> None:
    value = cookie(prefix="/agents/a", is_secure=True)
    assert value.startswith("__Secure-")
    assert "Path=/agents/a" in value.split("; ")
    asked = request(cookie=pair(value))
    assert secret_in(asked, NO_ORIGINS, "/agents/a") == SECRET
    assert secret_in(asked, NO_ORIGINS, "/agents/b") == ""


def test_the_public_url_says_that_a_proxy_adds_tls() -> None:
    own = AllowedOrigins(own="https://agent.test:8000")
    assert "Secure" in cookie_of(request(), own, "", SECRET, 60.0).split("; ")
    assert "Secure" not in cookie_of(request(host="agent.test:8001"), own, "", SECRET, 60.0).split("; ")


def test_files_have_the_paths_by_which_they_are_named() -> None:
    assert [file_named(path_of(name)) for name in ("index.html", "main.js")] == ["index.html", "main.js"]


def test_servers_on_other_ports_of_a_host_have_other_names() -> None:
    asked = request(cookie=pair(cookie(request(host="agent.test:8001"))))
    assert secret_in(asked, NO_ORIGINS, "") == ""


def test_a_proxy_says_which_host_was_asked_for() -> None:
    proxied = Source(host="public.example", scheme="https", is_by_proxy=True)
    asked = request(proxied, cookie=pair(cookie(request(proxied), is_secure=True)))
    assert secret_in(asked, NO_ORIGINS, "") == SECRET


def test_an_empty_secret_ends_it() -> None:
    value = cookie_of(request(), NO_ORIGINS, "", "", 60.0)
    assert "Max-Age=0" in value.split("; ")
    assert secret_in(request(cookie=pair(value)), NO_ORIGINS, "") == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "none"},
        {"origin": "https://page.example"},
        {"origin": "null"},
        {"origin": ""},
    ],
)
def test_it_does_not_count_where_another_page_asks(headers: dict[str, str]) -> None:
    listed = AllowedOrigins(frozenset({"https://page.example"}), own="https://own.example")
    given = pair(cookie())
    assert secret_in(request(NO_SOURCE, cookie=given, **headers), listed, "") == ""
    assert secret_in(request(cookie=given, origin="https://own.example"), listed, "") == SECRET
    assert secret_in(request(cookie=given, origin="http://agent.test:8000"), listed, "") == SECRET
    assert secret_in(request(cookie=given, sec_fetch_site="same-origin"), listed, "") == SECRET


def test_it_does_not_count_without_the_header_of_the_page() -> None:
    asked = request(cookie=pair(cookie()))
    del asked.headers["x-a2a-console"]
    assert not is_of_page(asked)
    assert secret_in(asked, NO_ORIGINS, "") == ""


@pytest.mark.parametrize("value", ["", "short", "s" * 44, "s" * 42 + "!", "é" * 43])
def test_what_is_no_secret_is_not_looked_for(value: str) -> None:
    name = cookie().partition("=")[0]
    assert secret_in(request(cookie=f"{name}={value}"), NO_ORIGINS, "") == ""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/console", "index.html"),
        ("/console/main.js", "main.js"),
        ("/console/light-dark.css", "light-dark.css"),
        ("/console/", None),
        ("/console/session", None),
        ("/console/../main.js", None),
        ("/console/a/b.js", None),
        ("/console/index.html", None),
        ("/console/main.js\n", None),
        ("/tasks", None),
    ],
)
def test_files_have_plain_names(path: str, name: str | None) -> None:
    assert file_named(path) == name


def test_the_policy_allows_nothing_of_others_and_nothing_inline() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
