"""Agents of other people as rows of a table: how each is started, its interfaces, and what it lacks.

What it lacks has a reason. Knows nothing of our client.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import attrs
import httpx

from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO
from tests.interop.agent import Way
from tests.interop.driver import ROOT
from tests.interop.environments import python_of
from tests.interop.peers import behaviour
from tests.interop.server import running_server
from tests.interop.test_another_agent import running_example
from tests.real.adapter import START_SECONDS, TOKEN, environment, listening
from tests.real.deadline import Deadline
from tests.real.process import Process

PINS: Final = Path(__file__).parent / "pins"

OPERATIONS: Final = (
    "card",
    "send",
    "stream",
    "get",
    "list",
    "cancel",
    "subscribe",
    "dialogue",
    "message",
    "failure",
    "refusal",
    "authentication",
)
"""A column each. `dialogue`: a task that asks its user, and the answer; `message`: an answer that is no task;
`failure`: a task that fails; `refusal`: of a task that is not there; `authentication`: of a caller without a token.
"""


@attrs.frozen(kw_only=True)
class Prompts:
    """Texts that make an agent do something, and what comes of it. `slow` runs until it is canceled.

    `stream_repeats`: the agent's stream loses its first words, and has the whole text at its end.
    """

    plain: str
    answer: str
    slow: str
    ask: str = ""
    question: str = ""
    reply: str = ""
    replied: str = ""
    fail: str = ""
    failure: str = ""
    message: str = ""
    stream_repeats: bool = False


@attrs.frozen(kw_only=True)
class Peer:
    """An agent. `interfaces`: version and binding. `lacks`: operation to reason; of one interface where the key
    names it.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[str]]
    prompts: Prompts
    interfaces: tuple[tuple[str, str], ...]
    lacks: Mapping[str, str] = attrs.field(factory=dict)

    def reason(self, way: Way, operation: str) -> str | None:
        """Why the agent does not have the operation; None: it has."""
        return self.lacks.get(f"{operation} {way.version} {way.binding}") or self.lacks.get(
            f"{operation} {way.version}", self.lacks.get(operation)
        )

    @property
    def ways(self) -> list[Way]:
        return [Way(self.name, version, binding) for version, binding in self.interfaces]


# --- starting them ----------------------------------------------------------------------------------------


def built_with(library: str, module: str, pins: Path | None = None) -> Callable[[Path], AbstractContextManager[str]]:
    """Start an agent of ours that is built with somebody else's library, in that library's environment."""

    @contextmanager
    def start(folder: Path) -> Iterator[str]:
        python = python_of(library, pins) if pins is not None else python_of(library)
        command = [str(python), "-m", f"{__package__}.{module}", TOKEN]
        process = Process.start(command, cwd=ROOT, env=environment(folder) | {"PYTHONDONTWRITEBYTECODE": "1"})
        try:
            yield process.output.wait_for(r"listening on (\S+)", Deadline.within(START_SECONDS)).group(1)
        finally:
            process.stop()

    return start


def earlier_release(version: str, *arguments: str) -> Callable[[Path], AbstractContextManager[str]]:
    """Start an earlier release of opencode-a2a before the fake OpenCode."""

    @contextmanager
    def start(folder: Path) -> Iterator[str]:
        fake_opencode = ["tests.interop.fake_opencode_server", "asyncio"]
        more = {"A2A_TASK_STORE_BACKEND": "memory"}
        with (
            listening(fake_opencode, folder, environment(folder) | {"PYTHONPATH": str(ROOT)}) as opencode,
            running_earlier(version, arguments, folder, opencode, more) as (url, _),
        ):
            yield url

    return start


