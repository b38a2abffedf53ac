"""The log: what a line looks like, what is in it for each request and turn, and what never is."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from attrs import define, field

from opencode_a2a.cli import call
from opencode_a2a.config.settings import Settings
from opencode_a2a.config.settings_secrets import redactor_of
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.logs import OURS, WriterHandler, log_event, logging_to, plain
from sansio.redact import Redactor, Secret
from tests.shell.cases import every_http_codec, every_http_json_codec, every_json_codec, one_codec
from tests.shell.harness import (
    ALICE,
    BOB,
    CAROL,
    CREDENTIALS,
    DEADLINE,
    REST_10,
    RPC_03,
    RPC_10,
    WIRES,
    Agent,
    Serving,
    Wire,
    until,
)
from tests.shell.push_receiver import answer, receiving

pytestmark = pytest.mark.anyio

LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<text>.+)"
)


@define
class Written:
    """What has been logged so far."""

    stream: io.StringIO = field(factory=io.StringIO)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self, logger: str = "") -> list[re.Match[str]]:
        """The records of a logger and those below it, oldest first. Every line is a record, or belongs to one."""
        found = [LINE.fullmatch(line) for line in self.text.splitlines() if not line.startswith("    ")]
        assert None not in found, self.text
        return [match for match in found if match and match["logger"].startswith(logger)]

    def requests(self) -> list[str]:
        return [match["text"] for match in self.lines("opencode_a2a.server.http.request_log")]

    def turns(self) -> list[re.Match[str]]:
        return self.lines("opencode_a2a.agent.turns.turn_report")


@contextmanager
def logged(level: str) -> Generator[Written]:
    written = Written()
    with logging_to(written.stream, level):
        yield written


# --- what a line looks like -------------------------------------------------------------------------------


def test_a_line_says_when_how_grave_and_who() -> None:
    with logged("INFO") as written:
        before = time.time()
        logging.getLogger("opencode_a2a.here").warning("one %s", "two")

    [line] = written.lines()
    assert (line["level"], line["logger"], line["text"]) == ("WARNING", "opencode_a2a.here", "one two")
    stamp = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before))
    assert line["time"][:15] == stamp[:15]


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\n2026-01-01T00:00:00.000Z ERROR x: forged", "\x1b[31mred", "\u2028", "\u202eback"]
)
def test_what_callers_send_cannot_make_a_line_or_move_the_cursor(text: str) -> None:
    with logged("INFO") as written:
        logging.getLogger("opencode_a2a").info("path %s", text)

    assert len(written.lines()) == len(written.text.splitlines()) == 1
    assert plain(text) in written.text
    assert plain(text).isprintable()


def test_what_no_encoding_can_write_is_escaped() -> None:
    assert plain("a\ud800b") == "a\\ud800b"


def test_a_traceback_follows_its_line_and_cannot_pass_for_another() -> None:
    with logged("INFO") as written:
        try:
            raise ValueError("bad\n2026-01-01T00:00:00.000Z ERROR x: forged")
        except ValueError:
            logging.getLogger("opencode_a2a").exception("it failed")

    assert len(written.lines()) == 1
    assert "    ValueError: bad" in written.text
    assert "\n    2026-01-01" in written.text


def test_a_long_text_is_cut() -> None:
    assert len(plain("x" * 10_000)) == 201
    with logged("INFO") as written:
        logging.getLogger("opencode_a2a").info("%s", "y" * 100_000)

    assert len(written.text) < 3000


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_the_level_is_for_our_loggers_and_other_libraries_stay_at_warning(level: str) -> None:
    others = ("hpack.hpack", "h2", "httpcore.http11", "httpx", "asyncio", "sqlalchemy.engine", "hypercorn.error")
    logging.getLogger("hypercorn.error").setLevel(logging.DEBUG)  # some libraries set a level of their own
    with logged(level) as written:
        for name in (*OURS, *others):
            for grade in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
                logging.getLogger(name).log(grade, "said")

    for name in OURS:
        grades = [line["level"] for line in written.lines() if line["logger"] == name]
        assert grades == ["DEBUG", "INFO", "WARNING", "ERROR"][["DEBUG", "INFO", "WARNING", "ERROR"].index(level) :]
    for name in others:
        grades = [line["level"] for line in written.lines() if line["logger"] == name]
        assert grades == (["ERROR"] if level == "ERROR" else ["WARNING", "ERROR"])


def test_levels_are_as_they_were_afterwards() -> None:
    before = logging.getLogger("opencode_a2a").level, logging.getLogger().handlers[:]
    with logged("DEBUG"):
        pass

    assert (logging.getLogger("opencode_a2a").level, logging.getLogger().handlers[:]) == before


def test_a_log_that_nobody_reads_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opencode_a2a.logs.MOST_WAITING", 3)
    monkeypatch.setattr("opencode_a2a.logs.LAST_WORDS", 0.01)
    stuck = Stuck()
    handler = WriterHandler(stuck)
    record = logging.makeLogRecord({"msg": "said", "levelno": 20, "levelname": "INFO", "name": "opencode_a2a"})
    started = time.monotonic()
    for _ in range(100):
        handler.handle(record)
    handler.close()
    took = time.monotonic() - started
    stuck.gate.release()

    assert took < DEADLINE / 6


class Stuck(io.StringIO):
    """A stream whose reader does not read."""

    def __init__(self) -> None:
        super().__init__()
        from threading import Semaphore

        self.gate = Semaphore(0)

    def write(self, text: str) -> int:
        with self.gate:
            return super().write(text)


# --- requests and turns -----------------------------------------------------------------------------------


@every_http_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
async def test_info_has_one_line_for_a_request_and_two_for_its_turn(
    serving: Serving, wire: Wire, operation: str
) -> None:
    with logged("INFO") as written:
        async with serving() as agent:
            caller = agent.caller(wire)
            task = await caller.send("hi") if operation == "send" else (await caller.stream("hi")).task
            await until(lambda: len(written.requests()) + len(written.turns()) == 3)

    [request], [begun, turn] = written.requests(), written.turns()
    name = {"rpc": {"send": ("message/send", "SendMessage"), "stream": ("message/stream", "SendStreamingMessage")}}
    names = name["rpc"][operation] if wire.binding == "rpc" else (operation.upper(),) * 2
    assert request.startswith("POST /")
    assert f" {names[wire.version == '1.0']} 200 " in request
    assert re.search(r" \d+\.\d ms principal=alice ", request)
    facts = rf"task={task.id} context={task.context_id} session=ses_\w+"
    assert re.search(rf" ms principal=alice credential=a {facts} trace=[0-9a-f]{{32}}$", request)
    assert begun["level"] == turn["level"] == "INFO"
    assert re.fullmatch(rf"begun after \d+ ms {facts} principal=alice trace=[0-9a-f]{{32}}", begun["text"])
    assert re.fullmatch(rf"completed \d+ ms {facts} principal=alice trace=[0-9a-f]{{32}}", turn["text"])


async def test_a_level_above_info_has_no_line_for_what_goes_well(serving: Serving) -> None:
    with logged("WARNING") as written:
        async with serving() as agent:
            await agent.caller().send("hi")

    assert written.text == ""


@every_http_json_codec
async def test_a_refusal_says_why_and_nothing_of_what_was_sent(serving: Serving, wire: Wire) -> None:
    with logged("INFO") as written:
        async with serving() as agent:
            caller = agent.caller(wire)
            await caller.refused("get", id="no-such%0Aforged" if wire.binding == "rest" else "no-such\nforged")
            await caller.refused("send", None, parts=[{"kind": "text", "text": 5, "private-member": 1}])
            await agent.http.get("/tasks", headers={"authorization": "Bearer no-such-token"})
            await until(lambda: len(written.requests()) == 3)

    missing, wrong, unknown = written.requests()
    assert "refused=TASK_NOT_FOUND" in missing
    assert "\\nforged" in missing
    assert re.search(r"refused=INVALID_\w+ fields=\S*message\.parts", wrong)
    assert "refused=UNAUTHENTICATED" in unknown
    assert "principal=" not in unknown
    assert "no-such-token" not in written.text


@one_codec
async def test_a_failed_turn_and_a_providers_401_are_warnings_with_the_reason(serving: Serving, wire: Wire) -> None:
    with logged("WARNING") as written:
        async with serving() as agent:
            await agent.caller(wire).send("FAIL401")
            agent.fake_opencode.fail_next("POST", "/session", 500, {"message": "told-by-opencode"})
            await agent.caller(wire).send("hi")
            await until(lambda: len(written.turns()) == 2)

    refused, failed = written.turns()
    assert (refused["level"], failed["level"]) == ("WARNING", "WARNING")
    assert "auth-required" in refused["text"]
    assert "error=UPSTREAM_UNAUTHORIZED upstream_status=401" in refused["text"]
    assert failed["text"].startswith("failed ")
    assert "error=UPSTREAM_SERVER_ERROR upstream_status=500" in failed["text"]
    assert "told-by-opencode" not in written.text


# --- what is never in it ----------------------------------------------------------------------------------

OPENCODE_PASSWORD, WRONG_PASSWORD = "opencode-pass-9c1f", "opencode-wrong-e22a"
PUSH_TOKEN, PUSH_PROOF, COOKIE = "push-token-7b3e", "push-proof-40ad", "receiver-cookie-c5d8"
PROMPT = "prompt-words-81ff"


async def everything(agent: Agent, receiver_url: str) -> None:
    """Requests, pushes, refusals and failures: as much of the product as one test can reach."""
    notify = {
        "url": receiver_url,
        "token": PUSH_TOKEN,
        "authentication": {"scheme": "Bearer", "credentials": PUSH_PROOF},
    }
    old = {**notify, "authentication": {"schemes": ["Bearer"], "credentials": PUSH_PROOF}}
    for wire in WIRES:
        config = {"taskPushNotificationConfig": notify} if wire.version == "1.0" else {"pushNotificationConfig": old}
        await agent.caller(wire).send(f"ECHO {PROMPT}", configuration=config)
        await agent.caller(wire).stream(f"TOOL {PROMPT}")
        await agent.caller(wire).refused("get", id="none")
        await agent.caller(wire).send(f"FAIL401 {PROMPT}")
        agent.fake_opencode.fail_next("POST", "/session", 401, {"message": PROMPT})
        await agent.caller(wire, bob=True).send(PROMPT)
        agent.fake_opencode.fail_next("POST", "/session", 500, PROMPT.encode())
        await agent.caller(wire).send(PROMPT)
    await agent.http.get("/health", headers={"authorization": "Bearer wrong-token-3d"})
    await agent.http.get("/health", headers={"authorization": f"Basic {base64.b64encode(b'carol:nope').decode()}"})
    await agent.http.get("/health", auth=CAROL)
    await agent.http.post("/", content=b"{" + PROMPT.encode(), headers={"Content-Type": "application/json"})
    await agent.http.get("/extendedAgentCard", headers={"cookie": COOKIE, "A2A-Version": "1.0"})
    out, err = io.StringIO(), io.StringIO()
    agent.running.listening(Settings(port=int(agent.url.rpartition(":")[2]), credentials=CREDENTIALS))
    settings = Settings(client_bearer_token=Secret(ALICE))
    assert await call.call(call.CallTarget.of(agent.url, settings), f"ECHO {PROMPT}", out=out, err=err) == 0
    wrong = Settings(client_bearer_token=Secret("call-token-wrong-17"))
    assert await call.call(call.CallTarget.of(agent.url, wrong), PROMPT, out=out, err=err) != 0


async def test_no_secret_and_no_prompt_is_logged_at_debug(serving: Serving) -> None:
    fake_opencode = FakeOpenCode(pause=0, tick=0.001, password=OPENCODE_PASSWORD)
    cookie = answer(204, f"set-cookie: session={COOKIE}")
    refusing = answer(500, f"set-cookie: session={COOKIE}")
    with logged("DEBUG") as written:
        async with receiving() as receiver:
            url = receiver.plan("/hook", refusing, cookie)
            async with serving(
                fake_opencode, opencode_password=Secret(OPENCODE_PASSWORD), push_allow_private_hosts=True
            ) as agent:
                await everything(agent, url)
                await receiver.until(lambda: len(receiver.at("/hook")) > len(WIRES))
            async with serving(fake_opencode, opencode_password=Secret(WRONG_PASSWORD)) as agent:
                await agent.caller(RPC_10).send(PROMPT)

    assert len(written.requests()) > 20
    proofs = [base64.b64encode(f"opencode:{word}".encode()).decode() for word in (OPENCODE_PASSWORD, WRONG_PASSWORD)]
    secrets = (
        ALICE,
        BOB,
        CAROL[1],
        OPENCODE_PASSWORD,
        WRONG_PASSWORD,
        PUSH_TOKEN,
        PUSH_PROOF,
        COOKIE,
        PROMPT,
        *proofs,
    )
    more = ("wrong-token-3d", "call-token-wrong-17", base64.b64encode(b"carol:nope").decode())
    for secret in (*secrets, *more):
        assert secret not in written.text, secret


async def test_a_request_over_http2_leaves_no_credential_in_the_log(serving: Serving) -> None:
    with logged("DEBUG") as written:
        async with serving(http2=True) as agent:
            headers = {"authorization": f"Bearer {ALICE}"}
            async with httpx.AsyncClient(base_url=agent.url, http1=False, http2=True, headers=headers) as http:
                assert (await http.get("/health")).http_version == "HTTP/2"
            await until(lambda: written.requests())

    assert ALICE not in written.text


@pytest.mark.parametrize("wire", [RPC_03, REST_10], ids=str)
async def test_a_failure_of_ours_is_an_error_with_a_traceback_and_no_prompt(
    serving: Serving, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logged("INFO") as written:
        async with serving() as agent:
            monkeypatch.setattr(agent.running.tasks.operations, "send", None)
            await agent.caller(wire).refused("send", PROMPT)
            await until(lambda: written.requests())

    assert "Traceback" in written.text
    assert "refused=INTERNAL_ERROR" in written.requests()[0]
    assert PROMPT not in written.text


# --- JSON -------------------------------------------------------------------------------------------------


@one_codec
async def test_in_json_a_record_is_an_object_whose_fields_are_members(serving: Serving, wire: Wire) -> None:
    stream = io.StringIO()
    parent = f"00-{'a1' * 16}-{'b2' * 8}-01"
    with logging_to(stream, "INFO", json=True):
        async with serving() as agent:
            caller = agent.caller(wire)
            agent.http.headers["traceparent"] = parent
            task = (await caller.stream("hi")).task
            await caller.refused(
                "get", id="no such%0Atask=forged" if wire.binding == "rest" else "no such\ntask=forged"
            )
            await until(lambda: stream.getvalue().count("\n") >= 5)

    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    streamed, refused = (record for record in records if record["logger"].endswith("request_log"))
    begun, ended = (record for record in records if record["logger"].endswith("turn_report"))
    known = {"principal": "alice", "task": task.id, "context": task.context_id, "level": "INFO"}
    more = {"credential": "a", "trace": "a1" * 16, "status": 200, "outcome": "ok", "method": "POST"}
    assert {name: streamed[name] for name in known | more} == known | more
    assert streamed["session"] == begun["session"] == ended["session"]
    assert streamed["session"].startswith("ses_")
    assert streamed["duration_ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", streamed["time"])
    assert (refused["outcome"], refused["refused"]) == ("refused", "TASK_NOT_FOUND")
    assert refused["task"] == "no such\ntask=forged"
    assert {name: ended[name] for name in known} == known
    assert (begun["turn"], ended["turn"], ended["state"]) == ("begun", "ended", "completed")


@pytest.mark.parametrize("text", ["a\nb", '", "level": "ERROR', "\u2028", "\x00\x1b[31m", "\u202eback"])
def test_in_json_nothing_makes_a_line_or_a_member(text: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, "INFO", json=True):
        log_event(logging.getLogger("opencode_a2a"), logging.INFO, text, {"field": text, "none": None})

    [line] = stream.getvalue().splitlines()
    record = json.loads(line)
    assert line.isascii()
    assert (record["message"], record["field"], record["level"], "none" in record) == (text, text, "INFO", False)


def test_in_json_a_traceback_is_a_member() -> None:
    stream = io.StringIO()
    with logging_to(stream, "INFO", json=True):
        try:
            raise ValueError("bad")
        except ValueError:
            logging.getLogger("opencode_a2a").exception("it failed")

    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("ValueError: bad")


def test_a_field_cannot_pass_for_another_one() -> None:
    with logged("INFO") as written:
        log_event(
            logging.getLogger("opencode_a2a"), logging.INFO, "said", {"task": "a principal=root", "session": ""}
        )

    assert written.lines()[0]["text"] == 'said task="a principal=root" session=""'


# --- secrets and directories, whoever writes them ---------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_and_directories_of_the_settings_are_in_no_record(form: str) -> None:
    settings = Settings(
        credentials=CREDENTIALS,
        opencode_password=Secret('pass"word-77'),
        client_bearer_token=Secret("client-token-1"),
        task_store_database_url="postgresql://me:db-pass%2F1@host/db",
        workspace_root="/srv/projects/one",
    )
    secrets = (ALICE, BOB, CAROL[1], 'pass"word-77', "client-token-1", "db-pass%2F1", "db-pass/1")
    stream = io.StringIO()
    with logging_to(stream, "INFO", json=form == "json", redact=redactor_of(settings)):
        logger = logging.getLogger("opencode_a2a")
        for secret in secrets:
            log_event(logger, logging.INFO, f"message {secret}", {"field": f"x {secret}"})
            basic = base64.b64encode(f"carol:{secret}".encode()).decode()
            logger.info("Authorization: Basic %s at http://me:%s@host in %s/x", basic, secret, Path.home())
            try:
                raise OSError(f"cannot read /srv/projects/one/{secret}")
            except OSError:
                logger.exception("it failed")

    written = stream.getvalue()
    for secret in secrets:
        assert secret not in written
        assert json.dumps(secret)[1:-1] not in written
        assert base64.b64encode(f"carol:{secret}".encode()).decode() not in written
    assert "/srv/projects" not in written
    assert str(Path.home()) not in written
    assert "~/x" in written
    assert "<workspace>/***" in written


# --- the life of the server -------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "count"), [("INFO", 1), ("WARNING", 1), ("ERROR", 0)])
async def test_the_default_level_says_that_opencode_is_connected_and_nothing_of_requests(
    serving: Serving, level: str, count: int
) -> None:
    stream = io.StringIO()
    with logging_to(stream, level, lifecycle=True):
        async with serving() as agent:
            await agent.caller().send("hi")

    lines = [line for line in stream.getvalue().splitlines() if "INFO opencode_a2a.lifecycle: OpenCode is" in line]
    assert len(lines) == count
    if level == "WARNING":
        assert stream.getvalue().splitlines() == lines


# --- bodies, for an operator who asks for them ------------------------------------------------------------


def bodies(written: Written) -> list[str]:
    return [line["text"] for line in written.lines("opencode_a2a.server.http.payload_log")]


@every_json_codec
async def test_bodies_are_logged_at_debug_alone_and_only_where_that_is_set(serving: Serving, wire: Wire) -> None:
    found = {}
    for level, on in (("DEBUG", True), ("INFO", True), ("DEBUG", False)):
        with logged(level) as written:
            async with serving(log_payloads=on) as agent:
                await agent.caller(wire).send(f"ECHO {PROMPT}")
                await agent.caller(wire).stream("hi")
        found[level, on] = bodies(written)

    assert found["INFO", True] == found["DEBUG", False] == []
    request, answer, streamed = found["DEBUG", True]
    assert request.startswith("request ")
    assert answer.startswith("answer ")
    assert streamed.startswith("request ")
    assert PROMPT in request
    assert PROMPT in answer
    assert re.search(r" task=[0-9a-f-]{36} trace=[0-9a-f]{32} body=\{", answer)


async def test_a_body_is_cut_and_its_secrets_are_hidden(serving: Serving) -> None:
    notify = {
        "url": "https://me:url-pass@push.example/hook?token=query-token",
        "token": PUSH_TOKEN,
        "authentication": {"scheme": "Bearer", "credentials": PUSH_PROOF},
    }
    stream = io.StringIO()
    with logging_to(stream, "DEBUG", redact=Redactor.of([PROMPT])):
        async with serving(log_payloads=True, log_body_limit=1000) as agent:
            caller = agent.caller(RPC_10)
            await caller.ask(
                "send", caller.params(f"{PROMPT} hi", {"configuration": {"taskPushNotificationConfig": notify}})
            )
            await caller.send("x" * 5000)

    written = Written(stream)
    for secret in (PROMPT, PUSH_TOKEN, PUSH_PROOF, "url-pass", "query-token"):
        assert secret not in written.text, secret
    assert len(bodies(written)) == 4
    assert all(len(body) < 1400 for body in bodies(written))
    assert "x" * 500 in written.text
    assert "x" * 1001 not in written.text


async def test_bodies_of_sessions_and_of_what_is_not_understood_are_never_logged(serving: Serving) -> None:
    calls = ({"method": "opencode.sessions.list", "params": {"word": PROMPT}}, {"method": PROMPT}, {"params": PROMPT})
    with logged("DEBUG") as written:
        async with serving(log_payloads=True) as agent:
            for call in calls:
                await agent.http.post("/", json={"jsonrpc": "2.0", "id": 1, **call}, headers={"A2A-Version": "1.0"})
            await agent.http.post("/", content=b'{"' + PROMPT.encode(), headers={"Content-Type": "application/json"})

    found = [body.split(" trace=")[0] for body in bodies(written)]
    assert found == ["opencode.sessions.list is withheld", f"{PROMPT} is withheld"]
