"""One seeded run: clients at work on the agent while its plan's faults strike, then what must hold, checked.

Judges from outside: by what clients were told, and by OpenCode's own record, read past the proxy.
"""

from __future__ import annotations

import random
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import anyio
import httpx
from attrs import field, frozen

from sansio.a2a.model import TaskState
from tests.faults.clients import Agents, Client, RefusedError, Script, artifacts, joined
from tests.faults.plan import Plan
from tests.faults.world import TOKEN, World, world

BOUND = 45.0
"""Seconds within which every task has ended, from its client's first word."""

_HEALED_AFTER = 2.0
_PLAIN = ("hi", "LONG 60", "LONG 25", "THINK", "STEPS", "TOOL", "BADTOOL", "SUBTASK hi", "RETRY", "EMPTY", "SPACE")
_ASKING = {
    "PERMISSION": ("once", "always", "reject", "rather not, use ls"),
    "QUESTION": ("A", "2", "neither of them"),
    "SUBTASK PERMISSION": ("once", "no"),
}
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here speaks TLS, and to load certificates takes long


@frozen(kw_only=True)
class Outcome:
    """What a run came to. `wrong` is empty where everything held."""

    seed: int
    runtime: str
    kinds: tuple[str, ...]
    struck: Counter[str]
    states: Counter[str]
    reasons: Counter[str]
    streams_cut: int
    unheard: int  # messages that ran once more, as the agent was killed before it had told or kept the first time
    wrong: tuple[str, ...]
    seconds: float
    log: str = field(repr=False, default="")


class Losses(Protocol):
    """The faults of a run, as far as they excuse anything."""

    @property
    def loses_nothing(self) -> bool:
        """Whether every turn must end as OpenCode ended it."""

    @property
    def loses_answers(self) -> bool:
        """Whether OpenCode itself may forget what it has begun to say."""

    @property
    def may_repeat(self) -> bool:
        """Whether a message may run once more whose task no client has received."""


class Faults(Losses, Protocol):
    """The faults of a run: of which kinds, and how often each came to be."""

    kinds: tuple[str, ...]
    runtime: str
    struck: Counter[str]


class Judged(Protocol):
    """The processes of a run, as far as they are compared."""

    @property
    def plan(self) -> Losses:
        """The faults of the run."""

    @property
    def opencode_url(self) -> str:
        """Where OpenCode is now, past the proxy."""


@frozen
class Record:
    """What OpenCode has of one of our messages: how often, with how many parts, and what answered it."""

    session_id: str
    parts: int
    answers: tuple[dict[str, Any], ...]

    def contents(self, task_id: str) -> dict[str, list[Any]]:
        """The answer as the artifacts it must have become; a tool call by its status alone."""
        out: dict[str, list[Any]] = {}
        for answer in self.answers:
            for part in answer["parts"]:
                if part["type"] in ("text", "reasoning"):
                    out.setdefault(f"{task_id}:{part['type']}", []).append(part["text"])
                elif part["type"] == "tool":
                    out[f"{task_id}:tool_call:{part['id']}"] = [part["state"]["status"]]
        found = {name: joined(content) for name, content in out.items()}
        return {name: content for name, content in found.items() if content}


async def run(seed: int, *, small: bool = False) -> Outcome:
    """The run of a seed. `small`: with half the clients."""
    begun = time.monotonic()
    plan = Plan.of(seed)
    with tempfile.TemporaryDirectory(prefix="opencode-a2a-faults-") as directory:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with (
            httpx.AsyncClient(headers=headers, timeout=30, limits=limits, verify=_NO_TLS) as http,
            world(plan, Path(directory)) as found,
        ):
            clients = make_clients(random.Random(seed + 1), found, http, 4 if small else 8)
            wrong = await work(found, clients)
            wrong += [line for client in clients for line in judge_stream(client)]
            unheard, compared = await compare(found, clients, http)
            wrong += compared
        log = found.agent.said()
    if "Traceback" in log:
        wrong.append("the agent has logged an error of its own")
    return outcome_of(seed, plan, clients, begun, unheard, wrong, log)


