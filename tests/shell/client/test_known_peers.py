"""Known peers: loaded from files, called by `@name`, with a credential that goes to their own origin."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from opencode_a2a.cli.call import run_from_arguments
from opencode_a2a.cli.main import main
from opencode_a2a.cli.outcome import failure_text
from opencode_a2a.client import KnownPeers
from opencode_a2a.client.known_peers import PeerCredential, PeerCredentialError, UnknownPeerError
from opencode_a2a.client.options import CallTarget
from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.outbound.outbound_errors import TargetRefusedError
from opencode_a2a.outbound.transport import CheckedTransport
from sansio.a2a.client.client_errors import AgentError
from sansio.outbound import parse_allowed_hosts
from sansio.redact import Secret
from tests.shell.calling import HELLO, Scene, Screen, parsed
from tests.shell.raw_server import answering, ok

pytestmark = pytest.mark.anyio


def peers_file(folder: Path, peers: object, name: str = "peers.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(peers), "utf-8")
    return path


def loaded(path: Path, environ: dict[str, str] | None = None, **settings: object) -> KnownPeers:
    return KnownPeers.of(Settings(peers_file=str(path), **settings), environ or {})  # type: ignore[arg-type]


# --- loading ----------------------------------------------------------------------------------------------


def test_without_a_file_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = KnownPeers.of(Settings())

    assert (len(peers), list(peers), peers.find("https://x.example")) == (0, [], None)
    with pytest.raises(UnknownPeerError, match="A2A_PEERS_FILE"):
        peers.named("@x")


def test_directory_is_its_json_files(tmp_path: Path) -> None:
    peers_file(tmp_path, {"b": "https://b.example"}, "2.json")
    peers_file(tmp_path, {"a": "https://a.example"}, "1.json")
    peers_file(tmp_path, ["no peers"], ".hidden.json")
    peers_file(tmp_path, ["no peers"], "notes.txt")

    assert [peer.name for peer in loaded(tmp_path)] == ["a", "b"]
    assert loaded(tmp_path).named("b") == loaded(tmp_path).named("@b")


def test_broken_files_are_reported_with_setting_file_and_field(tmp_path: Path) -> None:
    one, two = peers_file(tmp_path, {"x": 1}, "1.json"), peers_file(tmp_path, {"y": {"url": "no"}}, "2.json")

    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path)
    assert caught.value.problems == (
        f"A2A_PEERS_FILE: {one}: x: must be a URL, or an object with the member url",
        f"A2A_PEERS_FILE: {two}: y.url: must be an http or https URL",
    )


def test_file_that_cannot_be_read_or_is_too_much_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    crowd = tmp_path / "crowd"
    crowd.mkdir()
    for number in range(65):
        peers_file(crowd, {}, f"{number}.json")
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * (1024 * 1024 + 1))

    for path, reason in (
        (tmp_path / "missing.json", "No such file"),
        (tmp_path / "pipe", "neither a file nor a directory"),
        (crowd, "more than 64 files"),
        (huge, "must not be larger"),
    ):
        with pytest.raises(SettingsError, match=reason) as caught:
            loaded(path)
        assert str(caught.value).startswith(f"A2A_PEERS_FILE: {path}: ")


def test_unknown_name_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    peers = loaded(peers_file(tmp_path, {"a": "https://a.example", "b": "https://b.example"}))

    with pytest.raises(UnknownPeerError, match=r"@c: is no known peer; .* @a, @b"):
        peers.named("c")
    with pytest.raises(UnknownPeerError) as caught:
        peers.named("\x1b[2J")
    assert "\x1b" not in str(caught.value)


def test_url_belongs_to_the_peer_whose_path_fits_best(tmp_path: Path) -> None:
    hosts = {"all": "https://x.example", "one": "https://x.example/one", "other": "https://y.example"}
    peers = loaded(peers_file(tmp_path, hosts))

    found = {
        url: peers.find(url) for url in ("https://x.example/one/a", "https://x.example/two", "https://z.example")
    }
    assert [peer and peer.name for peer in found.values()] == ["one", "all", None]


# --- credentials and policy -------------------------------------------------------------------------------

PEERS = {
    "bearer": {"url": "http://127.0.0.1:1/", "bearer_env": "B"},
    "basic": {"url": "http://127.0.0.1:2/", "basic_env": "L"},
    "none": "http://127.0.0.1:3/",
}


def test_credential_is_read_when_it_is_needed(tmp_path: Path) -> None:
    peers = loaded(peers_file(tmp_path, PEERS), {"B": " s3cret ", "L": "ada:s3cret"})

    assert peers.credential(peers.named("bearer")) == PeerCredential(bearer=Secret("s3cret"))
    assert peers.credential(peers.named("basic")) == PeerCredential(basic=Secret("ada:s3cret"))
    assert peers.credential(peers.named("none")) == PeerCredential()
    assert "s3cret" not in repr(peers)


@pytest.mark.parametrize(
    ("environ", "name", "reason"),
    [
        ({}, "bearer", "@bearer: its credential is to be in B, which is not set"),
        ({"B": " "}, "bearer", "which is not set"),
        ({"B": "two s3crets"}, "bearer", "B cannot be used: it holds white space"),
        ({"L": "s3cret"}, "basic", "L cannot be used: it is not user:password"),
    ],
)
def test_credential_that_is_missing_or_none_is_an_error_of_the_call(
    tmp_path: Path, environ: dict[str, str], name: str, reason: str
) -> None:
    peers = loaded(peers_file(tmp_path, PEERS), environ)

    with pytest.raises(PeerCredentialError, match=reason) as caught:
        peers.credential(peers.named(name))
    assert "s3cret" not in str(caught.value)


def test_dotenv_file_holds_credentials_too_and_the_environment_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("B=of-file\nL=a:b\n", "utf-8")
    monkeypatch.setenv("B", "of-environment")
    monkeypatch.delenv("L", raising=False)
    peers = KnownPeers.of(Settings(peers_file=str(peers_file(tmp_path, PEERS))))

    assert peers.credential(peers.named("bearer")).bearer == Secret("of-environment")
    assert peers.credential(peers.named("basic")).basic == Secret("a:b")


async def test_policy_of_a_peer_opens_its_own_origin_and_gives_the_credential_to_it_alone(tmp_path: Path) -> None:
    token = {"authorization": "Bearer s3cret"}
    async with answering([ok(b"fine")]) as server, answering([ok(b"other")]) as other:
        path = peers_file(tmp_path, {"mine": f"http://127.0.0.1:{server.port}"})
        peers = loaded(path, client_allowed_hosts=parse_allowed_hosts("agent.example"))
        mine = peers.named("mine")
        async with httpx.AsyncClient(transport=CheckedTransport(peers.policy(mine))) as client:
            assert (await client.get(mine.url, headers=token)).text == "fine"
            for url in (f"http://127.0.0.1:{other.port}", "https://agent.example"):
                with pytest.raises(TargetRefusedError):
                    await client.get(url, headers=token)
        async with httpx.AsyncClient(transport=CheckedTransport(peers.policy())) as client:
            with pytest.raises(TargetRefusedError, match="among the allowed"):
                await client.get(mine.url)
        assert (len(server.requests), other.connections) == (1, 0)


# --- commands ---------------------------------------------------------------------------------------------


async def test_call_takes_a_name_in_place_of_the_url_with_the_peers_own_credential(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.offers(*HELLO)
    monkeypatch.setenv("HELLO_TOKEN", "s3cret")
    path = peers_file(tmp_path, {"hello": {"url": scene.url, "bearer_env": "HELLO_TOKEN"}})
    settings = Settings(peers_file=str(path), client_bearer_token=Secret("other"))
    out, err = Screen(), Screen()

    code = await run_from_arguments(parsed("@hello", "hi"), settings, out, err)

    assert (code, out.getvalue()) == (0, "Hello there\n"), err.getvalue()
    assert {request.headers.get("authorization") for request in scene.agent.requests} == {"Bearer s3cret"}


def test_peer_without_a_credential_gets_none_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(peers_file=str(peers_file(tmp_path, PEERS)), client_bearer_token=Secret("other"))

    target = CallTarget.of("@none", settings)

    assert target.url == "http://127.0.0.1:3/"
    assert not target.options.has_credentials
    refused = AgentError("no", http_status=401)
    assert failure_text(refused, target).endswith("A2A_PEERS_FILE: none.bearer_env or basic_env")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["call", "@nobody", "hi"], "@nobody: is no known peer; among those of A2A_PEERS_FILE are @bearer"),
        (["card", "@bearer"], "@bearer: its credential is to be in B, which is not set"),
        (["tasks", "@nobody"], "@nobody: is no known peer"),
    ],
    ids=["call", "card", "tasks"],
)
@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_name_that_cannot_be_called_is_a_fault_of_usage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
    runtime: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A2A_PEERS_FILE", str(peers_file(tmp_path, PEERS)))
    monkeypatch.setenv("A2A_RUNTIME", runtime)
    monkeypatch.delenv("B", raising=False)

    assert main(arguments) == 2
    assert text in capsys.readouterr().err


def test_broken_file_keeps_the_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = peers_file(tmp_path, {"x": {"url": "https://x.example", "token": "s3cret"}})
    monkeypatch.setenv("A2A_PEERS_FILE", str(path))
    monkeypatch.setenv("A2A_TASK_STORE_BACKEND", "memory")

    assert main(["serve", "--port", "0"]) == 2
    printed = capsys.readouterr().err
    assert f"opencode-a2a: A2A_PEERS_FILE: {path}: x: the member 'token' is not known" in printed
    assert "s3cret" not in printed


async def test_a_name_that_cannot_be_called_has_an_outcome_too(tmp_path: Path, anyio_backend: str) -> None:
    settings = Settings(peers_file=str(peers_file(tmp_path, PEERS)))
    out, err = Screen(), Screen()

    code = await run_from_arguments(parsed("@nobody", "hi", "--json"), settings, out, err)

    outcome = json.loads(out.getvalue())["outcome"]
    assert (code, outcome["code"]) == (2, 2)
    assert outcome["error"].startswith("@nobody: is no known peer")
    assert err.getvalue().startswith("opencode-a2a call: @nobody")
