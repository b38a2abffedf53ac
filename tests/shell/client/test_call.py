"""`opencode-a2a call` against scripted agents over real sockets: what it prints, where, and how it exits."""

from __future__ import annotations

import base64
import io
import shlex
import signal
import sys

import anyio
import orjson
import pytest
from attrs import evolve

from opencode_a2a.cli.call import CallTarget, call, run_from_arguments
from opencode_a2a.client.options import ClientOptions
from opencode_a2a.config.settings import Settings
from sansio.a2a.codecs.registry import CODECS, rest_codec
from sansio.a2a.model import Message, Role, Task, TaskState, TextPart
from sansio.redact import Secret
from tests.shell.calling import (
    COMPLETED,
    DEADLINE,
    HELLO,
    WORKING,
    Scene,
    Screen,
    Seen,
    message_path,
    parsed,
    says,
    status,
    task,
)
from tests.shell.cases import each_value
from tests.shell.scripted_agent import (
    CARD_PATH,
    OLD_CARD_PATH,
    Reply,
    ScriptedAgent,
    card,
    document,
    payload,
    serving,
    stream,
)

pytestmark = pytest.mark.anyio

TOKEN = "tok-4f9a1c"
LOGIN = "ada:pass-83be"


each_interface = pytest.mark.parametrize(
    ("binding", "version"), [(binding, version) for binding in ("JSONRPC", "HTTP+JSON") for version in ("0.3", "1.0")]
)


# ------------------------------------------------------------------------------------------------ answers


@each_interface
async def test_a_streamed_answer_goes_to_out_and_the_rest_to_err(scene: Scene, binding: str, version: str) -> None:
    scene.offers(*HELLO, binding=binding, version=version)

    seen = await scene.call("What now?")

    assert seen == Seen(code=0, out="Hello there\n", err="[working]\n[completed]\n")
    [asked] = scene.agent.asked(message_path(binding, version, streaming=True))
    assert asked.headers["a2a-version"] == version
    sent = asked.json["params"] if binding == "JSONRPC" else asked.json
    codec = CODECS[version] if binding == "JSONRPC" else rest_codec(version, sent)
    message = codec.parse_send(sent).message
    assert (message.parts, message.context_id) == ((TextPart(text="What now?"),), "c0")


@each_interface
async def test_an_agent_that_does_not_stream_is_asked_for_the_whole_answer(
    scene: Scene, binding: str, version: str
) -> None:
    whole = Reply(pieces=[payload(task(TaskState.COMPLETED, "All of it"), binding, version)])
    scene.replies(whole, binding=binding, version=version, streaming=False)

    seen = await scene.call()

    assert seen == Seen(code=0, out="All of it\n", err="[completed]\n")


async def test_each_piece_is_shown_before_the_next_one_comes(scene: Scene) -> None:
    gate, screen = anyio.Event(), Screen()
    scene.replies(stream(WORKING, says("Hel", append=False), gate, says("lo"), COMPLETED))
    codes = []

    async def run() -> None:
        codes.append((await scene.call(screen=screen)).code)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await screen.until("Hel")
        assert screen.getvalue() == "Hel"
        gate.set()

    assert codes == [0]
    assert screen.getvalue() == "Hello\n"


async def test_streaming_can_be_turned_off(scene: Scene) -> None:
    answer = document({"jsonrpc": "2.0", "result": CODECS["1.0"].render_item(task(TaskState.COMPLETED, "whole"))})
    scene.replies(answer)

    seen = await scene.call(stream=False)

    assert (seen.code, seen.out) == (0, "whole\n")
    assert scene.agent.asked("/rpc")[0].json["method"] == "SendMessage"


async def test_a_stream_answered_with_one_document_is_taken_as_it_is(scene: Scene) -> None:
    message = Message(message_id="m", role=Role.AGENT, parts=(TextPart(text="short"),))
    scene.replies(Reply(headers={"content-type": "application/json"}, pieces=[payload(message, "JSONRPC", "1.0")]))

    assert (await scene.call()).out == "short\n"