def outcome_of(
    seed: int, plan: Faults, clients: Sequence[Client], begun: float, unheard: int, wrong: Sequence[str], log: str
) -> Outcome:
    """What a run came to that `begun`, by the monotonic clock."""
    ended = [client.last for client in clients if client.last is not None]
    return Outcome(
        seed=seed,
        runtime=plan.runtime,
        kinds=plan.kinds,
        struck=plan.struck,
        states=Counter(task.status.state.value for task in ended),
        reasons=Counter(reason_of(client) for client in clients if state_of(client) is TaskState.FAILED),
        streams_cut=sum(client.cuts for client in clients),
        unheard=unheard,
        wrong=tuple(wrong),
        seconds=time.monotonic() - begun,
        log=log,
    )


async def runs(
    seeds: Iterable[int],
    *,
    jobs: int,
    small: bool = False,
    ended: Callable[[Outcome], None] = lambda _: None,
    run_one: Callable[[int], Awaitable[Outcome]] | None = None,
) -> list[Outcome]:
    """The runs of these seeds, `jobs` at a time, in order. `ended`: called with each outcome as it comes.

    `run_one`: does the run of a seed; by default, `run`.
    """
    limiter = anyio.CapacityLimiter(jobs)
    outcomes: list[Outcome] = []
    do = partial(run, small=small) if run_one is None else run_one

    async def one(seed: int) -> None:
        async with limiter:
            outcome = await do(seed)
        outcomes.append(outcome)
        ended(outcome)

    async with anyio.create_task_group() as tasks:
        for seed in seeds:
            tasks.start_soon(one, seed)
    return sorted(outcomes, key=lambda outcome: outcome.seed)


# --- the work -------------------------------------------------------------------------------------------------


