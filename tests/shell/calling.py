"""Calls to a scripted agent, and what agents usually say: for the tests of `opencode-a2a call`."""

from __future__ import annotations

import argparse
import io

import anyio
from attrs import define, frozen

from opencode_a2a.cli.call import CallTarget, call
from opencode_a2a.cli.main import add_arguments
from opencode_a2a.client.options import ClientOptions
from opencode_a2a.terminal.prompts import Answers
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    Message,
    Role,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.redact import Secret
from tests.shell.scripted_agent import CARD_PATH, Piece, Reply, ScriptedAgent, card, stream

DEADLINE = 30.0  # many: a machine may be busy, and what is waited for comes at once


def status(state: TaskState, text: str | None = None, *, final: bool | None = None) -> StatusUpdate:
    message = Message(message_id="s", role=Role.AGENT, parts=(TextPart(text=text),)) if text else None
    ends = state.terminal if final is None else final
    return StatusUpdate(task_id="t1", context_id="c1", status=TaskStatus(state=state, message=message), final=ends)


def says(text: str, *, append: bool = True, block: str = "text") -> ArtifactUpdate:
    metadata = {"shared": {"stream": {"block_type": block}}}
    artifact = Artifact(artifact_id=block, parts=(TextPart(text=text),), metadata=metadata)
    return ArtifactUpdate(task_id="t1", context_id="c1", artifact=artifact, append=append)


def task(state: TaskState, *texts: str) -> Task:
    artifacts = tuple(
        Artifact(artifact_id=f"a{number}", parts=(TextPart(text=text),)) for number, text in enumerate(texts)
    )
    return Task(id="t1", context_id="c1", status=TaskStatus(state=state), artifacts=artifacts)


WORKING = status(TaskState.WORKING)
COMPLETED = status(TaskState.COMPLETED)
HELLO = (WORKING, says("Hello", append=False), says(" there"), COMPLETED)


class Screen(io.StringIO):
    """A text stream that tells when something has been flushed to it, and may pass for a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.flushed = anyio.Event()
        self._terminal = terminal

    def flush(self) -> None:
        self.flushed.set()
        self.flushed = anyio.Event()

    def isatty(self) -> bool:
        return self._terminal

    async def until(self, text: str) -> None:
        with anyio.fail_after(DEADLINE):
            while text not in self.getvalue():
                await self.flushed.wait()


@frozen(kw_only=True)
class Seen:
    """What a call printed, and its exit code."""

    code: int
    out: str
    err: str


@define(eq=False)
class Scene:
    """An agent that is served, and the way to call it."""

    agent: ScriptedAgent
    url: str

    def offers(self, *said: StreamItem | Piece, binding: str = "JSONRPC", version: str = "1.0") -> None:
        """The agent offers one interface, and streams what is said on it."""
        self.replies(stream(*said, binding=binding, version=version), binding=binding, version=version)

    def replies(
        self, *replies: Reply, binding: str = "JSONRPC", version: str = "1.0", streaming: bool = True
    ) -> None:
        """The agent offers one interface, and answers messages so."""
        self.agent.on(CARD_PATH, card((binding, version, f"{self.url}/rpc"), streaming=streaming))
        self.agent.on(message_path(binding, version, streaming), *replies)

    async def call(
        self,
        text: str = "hi",
        *,
        url: str | None = None,
        bearer: str | None = None,
        basic: str | None = None,
        timeout: float = DEADLINE,
        screen: Screen | None = None,
        verbose: bool = False,
        as_json: bool = False,
        stream: bool = True,
        version: str | None = None,
        answers: Answers | None = None,
        err: Screen | None = None,
        task_id: str | None = None,
    ) -> Seen:
        target = CallTarget(
            url or self.url,
            ClientOptions(
                version=version,
                bearer=Secret(bearer) if bearer else None,
                basic=Secret(basic) if basic else None,
                timeout=timeout,
                card_timeout=timeout,
                patience=timeout,
            ),
        )
        out, err = screen or Screen(), err or Screen(terminal=screen is not None)
        with anyio.fail_after(DEADLINE):
            code = await call(
                target,
                text,
                out=out,
                err=err,
                verbose=verbose,
                as_json=as_json,
                stream=stream,
                context_id="c0",
                task_id=task_id,
                answers=answers,
            )
        return Seen(code=code, out=out.getvalue(), err=err.getvalue())


def message_path(binding: str, version: str, streaming: bool) -> str:
    if binding == "JSONRPC":
        return "/rpc"
    return f"/rpc{'/v1' if version == '0.3' else ''}/message:{'stream' if streaming else 'send'}"


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="opencode-a2a call")
    add_arguments("call", parser)
    return parser.parse_args(arguments)
