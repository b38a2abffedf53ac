"""`opencode-a2a call` through breaks, restarts and long waits; one host under two names; two streams in one file."""

from __future__ import annotations

import io
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import trustme
from attrs import evolve

from opencode_a2a.agent.application import application
from opencode_a2a.cli.call import CallTarget, call
from opencode_a2a.client.options import ClientOptions
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO as STANDIN_HELLO
from opencode_a2a.fake_opencode import FakeOpenCode, Say
from opencode_a2a.terminal.output import Printer
from sansio.a2a.bindings.sse import encode
from sansio.a2a.client.transcript import AnswerText, Notice, NoticeKind
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import TaskState, TaskStatus
from sansio.redact import Secret
from tests.shell.calling import COMPLETED, HELLO, WORKING, Scene, Screen, says, task
from tests.shell.harness import ALICE, CREDENTIALS, DEADLINE, served
from tests.shell.ports import free_port
from tests.shell.raw_server import answering, ok
from tests.shell.scripted_agent import CARD_PATH, EVENTS, CutError, Reply, card, document, payload, stream

pytestmark = pytest.mark.anyio


def numbered(*items: object, first: int = 1) -> list[bytes]:
    """Events with ids."""
    return [
        encode(payload(item, "JSONRPC", "1.0"), id=str(number))  # type: ignore[arg-type]  # items of a stream
        for number, item in enumerate(items, first)
    ]


def methods(scene: Scene) -> list[str]:
    return [request.json["method"] for request in scene.agent.asked("/rpc")]


def rendered(state: TaskState, *texts: str) -> object:
    return {"jsonrpc": "2.0", "id": "1", "result": CODECS["1.0"].render_task(task(state, *texts))}


def sent(state: TaskState) -> Reply:
    """The answer to a message: a task."""
    return document(
        {"jsonrpc": "2.0", "id": "1", "result": {"task": CODECS["1.0"].render_task(task(state))}},
    )


@asynccontextmanager
async def at_port(backend: str, settings: Settings, port: int) -> AsyncGenerator[None]:
    """The agent at a port of its own, so that it is found again where it was."""
    async with application(settings) as running, served(backend, running.asgi, bind=f"127.0.0.1:{port}"):
        yield


# --- breaks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [CutError, b""], ids=["hang-up", "early end"])
async def test_a_stream_that_breaks_is_resumed_after_its_last_event(
    scene: Scene, ending: type[CutError] | bytes
) -> None:
    begun = Reply(headers=EVENTS, pieces=[*numbered(WORKING, says("Hel", append=False)), ending])
    then = evolve(task(TaskState.WORKING), status=TaskStatus(state=TaskState.WORKING))
    rest = Reply(headers=EVENTS, pieces=numbered(then, says("Hel", append=False), says("lo"), COMPLETED, first=2))
    scene.replies(begun, rest)

    seen = await scene.call()

    assert (seen.code, seen.out, seen.err) == (0, "Hello\n", "[working]\n[completed]\n")
    assert methods(scene) == ["SendStreamingMessage", "SubscribeToTask"]
    assert scene.agent.asked("/rpc")[1].headers["last-event-id"] == "2"


async def test_a_subscription_that_is_refused_leaves_the_rest_to_reading_the_task(scene: Scene) -> None:
    refused = document({"jsonrpc": "2.0", "id": "1", "error": {"code": -32004, "message": "it has ended"}})
    scene.replies(
        stream(WORKING, says("Hel", append=False), CutError),
        refused,
        document(rendered(TaskState.WORKING)),
        document(rendered(TaskState.COMPLETED)),
    )

    seen = await scene.call()

    assert seen.code == 0
    assert methods(scene) == ["SendStreamingMessage", "SubscribeToTask", "GetTask", "GetTask"]


async def test_an_error_of_the_agent_is_not_tried_again(scene: Scene) -> None:
    gone = document({"jsonrpc": "2.0", "id": "1", "error": {"code": -32001, "message": "Task not found"}})
    scene.replies(stream(WORKING, CutError), gone)

    seen = await scene.call()

    assert seen.code == 4
    assert "Task not found" in seen.err
    assert methods(scene) == ["SendStreamingMessage", "SubscribeToTask", "GetTask"]


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_call_goes_on_across_a_restart_of_the_server(
    anyio_backend: str, tmp_path: Path, streaming: bool
) -> None:
    fake_opencode, port = FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01), free_port()
    out, err = Screen(), Screen()
    codes: list[int] = []
    async with served(anyio_backend, fake_opencode) as opencode:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            port=port,
            opencode_url=opencode,
            credentials=CREDENTIALS,
            task_store_database_url=store,
            shutdown_grace_seconds=0.1,
        )
        target = CallTarget(f"http://127.0.0.1:{port}", ClientOptions(bearer=Secret(ALICE), timeout=5, patience=10))

        async def run() -> None:
            codes.append(await call(target, "hello", out=out, err=err, stream=streaming, verbose=True))

        async with anyio.create_task_group() as tasks:
            fake_opencode.hold(Say, tokens=2)
            async with at_port(anyio_backend, settings, port):
                tasks.start_soon(run)
                with anyio.fail_after(DEADLINE):
                    await fake_opencode.held()
                await err.until("[working]")
            async with at_port(anyio_backend, settings, port):
                fake_opencode.release()
                with anyio.move_on_after(10):
                    while not codes:  # noqa: ASYNC110 - a call has no event for its end
                        await anyio.sleep(0.01)

    assert (codes, out.getvalue()) == ([0], f"{STANDIN_HELLO}\n")