def make_clients(rng: random.Random, found: Agents, http: httpx.AsyncClient, count: int) -> list[Client]:
    """Clients in a few contexts, so that some of their turns must wait for each other.

    A turn that asks has a context of its own: there, another message would be its answer.
    """
    clients = []
    for number in range(count):
        # every tag once, so that what OpenCode has can be told apart
        tag = f"message-{number}-{rng.randrange(10**9)}"
        interrupt_tracker = rng.random() < 0.3
        word = rng.choice(tuple(_ASKING) if interrupt_tracker else _PLAIN)
        if number == 0 and rng.random() < 0.3:
            word, interrupt_tracker = "FAIL401", False
        answer = rng.choice(_ASKING[word]) if interrupt_tracker else None
        shared = rng.randrange(max(1, count * 2 // 3))
        clients.append(
            Client(
                world=found,
                http=http,
                rng=random.Random(rng.random()),
                script=Script(text=f"{word} {tag}", answer=answer),
                context=f"asks-{number}" if interrupt_tracker else f"context-{shared}",
                version=rng.choice(("0.3", "1.0")),
                streams=rng.random() < 0.6,
                cancels=rng.random() < 0.15,
            )
        )
    return clients


async def work(found: World, clients: Sequence[Client]) -> list[str]:
    """Let everybody work to the end while the plan's faults strike; says who has not come to one in time."""

    async def strike() -> None:
        async with anyio.create_task_group() as trouble:
            trouble.start_soon(found.apply, found.plan.kills)
            trouble.start_soon(anyio.sleep, _HEALED_AFTER)
        found.plan.heal()

    return await work_during(strike, clients)


async def work_during(strike: Callable[[], Awaitable[None]], clients: Sequence[Client]) -> list[str]:
    """Let everybody work to the end; says who has not come to one in time."""
    wrong: list[str] = []
    rng = random.Random(len(clients))

    async def one(client: Client, wait: float) -> None:
        await anyio.sleep(wait)
        with anyio.move_on_after(BOUND) as bound:
            try:
                await client.run()
            except (AssertionError, RefusedError) as exc:
                wrong.append(f"{client.script.text}: {type(exc).__name__} {exc}")
        if bound.cancelled_caught:
            state = client.last.status.state.value if client.last is not None else "unknown"
            wrong.append(f"{client.script.text}: {client.task_id} is {state}, not ended, {client.doing}")

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(one, client, rng.uniform(0, 1.2))
        await strike()
    return wrong


# --- what must hold ----------------------------------------------------------------------------------------------


def judge_stream(client: Client) -> list[str]:
    """What is wrong with what a client was told: its stream must add up to the task."""
    if client.last is None or not client.streams:
        return []
    have = artifacts(client.last.artifacts)
    wrong = [f"{client.script.text}: {line}" for line in client.disorder]
    for way, said in (("with", client.said), ("without", client.heard)):
        heard = {name: content for name, content in said.artifacts.items() if content}
        if heard != {name: content for name, content in have.items() if content}:
            wrong.append(f"{client.script.text}: the stream {way} snapshots says {heard}, the task {have}")
    return wrong


async def compare(found: Judged, clients: Sequence[Client], http: httpx.AsyncClient) -> tuple[int, list[str]]:
    """How many messages were run unheard, and what is wrong between the tasks and OpenCode's own record."""
    read = partial(_read, found.opencode_url, http)
    sessions = await read("/session?limit=1000")
    records: dict[str, list[Record]] = {client.script.text: [] for client in clients}
    for session_id in [one["id"] for one in sessions]:
        messages = await read(f"/session/{session_id}/message")
        for message in messages:
            said = "".join(part.get("text", "") for part in message["parts"][:1])
            if message["info"]["role"] == "user" and said in records:
                answers = (one for one in messages if one["info"].get("parentID") == message["info"]["id"])
                records[said].append(Record(session_id, len(message["parts"]), tuple(answers)))
    wrong = []
    unheard = 0
    troubled = set()  # sessions of turns that did not end as OpenCode would have ended them
    for client in clients:
        if client.last is not None and _settled(client):
            session_id = (client.last.metadata or {}).get("shared", {}).get("session", {}).get("id")
            known = records[client.script.text]
            if client.retries and found.plan.may_repeat:
                known = [record for record in known if record.session_id == session_id] or known[-1:]
                unheard += len(records[client.script.text]) - len(known)
                troubled |= {record.session_id for record in records[client.script.text] if record not in known}
            if state_of(client) in (TaskState.FAILED, TaskState.CANCELED):
                troubled.add(session_id)
            wrong += [f"{client.script.text}: {line}" for line in _judge(client, known, found)]
    above = {one["id"]: one.get("parentID") for one in sessions}
    for waiting in [one for path in ("/permission", "/question") for one in await read(path)]:
        session_id = above[waiting["sessionID"]] or waiting["sessionID"]
        if session_id not in troubled:
            wrong.append(f"OpenCode still waits for {waiting['id']}, and nobody else does")
    return unheard, wrong


def _judge(client: Client, records: Sequence[Record], found: Judged) -> list[str]:
    assert client.last is not None
    state = client.last.status.state
    if len(records) > 1 or any(record.parts != 1 for record in records):
        return [f"the prompt was repeated: {[(one.session_id, one.parts) for one in records]}"]
    wrong = []
    expected = TaskState.AUTH_REQUIRED if client.script.text.startswith("FAIL401") else TaskState.COMPLETED
    allowed = {expected, TaskState.CANCELED} if client.cancels else {expected}
    if found.plan.loses_nothing and state not in allowed:
        wrong.append(f"ended {state.value} though nothing was lost: {reason_of(client)}")
    if state is TaskState.COMPLETED and not records:
        return [*wrong, "completed, and OpenCode never had it"]
    if not records:
        return wrong
    have = {
        name: [one.get("status") if isinstance(one, dict) else one for one in content]
        for name, content in artifacts(client.last.artifacts).items()
        if content
    }
    want = records[0].contents(client.last.id)
    if state is TaskState.COMPLETED and have != want:
        wrong.append(f"OpenCode has {want}, the task {have}")
    texts = ["".join(map(str, known.get(f"{client.last.id}:text", []))) for known in (have, want)]
    if not texts[1].startswith(texts[0]) and not found.plan.loses_answers:
        wrong.append(f"{state.value}, and says what OpenCode did not: {texts}")
    return wrong


async def _read(url: str, http: httpx.AsyncClient, path: str) -> Any:
    return (await http.get(url + path)).json()


def state_of(client: Client) -> TaskState | None:
    return client.last.status.state if client.last is not None else None


def _settled(client: Client) -> bool:
    state = state_of(client)
    return state is not None and (state.terminal or state is TaskState.AUTH_REQUIRED)


def reason_of(client: Client) -> str:
    message = client.last.status.message if client.last is not None else None
    said = "".join(getattr(part, "text", "") for part in message.parts) if message is not None else "no reason"
    return said.partition(" (")[0].partition(" at 127")[0][:80]
