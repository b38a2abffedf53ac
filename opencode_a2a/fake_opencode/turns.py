"""Plays a script: the events of one turn, in the order OpenCode sends them.

Knows nothing of HTTP. Events are sent at once; only pauses, holds and open requests wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio
from anyio import get_cancelled_exc_class
from attrs import define, field, frozen

from opencode_a2a.fake_opencode.ids import epoch_ms
from opencode_a2a.fake_opencode.json_values import JsonObject
from opencode_a2a.fake_opencode.mcp_client import ToolFailedError
from opencode_a2a.fake_opencode.scripts import (
    Act,
    Ask,
    CallServer,
    CallTool,
    Delegate,
    Permission,
    Prompt,
    Refuse,
    RetryLater,
    Say,
    Script,
    Step,
    Think,
    script_for,
)
from opencode_a2a.fake_opencode.sessions import INPUT_TOKENS, Memory, Message, Pending, Session, tokens

BUSY: JsonObject = {"type": "busy"}
ABORTED: JsonObject = {"name": "MessageAbortedError", "data": {"message": "Aborted"}}
_SNAPSHOT = "0" * 40


@frozen(kw_only=True)
class Pace:
    """Pauses, in seconds: between two tokens, between two ticks of SLOW, before a retry."""

    token: float
    tick: float
    retry: float


class Gate:
    """Where turns can be made to wait, for tests that must look in the middle of one."""

    def __init__(self) -> None:
        self._at: tuple[type[object], int] | None = None
        self._open = anyio.Event()
        self._arrived = anyio.Event()
        self.held = 0

    def close(self, at: type[object], tokens: int) -> None:
        """From now on turns wait before an act of this kind, or in it after so many tokens."""
        self._at = (at, tokens)

    def open(self) -> None:
        self._at = None
        self.held = 0
        self._open.set()
        self._open = anyio.Event()

    async def arrival(self, count: int) -> None:
        while self.held < count:
            await self._arrived.wait()

    async def passing(self, turn: Turn, act: Act, tokens: int = 0) -> None:
        if self._at is None or not isinstance(act, self._at[0]) or tokens < self._at[1]:
            return
        self.held += 1
        self._arrived.set()
        self._arrived = anyio.Event()
        turn.waits()
        opened = self._open
        try:
            await opened.wait()
        finally:
            if opened is self._open:  # else it was opened, and those who wait now came afterwards
                self.held -= 1


@define(eq=False)
class Turn:
    """One prompt's life. `quiet` is set when it has ended or waits for somebody."""

    session: Session
    prompt: Message
    script: Script
    instant: bool
    parent: Turn | None = None
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    quiet: anyio.Event = field(factory=anyio.Event)
    ended: anyio.Event = field(factory=anyio.Event)
    answer: Message | None = None
    started: bool = False
    text: JsonObject | None = None
    written: list[str] = field(factory=list)  # of `text`, which is stored once it is complete, as OpenCode does
    tool: JsonObject | None = None
    output: int = 0
    outputs: tuple[str, ...] = ()

    def waits(self) -> None:
        """Somebody must act before it goes on, and before any turn goes on that has delegated to it."""
        self.quiet.set()
        if self.parent is not None:
            self.parent.waits()


class _RefusedError(Exception):
    """The provider refused and the turn is over. Its events have been sent already."""


