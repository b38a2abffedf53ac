"""`opencode-a2a card`: what it prints, what it finds wrong, and its exit codes."""

from __future__ import annotations

import io

import orjson
import pytest

from opencode_a2a.cli.card import show_card
from opencode_a2a.cli.main import main
from opencode_a2a.client.options import CallTarget, ClientOptions
from tests.shell.harness import Serving
from tests.shell.scripted_agent import CARD_PATH, Reply, ScriptedAgent, document
from tests.shell.scripted_agent import serving as scripted

pytestmark = pytest.mark.anyio


async def shown(url: str, *, as_json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = await show_card(CallTarget(url, ClientOptions(timeout=5.0)), out, err, as_json=as_json)
    return code, out.getvalue(), err.getvalue()


async def test_our_own_card_is_shown_and_valid(serving: Serving) -> None:
    async with serving() as agent:
        code, out, err = await shown(agent.url)
        as_json = await shown(f"{agent.url}/.well-known/agent-card.json", as_json=True)

    assert (code, err) == (0, "")
    assert out.startswith("OpenCode A2A ")
    assert f"  interfaces    HTTP+JSON 1.0   {agent.url}\n" in out
    assert f" GRPC 1.0        {agent.url.removeprefix('http://')}\n" in out
    assert f" WEBSOCKET 1.0   ws{agent.url.removeprefix('http')}/websocket\n" in out
    assert "  capabilities  streaming, push notifications, extended card" in out
    assert "  security      bearerAuth (http bearer)" in out
    assert as_json[0] == 0
    assert orjson.loads(as_json[1])["name"] == "OpenCode A2A"


async def of_document(backend: str, reply: Reply, *, as_json: bool = False) -> tuple[int, str, str]:
    agent = ScriptedAgent()
    agent.on(CARD_PATH, reply)
    async with scripted(backend, agent) as url:
        return await shown(url, as_json=as_json)


async def test_what_is_wrong_goes_to_the_other_stream_a_line_each(anyio_backend: str) -> None:
    card = {"url": "http://127.0.0.1:9", "name": "Odd\x1b[2J\ncard", "capabilities": {}, "skills": [{"id": "a"}]}
    code, out, err = await of_document(anyio_backend, document(card))

    assert code == 1
    assert out.splitlines()[0].startswith("Odd")
    assert "\x1b" not in out
    assert "  security      none: everybody may call" in out
    assert "opencode-a2a card: description: is missing" in err.splitlines()
    assert "opencode-a2a card: skills.0.tags: is missing" in err.splitlines()


async def test_a_card_as_json_holds_no_character_that_a_terminal_would_act_on(anyio_backend: str) -> None:
    card = {"url": "http://127.0.0.1:9", "name": "Odd\x1b[2J\x9b2J\u202ecard"}
    _, out, _ = await of_document(anyio_backend, document(card), as_json=True)

    assert out.replace("\n", "").isprintable()
    assert orjson.loads(out) == card


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (document([1]), "The agent card is not a JSON object"),
        (Reply(status=404), "There is no agent card at"),
        (document({"detail": "no"}, 401), "Set A2A_CLIENT_BEARER_TOKEN or A2A_CLIENT_BASIC_AUTH"),
    ],
    ids=["no card", "nothing there", "refused"],
)
async def test_where_there_is_no_card_the_reason_is_one_line(anyio_backend: str, reply: Reply, text: str) -> None:
    code, out, err = await of_document(anyio_backend, reply)

    assert (code, out) == (4, "")
    assert text in err
    assert len(err.splitlines()) == 1


async def test_an_agent_that_is_not_there_or_no_url_is_an_error(anyio_backend: str) -> None:
    assert (await shown("http://127.0.0.1:1"))[0] == 4
    assert (await shown("nonsense"))[0] == 2


def test_the_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["card", "--help"])

    assert caught.value.code == 0
    assert "exit codes:" in capsys.readouterr().out
