"""`opencode-a2a call` when things go wrong: one clear line each, the right exit code, and nothing said twice."""

from __future__ import annotations

import io
import socket

import anyio
import pytest

from opencode_a2a.cli.call import CallTarget, call, run_from_arguments
from opencode_a2a.client.connection import connect
from opencode_a2a.config.settings import Settings
from opencode_a2a.terminal.conversation import Conversation
from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.prompts import Answers
from sansio.a2a.client.client_errors import AgentError
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import Message, Role, StreamItem, TaskState, TextPart
from tests.shell.calling import DEADLINE, HELLO, WORKING, Scene, Screen, Seen, parsed, says, status, task
from tests.shell.cases import each_value
from tests.shell.harness import until
from tests.shell.scripted_agent import CARD_PATH, JSON, CutError, Reply, card, document, payload, stream

pytestmark = pytest.mark.anyio

PLAIN = Reply(headers={"content-type": "text/plain"}, pieces=[b"not for you"])


# ------------------------------------------------------------------------------------------------ troubles


async def test_a_refusal_is_told_in_one_line(scene: Scene) -> None:
    error = {"code": -32602, "message": "Invalid parameters", "data": [{"loc": ["params", "x"], "msg": "is wrong"}]}
    scene.replies(document({"jsonrpc": "2.0", "id": "1", "error": error}))

    seen = await scene.call()

    expected = "opencode-a2a call: The agent refused: Invalid parameters; params.x: is wrong (code -32602)\n"
    assert seen == Seen(code=4, out="", err=expected)


async def test_a_refusal_in_mid_stream_keeps_what_was_said(scene: Scene) -> None:
    error = b'data: {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"broke"}}\n\n'
    scene.replies(stream(WORKING, says("Hel", append=False), error))

    seen = await scene.call()

    assert (seen.code, seen.out) == (4, "Hel\n")
    assert "[the task is t1]\nopencode-a2a call: The agent refused: broke (code -32603)\n" in seen.err


@each_value(
    "ending, told", [(CutError, "broke the connection off"), (b"", "ended the stream before the task was over")]
)
async def test_a_stream_that_breaks_off_is_told_with_the_task(
    scene: Scene, ending: type[CutError] | bytes, told: str
) -> None:
    scene.replies(stream(WORKING, says("Hel", append=False), ending))

    seen = await scene.call(timeout=1.0)

    assert (seen.code, seen.out) == (4, "Hel\n")
    assert "[the task is t1]" in seen.err
    assert told in seen.err


async def test_a_hang_up_after_the_end_of_the_task_does_not_matter(scene: Scene) -> None:
    ended = status(TaskState.COMPLETED, final=False)  # says nothing of the stream: more could have come
    scene.replies(stream(WORKING, says("Hello", append=False), ended, CutError, version="0.3"), version="0.3")

    assert await scene.call() == Seen(code=0, out="Hello\n", err="[working]\n[completed]\n")


@each_value(
    "path, reply, told",
    [
        (CARD_PATH, Reply(pieces=[b"<html>"]), "The agent card is not JSON"),
        (CARD_PATH, Reply(status=404), "There is no agent card at"),
        (CARD_PATH, Reply(status=500, pieces=[b"<html>"]), "HTTP 500 Internal Server Error"),
        (CARD_PATH, card(("SOAP", "1.0", "http://a")), "it offers SOAP 1.0"),
        (CARD_PATH, Reply(pieces=[b" " * 600_000, b" " * 600_000]), "larger than 1048576 bytes"),
        ("/rpc", PLAIN, "The agent's answer is not JSON"),
        ("/rpc", document({}), "neither a result nor an error"),
        ("/rpc", document({"result": {"task": {"id": 7}}}), "task.id: must be a string"),
        ("/rpc", stream(b"data: {oops\n\n"), "The agent's answer is not JSON"),
        ("/rpc", stream(b"event: x\n"), "ended the stream before the task was over"),
        ("/rpc", Reply(status=204), "The agent's answer is not JSON"),
    ],
)
async def test_nonsense_is_told_in_one_line(scene: Scene, path: str, reply: Reply, told: str) -> None:
    scene.offers(*HELLO)
    scene.agent.on(path, reply)

    seen = await scene.call()

    assert (seen.code, seen.out) == (4, "")
    assert seen.err.startswith("opencode-a2a call: ")
    assert seen.err.count("\n") == 1
    assert told in seen.err


