"""HTTP as good servers speak it: compression, HEAD, OPTIONS, connections that are kept, pipelining, HTTP/2.

Speaks HTTP/1.1 with h11 and HTTP/2 with h2, each over a bare socket, so that what is on the connection is seen.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import h2.config
import h2.connection
import h2.errors
import h2.events
import h11
import orjson
import pytest
from anyio.abc import SocketStream
from attrs import define, field

from opencode_a2a.fake_opencode import HELLO, Say
from sansio.a2a.bindings.sse import SseDecoder
from tests.shell.harness import ALICE, DEADLINE, REST_10, Agent, Serving, client

pytestmark = pytest.mark.anyio

CARD = "/.well-known/agent-card.json"
PROOF = {"authorization": f"Bearer {ALICE}", "a2a-version": "1.0"}
PLAIN = {"accept-encoding": "identity"}
GZIP = {"accept-encoding": "gzip"}


@asynccontextmanager
async def connected(agent: Agent) -> AsyncGenerator[SocketStream]:
    host, _, port = agent.url.removeprefix("http://").rpartition(":")
    async with await anyio.connect_tcp(host, int(port)) as raw:
        yield raw


# --- compression ------------------------------------------------------------------------------------------


async def raw_get(agent: Agent, path: str, headers: dict[str, str], method: str = "GET") -> tuple[Any, bytes]:
    """The headers, and the body as it was on the way."""
    async with agent.http.stream(method, path, headers={**PROOF, **headers}) as response:
        assert response.status_code == 200
        return response.headers, b"".join([piece async for piece in response.aiter_raw()])


@pytest.mark.parametrize("size", [2_000, 200_000])
async def test_a_large_answer_comes_in_gzip_to_who_takes_it(serving: Serving, size: int) -> None:
    async with serving(http_gzip_minimum_size=1000) as agent:
        task = await agent.caller().send("hi" + "!" * size)
        path = f"/tasks/{task.id}"

        plain, whole = await raw_get(agent, path, PLAIN)
        packed, compressed = await raw_get(agent, path, GZIP)

    assert "content-encoding" not in plain
    assert packed["content-encoding"] == "gzip"
    assert len(compressed) < len(whole)
    assert gzip.decompress(compressed) == whole
    assert orjson.loads(whole)["id"] == task.id
    for headers, body in ((plain, whole), (packed, compressed)):
        assert headers["vary"] == "Accept-Encoding"
        assert headers["content-length"] == str(len(body))


async def test_a_compressed_card_has_a_name_that_caches_can_use(serving: Serving) -> None:
    async with serving(http_gzip_minimum_size=100) as agent:
        plain, whole = await raw_get(agent, CARD, PLAIN)
        packed, compressed = await raw_get(agent, CARD, GZIP)
        for tag, coding in ((plain["etag"], GZIP), (packed["etag"], GZIP), (packed["etag"], PLAIN)):
            again = await agent.http.get(CARD, headers={"if-none-match": tag, **coding})
            expected = packed if coding is GZIP else plain

            assert (again.status_code, again.content) == (304, b"")
            assert (again.headers["etag"], again.headers["vary"]) == (expected["etag"], "Accept-Encoding")
            assert "content-encoding" not in again.headers

    assert gzip.decompress(compressed) == whole
    assert packed["etag"] == f"W/{plain['etag']}"


@pytest.mark.parametrize("minimum", [0, 1_000_000])
async def test_without_compression_nothing_is_said_of_it(serving: Serving, minimum: int) -> None:
    async with serving(http_gzip_minimum_size=minimum) as agent:
        headers, body = await raw_get(agent, CARD, GZIP)

    assert orjson.loads(body)["name"]
    assert not {"vary", "content-encoding"} & set(headers)
    assert not headers["etag"].startswith("W/")


async def test_a_stream_is_never_compressed(serving: Serving) -> None:
    async with serving(http_gzip_minimum_size=1) as agent:
        body = orjson.dumps(REST_10.message("hi"))
        headers = {**PROOF, **GZIP, "content-type": "application/json"}
        content = b'{"message":%b}' % body
        async with agent.http.stream("POST", "/message:stream", headers=headers, content=content) as response:
            said = b"".join([piece async for piece in response.aiter_raw()])

    assert not {"vary", "content-encoding"} & set(response.headers)
    assert len(SseDecoder().feed(said)) > 2


# --- methods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [PLAIN, GZIP], ids=["plain", "gzip"])
async def test_head_has_the_headers_of_get(serving: Serving, coding: dict[str, str]) -> None:
    async with serving(http_gzip_minimum_size=200) as agent:
        task = await agent.caller().send("hi")
        for path in (CARD, "/.well-known/agent.json", "/health", f"/tasks/{task.id}", f"/v1/tasks/{task.id}"):
            whole, body = await raw_get(agent, path, coding)
            head, nothing = await raw_get(agent, path, coding, method="HEAD")

            assert (nothing, bool(body)) == (b"", True)
            own = {"date": None, "traceparent": None}
            assert {**head, **own} == {**whole, **own}


async def test_head_of_what_is_not_there_has_its_status_and_no_body(serving: Serving) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        assert (await agent.http.head("/tasks/none", headers=PROOF)).status_code == 404
        assert (await agent.http.head("/nowhere")).status_code == 404
        assert (await agent.http.head("/message:send")).status_code == 405
        assert (await http.head("/health")).status_code == 401


async def test_head_of_a_stream_does_not_wait_for_its_end(serving: Serving) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with agent.caller(REST_10).open("hi") as stream:
            await stream.until(lambda: stream.text)

            head = await agent.http.head(f"/tasks/{stream.task.id}:subscribe", headers=PROOF)

            assert stream.text != HELLO
            agent.fake_opencode.release()
            await stream.whole()

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert (stream.state, stream.text) == ("completed", HELLO)


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/", "OPTIONS, POST"),
        (CARD, "GET, HEAD, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/message:send", "OPTIONS, POST"),
        ("/v1/message:stream", "OPTIONS, POST"),
    ],
)
async def test_options_is_answered_for_whoever_asks(serving: Serving, path: str, allow: str) -> None:
    async with serving() as agent, client(agent.url, None) as http:
        response = await http.options(path)
        nowhere = await http.options(f"{path}/nowhere/at/all")

    assert (response.status_code, response.content, response.headers["allow"]) == (204, b"", allow)
    assert "content-length" not in response.headers
    assert nowhere.status_code == 404


@pytest.mark.parametrize("method", ["TRACE", "BREW", "PROPFIND", "x-y"])
async def test_methods_nobody_offers_are_not_allowed(serving: Serving, method: str) -> None:
    async with serving() as agent:
        for path in ("/", CARD, "/health", "/message:send", "/tasks/t", "/v1/tasks/t"):
            response = await agent.http.request(method, path)

            assert response.status_code == 405
            assert "OPTIONS" in response.headers["allow"]
        assert (await agent.http.request(method, "/nowhere")).status_code == 404


# --- HTTP/1.1 ---------------------------------------------------------------------------------------------


@define(eq=False)
class Http1:
    """A connection that speaks HTTP/1.1, one exchange after the other or several requests ahead."""

    raw: SocketStream
    connection: h11.Connection = field(factory=lambda: h11.Connection(h11.CLIENT))

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
        about = {"content-length": str(len(body)), "content-type": "application/json"} if body else {}
        pairs = {"host": "agent", **PROOF, **headers, **about}
        request = h11.Request(method=method, target=target, headers=list(pairs.items()))
        start = self.connection.send(request)
        data = self.connection.send(h11.Data(body)) if body else b""
        return (start or b"") + (data or b"") + (self.connection.send(h11.EndOfMessage()) or b"")

    async def answer(self) -> tuple[int, bytes]:
        status, body = 0, b""
        with anyio.fail_after(DEADLINE):
            while True:
                event = self.connection.next_event()
                if event is h11.NEED_DATA:
                    self.connection.receive_data(await self.raw.receive())
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return status, body

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        await self.raw.send(self.request(method, target, body, **headers))
        answer = await self.answer()
        self.connection.start_next_cycle()
        return answer


async def test_one_connection_serves_requests_of_all_kinds(serving: Serving) -> None:
    async with serving(http_gzip_minimum_size=1) as agent, connected(agent) as raw:
        http = Http1(raw)
        text = orjson.dumps({"message": REST_10.message("hi")})
        asked = [
            ("GET", CARD, b"", 200),
            ("HEAD", CARD, b"", 200),
            ("OPTIONS", "*", b"", 204),
            ("OPTIONS", "/health", b"", 204),
            ("GET", "/nowhere", b"", 404),
            ("TRACE", "/health", b"", 405),
            ("POST", "/message:send", b"{", 400),
            ("POST", "/message:send", text, 200),
            ("POST", "/message:stream", text.replace(b'"hi"', b'"ho"'), 200),
            ("GET", "/health", b"", 200),
        ]
        for method, target, body, status in asked:
            found, said = await http.ask(method, target, body, **{"accept-encoding": "gzip"})

            assert (method, target, found) == (method, target, status)
            assert bool(said) is (method != "HEAD" and status != 204)


async def test_requests_sent_ahead_are_answered_in_order_and_whole(serving: Serving) -> None:
    async with serving() as agent, connected(agent) as raw:
        card = (await agent.http.get(CARD)).content
        text = orjson.dumps({"message": REST_10.message("hi")})
        ahead = [
            ("GET", "/health", b""),
            ("POST", "/message:send", text),
            ("HEAD", CARD, b""),
            ("POST", "/message:stream", text.replace(b"hi", b"ho")),
            ("GET", CARD, b""),
            ("GET", "/nowhere", b""),
        ]
        await raw.send(b"".join(Http1(raw).request(*one) for one in ahead))
        rest, answers = b"", []
        for one in ahead:
            http = Http1(raw)
            http.request(*one)
            if rest:
                http.connection.receive_data(rest)
            answers.append(await http.answer())
            rest = http.connection.trailing_data[0]

    statuses = [status for status, _ in answers]
    assert statuses == [200, 200, 200, 200, 200, 404]
    assert orjson.loads(answers[0][1])["status"] == "ok"
    assert orjson.loads(answers[1][1])["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert (answers[2][1], answers[4][1], rest) == (b"", card, b"")
    assert b"TASK_STATE_COMPLETED" in answers[3][1]


async def test_connect_is_refused(serving: Serving) -> None:
    async with serving() as agent, connected(agent) as raw:
        http = Http1(raw)
        await raw.send(http.request("CONNECT", "example.org:443"))
        status, body = await http.answer()

        assert (status, bool(body)) == (405, True)
        assert (await agent.http.get("/health")).status_code == 200


# --- HTTP/2 -----------------------------------------------------------------------------------------------


@define(eq=False)
class Answer:
    """What has come on one stream of a connection."""

    status: int = 0
    body: bytes = b""
    ended: bool = False
    reset: bool = False

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def items(self) -> list[Any]:
        return [orjson.loads(event.data) for event in SseDecoder().feed(self.body)]


@define(eq=False)
class Http2:
    """A connection that speaks HTTP/2 from its first byte on."""

    raw: SocketStream
    connection: h2.connection.H2Connection = field(
        factory=lambda: h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    )
    answers: dict[int, Answer] = field(factory=dict)
    closed: bool = False

    async def start(self) -> Http2:
        self.connection.initiate_connection()
        await self.flush()
        return self

    async def flush(self) -> None:
        if data := self.connection.data_to_send():
            await self.raw.send(data)

    async def open(self, method: str, path: str | bytes, *, end: bool = True, **headers: str) -> int:
        """Start a request; the number of its stream."""
        number = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "agent")]
        about = {} if end else {"content-type": "application/json"}
        pairs = {**PROOF, **about, **headers}
        self.connection.send_headers(number, [*pseudo, *pairs.items()], end_stream=end)
        self.answers[number] = Answer()
        await self.flush()
        return number

    async def post(self, path: str, text: str) -> int:
        number = await self.open("POST", path, end=False)
        await self.send(number, orjson.dumps({"message": REST_10.message(text)}), end=True)
        return number

    async def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        self.connection.send_data(number, data, end_stream=end)
        await self.flush()

    async def reset(self, number: int) -> None:
        self.connection.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        await self.flush()

    async def more(self) -> None:
        try:
            data = await self.raw.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self.closed = True
            return
        for event in self.connection.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", None) or 0, Answer())
            if isinstance(event, h2.events.ResponseReceived):
                answer.status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                answer.body += event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                answer.ended = True
            elif isinstance(event, h2.events.StreamReset):
                answer.reset = True
        await self.flush()

    def gone(self, answer: Answer) -> bool:
        """Whether nothing more will come of it."""
        return self.closed or answer.ended or answer.reset

    async def whole(self, number: int) -> Answer:
        answer = self.answers[number]
        with anyio.fail_after(DEADLINE):
            while not answer.ended:
                assert not self.gone(answer)
                await self.more()
        return answer

    async def said(self, number: int, text: bytes) -> Answer:
        answer = self.answers[number]
        with anyio.fail_after(DEADLINE):
            while text not in answer.body:
                assert not self.gone(answer)
                await self.more()
        return answer


@asynccontextmanager
async def http2(agent: Agent) -> AsyncGenerator[Http2]:
    async with connected(agent) as raw:
        yield await Http2(raw).start()


FIRST = HELLO.split(" ", 1)[0].encode()


async def test_streams_and_single_answers_share_a_connection(serving: Serving) -> None:
    async with serving(http2=True) as agent, http2(agent) as http:
        agent.fake_opencode.hold(Say, tokens=1)
        streams = [await http.post("/message:stream", f"hi {number}") for number in range(3)]
        for number in streams:
            await http.said(number, FIRST)

        others = [await http.open("GET", "/health"), await http.open("HEAD", CARD), await http.open("OPTIONS", "*")]
        others += [await http.open("GET", "/nowhere"), await http.open("GET", CARD)]
        statuses = [(await http.whole(number)).status for number in others]
        task = http.answers[streams[0]].items[0]["task"]["id"]
        running = await http.whole(await http.open("GET", f"/tasks/{task}"))
        agent.fake_opencode.release()
        ended = [await http.whole(number) for number in streams]

    assert statuses == [200, 200, 204, 404, 200]
    assert running.json["status"]["state"] == "TASK_STATE_WORKING"
    for answer in ended:
        assert answer.items[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert len({answer.items[0]["task"]["id"] for answer in ended}) == 3


async def test_a_stream_that_is_reset_takes_nothing_along(serving: Serving) -> None:
    async with serving(http2=True) as agent, http2(agent) as http:
        agent.fake_opencode.hold(Say, tokens=1)
        left, kept = [await http.post("/message:stream", text) for text in ("hi", "ho")]
        for number in (left, kept):
            await http.said(number, FIRST)
        task = http.answers[left].items[0]["task"]["id"]

        await http.reset(left)
        health = await http.whole(await http.open("GET", "/health"))
        agent.fake_opencode.release()
        answer = await http.whole(kept)
        finished = await agent.caller().finished(task)

    assert health.status == 200
    assert answer.items[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert finished.status.state.value == "completed"
    assert not http.answers[left].ended


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_comes_after_its_answer_harms_no_other_stream(serving: Serving, announced: bool) -> None:
    async with serving(max_request_body_bytes=2000, http2=True) as agent, http2(agent) as http:
        agent.fake_opencode.hold(Say, tokens=1)
        stream = await http.post("/message:stream", "hi")
        await http.said(stream, FIRST)

        if announced:
            late = await http.open("POST", "/message:send", end=False, **{"content-length": "9000"})
            await http.said(late, b"2000")
        else:
            late = await http.open("GET", CARD, end=False)
            await http.said(late, b"capabilities")
        for _ in range(8):
            await http.send(late, b"x" * 1000)
        await http.send(late, b"x" * 1000, end=True)
        refused = await http.whole(late)
        agent.fake_opencode.release()
        answer = await http.whole(stream)

    assert refused.status == (413 if announced else 200)
    assert answer.items[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize(("method", "path"), [("GET", b"/\xff\xfe"), ("CONNECT", b"/")])
async def test_a_connection_that_makes_no_sense_ends_alone_and_its_bytes_stay_out_of_the_log(
    serving: Serving, caplog: pytest.LogCaptureFixture, method: str, path: bytes
) -> None:
    async with serving(http2=True) as agent, http2(agent) as good, http2(agent) as bad:
        with caplog.at_level(logging.DEBUG):
            await bad.open(method, path)
            with anyio.fail_after(DEADLINE):
                while not bad.gone(bad.answers[1]):
                    await bad.more()

            assert (await good.whole(await good.open("GET", "/health"))).status == 200
            assert (await agent.http.get("/health")).status_code == 200

    assert bad.answers[1].status in (0, 400, 403, 404, 405)
    assert "Traceback" not in caplog.text
    assert "HTTP/2.0" not in caplog.text