# --- waiting ----------------------------------------------------------------------------------------------


async def test_without_a_stream_the_task_is_read_until_it_is_over(scene: Scene) -> None:
    working = document(
        {"jsonrpc": "2.0", "id": "1", "result": {"task": CODECS["1.0"].render_task(task(TaskState.WORKING))}}
    )
    scene.replies(working, document(rendered(TaskState.WORKING)), document(rendered(TaskState.COMPLETED, "Done")))

    seen = await scene.call(stream=False)

    assert (seen.code, seen.out) == (0, "Done\n")
    assert methods(scene) == ["SendMessage", "GetTask", "GetTask"]
    assert scene.agent.asked("/rpc")[0].json["params"]["configuration"] == {"returnImmediately": True}


async def test_an_agent_that_answers_late_is_waited_for_without_a_stream(scene: Scene) -> None:
    late = anyio.Event()
    done = document(
        {"jsonrpc": "2.0", "id": "1", "result": {"task": CODECS["1.0"].render_task(task(TaskState.COMPLETED))}}
    )
    scene.replies(evolve(done, pieces=[late, *done.pieces]))
    codes: list[int] = []

    async def run() -> None:
        target = CallTarget(scene.url, ClientOptions(timeout=0.2, patience=10))
        codes.append(await call(target, "hi", out=Screen(), err=Screen(), stream=False))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.sleep(0.5)  # longer than the silence that is put up with elsewhere
        assert codes == []
        late.set()

    assert codes == [0]


async def test_a_finished_task_says_how_to_go_on(scene: Scene) -> None:
    refused = document({"jsonrpc": "2.0", "id": "1", "error": {"code": -32004, "message": "it has ended"}})
    scene.replies(refused, document(rendered(TaskState.COMPLETED)))

    seen = await scene.call("more", task_id="t1")

    assert seen.code == 4
    assert "[the task is completed; go on with --context c1]" in seen.err


# --- where it is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("named", ["localhost", "127.0.0.1", "[::1]"])
async def test_names_of_this_machine_are_one_host(scene: Scene, typed: str, named: str) -> None:
    port = scene.url.rsplit(":", 1)[1]
    scene.replies(stream(*HELLO))
    scene.agent.on(CARD_PATH, card(("JSONRPC", "1.0", f"http://{named}:{port}/rpc")))

    seen = await scene.call(url=f"http://{typed}:{port}", bearer="s3cret")

    assert (seen.code, seen.out) == (0, "Hello there\n")
    assert [request.headers["authorization"] for request in scene.agent.asked("/rpc")] == ["Bearer s3cret"]


@pytest.mark.parametrize("trusts", [True, False])
async def test_certificates_of_the_environment_hold_on_this_machine_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trusts: bool
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusted = tmp_path / "ca.pem"
    (authority if trusts else trustme.CA()).cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    err = Screen()

    async with answering([ok(b"no card")], tls=context) as server:
        code = await call(
            CallTarget(f"https://localhost:{server.port}", ClientOptions(timeout=5)), "hi", out=Screen(), err=err
        )

    assert code == 4
    assert ("The agent card is not JSON" in err.getvalue()) is trusts
    assert ("Cannot connect" in err.getvalue()) is not trusts


# --- what is printed --------------------------------------------------------------------------------------


def test_two_streams_in_one_file_glue_no_lines_together() -> None:
    read, write = os.pipe()
    with open(read, encoding="utf-8") as got:
        with open(write, "w", encoding="utf-8") as out, open(os.dup(write), "w", encoding="utf-8") as err:
            printer = Printer(out, err)
            printer.show(says("Hel"), [AnswerText("Hel")])
            printer.show(WORKING, [Notice(kind=NoticeKind.TOOL, text="bash: running")])
            printer.show(says("lo"), [AnswerText("lo")])
            printer.fault("it broke")
            printer.close()
        lines = got.read().splitlines()

    assert lines == ["Hel", "[tool] bash: running", "lo", "opencode-a2a call: it broke"]


def test_two_streams_of_their_own_get_no_line_ends_of_the_other() -> None:
    out, err = io.StringIO(), io.StringIO()
    printer = Printer(out, err)
    printer.show(says("Hel"), [AnswerText("Hel")])
    printer.show(WORKING, [Notice(kind=NoticeKind.TOOL, text="bash: running")])
    printer.show(says("lo"), [AnswerText("lo")])
    printer.close()

    assert (out.getvalue(), err.getvalue()) == ("Hello\n", "[tool] bash: running\n")
