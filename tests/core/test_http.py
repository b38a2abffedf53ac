"""What is decided about a response from headers, method and path alone: compression, OPTIONS, allowed methods."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Request, Response, json_response, refusal
from sansio.a2a.cards.parse import CARD_PATHS
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.operations import Operation
from sansio.http import accepts_gzip, answer_before_body, end_to_end, header_map, negotiate_coding, route_template

BODY = b"[" + b"0," * 500 + b"0]"
TAG = ("etag", '"5f"')


def answer(status: int = 200, kind: str = "application/json", body: bytes = BODY) -> Response:
    return Response(status, body, (("content-type", kind), TAG))


def told(response: Response) -> dict[str, str]:
    return dict(response.headers)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("br, gzip", True),
        ("br,deflate", False),
        ("*", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0.001", True),
        ("gzip ; Q=0.5", True),
        ("gzip;q=1.000, identity;q=0.5", True),
        ("gzip;q=0.5, identity", False),
        ("gzip;q=0.5, identity;q=0.5", True),
        ("identity", False),
        ("identity;q=0", False),
        ("gzip;q=2", False),
        ("gzip;q=x", False),
        ("gzip;q=-1", False),
        ("gzip;q=nan", False),
        ("gzip;level=9", False),
        ("gzip;q=1;q=0", False),
        (",,gzip,", True),
        ("gzipped", False),
    ],
)
def test_gzip_is_for_clients_that_say_they_take_it(header: str | None, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


@given(st.text(alphabet='gzip*identy;q=01.5, x-"\t', max_size=40) | st.text(max_size=40))
def test_any_header_has_an_answer(header: str) -> None:
    assert accepts_gzip(header) in (True, False)
    assert not accepts_gzip(f"{header}, gzip;q=0")


@pytest.mark.parametrize("minimum", [1, len(BODY)])
def test_a_large_answer_is_compressed_and_says_so(minimum: int) -> None:
    coded, compress = negotiate_coding(answer(), "gzip", minimum)

    assert compress
    assert told(coded) == {
        "content-type": "application/json",
        "etag": 'W/"5f"',
        "vary": "Accept-Encoding",
        "content-encoding": "gzip",
    }
    assert coded.body == BODY


def test_a_large_answer_that_is_not_compressed_still_depends_on_the_header() -> None:
    coded, compress = negotiate_coding(answer(), None, 1)

    assert not compress
    assert told(coded) == {"content-type": "application/json", "etag": '"5f"', "vary": "Accept-Encoding"}


def test_what_is_not_modified_has_the_names_of_what_it_stands_for() -> None:
    coded, compress = negotiate_coding(answer(304), "gzip", 1)

    assert not compress
    assert (told(coded)["etag"], told(coded)["vary"]) == ('W/"5f"', "Accept-Encoding")
    assert "content-encoding" not in told(coded)
    assert told(negotiate_coding(answer(304), None, 1)[0])["etag"] == '"5f"'


def test_a_weak_tag_stays_as_it_is() -> None:
    weak = Response(200, BODY, (("content-type", "application/json"), ("etag", 'W/"5f"')))

    assert told(negotiate_coding(weak, "gzip", 1)[0])["etag"] == 'W/"5f"'


@pytest.mark.parametrize(
    ("response", "minimum"),
    [
        (answer(), len(BODY) + 1),
        (answer(), 0),
        (answer(body=b""), 0),
        (answer(404), 1),
        (answer(204, body=b""), 1),
        (answer(kind="text/event-stream; charset=utf-8"), 1),
        (Response(200, BODY), 1),
    ],
)
def test_all_else_stays_as_it_is(response: Response, minimum: int) -> None:
    assert negotiate_coding(response, "gzip", minimum) == (response, False)


def request(method: str, path: str) -> Request:
    return Request(method=method, path=path, query_string=b"", headers={})


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("*", "GET, HEAD, OPTIONS, POST"),
        ("/", "OPTIONS, POST"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        *((path, "GET, HEAD, OPTIONS") for path in sorted(CARD_PATHS)),
        ("/message:send", "OPTIONS, POST"),
        ("/v1/message:stream", "OPTIONS, POST"),
        ("/tasks/t", "GET, HEAD, OPTIONS"),
        ("/tenant/tasks/t", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_tells_what_a_path_allows(path: str, allow: str) -> None:
    assert answer_before_body(request("OPTIONS", path)) == Response(204, b"", (("allow", allow),))


ROUTES = [
    (route.method, ("/v1" if version == "0.3" and route.prefixed else "") + route.path)
    for operation in Operation
    for route in operation.row.routes
    for version in route.versions
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_options_knows_every_operation(method: str, path: str) -> None:
    found = answer_before_body(request("OPTIONS", path.replace("{id}", "t").replace("{config_id}", "c")))

    assert found is not None
    assert found.status == 204
    assert {method, "OPTIONS"} <= set(told(found)["allow"].split(", "))


@pytest.mark.parametrize("path", ["", "/nowhere", "/v1", "/tasks/a/b/c/d", "**"])
def test_options_of_a_path_that_is_not_there_finds_nothing(path: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        answer_before_body(request("OPTIONS", path))

    assert caught.value.kind is ErrorKind.NOT_FOUND


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "TRACE", "BREW", "options"])
def test_every_other_method_goes_on(method: str) -> None:
    assert answer_before_body(request(method, "/health")) is None


def test_this_is_no_proxy() -> None:
    with pytest.raises(ProtocolError) as caught:
        answer_before_body(request("CONNECT", "example.org:443"))

    refused = refusal(caught.value, "1.0", "Bearer")
    assert (refused.status, told(refused)["allow"]) == (405, "")


@pytest.mark.parametrize(
    ("listed", "header"),
    [("GET", "GET, HEAD, OPTIONS"), ("GET, HEAD", "GET, HEAD, OPTIONS"), ("DELETE, POST", "DELETE, OPTIONS, POST")],
)
def test_a_method_that_is_not_allowed_is_told_which_are(listed: str, header: str) -> None:
    error = ProtocolError(ErrorKind.METHOD_NOT_ALLOWED, metadata={"allow": listed})

    assert told(refusal(error, "0.3", "Bearer"))["allow"] == header


def test_http_2_has_no_fields_of_one_connection() -> None:
    kept = (("content-type", "x"), ("sec-websocket-version", "13"), ("keep-alived", "y"))
    own = (
        ("connection", "Upgrade, X-Own"),
        ("upgrade", "websocket"),
        ("x-own", "z"),
        ("transfer-encoding", "chunked"),
    )

    assert end_to_end((own[0], *kept, *own[1:])) == kept
    assert end_to_end(()) == ()


def test_two_deadlines_are_none() -> None:
    headers = header_map([(b"grpc-timeout", b"3S"), (b"grpc-timeout", b"5S")])

    with pytest.raises(ProtocolError, match=r"^grpc-timeout: ") as caught:
        grpc.timeout(headers)
    assert caught.value.row.grpc == "INVALID_ARGUMENT"


def test_json_is_compressible() -> None:
    assert negotiate_coding(json_response(200, ["x" * 100]), "gzip", 50)[1]


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("POST", "/", "/"),
        ("GET", "/health", "/health"),
        ("GET", CARD_PATHS[0], CARD_PATHS[0]),
        ("POST", "/message:send", "/message:send"),
        ("POST", "/v1/message:stream", "/v1/message:stream"),
        ("GET", "/tasks/t-1", "/tasks/{id}"),
        ("HEAD", "/tasks/t-1", "/tasks/{id}"),
        ("DELETE", "/tasks/t-1", "/tasks/{id}"),
        ("GET", "/tasks/t-1:subscribe", "/tasks/{id}:subscribe"),
        ("GET", "/acme/tasks", "/{tenant}/tasks"),
        ("GET", "/tasks/tasks", "/tasks/{id}"),
        (
            "DELETE",
            "/tasks/t-1/pushNotificationConfigs/c-1",
            "/tasks/{id}/pushNotificationConfigs/{config_id}",
        ),
        ("GET", "/agent/authenticatedExtendedCard", "/agent/authenticatedExtendedCard"),
        ("GET", "/console", "/console"),
        ("POST", "/console/session", "/console/session"),
        ("GET", "/console/main.js", "/console/{file}"),
        ("GET", "/tasks/t-1:explode", None),
        ("GET", "/a/b/c/d/e", None),
        ("GET", "*", None),
    ],
)
def test_the_template_of_a_path_is_that_of_the_table_of_routes(method: str, path: str, template: str | None) -> None:
    assert route_template(method, path) == template


WORDS = {word for operation in Operation for route in operation.row.routes for word in route.path.split("/")}
CONSOLE = {"console", "session", "{file}"}
SEGMENTS = st.sampled_from([*WORDS, "v1", "t-1:cancel", "tasks", "message:send"]) | st.text(max_size=10)


@given(st.sampled_from(["GET", "POST", "PUT", "BREW"]), st.lists(SEGMENTS, max_size=5))
def test_a_template_has_no_word_of_the_callers(method: str, segments: list[str]) -> None:
    found = route_template(method, "/" + "/".join(segments))

    assert set((found or "").split("/")) <= {"", "v1", "{tenant}", *CONSOLE, *WORDS}