async def test_an_agent_that_cannot_be_reached_is_told_in_one_line(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    seen = await scene.call(url=url)

    assert seen.code == 4
    assert seen.err.startswith(f"opencode-a2a call: Cannot connect to {url}: ")
    assert seen.err.count("\n") == 1


@each_value("begun", [True, False])
async def test_an_agent_that_falls_silent_is_waited_for_as_long_as_was_set(scene: Scene, begun: bool) -> None:
    never = anyio.Event()
    scene.replies(stream(*(HELLO[:2] if begun else ()), never))

    seen = await scene.call(timeout=1.0)
    never.set()

    assert (seen.code, seen.out) == (4, "Hello\n" if begun else "")
    assert f"{scene.url} was silent for 1 s" in seen.err


@each_value(
    "url, text, told",
    [
        ("agent.example", "hi", "URL: must be a URL that begins with http:// or https://"),
        ("http://ada:secret@agent.example", "hi", "set A2A_CLIENT_BASIC_AUTH instead"),
        ("http://agent.example/?q", "hi", "URL: must not hold a query"),
        ("http://agent.example", " \n", "TEXT: must not be empty"),
        ("http://agent.example", "\udcff", "TEXT: is not valid in the terminal's encoding"),
    ],
)
async def test_wrong_usage_is_told_before_anything_is_sent(scene: Scene, url: str, text: str, told: str) -> None:
    seen = await scene.call(text, url=url)

    assert seen.code == 2
    assert told in seen.err
    assert "secret" not in seen.err


async def test_a_task_that_never_changes_is_given_up(scene: Scene) -> None:
    scene.replies(
        Reply(pieces=[payload(task(TaskState.WORKING), "HTTP+JSON", "1.0")]), binding="HTTP+JSON", streaming=False
    )
    scene.agent.on("/rpc/tasks/t1", document(CODECS["1.0"].render_task(task(TaskState.WORKING))))

    seen = await scene.call(timeout=1.0)

    assert seen.code == 4
    assert "[the task is t1]" in seen.err
    assert "The task has not changed for 1 s" in seen.err


async def test_an_output_that_cannot_be_written_is_told(scene: Scene) -> None:
    scene.offers(*HELLO)

    class Full(Screen):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    err = Screen()
    code = await call(CallTarget(url=scene.url), "hi", out=Full(), err=err)

    assert code == 4
    assert "cannot write the answer: No space left on device" in err.getvalue()


async def test_standard_input_that_is_no_text_is_told(scene: Scene) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8")
    err = Screen()

    code = await run_from_arguments(parsed(scene.url, "-"), Settings(), Screen(), err, stdin)

    assert code == 2
    assert "standard input is not text" in err.getvalue()


# ------------------------------------------------------------------------------------------------ canceling


async def conversation_that_cancels(scene: Scene, answer: Reply, end: StreamItem | None) -> str:
    """What is printed where a task is canceled while its stream is open, which ends with `end` or not at all."""
    goes_on, err = anyio.Event(), Screen()
    ending = () if end is None else (goes_on, end)
    scene.replies(stream(WORKING, *(ending or (anyio.Event(),))), answer)
    message = Message(message_id="m", role=Role.USER, parts=(TextPart(text="hi"),))
    with anyio.fail_after(DEADLINE):
        async with (
            anyio.create_task_group() as cancels,
            connect(scene.url) as agent,
            anyio.create_task_group() as group,
        ):
            conversation = Conversation(agent=agent, printer=Printer(io.StringIO(), err), answers=Answers())
            group.start_soon(conversation.hold, message)
            await err.until("[working]")
            cancels.start_soon(conversation.cancel)
            await until(lambda: len(scene.agent.asked("/rpc")) == 2)
            goes_on.set()
    return err.getvalue()


async def test_a_task_that_is_seen_canceled_before_the_answer_is_canceled(scene: Scene) -> None:
    never = anyio.Event()

    printed = await conversation_that_cancels(scene, Reply(headers=JSON, pieces=[never]), status(TaskState.CANCELED))
    never.set()

    assert printed == "[working]\n[canceled]\n"


async def test_a_cancel_that_is_refused_while_the_task_goes_on_is_an_error(scene: Scene) -> None:
    refused = {"jsonrpc": "2.0", "id": "1", "error": {"code": -32002, "message": "Task cannot be canceled"}}

    with pytest.raises(ExceptionGroup) as caught:
        await conversation_that_cancels(scene, document(refused), None)

    assert caught.group_contains(AgentError)