async def test_an_agent_that_answers_before_it_is_done_is_asked_again(scene: Scene) -> None:
    scene.replies(
        Reply(pieces=[payload(task(TaskState.WORKING), "HTTP+JSON", "0.3")]),
        binding="HTTP+JSON",
        version="0.3",
        streaming=False,
    )
    done = task(TaskState.COMPLETED, "Hello there")
    states = [task(TaskState.WORKING, "Hello"), task(TaskState.WORKING, "Hello"), done]
    scene.agent.on("/rpc/v1/tasks/t1", *(document(CODECS["0.3"].render_task(state)) for state in states))

    seen = await scene.call()

    assert seen == Seen(code=0, out="Hello there\n", err="[working]\n[completed]\n")


@each_value(
    "state, code",
    [
        (TaskState.FAILED, 1),
        (TaskState.REJECTED, 1),
        (TaskState.INPUT_REQUIRED, 3),
        (TaskState.AUTH_REQUIRED, 3),
        (TaskState.CANCELED, 5),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
async def test_the_exit_code_tells_how_the_task_ended(
    scene: Scene, state: TaskState, code: int, streaming: bool
) -> None:
    ending = status(state, "the reason")
    whole = Task(id="t1", context_id="c1", status=ending.status)
    never = anyio.Event()  # a task that waits keeps its stream open
    scene.replies(
        stream(WORKING, ending, never) if streaming else Reply(pieces=[payload(whole, "JSONRPC", "1.0")]),
        streaming=streaming,
    )

    seen = await scene.call()
    never.set()

    assert (seen.code, seen.out) == (code, "")
    assert f"[{state.value}]\n" in seen.err
    assert "the reason" in seen.err


async def test_reasoning_and_steps_are_shown_only_when_asked_for(scene: Scene) -> None:
    scene.offers(WORKING, says("Thin", block="reasoning"), says("king", block="reasoning"), *HELLO[1:])

    brief, verbose = await scene.call(), await scene.call(verbose=True)

    assert brief.out == verbose.out == "Hello there\n"
    assert "Thinking" not in brief.err
    interface, _, rest = verbose.err.partition("\n")
    assert interface.startswith(f"[JSONRPC 1.0 at {scene.url}")
    assert interface not in brief.err
    assert rest == "[working]\nThinking\n[completed]\n[to go on with this conversation: --context c1]\n"


async def test_json_prints_every_item_on_a_line_as_the_agent_said_it(scene: Scene) -> None:
    scene.offers(*HELLO, version="0.3")

    seen = await scene.call(as_json=True)

    assert [orjson.loads(line) for line in seen.out.splitlines()] == [CODECS["0.3"].render_item(i) for i in HELLO]
    assert seen.err == ""


async def test_a_terminal_is_not_at_the_mercy_of_the_agent_but_a_pipe_gets_every_byte(scene: Scene) -> None:
    scene.offers(WORKING, says("\x1b[2J\x9bhi\r\n", append=False), status(TaskState.FAILED, "\x1b]0;x\x07"))

    terminal, pipe = await scene.call(screen=Screen(terminal=True)), await scene.call()

    assert terminal.out == "␛[2J\ufffdhi\n"
    assert pipe.out == "\x1b[2J\x9bhi\r\n"
    assert "\x1b" not in terminal.err + pipe.err


HIDDEN = "\x1b[2J\x7f\x9b2J\u202egnp.\u2069"


async def test_json_holds_no_character_that_a_terminal_would_act_on(scene: Scene) -> None:
    scene.offers(WORKING, says(HIDDEN, append=False), COMPLETED)

    seen = await scene.call(screen=Screen(terminal=True), as_json=True)

    assert seen.out.replace("\n", "").isprintable()
    shown = [orjson.loads(line) for line in seen.out.splitlines()]
    assert shown[1]["artifactUpdate"]["artifact"]["parts"] == [{"text": HIDDEN}]


async def test_an_id_in_a_hint_is_one_word_of_a_shell(scene: Scene) -> None:
    context = "c; touch x $(id)"
    asked = evolve(status(TaskState.INPUT_REQUIRED, "?"), context_id=context, task_id="t|sh")
    scene.offers(evolve(WORKING, context_id=context, task_id="t|sh"), asked)

    seen = await scene.call(verbose=True)

    assert f"--context {shlex.quote(context)}]" in seen.err
    assert "--task 't|sh']" in seen.err


async def test_what_the_outputs_encoding_lacks_is_replaced(scene: Scene) -> None:
    scene.offers(WORKING, says("naïve", append=False), COMPLETED)
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, "ascii")

    code = await call(CallTarget(scene.url), "hi", out=out, err=Screen())

    assert (code, raw.getvalue()) == (0, b"na?ve\n")


async def test_a_reader_that_leaves_ends_the_call(scene: Scene) -> None:
    scene.offers(*HELLO)

    class Closed(Screen):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    err = Screen()
    code = await call(CallTarget(scene.url), "hi", out=Closed(), err=err)

    assert code == 130
    assert "Error" not in err.getvalue()


# --------------------------------------------------------------------------------------- finding the agent


async def test_the_old_place_of_the_card_is_looked_at_too(scene: Scene) -> None:
    scene.offers(*HELLO)
    scene.agent.replies[OLD_CARD_PATH] = scene.agent.replies.pop(CARD_PATH)

    assert (await scene.call()).code == 0


async def test_the_url_may_be_the_cards_own(scene: Scene) -> None:
    scene.offers(*HELLO)
    scene.agent.replies["/cards/7.json"] = scene.agent.replies.pop(CARD_PATH)

    assert (await scene.call(url=f"{scene.url}/cards/7.json")).code == 0


async def test_a_proxy_from_the_environment_is_not_used_for_this_machine(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.offers(*HELLO)
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert (await scene.call()).code == 0


async def test_a_proxy_setting_that_makes_no_sense_is_an_error_of_settings(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://user:secret@x")

    seen = await scene.call(url="http://agent.example")

    assert seen.code == 2
    assert "HTTP_PROXY" in seen.err
    assert "secret" not in seen.err


# --------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ({"bearer": TOKEN}, f"Bearer {TOKEN}"),
        ({"basic": LOGIN}, "Basic " + base64.b64encode(LOGIN.encode()).decode()),
        ({"bearer": TOKEN, "basic": LOGIN}, f"Bearer {TOKEN}"),
    ],
    ids=["bearer", "basic", "both"],
)
async def test_credentials_go_to_the_agent_and_are_never_shown(
    scene: Scene, credentials: dict[str, str], header: str
) -> None:
    scene.offers(*HELLO)

    seen = await scene.call(verbose=True, bearer=credentials.get("bearer"), basic=credentials.get("basic"))

    assert seen.code == 0
    assert {request.headers.get("authorization") for request in scene.agent.requests} == {header}
    assert TOKEN not in seen.out + seen.err


@pytest.mark.parametrize(
    ("bearer", "hint"), [(None, "Set A2A_CLIENT_BEARER_TOKEN"), (TOKEN, "does not accept the credentials")]
)
async def test_an_agent_that_wants_credentials_is_explained(scene: Scene, bearer: str | None, hint: str) -> None:
    scene.replies(document({"error": "Unauthorized"}, 401))

    seen = await scene.call(bearer=bearer)

    assert (seen.code, seen.out) == (4, "")
    assert seen.err.startswith("opencode-a2a call: The agent refused: Unauthorized. ")
    assert hint in seen.err
    assert TOKEN not in seen.err


async def test_a_card_cannot_send_credentials_to_another_origin(scene: Scene, anyio_backend: str) -> None:
    other = ScriptedAgent({"/rpc": [stream(*HELLO)]})
    async with serving(anyio_backend, other) as elsewhere:
        scene.agent.on(CARD_PATH, card(("JSONRPC", "1.0", f"{elsewhere}/rpc")))

        with_token, without = await scene.call(bearer=TOKEN), other.requests.copy()
        anonymous = await scene.call()

    assert with_token.code == 2
    assert elsewhere in with_token.err
    assert scene.url in with_token.err
    assert without == []
    assert (anonymous.code, anonymous.out) == (0, "Hello there\n")
    assert f"[the agent card points to {elsewhere}]" in anonymous.err


@each_value("path", [CARD_PATH, "/rpc"])
@pytest.mark.parametrize("code", [302, 307, 308])
async def test_redirects_are_told_and_not_followed(scene: Scene, anyio_backend: str, path: str, code: int) -> None:
    other = ScriptedAgent()
    async with serving(anyio_backend, other) as elsewhere:
        scene.offers(*HELLO)
        scene.agent.on(path, Reply(status=code, headers={"location": f"{elsewhere}/rpc"}))

        seen = await scene.call(bearer=TOKEN)

    assert seen.code == 4
    assert f"redirects to {elsewhere}/rpc" in seen.err
    assert other.requests == []


@each_value("path", [CARD_PATH, "/rpc"])
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_error_that_repeats_the_request_shows_no_credential(
    scene: Scene, anyio_backend: str, path: str, status: int
) -> None:
    echo = {"jsonrpc": "2.0", "id": "1", "error": {"code": -32603, "message": f"got Authorization: Bearer {TOKEN}"}}
    scene.offers(*HELLO)
    scene.agent.on(path, document(echo, status))

    seen = await scene.call(bearer=TOKEN)

    assert seen.code == 4
    assert TOKEN not in seen.err


async def test_a_redirect_is_told_without_the_secrets_in_its_url(scene: Scene) -> None:
    scene.offers(*HELLO)
    scene.agent.on("/rpc", Reply(status=302, headers={"location": "https://a:b@h.example/x?token=hush"}))

    seen = await scene.call()

    assert "redirects to https://a:***@h.example/x?token=***" in seen.err


# ------------------------------------------------------------------------------------------- command line


async def test_the_command_line_chooses_the_interface_and_reads_standard_input(scene: Scene) -> None:
    scene.agent.on(CARD_PATH, card(("JSONRPC", "1.0", f"{scene.url}/rpc"), ("HTTP+JSON", "0.3", f"{scene.url}/rpc")))
    scene.agent.on("/rpc/v1/message:stream", stream(*HELLO, binding="HTTP+JSON", version="0.3"))
    settings = Settings(client_bearer_token=Secret(TOKEN))
    out, err = Screen(), Screen()

    with anyio.fail_after(DEADLINE):
        code = await run_from_arguments(
            parsed(scene.url, "-", "--line", "0.3", "--binding", "http+json", "--context", "c7", "--timeout", "5"),
            settings,
            out,
            err,
            io.StringIO("from a pipe"),
        )

    assert (code, out.getvalue()) == (0, "Hello there\n")
    [asked] = scene.agent.asked("/rpc/v1/message:stream")
    assert asked.json["message"]["content"] == [{"text": "from a pipe"}]
    assert asked.json["message"]["contextId"] == "c7"
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_line_the_agent_does_not_offer_is_told_with_what_it_does(scene: Scene) -> None:
    scene.offers(*HELLO)

    seen = await scene.call(version="0.3")

    assert seen.code == 4
    assert "no JSONRPC or HTTP+JSON or WEBSOCKET or GRPC 0.3; it offers JSONRPC 1.0" in seen.err


@pytest.mark.parametrize("wrong", [["--line", "2.0"], ["--binding", "soap"], ["--timeout", "0"], ["--timeout", "x"]])
def test_options_that_make_no_sense_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("http://a", "hi", *wrong)

    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_the_help_tells_the_exit_codes_and_where_credentials_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")

    told = capsys.readouterr().out
    assert all(f"\n  {code} " in told for code in (0, 1, 2, 3, 4, 5, 130))
    assert "A2A_CLIENT_BEARER_TOKEN" in told


def test_secrets_are_not_in_the_repr_of_a_target() -> None:
    target = CallTarget("http://a", ClientOptions(bearer=Secret(TOKEN), basic=Secret(LOGIN)))

    assert TOKEN not in repr(target)
    assert LOGIN not in repr(target)


PROGRAM = """
import sys
from functools import partial
from importlib import import_module
from tests.shell.calling import parsed
from opencode_a2a.cli.call import run_from_arguments
from opencode_a2a.config.settings import Settings
runtime, url = sys.argv[1:]
main = partial(run_from_arguments, parsed(url, "hi"), Settings(), sys.stdout, sys.stderr)
sys.exit(import_module(runtime).run(main))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_ends_the_call_with_what_was_said_so_far(
    scene: Scene, anyio_backend: str, number: signal.Signals
) -> None:
    never = anyio.Event()
    scene.replies(stream(WORKING, says("Hel", append=False), never))
    command = [sys.executable, "-c", PROGRAM, f"runtime_{anyio_backend}", scene.url]
    first = rest = err = b""
    with anyio.fail_after(3 * DEADLINE):
        async with await anyio.open_process(command) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            while len(first) < 3:
                first += await process.stdout.receive()
            process.send_signal(number)
            rest = b"".join([chunk async for chunk in process.stdout])
            err = b"".join([chunk async for chunk in process.stderr])
    never.set()

    assert (process.returncode, first + rest) == (130, b"Hel\n")
    assert b"interrupted" in err
    assert b"Traceback" not in err
