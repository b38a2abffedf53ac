"""An agent that is not OpenCode behind the server: what it publishes, asks, raises, and how it is stopped."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
import trustme
from attrs import define, evolve, field

from opencode_a2a.server import (
    Agent,
    AgentHooks,
    AgentRequest,
    AgentServer,
    IdentityOptions,
    RunningTask,
    ServerOptions,
    find_runtime,
    open_agent,
)
from opencode_a2a.server.agent import Work
from sansio.a2a.cards.agent_card import CardSpec, Skill
from sansio.a2a.cards.parse import SERVED
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import Artifact, DataPart, FilePart, Message, TaskState, TextPart
from sansio.access.oidc import OidcPolicy
from sansio.guards.proxies import TrustedProxies, parse_networks
from tests.shell.cases import every_http_json_codec
from tests.shell.harness import ALICE, CREDENTIALS, DEADLINE, REST_03, RPC_10, Caller, Wire, client, served, until
from tests.shell.server.identity.openid_provider import AUDIENCE, provider

pytestmark = [
    pytest.mark.anyio,
    # httpx's generators of a stream that is left early
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]
TEXT = ("text/plain",)
CARD = CardSpec(
    name="Scripted",
    description="Does what a message says.",
    version="1",
    schemes=CREDENTIALS.schemes,
    skills=[Skill(id="s", name="s", description="s", tags=["s"], input_modes=TEXT, output_modes=TEXT)],
    input_modes=TEXT,
    output_modes=TEXT,
)


def text_of(message: Message) -> str:
    return " ".join(part.text for part in message.parts if isinstance(part, TextPart))


@define(eq=False)
class Scripted:
    """Does what the first word of a message says."""

    runs: list[str] = field(factory=list)
    cancelled: list[str] = field(factory=list)
    credentials: bool = False

    async def accept(self, request: AgentRequest) -> None:
        if any(isinstance(part, FilePart) for part in request.message.parts):
            raise ProtocolError(ErrorKind.CONTENT_TYPE_NOT_SUPPORTED, "No files")

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        text = text_of(request.message)
        self.runs.append(text)
        match text.split(" ")[0]:
            case "WORDS":
                for word in text.split(" ")[1:]:
                    task.text(f"{word} ")
                task.artifact(Artifact(artifact_id="count", name="count", parts=(DataPart(data={"n": 2}),)))
                task.metadata({"scripted": {"words": 2}})
            case "BREAK":
                raise RuntimeError("the secret of this agent")
            case "REFUSE":
                raise ProtocolError(ErrorKind.INVALID_PARAMS, "This cannot be done")
            case "REJECT":
                await task.status(TaskState.REJECTED, "Not this")
            case "ASK":
                answer = await task.ask("Which one?")
                task.text(f"You said {text_of(answer)}")
            case "LOGIN" if not self.credentials:
                await task.status(TaskState.AUTH_REQUIRED, "Log in")
            case "HANG":
                task.text("begun")
                try:
                    await anyio.sleep_forever()
                finally:
                    self.cancelled.append(task.id)


@define(eq=False)
class Recovering(Scripted, AgentHooks):
    """The same, with tasks that it carries on after a restart."""

    def recover(self, request: AgentRequest, task: RunningTask) -> Work:
        return self.carry_on(request, task)

    async def carry_on(self, request: AgentRequest, task: RunningTask) -> None:
        task.text("carried on", artifact="rest")


@asynccontextmanager
async def serving_agent(backend: str, agent: Agent, store: str = "memory") -> AsyncGenerator[tuple[AgentServer, str]]:
    options = ServerOptions(store=store)
    async with (
        open_agent(agent, card=CARD, credentials=CREDENTIALS, options=options) as server,
        served(backend, server.asgi) as url,
    ):
        yield server, url


@asynccontextmanager
async def scripted(
    backend: str, wire: Wire = RPC_10, agent: Agent | None = None
) -> AsyncGenerator[tuple[Scripted, Caller]]:
    agent = agent or Scripted()
    assert isinstance(agent, Scripted)
    async with serving_agent(backend, agent) as (_, url), client(url) as http:
        yield agent, Caller(http, wire)


@every_http_json_codec
async def test_what_an_agent_publishes_is_its_task(anyio_backend: str, wire: Wire) -> None:
    async with scripted(anyio_backend, wire) as (_, caller):
        task = await caller.send("WORDS one two")
        async with caller.open("WORDS one two") as stream:
            await stream.whole()

    assert task.status.state is TaskState.COMPLETED
    assert [(one.name, one.parts) for one in task.artifacts] == [
        ("response", (TextPart(text="one two "),)),
        ("count", (DataPart(data={"n": 2}),)),
    ]
    assert task.metadata == {"scripted": {"words": 2}}
    assert [one.status.state.value for one in stream.statuses] == ["working", "completed"]
    assert stream.text == "one two "


async def test_an_agent_that_says_nothing_completes(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (_, caller):
        task = await caller.send("NOTHING")

    assert (task.status.state, task.artifacts) == (TaskState.COMPLETED, ())


async def test_an_error_fails_the_task_and_its_text_is_not_published(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(anyio_backend) as (_, caller):
        task = await caller.send("BREAK")
        other = await caller.send("WORDS still here")

    assert task.status.state is TaskState.FAILED
    assert task.status.message is not None
    assert text_of(task.status.message) == "The server failed on this task"
    assert "the secret of this agent" in caplog.text
    assert other.status.state is TaskState.COMPLETED


async def test_a_protocol_error_fails_the_task_with_its_text(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (_, caller):
        task = await caller.send("REFUSE")

    assert task.status.state is TaskState.FAILED
    assert task.status.message is not None
    assert text_of(task.status.message) == "This cannot be done"


async def test_a_final_state_of_the_agents_own_stays(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (_, caller):
        task = await caller.send("REJECT")

    assert task.status.state is TaskState.REJECTED


async def test_what_is_not_accepted_is_no_task(anyio_backend: str) -> None:
    async with scripted(anyio_backend, REST_03) as (agent, caller):
        file = {"kind": "file", "file": {"uri": "https://example.com/a.txt", "mimeType": "text/plain"}}
        response = await caller.ask("send", {"message": caller.wire.message(None, parts=[file])})

    assert response.status_code == 415
    assert agent.runs == []


@pytest.mark.parametrize("named", [True, False], ids=["by task", "by context"])
async def test_a_message_answers_what_an_agent_asks(anyio_backend: str, named: bool) -> None:
    async with scripted(anyio_backend) as (agent, caller):
        asked = await caller.send("ASK")
        names = {"taskId": asked.id} if named else {"contextId": asked.context_id}
        task = await caller.send("the second", **names)

    assert asked.status.state is TaskState.INPUT_REQUIRED
    assert asked.status.message is not None
    assert text_of(asked.status.message) == "Which one?"
    assert (task.id, task.status.state) == (asked.id, TaskState.COMPLETED)
    assert task.artifacts[0].parts == (TextPart(text="You said the second"),)
    assert [text_of(message) for message in task.history] == ["ASK", "the second"]
    assert agent.runs == ["ASK"]


async def test_a_message_to_a_task_that_asks_nothing_is_refused(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (_, caller), caller.open("HANG") as stream:
        await stream.until(lambda: stream.text)
        error = await caller.refused("send", "more", taskId=stream.task.id)

    assert error["code"] == -32004


async def test_to_cancel_a_task_cancels_its_agent(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (agent, caller):
        async with caller.open("HANG") as stream:
            await stream.until(lambda: stream.text)
            await caller.cancel(stream.task.id)
            await stream.whole()
            await until(lambda: agent.cancelled)
        task = await caller.get(stream.task.id)

    assert stream.state == "canceled"
    assert task.status.state is TaskState.CANCELED
    assert agent.cancelled == [task.id]


async def test_a_task_that_asks_is_cancelled_too(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (_, caller):
        asked = await caller.send("ASK")
        await caller.cancel(asked.id)
        task = await caller.get(asked.id)
        error = await caller.refused("send", "the second", taskId=asked.id)

    assert task.status.state is TaskState.CANCELED
    assert error["code"] == -32004


async def test_a_client_that_leaves_does_not_stop_the_agent(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (agent, caller):
        async with caller.open("ASK") as stream:
            await stream.until(lambda: stream.statuses)
        waiting = await caller.until_waiting(stream.task.id)
        task = await caller.send("yes", taskId=waiting.id)

    assert task.status.state is TaskState.COMPLETED
    assert agent.runs == ["ASK"]


async def test_a_message_that_comes_again_runs_once(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (agent, caller):
        first = await caller.send("WORDS a", messageId="m-1")
        again = await caller.send("WORDS a", messageId="m-1")
        other = await caller.send("WORDS b", messageId="m-1")

    assert first.id == again.id != other.id
    assert agent.runs == ["WORDS a", "WORDS b"]


async def test_a_task_that_lacks_credentials_is_tried_again_by_a_message(anyio_backend: str) -> None:
    async with scripted(anyio_backend) as (agent, caller):
        waiting = await caller.send("LOGIN")
        agent.credentials = True
        task = await caller.send("LOGIN again", taskId=waiting.id)

    assert waiting.status.state is TaskState.AUTH_REQUIRED
    assert (task.id, task.status.state) == (waiting.id, TaskState.COMPLETED)
    assert agent.runs == ["LOGIN", "LOGIN again"]


async def test_tasks_in_memory_fail_where_the_server_is_stopped(anyio_backend: str) -> None:
    agent = Scripted()
    async with serving_agent(anyio_backend, agent) as (server, url), client(url) as http:
        caller = Caller(http, RPC_10)
        async with caller.open("HANG") as stream:
            await stream.until(lambda: stream.text)
            await server.tasks.drain(0)
            await stream.whole()

    assert stream.state == "failed"
    assert agent.cancelled == [stream.task.id]


@pytest.mark.parametrize(("kind", "state", "rest"), [(Scripted, "failed", False), (Recovering, "completed", True)])
async def test_a_restart_fails_a_task_or_lets_its_agent_carry_it_on(
    anyio_backend: str, tmp_path: Path, kind: type[Scripted], state: str, rest: bool
) -> None:
    store = f"sqlite:///{tmp_path / 'tasks.db'}"
    async with serving_agent(anyio_backend, kind(), store) as (server, url), client(url) as http:
        task = await Caller(http, RPC_10).send("HANG", configuration=RPC_10.at_once())
        await until(lambda: server.tasks.active_tasks[task.id].log.task().artifacts)
        await server.tasks.drain(0)
    async with serving_agent(anyio_backend, kind(), store) as (_, url), client(url) as http:
        task = await Caller(http, RPC_10).finished(task.id)

    assert task.status.state.value == state
    assert task.artifacts[0].parts == (TextPart(text="begun"),)
    assert ("rest" in [one.name for one in task.artifacts]) is rest


async def test_the_card_says_what_the_server_does(anyio_backend: str) -> None:
    async with scripted(anyio_backend, REST_03) as (_, caller):
        card = (await caller.http.get("/.well-known/agent-card.json")).json()
        extended = await caller.http.get("/extendedAgentCard", headers={"A2A-Version": "1.0"})
        described = await caller.http.get("/openapi.json")
        method = await caller.http.post("/", json={"jsonrpc": "2.0", "id": 1, "method": "opencode.sessions.list"})
        health = await caller.http.get("/health")

    assert card["capabilities"]["streaming"] is card["capabilities"]["pushNotifications"] is True
    assert card["capabilities"]["extendedAgentCard"] is False
    assert extended.json()["error"]["details"][0]["reason"] == "EXTENDED_AGENT_CARD_NOT_CONFIGURED"
    assert described.status_code == 404
    assert method.json()["error"]["code"] == -32601
    assert health.json() == {"status": "ok"}


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_a_server_ends_once_it_is_told_to(anyio_backend: str, secure: bool) -> None:
    stop = anyio.Event()
    authority = trustme.CA()
    served_with = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served_with)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    tls = (lambda: served_with) if secure else None
    urls: list[str] = []
    async with (
        open_agent(Scripted(), card=CARD, credentials=CREDENTIALS) as server,
        anyio.create_task_group() as tasks,
    ):

        async def serve() -> None:
            runtime = find_runtime(anyio_backend)
            await server.serve(runtime, "127.0.0.1:0", stop=stop.wait, ready=urls.append, grace=0.2, tls=tls)

        with anyio.fail_after(DEADLINE):
            tasks.start_soon(serve)
            await until(lambda: urls)
            async with httpx.AsyncClient(base_url=urls[0], trust_env=False, verify=trusting) as http:
                card = (await http.get("/.well-known/agent-card.json")).json()
            stop.set()

    assert card["url"] == urls[0]
    assert urls[0].startswith("https://" if secure else "http://")


async def test_an_agent_with_grpc_on_its_card_speaks_http_2(anyio_backend: str) -> None:
    stop = anyio.Event()
    urls: list[str] = []
    card = evolve(CARD, bindings=SERVED)
    async with (
        open_agent(Scripted(), card=card, credentials=CREDENTIALS) as server,
        anyio.create_task_group() as tasks,
    ):
        serve = partial(server.serve, find_runtime(anyio_backend), "127.0.0.1:0", stop=stop.wait, ready=urls.append)
        with anyio.fail_after(DEADLINE):
            tasks.start_soon(serve)
            await until(lambda: urls)
            async with await anyio.connect_tcp("127.0.0.1", int(urls[0].rpartition(":")[2])) as raw:
                await raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
                answer = await raw.receive()
            stop.set()

    assert answer[3] == 4  # SETTINGS


@define(eq=False)
class Counting(AgentHooks):
    """Counts to three, a step a process: each run hangs before the next step."""

    async def accept(self, request: AgentRequest) -> None: ...

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        number = task.kept.get("next", 1)
        task.text(f"{number} ", continues=True)
        await task.keep({"next": number + 1})
        if number < 3:
            await anyio.sleep_forever()

    def recover(self, request: AgentRequest, task: RunningTask) -> Work:
        return self.run(request, task)


async def test_an_agent_keeps_what_a_later_process_needs(anyio_backend: str, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'tasks.db'}"
    task_id = ""
    for number in (1, 2, 3):
        async with serving_agent(anyio_backend, Counting(), store) as (server, url), client(url) as http:
            caller = Caller(http, RPC_10)
            if not task_id:
                task_id = (await caller.send("go", configuration=RPC_10.at_once())).id
            if number < 3:
                active = server.tasks.active_tasks[task_id]
                await until(lambda: active.options.get("kept") == {"next": number + 1})  # noqa: B023
                await server.tasks.store.commit()
            else:
                task = await caller.finished(task_id)
            await server.tasks.drain(0)

    assert task.artifacts[0].parts == (TextPart(text="1 2 3 "),)


@define(eq=False)
class WithOptions(Scripted, AgentHooks):
    """Reads an option, if there is one."""

    def read(self, request: AgentRequest) -> None:
        metadata = request.send.metadata or {}
        request.options.update(metadata.get("options", {}))
        if metadata.get("wrong"):
            request.options["wrong"] = {1}


async def test_a_message_with_other_options_is_another_message(anyio_backend: str) -> None:
    async with scripted(anyio_backend, REST_03, WithOptions()) as (_, caller):
        first = await caller.send("WORDS a", messageId="m", metadata={"options": {"x": 1}})
        again = await caller.send("WORDS a", messageId="m", metadata={"options": {"x": 1}})
        fewer = await caller.send("WORDS a", messageId="m")
        more = await caller.send("WORDS a", messageId="m", metadata={"options": {"x": 1, "y": 2}})

    assert first.id == again.id
    assert len({first.id, fewer.id, more.id}) == 3


@pytest.mark.parametrize("metadata", [{"wrong": True}, {"options": {"form": "mine"}}], ids=["no JSON", "reserved"])
async def test_options_that_cannot_be_kept_fail_the_request(anyio_backend: str, metadata: dict[str, object]) -> None:
    async with scripted(anyio_backend, agent=WithOptions()) as (agent, caller):
        response = await caller.ask("send", caller.params("WORDS a", {"metadata": metadata}))
        after = await caller.send("WORDS b")

    assert response.json()["error"]["code"] == -32603
    assert after.status.state is TaskState.COMPLETED
    assert agent.runs == ["WORDS b"]


async def test_an_error_of_whoever_serves_is_raised_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with open_agent(Scripted(), card=CARD, credentials=CREDENTIALS):
            raise LookupError("mine")


@define(eq=False)
class Careless(Scripted):
    """Publishes what no JSON can hold, or exits."""

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        match text_of(request.message):
            case "SURROGATE":
                task.text("a\ud800b")
            case "OBJECT":
                task.metadata({"it": object()})
            case "KEEP":
                await task.keep({"it": {1}})
            case "EXIT":
                raise SystemExit(3)
            case "DONE":
                task.text("whole")
                await task.status(TaskState.COMPLETED)
                task.text("too late")


async def test_what_no_json_can_hold_fails_its_task_alone(anyio_backend: str) -> None:
    async with scripted(anyio_backend, agent=Careless()) as (_, caller):
        text = await caller.send("SURROGATE")
        members = await caller.send("OBJECT")
        kept = await caller.send("KEEP")
        exited = await caller.send("EXIT")

    assert [task.status.state for task in (kept, exited)] == [TaskState.FAILED, TaskState.FAILED]
    assert (text.status.state, text.artifacts[0].parts) == (TaskState.COMPLETED, (TextPart(text="a?b"),))
    assert members.status.state is TaskState.FAILED


async def test_a_final_state_of_the_agents_own_closes_what_grows(anyio_backend: str) -> None:
    async with scripted(anyio_backend, agent=Careless()) as (_, caller), caller.open("DONE") as stream:
        await stream.whole()

    assert [chunk.last_chunk for chunk in stream.chunks] == [False, True]
    assert stream.text == "whole"
    assert stream.state == "completed"


# --- who calls --------------------------------------------------------------------------------------------


async def test_an_agent_has_every_method_of_authentication_that_the_command_has(
    anyio_backend: str, tmp_path: Path
) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps([{"scheme": "bearer", "token": "from-file-1", "principal": "dora"}]))
    file.chmod(0o600)
    async with provider(anyio_backend) as issuer:
        identity = IdentityOptions(
            credentials_file=str(file),
            certificate_header="X-Forwarded-Client-Cert",
            oidc=OidcPolicy(issuer=issuer.url, audiences=frozenset({AUDIENCE})),
        )
        options = ServerOptions(identity=identity, proxies=TrustedProxies(parse_networks(["127.0.0.1"])))
        async with (
            open_agent(Scripted(), card=CARD, credentials=CREDENTIALS, options=options) as server,
            served(anyio_backend, server.asgi) as url,
            client(url, None) as http,
        ):
            await until(lambda: issuer.key_fetches)

            async def status(name: str, value: str) -> int:
                return (await http.get("/health", headers={name: value})).status_code

            before = [
                await status("authorization", f"Bearer {ALICE}"),
                await status("authorization", "Bearer from-file-1"),
                await status("authorization", f"Bearer {issuer.token()}"),
                await status("x-forwarded-client-cert", "URI=spiffe://a/ada"),
                await status("x-api-key", "key-of-file-2"),
            ]
            file.write_text(json.dumps([{"scheme": "api_key", "key": "key-of-file-2", "principal": "erik"}]))
            for reload in server.reloads:
                await reload()
            after = [await status("authorization", "Bearer from-file-1"), await status("x-api-key", "key-of-file-2")]
            card = (await http.get("/.well-known/agent-card.json")).json()

    assert before == [200, 200, 200, 200, 401]
    assert after == [401, 200]
    assert {"bearerAuth", "basicAuth", "apiKeyAuth", "openIdConnect", "mutualTls"} == set(card["securitySchemes"])


def test_a_header_of_certificates_needs_a_proxy() -> None:
    with pytest.raises(ValueError, match="proxies"):
        ServerOptions(identity=IdentityOptions(certificate_header="X-Client-Cert-Subject"))
