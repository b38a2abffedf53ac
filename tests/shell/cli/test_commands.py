"""The command line as a user meets it, in processes of its own: help, errors, serving, the demo."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from attrs import define, frozen

import opencode_a2a
from opencode_a2a import __version__
from opencode_a2a.cli import demo
from opencode_a2a.cli.main import main, parse
from opencode_a2a.fake_opencode import AFTER_TOOL
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from tests.paths import ROOT

DEADLINE = 20.0
PROGRAM = (sys.executable, "-m", "opencode_a2a")
CREDENTIALS = '[{"scheme": "bearer", "token": "tok-31e5a0", "principal": "me"}]'
BOTH = pytest.mark.parametrize("runtime", ["asyncio", "trio"])


def environment(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.upper().startswith(("A2A_", "OPENCODE_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=environment(**variables),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    return start


@define(eq=False)
class Serving:
    """A server that runs, with what it has printed so far."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def find(self, pattern: str) -> str:
        """Wait until the server has printed something."""
        until = time.monotonic() + DEADLINE
        while (found := re.search(pattern, self.said)) is None:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.01)
        return found[1]

    @property
    def url(self) -> str:
        return self.find(r"listening on (http://\S+)")

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@frozen
class Starter:
    folder: Path

    @contextmanager
    def __call__(self, *arguments: str, **variables: str) -> Iterator[Serving]:
        log = self.folder / "server.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*PROGRAM, *arguments], env=environment(**variables), cwd=self.folder, stdout=out, stderr=out
            )
        try:
            yield Serving(process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(DEADLINE)


Start = Callable[..., AbstractContextManager[Serving]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Starter(tmp_path)


@pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help"), ("call", "--help"), ("demo", "--help")])
def test_help_is_printed(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: opencode-a2a")
    if arguments[0] == "serve":
        assert "A2A_STATIC_AUTH_CREDENTIALS" in done.stdout
    if arguments[0] == "call":
        assert "exit" in done.stdout.lower()


def test_the_version_is_printed(run: Run) -> None:
    done = run("--version")

    assert done.returncode == 0
    python = f"{platform.python_implementation()} {platform.python_version()}"
    assert done.stdout == f"opencode-a2a {__version__} ({python}, {Path(opencode_a2a.__file__).parents[1]})\n"


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        (("serve", "--port", "70000"), {}, 2, "A2A_PORT"),
        (("--port", "many"), {}, 2, "A2A_PORT"),
        ((), {"A2A_STATIC_AUTH_CREDENTIALS": "[{}]"}, 2, "A2A_STATIC_AUTH_CREDENTIALS"),
        ((), {"OPENCODE_BASE_URL": "ftp://x"}, 2, "OPENCODE_BASE_URL"),
        ((), {"A2A_SUPPORTED_PROTOCOL_VERSIONS": "9.9"}, 2, "A2A_SUPPORTED_PROTOCOL_VERSIONS"),
        (("--runtime", "curio"), {}, 2, "curio"),
        (("--host", "0.0.0.0"), {}, 2, "A2A_STATIC_AUTH_CREDENTIALS"),
        (("serve", "--nonsense"), {}, 2, "--nonsense"),
        (("dance",), {}, 2, "dance"),
        (("--port", "0"), {"A2A_TASK_STORE_DATABASE_URL": "sqlite:////dev/null/tasks.db"}, 2, "database"),
        (("call",), {}, 2, "URL"),
    ],
)
def test_what_cannot_be_is_said_in_a_line_without_a_traceback(
    run: Run, arguments: tuple[str, ...], variables: dict[str, str], code: int, said: str
) -> None:
    done = run(*arguments, **variables)

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        (("serve", "--log-format", "json", "--port", "70000"), {}, 2, "A2A_PORT"),
        ((), {"A2A_LOG_FORMAT": "json", "A2A_STATIC_AUTH_CREDENTIALS": "[{}, {}]"}, 2, "A2A_STATIC_AUTH_CREDENTIALS"),
        (
            ("--port", "0"),
            {"A2A_LOG_FORMAT": "json", "A2A_TASK_STORE_DATABASE_URL": "sqlite:////dev/null/t"},
            2,
            "data",
        ),
        (("--port", "TAKEN"), {"A2A_LOG_FORMAT": "json", "A2A_TASK_STORE_BACKEND": "memory"}, 1, "in use"),
    ],
    ids=["port", "credentials", "store", "taken"],
)
def test_why_serve_failed_is_one_record_where_the_log_is_json(
    run: Run, arguments: tuple[str, ...], variables: dict[str, str], code: int, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        variables = {"A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS, **variables}
        done = run(*(port if word == "TAKEN" else word for word in arguments), **variables)

    records = [json.loads(line) for line in done.stderr.splitlines()]
    [failed] = [record for record in records if record["level"] == "ERROR"]
    assert done.returncode == code
    assert failed["logger"] == "opencode_a2a.lifecycle"
    assert said in failed["message"]


def test_a_file_of_settings_says_in_which_form_serve_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A2A_LOG_FORMAT=json\nA2A_PORT=many\nA2A_HOTS=x\n")
    done = run("serve")

    assert json.loads(done.stderr)["level"] == "ERROR"
    assert "A2A_PORT" in json.loads(done.stderr)["message"]


@pytest.mark.parametrize("command", ["doctor", "migrate"])
def test_other_commands_log_text_whatever_the_form_of_the_servers_log(run: Run, tmp_path: Path, command: str) -> None:
    more = ("--from", str(tmp_path / "none.db")) if command == "migrate" else ()
    variables = {"A2A_LOG_FORMAT": "json", "A2A_LOG_LEVEL": "INFO", "OPENCODE_BASE_URL": "http://127.0.0.1:9"}
    done = run(command, *more, **variables)

    assert done.returncode != 0
    assert not [line for line in done.stderr.splitlines() if line.startswith("{")]


@BOTH
def test_a_port_that_is_taken_is_told(run: Run, runtime: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in ("serve", "demo"):
            done = run(command, "--runtime", runtime, "--port", port, A2A_TASK_STORE_BACKEND="memory")

            assert done.returncode == 1
            assert "in use" in done.stderr
            assert "Traceback" not in done.stderr


@BOTH
def test_the_demo_shows_an_answer_and_ends_well(run: Run, runtime: str) -> None:
    done = run("demo", "--runtime", runtime)

    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert AFTER_TOOL in done.stdout
    assert "/.well-known/agent-card.json" in done.stdout
    assert "-m opencode_a2a demo --keep" in done.stdout


@BOTH
def test_the_demo_can_be_run_from_python(
    runtime: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/bin/opencode-a2a"])

    assert main(["demo", "--runtime", runtime]) == 0

    shown = capsys.readouterr().out
    assert AFTER_TOOL in shown
    assert "/opt/bin/opencode-a2a demo --keep" in shown


def test_the_demo_names_every_word_that_its_scripts_know() -> None:
    assert demo.WORDS.keys() == SCRIPTS.keys()


MISTAKES_OF_SERVERS = (
    {"A2A_OAUTH_TOKEN_URL": "https://a.example/token"},
    {"OPENCODE_MODEL_ID": "big"},
    {"A2A_RATE_LIMIT_MAX_REQUESTS": "0"},
    {"A2A_PORT": "many"},
    {"A2A_STATIC_AUTH_CREDENTIALS": "[{}]"},
    {"A2A_PROTOCOL_VERSION": "0.3", "A2A_SUPPORTED_PROTOCOL_VERSIONS": "1.0"},
)


@pytest.mark.parametrize("mistake", MISTAKES_OF_SERVERS, ids=" ".join)
def test_only_what_a_command_reads_keeps_it_from_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mistake: dict[str, str]
) -> None:
    for variable in [one for one in os.environ if one.startswith(("A2A_", "OPENCODE_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    for variable, value in mistake.items():
        monkeypatch.setenv(variable, value)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    assert main(["call", url, "hi"]) == 4, capsys.readouterr().err
    assert main(["serve"]) == 2
    printed = capsys.readouterr().err
    assert any(name in printed for name in mistake), printed


@pytest.mark.parametrize(
    ("command", "name", "text"),
    [
        (("call", "http://127.0.0.1:9", "hi"), "A2A_CLIENT_TIMEOUT_SECONDS", "soon"),
        (("call", "http://127.0.0.1:9", "hi"), "A2A_RUNTIME", "curio"),
        (("demo",), "A2A_LOG_LEVEL", "LOUD"),
    ],
)
def test_what_a_command_reads_is_checked(run: Run, command: tuple[str, ...], name: str, text: str) -> None:
    done = run(*command, **{name: text})

    assert (done.returncode, text in done.stderr) == (2, True), done.stderr


@BOTH
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_says_where_it_is_and_stops_when_told(start: Start, runtime: str, number: int) -> None:
    with start("serve", "--runtime", runtime, "--port", "0") as server:
        token = server.find(r"the bearer token is (\S+)")
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=DEADLINE) as http:
            assert http.get("/health").status_code == 200
            assert http.get("/health", headers={"authorization": "Bearer x"}).status_code == 401
            assert http.get("/.well-known/agent-card.json").json()["url"] == server.url
            started = time.monotonic()
            code = server.stop(number)

        assert (code, server.said.count(token), "Traceback" in server.said) == (0, 1, False), server.said
        assert time.monotonic() - started < 20
        assert (server.log.parent / "opencode-a2a.db").stat().st_mode & 0o777 == 0o600


@BOTH
def test_a_server_warns_of_risky_settings_and_is_silent_without(start: Start, runtime: str) -> None:
    arguments = ("serve", "--runtime", runtime, "--port", "0", "--opencode", "http://127.0.0.1:9")
    risky = {"A2A_ALLOWED_ORIGINS": "*", "A2A_TASK_STORE_BACKEND": "memory"}
    with start(*arguments, **risky) as server:
        assert server.url
        printed = server.said
    with start(*arguments, A2A_TASK_STORE_BACKEND="memory") as server:
        assert server.url
        plain = server.said

    assert "opencode-a2a: warning: A2A_ALLOWED_ORIGINS: any page in a browser may call; list the origins" in printed
    assert printed.count("warning:") == 1
    assert "warning:" not in plain


def test_a_server_with_credentials_makes_no_token(start: Start) -> None:
    variables = {"A2A_STATIC_AUTH_CREDENTIALS": CREDENTIALS, "A2A_PORT": "0"}
    with start(A2A_TASK_STORE_BACKEND="memory", **variables) as server:
        answer = httpx.get(f"{server.url}/health", headers={"authorization": "Bearer tok-31e5a0"}, timeout=DEADLINE)

        assert answer.status_code == 200
        assert server.stop(signal.SIGTERM) == 0
        assert "token" not in server.said
        assert "tok-31e5a0" not in server.said


def test_settings_are_read_from_a_file_too(start: Start, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A2A_PORT=0\nA2A_TASK_STORE_BACKEND=memory\nA2A_TITLE=From a file\nA2A_PROT=1\n")
    with start() as server:
        card = httpx.get(f"{server.url}/.well-known/agent-card.json", timeout=DEADLINE).json()

        assert card["name"] == "From a file"
        assert "did you mean A2A_PORT?" in server.said
        assert server.stop(signal.SIGTERM) == 0


@BOTH
def test_a_demo_that_is_kept_up_can_be_called(start: Start, run: Run, runtime: str) -> None:
    bindings = "HTTP+JSON,JSONRPC,GRPC,WEBSOCKET"
    origin = "http://page.test"
    variables = {"A2A_BINDINGS": bindings, "A2A_ALLOWED_ORIGINS": origin}
    with start("demo", "--runtime", runtime, "--keep", **variables) as server:
        token, url = server.find(r"A2A_CLIENT_BEARER_TOKEN=(\S+) "), server.find(r" call (\S+) ")
        for word in ("PERMISSION", "QUESTION"):
            waiting = run("call", url, server.find(rf' "({word} please)"'), A2A_CLIENT_BEARER_TOKEN=token)
            assert waiting.returncode == 3, waiting.stderr

        for binding in ("grpc", "websocket"):
            server.find(f" (call --binding {binding} {url} )")
            over = run("call", "--binding", binding, url, "ECHO over it", A2A_CLIENT_BEARER_TOKEN=token)
            assert (over.returncode, over.stdout) == (0, "over it\n"), over.stderr
        by_a_page = {"authorization": f"Bearer {token}", "origin": origin}
        ticket = httpx.post(f"{url}/websocket/ticket", headers=by_a_page, timeout=DEADLINE)
        assert (ticket.status_code, ticket.headers["access-control-allow-origin"]) == (200, origin)
        called = run("call", url, "ECHO from the outside", A2A_CLIENT_BEARER_TOKEN=token)
        opencode = server.find(r"OPENCODE_BASE_URL=(http://127\.0\.0\.1:\d+) A2A_TASK_STORE_BACKEND=memory .* serve")
        with start(
            "serve", "--port", "0", OPENCODE_BASE_URL=opencode, A2A_TASK_STORE_BACKEND="memory", A2A_CONSOLE="true"
        ) as own:
            at, key = own.find(r"listening on (\S+)"), own.find(r"the bearer token is (\S+)")
            assert own.find(r"the console is at (\S+)") == f"{at}/console"
            mine = run("call", at, "ECHO by a server of one's own", A2A_CLIENT_BEARER_TOKEN=key)
            assert (mine.returncode, mine.stdout) == (0, "by a server of one's own\n"), mine.stderr

        assert (called.returncode, called.stdout) == (0, "from the outside\n"), called.stderr
        started = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - started < 20  # though two tasks wait for their user
        assert "Traceback" not in server.said


@pytest.mark.parametrize(("port", "other"), [(8000, 8001), (8001, 8002)])
def test_the_command_of_a_server_of_ones_own_has_another_port(
    port: int, other: int, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.print_commands(f"http://127.0.0.1:{port}", "token", "http://127.0.0.1:9", ("JSONRPC",), sys.stdout)

    assert capsys.readouterr().out.endswith(f" serve --port {other}\n")


@pytest.mark.parametrize("by_path", [True, False], ids=["a path with a space", "the module"])
def test_the_commands_that_a_kept_demo_prints_are_found(tmp_path: Path, by_path: bool) -> None:
    program = list(PROGRAM)
    if by_path:
        script = tmp_path / "my tools" / "opencode-a2a"
        script.parent.mkdir()
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom opencode_a2a.cli.main import main\nsys.exit(main())\n"
        )
        script.chmod(0o755)
        program = [str(script)]
    log = tmp_path / "demo.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*program, "demo", "--keep"], env=environment(), cwd=tmp_path, stdout=out, stderr=out
        )
    try:
        demo = Serving(process, log)
        call, curl = demo.find(r"\n  (A2A_CLIENT_BEARER_TOKEN=.*)\n"), demo.find(r"\n  (curl -sN (?:.*\n)+?.*}\')\n")
        for command, told in ((call, "First I look."), (curl, "TASK_STATE_COMPLETED")):
            done = subprocess.run(
                command,
                shell=True,
                env=environment(),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            assert told in done.stdout, (command, done.stderr)
    finally:
        process.terminate()
        process.wait(DEADLINE)


NOT_FOR_HELP = {"anyio", "httpx", "rich", "sqlalchemy", "hypercorn", "opencode_a2a.config", "opencode_a2a.cli.call"}
NOT_FOR_CALLS = {"hypercorn", "sqlalchemy", "opencode_a2a.agent", "opencode_a2a.fake_opencode", "sansio.extensions"}


@pytest.mark.parametrize(
    ("arguments", "needed", "absent"),
    [
        (["--version"], "argparse", {"anyio", "attrs", "httpx", "sqlalchemy"}),
        (["--help"], "argparse", {"anyio", "attrs", "httpx", "sqlalchemy"}),
        (["call", "--help"], "opencode_a2a.cli.arguments.calling", NOT_FOR_HELP),
        (["tasks", "--help"], "opencode_a2a.cli.arguments.calling", NOT_FOR_HELP),
        (["completion", "bash"], "shtab", NOT_FOR_CALLS),
        (["call", "http://127.0.0.1:1", "Hello"], "runtime_asyncio", NOT_FOR_CALLS),
    ],
    ids=["--version", "--help", "call --help", "tasks --help", "completion", "call"],
)
def test_a_command_imports_no_more_than_it_needs(arguments: list[str], needed: str, absent: set[str]) -> None:
    program = (
        "import sys\nfrom opencode_a2a.cli.main import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=DEADLINE
    )

    assert done.returncode == 0
    assert needed in done.stderr.split()
    assert absent.isdisjoint(done.stderr.split())


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        ("call U --quiet x", {"url": "U", "text": "x", "quiet": True}),
        ("call U --task I reject", {"url": "U", "task": "I", "text": "reject"}),
        ("call --output z U - --json", {"url": "U", "text": "-", "output": "z", "json": True}),
        ("call U -- --weird", {"url": "U", "text": "--weird"}),
        ("tasks U --json get I", {"url": "U", "action": "get", "id": "I", "json": True}),
        ("tasks U get --json I", {"url": "U", "action": "get", "id": "I", "json": True}),
    ],
)
def test_options_stand_anywhere_among_the_words(line: str, chosen: dict[str, object]) -> None:
    options = vars(parse(line.split()))

    assert {name: options[name] for name in chosen} == chosen
    assert options["command"] == line.split()[0]


def test_a_wrong_option_is_answered_with_the_usage_of_its_command(run: Run) -> None:
    done = run("call", "http://127.0.0.1:1", "--nonsense", "hi")

    assert done.returncode == 2
    assert done.stderr.startswith("usage: opencode-a2a call ")
    assert "unrecognized arguments: --nonsense" in done.stderr
