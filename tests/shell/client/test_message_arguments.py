"""Files, session, model and directory of `opencode-a2a call`: what our server makes of them, what is refused."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.cli.call import run_from_arguments
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import FilePart, TextPart
from sansio.opencode.extension_names import EXTENSION_URIS, MODEL_SELECTION
from sansio.redact import Secret
from tests.shell.calling import DEADLINE, HELLO, Scene, Screen, Seen, message_path, parsed
from tests.shell.cases import each_value
from tests.shell.harness import ALICE, Agent, Serving
from tests.shell.scripted_agent import CARD_PATH, card

pytestmark = pytest.mark.anyio

WAYS = [("0.3", "jsonrpc"), ("0.3", "http+json"), ("1.0", "http+json"), ("1.0", "jsonrpc")]
each_way = each_value("version, binding", WAYS)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


async def calling(url: str, *arguments: str, **settings: Any) -> Seen:
    """A call as the command line makes it."""
    out, err = Screen(), Screen()
    given = Settings(client_bearer_token=Secret(ALICE), **settings)
    with anyio.fail_after(2 * DEADLINE):
        code = await run_from_arguments(parsed(url, *arguments), given, out, err)
    return Seen(code=code, out=out.getvalue(), err=err.getvalue())


def prompts(agent: Agent) -> list[tuple[str, Any]]:
    """The path and the body of every prompt that OpenCode received."""
    return [(one.path, one.json) for one in agent.fake_opencode.requests if one.path.endswith("/prompt_async")]


# --------------------------------------------------------------------------------------------------- choices


@each_way
async def test_a_model_and_a_session_reach_opencode(serving: Serving, version: str, binding: str) -> None:
    ways = ("--protocol-version", version, "--binding", binding)
    async with serving() as agent:
        first = await calling(agent.url, "COUNT", "--model", "anthropic/claude/4", *ways)
        [session] = agent.fake_opencode.sessions
        again = await calling(agent.url, "COUNT", "--session", session, *ways)

        assert (first.code, again.code, again.out) == (0, 0, "You have said 2 things.\n")
        assert [path.split("/")[2] for path, _ in prompts(agent)] == [session, session]
        assert [body.get("model") for _, body in prompts(agent)] == [
            {"providerID": "anthropic", "modelID": "claude/4"},
            None,
        ]


@each_way
async def test_a_directory_reaches_opencode(serving: Serving, tmp_path: Path, version: str, binding: str) -> None:
    (tmp_path / "sub").mkdir()
    app = FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, directory=str(tmp_path))
    async with serving(app, workspace_root=str(tmp_path)) as agent:
        ways = ("--protocol-version", version, "--binding", binding)
        seen = await calling(agent.url, "COUNT", "--directory", str(tmp_path / "sub"), *ways)
        outside = await calling(agent.url, "COUNT", "--directory", "/", *ways)

        assert seen.code == 0
        [session] = app.sessions.values()
        assert session.directory == str(tmp_path / "sub")
    assert outside.code == 4
    assert "metadata.opencode.directory" in outside.err


@each_way
async def test_an_instance_chooses_the_opencode_by_its_name(serving: Serving, version: str, binding: str) -> None:
    ways = ("--protocol-version", version, "--binding", binding)
    async with serving() as agent:
        name = agent.running.instances.first.name
        seen = await calling(agent.url, "COUNT", "--instance", name, *ways)
        unknown = await calling(agent.url, "COUNT", "--instance", "none", *ways)

        assert (seen.code, len(prompts(agent))) == (0, 1)
    assert unknown.code == 4
    assert "metadata.opencode.instance" in unknown.err


@each_way
async def test_the_extension_of_a_choice_is_activated(scene: Scene, version: str, binding: str) -> None:
    scene.offers(*HELLO, version=version, binding=binding.upper())
    uri, other = EXTENSION_URIS[MODEL_SELECTION][version], "urn:example:other"
    scene.agent.on(CARD_PATH, card((binding.upper(), version, f"{scene.url}/rpc"), extensions=[other, uri]))

    chosen = await calling(scene.url, "hi", "--model", "a/b")
    without = await calling(scene.url, "hi")

    assert (chosen.code, without.code) == (0, 0), chosen.err
    first, second = scene.agent.asked(message_path(binding.upper(), version, streaming=True))
    headers = {"1.0": "a2a-extensions", "0.3": "x-a2a-extensions"}
    assert first.headers[headers[version]] == uri
    assert headers[version] not in second.headers
    message = first.json["params"]["message"] if binding == "jsonrpc" else first.json["message"]
    assert message["metadata"] == {"shared": {"model": {"providerID": "a", "modelID": "b"}}}
    assert message["extensions"] == [uri]


@each_value("option, value", [("session", "ses_1"), ("model", "a/b"), ("directory", "sub"), ("instance", "b")])
async def test_an_agent_without_the_extension_is_not_asked(scene: Scene, option: str, value: str) -> None:
    scene.offers(*HELLO)

    seen = await calling(scene.url, "hi", f"--{option}", value)

    assert seen.code == 2
    assert seen.err.startswith(f"opencode-a2a call: --{option}: the agent does not offer it")
    assert scene.agent.asked("/rpc") == []


@pytest.mark.parametrize(
    "wrong",
    [["--model", "claude"], ["--model", "/x"], ["--session", " "], ["--directory", "a\nb"], ["--instance", ""]],
)
def test_choices_that_make_no_sense_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("http://a", "hi", *wrong)

    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------- files


@each_way
async def test_files_reach_opencode(serving: Serving, tmp_path: Path, version: str, binding: str) -> None:
    (tmp_path / "notes.md").write_text("# Notes")
    (tmp_path / "picture.png").write_bytes(PNG)
    async with serving() as agent:
        seen = await calling(
            agent.url,
            "COUNT",
            *("--file", str(tmp_path / "notes.md"), "--file", str(tmp_path / "picture.png")),
            *("--protocol-version", version, "--binding", binding),
        )

        assert seen.code == 0, seen.err
        [(_, body)] = prompts(agent)
    text, *files = body["parts"]
    assert text["text"] == "COUNT"
    found = [(one["mime"], one["filename"], base64.b64decode(one["url"].partition(",")[2])) for one in files]
    assert found == [("text/plain", "notes.md", b"# Notes"), ("image/png", "picture.png", PNG)]


@each_way
async def test_a_file_by_url_is_passed_on_and_not_fetched(scene: Scene, version: str, binding: str) -> None:
    scene.offers(*HELLO, version=version, binding=binding.upper())
    url = f"{scene.url}/files/plan.pdf"

    seen = await calling(scene.url, "hi", "--file", url)

    assert seen.code == 0, seen.err
    [asked] = scene.agent.asked(message_path(binding.upper(), version, streaming=True))
    assert scene.agent.asked("/files/plan.pdf") == []
    sent = asked.json["params"]["message"] if binding == "jsonrpc" else asked.json["message"]
    assert url in str(sent)
    if binding == "jsonrpc":
        assert CODECS[version].parse_send(asked.json["params"]).message.parts == (
            TextPart(text="hi"),
            FilePart(url=url, filename="plan.pdf", media_type="application/pdf"),
        )


async def test_files_that_cannot_be_sent_are_errors_of_usage(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 6_000)
    (tmp_path / "half").write_bytes(b"x" * 3_000)
    small = {"max_request_body_bytes": 10_000}

    missing = await calling(scene.url, "hi", "--file", str(tmp_path / "missing"))
    folder = await calling(scene.url, "hi", "--file", str(tmp_path))
    large = await calling(scene.url, "hi", "--file", str(tmp_path / "large"), **small)
    one = str(tmp_path / "half")
    several = await calling(scene.url, "hi", "--file", one, "--file", one, **small)
    password = await calling(scene.url, "hi", "--file", "https://ada:pass-83be@files.example/a")
    endless = await calling(scene.url, "hi", "--file", "/dev/zero")

    refused = [missing, folder, large, several, password, endless]
    assert [seen.code for seen in refused] == [2] * 6
    assert all(seen.err.startswith("opencode-a2a call: --file: ") for seen in refused)
    assert "No such file" in missing.err
    assert "directory" in folder.err
    assert all("is too large" in seen.err for seen in (large, several, endless))
    assert "pass-83be" not in password.err
    assert scene.agent.requests == []


async def test_a_file_may_be_a_pipe_and_its_size_may_be_without_limit(scene: Scene) -> None:
    scene.offers(*HELLO)
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)

    seen = await calling(scene.url, "hi", "--file", f"/dev/fd/{reading}", max_request_body_bytes=0)
    os.close(reading)

    assert seen.code == 0, seen.err
    [asked] = scene.agent.asked("/rpc")
    part = asked.json["params"]["message"]["parts"][1]
    assert (base64.b64decode(part["raw"]), part["mediaType"]) == (b"from a pipe", "text/plain")