@contextmanager
def running_earlier(
    version: str, arguments: Sequence[str], folder: Path, opencode: str, more: Mapping[str, str]
) -> Iterator[tuple[str, Process]]:
    """Start an earlier release before an OpenCode: its URL and its process. `more`: environment."""
    python = python_of(f"opencode-a2a-{version}", PINS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    given = {
        "OPENCODE_BASE_URL": opencode,
        "A2A_PORT": str(port),
        "A2A_PUBLIC_URL": url,
        "A2A_RATE_LIMIT_ENABLED": "false",
        **more,
    }
    command = [str(python), "-m", "opencode_a2a.cli", *arguments]
    process = Process.start(command, cwd=folder, env=environment(folder) | given)
    try:
        answers(f"{url}/.well-known/agent-card.json", process)
        yield url, process
    finally:
        if process.popen.returncode is None:
            process.stop()


def answers(url: str, process: Process) -> None:
    """Wait until a server that says nothing of it is ready. Raises `AssertionError` where it is not in time."""
    deadline = Deadline.within(START_SECONDS)
    while not deadline.passed and process.popen.poll() is None:
        try:
            if httpx.get(url, trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer:\n{process.output.tail()}")


@contextmanager
def ours(folder: Path) -> Iterator[str]:
    """Start this server before the fake OpenCode."""
    with running_server("asyncio", folder) as served:
        yield served.adapter.url


@contextmanager
def example(folder: Path) -> Iterator[str]:
    """Start the example of another agent."""
    with running_example("trio", folder) as adapter:
        yield adapter.url


# --- the table --------------------------------------------------------------------------------------------

PLAIN: Final = "hello big world"
BOTH: Final = (("1.0", "JSONRPC"), ("1.0", "HTTP+JSON"), ("0.3", "JSONRPC"), ("0.3", "HTTP+JSON"))

_BUILT: Final = Prompts(
    plain=PLAIN,
    answer=PLAIN,
    slow=behaviour.WAIT,
    ask=f"{behaviour.ASK} me",
    question=behaviour.QUESTION,
    reply="Ada",
    replied=behaviour.greeting("Ada"),
    fail=f"{behaviour.FAIL} now",
    failure=behaviour.FAILURE,
    message=f"{behaviour.MESSAGE} instead",
)
_OPENCODE: Final = Prompts(plain="hello", answer=HELLO, slow="SLOW")
_NO_LIST: Final = "version 0.3 has no such operation, and this agent offers none beyond it"
_NO_MESSAGE: Final = "it answers with tasks alone"
_WAITS_INSTEAD: Final = "what its model refuses leaves a task waiting for authentication"

PEERS: Final = (
    Peer(
        name="opencode-a2a 0.7.1",
        start=earlier_release("0.7.1"),
        prompts=attrs.evolve(_OPENCODE, stream_repeats=True),
        interfaces=(("0.3", "JSONRPC"), ("0.3", "HTTP+JSON")),
        lacks={
            "list 0.3 JSONRPC": _NO_LIST,
            "subscribe 0.3 JSONRPC": "it does not find a task whose first client has left its stream at once",
            "message": _NO_MESSAGE,
            "dialogue": "its task goes on as `working` while OpenCode asks; methods of its own take the reply",
            "failure": _WAITS_INSTEAD,
        },
    ),
    Peer(
        name="opencode-a2a 1.4.0",
        start=earlier_release("1.4.0", "serve"),
        prompts=attrs.evolve(_OPENCODE, stream_repeats=True),
        interfaces=(("1.0", "HTTP+JSON"), ("1.0", "JSONRPC")),
        lacks={
            "message": _NO_MESSAGE,
            "dialogue": "its task goes on as `working` while OpenCode asks; methods of its own take the reply",
            "failure": _WAITS_INSTEAD,
            "send": "a message that is answered at once leaves its task working for ever: it drops the task's end",
        },
    ),
    Peer(
        name="a2a-sdk 0.3",
        start=built_with("python-0.3", "sdk_0_3_server"),
        prompts=_BUILT,
        interfaces=(("0.3", "JSONRPC"), ("0.3", "HTTP+JSON")),
        lacks={
            "list": _NO_LIST,
            "subscribe 0.3 JSONRPC": "its stream begins with the next event: a task that waits shows nothing",
        },
    ),
    Peer(
        name="a2a-sdk 1",
        start=built_with("python-1", "sdk_1_server"),
        prompts=_BUILT,
        interfaces=BOTH,
        lacks={"list 0.3": _NO_LIST},
    ),
    Peer(
        name="fasta2a 2.1",
        start=built_with("fasta2a", "fasta2a_server", PINS),
        prompts=_BUILT,
        interfaces=(("1.0", "JSONRPC"),),
        lacks={
            "list": "it refuses the operation",
            "message": _NO_MESSAGE,
            "dialogue": "a message always begins a new task",
            "cancel": "its broker runs one operation at a time: a task ends before it can be canceled",
        },
    ),
    Peer(
        name="echo_agent.py",
        start=example,
        prompts=Prompts(plain=PLAIN, answer="hello\nbig\nworld\n", slow=""),
        interfaces=BOTH,
        lacks={
            "message": _NO_MESSAGE,
            "dialogue": "it asks nothing",
            "failure": "it does not fail",
            "cancel": "it answers at once",
            "subscribe": "it answers at once",
        },
    ),
    Peer(
        name="opencode-a2a",
        start=ours,
        prompts=attrs.evolve(
            _OPENCODE,
            ask="QUESTION",
            question="Which one?",
            reply="2",
            replied=AFTER_TOOL,
        ),
        interfaces=(*BOTH, ("1.0", "GRPC"), ("0.3", "GRPC")),
        lacks={
            "message": _NO_MESSAGE,
            "failure": _WAITS_INSTEAD,
            "list 0.3 GRPC": _NO_LIST,
        },
    ),
)
OF_NAME: Final = {peer.name: peer for peer in PEERS}
WAYS: Final = tuple(way for peer in PEERS for way in peer.ways)


def has(way: Way, operation: str) -> bool:
    """Whether the agent has the operation on this interface."""
    return OF_NAME[way.client].reason(way, operation) is None