@define(eq=False, kw_only=True)
class Player:
    """Runs turns on a memory."""

    memory: Memory
    pace: Pace
    scripts: Mapping[str, Callable[[Prompt], Script]]
    always_instant: bool
    gate: Gate = field(factory=Gate)
    running: dict[str, Turn] = field(factory=dict)

    def prepare(self, session: Session, prompt: Message) -> Turn:
        """The turn of a prompt; from now on its session is busy."""
        chosen = script_for(prompt.text, directory=session.works_in, turn=session.prompts, scripts=self.scripts)
        turn = Turn(session, prompt, chosen.script, chosen.instant or self.always_instant)
        self.running[session.id] = turn
        return turn

    async def run(self, turn: Turn) -> None:
        """Plays a turn to its end, and then those that have waited for it."""
        current: Turn | None = turn
        while current is not None:
            current = await self._run_one(current)

    async def _run_one(self, turn: Turn) -> Turn | None:
        session = turn.session
        following: Turn | None = None
        with turn.scope:
            try:
                await self._steps(turn)
                if session.waiting:
                    following = self.prepare(session, session.waiting.pop(0))
            except get_cancelled_exc_class():
                self._break_off(turn)
                raise
            finally:
                if self.running.get(session.id) is turn:
                    del self.running[session.id]
                turn.quiet.set()
                turn.ended.set()
        return following

    def abort(self, session: Session) -> None:
        """Stops what a session does and forgets what waits in it. The parts settle a moment later."""
        session.waiting.clear()
        turn = self.running.get(session.id)
        if turn is None or turn.scope.cancel_called:
            self.memory.idle(session)
            return
        turn.scope.cancel()
        self.memory.publish(session, "session.error", {"error": ABORTED})
        self.memory.idle(session)

    def _break_off(self, turn: Turn) -> None:
        memory, session = self.memory, turn.session
        self._end_text(turn)
        if turn.tool is not None:
            self._tool_failed(turn, turn.tool, "The tool was stopped by an abort")
        if turn.answer is not None:
            turn.answer.info["time"]["completed"] = epoch_ms()
            turn.answer.info["error"] = ABORTED
            memory.tell_message(session, turn.answer)
        memory.idle(session)

    async def _steps(self, turn: Turn) -> None:
        """Plays all steps; a refusal of the user's ends the turn after its step."""
        rejected = False
        for index, written in enumerate(turn.script.steps):
            step = written(turn.outputs) if callable(written) else written
            answer = self._begin_step(turn, first=index == 0)
            try:
                rejected = await self._play(turn, answer, step)
            except _RefusedError:
                return
            self._end_step(turn, answer, step)
            if rejected:
                break
        if not turn.session.waiting:
            self._rest(turn, rejected=rejected)

    async def _play(self, turn: Turn, answer: Message, step: Step) -> bool:
        rejected = False
        if (mime := turn.session.unusable) is not None:
            message = f"'file part media type {mime}' functionality not supported."
            self._refuse(turn, answer, {"name": "UnknownError", "data": {"message": message}})
        for act in step:
            await self.gate.passing(turn, act)
            if isinstance(act, RetryLater):
                await self._retry(turn, act)
                continue
            if isinstance(act, Refuse):
                self._refuse(turn, answer, _api_error(act))
            self._start_step(turn, answer)
            if isinstance(act, Say | Think):
                await self._stream(turn, answer, act)
            elif isinstance(act, CallTool):
                rejected = await self._call_tool(turn, answer, act) or rejected
            elif isinstance(act, CallServer):
                await self._call_server(turn, answer, act)
            elif isinstance(act, Ask):
                rejected = await self._ask(turn, answer, act) or rejected
            elif isinstance(act, Delegate):
                await self._delegate(turn, answer, act)
        self._start_step(turn, answer)
        self._end_text(turn)
        return rejected

    def _begin_step(self, turn: Turn, *, first: bool) -> Message:
        memory, session = self.memory, turn.session
        turn.started = False
        turn.output = 0
        memory.set_status(session, BUSY)
        turn.answer = memory.add_answer(session, turn.prompt)
        memory.update_session(session, summary={"additions": 0, "deletions": 0, "files": 0})
        memory.publish(session, "session.diff", {"diff": []})
        if first:
            self._summarise(turn)
            if session.unnamed:
                memory.update_session(session, title=turn.prompt.text.strip()[:60] or "Untitled")
        memory.set_status(session, BUSY)
        if not first:
            self._summarise(turn)
        return turn.answer

    def _summarise(self, turn: Turn) -> None:
        turn.prompt.info["summary"] = {"diffs": []}
        self.memory.tell_message(turn.session, turn.prompt)

    def _start_step(self, turn: Turn, answer: Message) -> None:
        if not turn.started:
            turn.started = True
            self.memory.add_part(turn.session, answer, snapshot=_SNAPSHOT, type="step-start")

    def _end_step(self, turn: Turn, answer: Message, step: Step) -> None:
        memory, session = self.memory, turn.session
        called = any(isinstance(act, CallTool | CallServer | Ask | Delegate) for act in step)
        reason = "tool-calls" if called else "stop"
        spent = tokens(turn.output, asked=True)
        memory.add_part(session, answer, reason=reason, snapshot=_SNAPSHOT, type="step-finish", tokens=spent, cost=0)
        answer.info |= {"tokens": spent, "finish": reason}
        memory.tell_message(session, answer)
        edited = [act.edited for act in step if isinstance(act, CallTool) and act.edited]
        if edited:
            memory.add_part(session, answer, type="patch", hash=_SNAPSHOT, files=edited)
        answer.info["time"]["completed"] = epoch_ms()
        memory.tell_message(session, answer)
        total = session.info["tokens"]
        total |= {"input": total["input"] + INPUT_TOKENS, "output": total["output"] + turn.output}

    def _rest(self, turn: Turn, *, rejected: bool) -> None:
        memory, session = self.memory, turn.session
        if not rejected:
            memory.set_status(session, BUSY)
        memory.idle(session)
        memory.update_session(session)
        memory.publish(session, "session.diff", {"diff": []})
        self._summarise(turn)

    async def _pause(self, turn: Turn, seconds: float) -> None:
        if not turn.instant:
            await anyio.sleep(seconds)

    async def _stream(self, turn: Turn, answer: Message, act: Say | Think) -> None:
        memory, session = self.memory, turn.session
        self._end_text(turn)
        kind = "text" if isinstance(act, Say) else "reasoning"
        pause = self.pace.tick if isinstance(act, Say) and act.ticking else self.pace.token
        part = memory.add_part(session, answer, type=kind, text="", time={"start": epoch_ms()})
        turn.text = part
        location = {"messageID": answer.id, "partID": part["id"], "field": "text"}
        for index, token in enumerate(act.tokens):
            if index:
                await self.gate.passing(turn, act, index)
            turn.written.append(token)
            memory.publish(session, "message.part.delta", {**location, "delta": token})
            turn.output += 1
            await self._pause(turn, pause)

    def _end_text(self, turn: Turn) -> None:
        if turn.text is not None:
            turn.text["text"] = "".join(turn.written)
            turn.written.clear()
            turn.text["time"]["end"] = epoch_ms()
            self.memory.tell_part(turn.session, turn.text)
            turn.text = None

    def _tool_pending(self, turn: Turn, answer: Message, name: str) -> JsonObject:
        state = {"status": "pending", "input": {}, "raw": ""}
        call_id = self.memory.ids.ascending("call")
        turn.tool = self.memory.add_part(turn.session, answer, type="tool", tool=name, callID=call_id, state=state)
        turn.output += 1
        return turn.tool

    def _tool_running(self, turn: Turn, part: JsonObject, input: JsonObject, **more: object) -> None:
        start = part["state"].get("time", {}).get("start", epoch_ms())
        part["state"] = {**more, "status": "running", "input": input, "time": {"start": start}}
        self.memory.tell_part(turn.session, part)

    def _tool_completed(self, turn: Turn, part: JsonObject, *, output: str, metadata: JsonObject, title: str) -> None:
        part["state"] = {
            "status": "completed",
            "input": part["state"]["input"],
            "output": output,
            "metadata": metadata,
            "title": title,
            "time": {"start": part["state"]["time"]["start"], "end": epoch_ms()},
        }
        turn.tool = None
        self.memory.tell_part(turn.session, part)

    def _tool_failed(self, turn: Turn, part: JsonObject, error: str) -> None:
        start = part["state"].get("time", {}).get("start", epoch_ms())
        part["state"] = {
            "status": "error",
            "input": part["state"]["input"],
            "error": error,
            "time": {"start": start, "end": epoch_ms()},
        }
        turn.tool = None
        self.memory.tell_part(turn.session, part)

    async def _call_tool(self, turn: Turn, answer: Message, act: CallTool) -> bool:
        part = self._tool_pending(turn, answer, act.tool)
        if act.permission is not None:
            reply = await self._permission(turn, part, act, act.permission)
            if reply["reply"] == "reject":
                feedback = reply.get("message")
                refusal = "The user refused to let this tool run"
                self._tool_failed(turn, part, f"{refusal}: {feedback}" if feedback else refusal)
                return not feedback
        else:
            self._tool_running(turn, part, act.input)
            self._end_text(turn)
        for metadata in act.progress:
            self._tool_running(turn, part, act.input, metadata=metadata)
            await self._pause(turn, self.pace.token)
        if act.error is not None:
            self._tool_failed(turn, part, act.error)
            return False
        if act.edited:
            directory = turn.session.directory
            self.memory.bus.publish(directory, "file.edited", {"file": act.edited})
            self.memory.bus.publish(directory, "file.watcher.updated", {"file": act.edited, "event": "add"})
        self._tool_completed(turn, part, output=act.output, metadata=act.metadata, title=act.title)
        return False

    async def _call_server(self, turn: Turn, answer: Message, act: CallServer) -> None:
        part = self._tool_pending(turn, answer, act.tool)
        self._tool_running(turn, part, act.input)
        self._end_text(turn)
        found = self.memory.tool_server(turn.session.directory, act.tool)
        try:
            if found is None:
                raise ToolFailedError(f"Model tried to call unavailable tool '{act.tool}'.")
            server, name = found
            output = (await server.call(name, act.input)).text
        except ToolFailedError as exc:
            turn.outputs += (str(exc),)
            self._tool_failed(turn, part, str(exc))
            return
        turn.outputs += (output,)
        self._tool_completed(turn, part, output=output, metadata={"truncated": False}, title="")

    async def _permission(self, turn: Turn, part: JsonObject, act: CallTool, permission: Permission) -> JsonObject:
        request = {
            "id": self.memory.ids.ascending("per"),
            "sessionID": turn.session.id,
            "permission": permission.permission,
            "patterns": list(permission.patterns),
            "metadata": permission.metadata,
            "always": list(permission.always),
            "tool": {"messageID": part["messageID"], "callID": part["callID"]},
        }
        self.memory.publish(turn.session, "permission.asked", request)
        self._tool_running(turn, part, act.input)
        self._end_text(turn)
        return await self._answer(turn, self.memory.permissions, request) or {"reply": "reject"}

    async def _answer(self, turn: Turn, open_requests: dict[str, Pending], request: JsonObject) -> JsonObject | None:
        """Wait for the answer to a request. One whose turn is aborted stays open, as it does in OpenCode."""
        pending = Pending(request)
        open_requests[request["id"]] = pending
        turn.waits()
        await pending.answered.wait()
        return pending.answer

    async def _ask(self, turn: Turn, answer: Message, act: Ask) -> bool:
        part = self._tool_pending(turn, answer, "question")
        questions = list(act.questions)
        request = {
            "id": self.memory.ids.ascending("que"),
            "sessionID": turn.session.id,
            "questions": questions,
            "tool": {"messageID": answer.id, "callID": part["callID"]},
        }
        self.memory.publish(turn.session, "question.asked", request)
        self._tool_running(turn, part, {"questions": questions})
        self._end_text(turn)
        reply = await self._answer(turn, self.memory.questions, request)
        if reply is None:
            self._tool_failed(turn, part, "The user did not want to answer")
            return True
        answers = reply["answers"]
        pairs = zip(questions, answers, strict=False)
        output = "; ".join(f"{question['question']} {', '.join(chosen)}" for question, chosen in pairs)
        title = f"Asked {len(questions)} question{'s' if len(questions) > 1 else ''}"
        metadata = {"answers": answers, "truncated": False}
        self._tool_completed(turn, part, output=output, metadata=metadata, title=title)
        return False

    async def _delegate(self, turn: Turn, answer: Message, act: Delegate) -> None:
        memory, session = self.memory, turn.session
        part = self._tool_pending(turn, answer, "task")
        rule = {"permission": "task", "pattern": "*", "action": "deny"}
        title = f"{act.description} (@general subagent)"
        wanted = {"parentID": session.id, "title": title, "agent": "general", "permission": [rule]}
        child = memory.create_session(session.directory, wanted)
        task = {"description": act.description, "prompt": act.prompt, "subagent_type": "general"}
        metadata = {
            "parentSessionId": session.id,
            "sessionId": child.id,
            "model": turn.prompt.info["model"],
        }
        self._tool_running(turn, part, task)
        self._end_text(turn)
        body = {"parts": [{"type": "text", "text": act.prompt}], "model": turn.prompt.info["model"]}
        prompt, _ = memory.add_prompt(child, body)
        self._tool_running(turn, part, task, title=act.description, metadata=metadata)
        inner = self.prepare(child, prompt)
        inner.instant = inner.instant or turn.instant
        inner.parent = turn
        await self.run(inner)
        answer_text = child.messages[-1].text
        output = f'<task id="{child.id}" state="completed">\n<task_result>\n{answer_text}\n</task_result>\n</task>'
        metadata = {**metadata, "truncated": False}
        self._tool_completed(turn, part, output=output, metadata=metadata, title=act.description)

    async def _retry(self, turn: Turn, act: RetryLater) -> None:
        due = epoch_ms() + round(self.pace.retry * 1000)
        status = {"type": "retry", "attempt": 1, "message": act.message, "next": due}
        self.memory.set_status(turn.session, status)
        await self._pause(turn, self.pace.retry)
        self.memory.set_status(turn.session, BUSY)

    def _refuse(self, turn: Turn, answer: Message, error: JsonObject) -> None:
        memory, session = self.memory, turn.session
        memory.publish(session, "session.error", {"error": error})
        memory.idle(session)
        answer.info["time"]["completed"] = epoch_ms()
        answer.info["error"] = error
        memory.tell_message(session, answer)
        memory.idle(session)
        raise _RefusedError


def _api_error(act: Refuse) -> JsonObject:
    data = {
        "message": act.message,
        "statusCode": act.status,
        "isRetryable": False,
        "responseHeaders": {"content-type": "application/json"},
        "responseBody": f'{{"error":{{"message":"{act.message}"}}}}',
        "metadata": {"url": "http://127.0.0.1/v1/chat/completions"},
    }
    return {"name": "APIError", "data": data}
