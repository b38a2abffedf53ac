"""Plays a random program against a served agent, and holds each answer against the reference model.

Streams and blocking sends go on beside the steps, and are looked at when all is over.
"""

from __future__ import annotations

from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from opencode_a2a.fake_opencode import Say
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.errors import ErrorKind
from sansio.a2a.model import Task, TaskState
from tests import schemas
from tests.shell.harness import DEADLINE, REST_03, RPC_10, WIRES, Agent, Wire
from tests.shell.model.program_client import Client, Refusal, Watch, read_task
from tests.shell.model.program_pushes import Pushes, push_params
from tests.shell.model.random_program import (
    Answer,
    Borrow,
    Cancel,
    Get,
    GoOn,
    Hold,
    List,
    Pick,
    Program,
    Push,
    Release,
    Repeat,
    Send,
    Settle,
    Step,
    Subscribe,
)
from tests.shell.model.reference_model import SCRIPTS, Known, Script, Wanted, World, likeness, marked

OTHER = {"alice": "bob", "bob": "alice"}
NOBODY = "no-such-task"


@define(eq=False)
class Play:
    """A program being played: the agent, the model, and what goes on beside the steps."""

    agent: Agent
    pushes: Pushes
    beside: TaskGroup
    world: World = field(factory=World)
    watches: list[Watch] = field(factory=list)
    journal: list[str] = field(factory=list)
    messages: int = 0

    def client(self, who: str, wire: Wire) -> Client:
        return Client(self.agent.bob if who == "bob" else self.agent.http, wire)

    def note(self, text: object) -> None:
        self.journal.append(f"      {text}")

    async def run(self, program: Program) -> None:
        for number, step in enumerate(program, 1):
            self.journal.append(f"{number:4}. {step}")
            with anyio.fail_after(DEADLINE):
                await self._do(step)
        self.journal.append(" end. everything is looked at")
        await self._settle()
        await self._look_at_everything()

    async def _do(self, step: Step | Hold | Release | Answer | Settle) -> None:
        match step:
            case Send():
                context = step.context
                if isinstance(context, Pick):
                    picked = self._picked(step.who, context)
                    context = picked.context if picked is not None else None
                await self._send(step, context, None)
            case Repeat():
                await self._repeat(step)
            case GoOn():
                await self._go_on(step)
            case Borrow():
                await self._borrow(step)
            case Get():
                await self._get(step.who, step.wire, self._picked(step.who, step.pick), step.history)
            case List():
                await self._list(step)
            case Cancel():
                await self._cancel(step)
            case Subscribe():
                await self._subscribe(step)
            case Push():
                await self._push(step)
            case _:
                await self._upstream(step)

    # --- OpenCode -----------------------------------------------------------------------------------------

    async def _upstream(self, step: object) -> None:
        match step:
            case Hold(tokens) if not self.world.closed:
                self.agent.fake_opencode.hold(*(() if tokens is None else (Say,)), tokens=tokens or 0)
                self.world.hold(tokens)
            case Release():
                self._release()
            case Answer():
                await self._answer()
            case Settle():
                await self._settle()

    def _release(self) -> None:
        self.world.release()
        self.agent.fake_opencode.release()

    async def _answer(self) -> None:
        self.world.answer()
        for asked in (await self.agent.opencode.get("/permission")).json():
            await self.agent.opencode.post(f"/permission/{asked['id']}/reply", json={"reply": "once"})

    async def _settle(self) -> None:
        """Let everything end, and see that it does."""
        self._release()
        with anyio.fail_after(DEADLINE):
            while any(not task.over for task in self.world.tasks):
                await self._answer()
                for who in OTHER:
                    await self._pages(who, RPC_10, {"pageSize": 100}, artifacts=False)

    # --- asking -------------------------------------------------------------------------------------------

    def _picked(self, who: str, pick: Pick) -> Known | None:
        if pick.whose == "no":
            return None
        tasks = self.world.own(who if pick.whose == "own" else OTHER[who])
        return tasks[pick.index % len(tasks)] if tasks else None

    def _is_refused(self, answer: object, *kinds: ErrorKind) -> None:
        allowed = " or ".join(kind.name for kind in kinds)
        assert isinstance(answer, Refusal), f"an answer instead of {allowed}: {answer}"
        assert answer.kind in kinds, f"{answer.kind.name} instead of {allowed}"
        self.note(f"refused: {answer.kind.name}")

    async def _send(self, step: Send | Repeat, context: str | None, again: Known | None) -> None:
        """Start a task, unless this is a message that came before: that of the task `again`, or like it."""
        self.messages += 1
        message_id = again.message_id if again is not None else f"message-{self.messages}"
        script = self._script(step, again)
        members: dict[str, Any] = {"messageId": message_id} | ({} if context is None else {"contextId": context})
        if (known := self.world.known(step.who, context, message_id, script.text)) is not None:
            return await self._is_known(step, known, members)
        if interrupt_tracker := self._asking(step.who, context):
            return self.note(f"{interrupt_tracker.name} might take it as an answer")
        known = self.world.begins(step.who, context, message_id, script, plain=step.wire == REST_03)
        if isinstance(step, Send) and step.push:
            target = self.pushes.target(known, "one", whole=True)
            name = "taskPushNotificationConfig" if step.wire.version == "1.0" else "pushNotificationConfig"
            config = {"id": "one", "url": self.pushes.receiver.url(target.path), "token": target.token}
            members["configuration"] = {name: config}
        task, artifacts = await self._started(step, known, script.text, members)
        self.world.told(known, task)
        known.seen(task, artifacts=artifacts)
        self.note(f"{known.name} in {known.context} is {known.state.value}")
        return None

    def _script(self, step: Send | Repeat, again: Known | None) -> Script:
        if isinstance(step, Send):
            return step.script or marked(f"{step.who} {self.messages}")
        if again is not None and step.text is None:
            return again.script
        return next(one for one in SCRIPTS if one.text == step.text)

    def _asking(self, who: str, context: str | None) -> Known | None:
        """A task of the context that may wait for an answer."""
        return next((one for one in self.world.own(who) if context == one.context and one.may_ask), None)

    async def _started(
        self, step: Send | Repeat, known: Known, text: str, members: dict[str, Any]
    ) -> tuple[Task, bool]:
        """The new task as it is told first, and whether with its artifacts."""
        if step.how != "send":
            return await self._told(step, known, text, members), True
        watch = self._blocking(step, known, text, members)
        while not watch.begun.is_set():
            # no answer tells that it has begun, but the list does
            page = await self.client(step.who, RPC_10).tell("list", {"pageSize": 100})
            for json in page["tasks"]:
                task = read_task(RPC_10, json, plain=True)
                new = task.id not in {one.id for one in self.world.tasks}
                if new and known.context in (None, task.context_id) and _began(task) == known.message_id:
                    return task, False
        return watch.first, True

    def _blocking(self, step: Send | Repeat, known: Known, text: str, members: dict[str, Any]) -> Watch:
        client = self.client(step.who, step.wire)
        watch = Watch(wire=step.wire, plain=known.plain, known=known, blocking=True)
        self.watches.append(watch)

        async def wait() -> None:
            result = await self._sent(client, text, members)
            watch.numbered.append((0, result))
            watch.over.set()
            watch.begun.set()

        self.beside.start_soon(wait)
        return watch

    async def _sent(self, client: Client, text: str, members: dict[str, Any]) -> Task:
        result = await client.tell("send", client.params(text, members))
        assert not isinstance(result, Refusal), f"a message was refused: {result}"
        schemas.check(client.wire.version, schemas.SEND_RESULT, result)
        task = CODECS[client.wire.version].parse_item(result)
        assert isinstance(task, Task)
        return task

    async def _told(self, step: Send | Repeat, known: Known, text: str, members: dict[str, Any]) -> Task:
        """The task as it is told at once, in the answer or on its stream."""
        client = self.client(step.who, step.wire)
        if step.how == "send at once":
            members["configuration"] = members.get("configuration", {}) | step.wire.at_once()
            return await self._sent(client, text, members)
        watch = Watch(wire=step.wire, plain=True, known=known, leaves=step.how == "stream and leave")
        refusal = await self._watch(client, "stream", client.params(text, members), watch)
        assert refusal is None, f"a message was refused: {refusal}"
        return watch.first

    async def _watch(self, client: Client, operation: str, params: dict[str, Any], watch: Watch) -> Refusal | None:
        """Read a stream beside the program; returns once it has begun, or was refused."""
        self.beside.start_soon(client.watch, operation, params, watch)
        await watch.begun.wait()
        if watch.refusal is None:
            self.watches.append(watch)
        return watch.refusal

    async def _is_known(self, step: Send | Repeat, known: Known, members: dict[str, Any]) -> None:
        """A message that came before is sent again: nothing new comes of it."""
        text = (step.text if isinstance(step, Repeat) else None) or known.script.text
        if step.how == "send":
            self._blocking(step, known, text, members)
        else:
            known.seen(await self._told(step, known, text, members))
        self.note(f"{known.name} again")

    async def _repeat(self, step: Repeat) -> None:
        known = self._picked(step.who, step.pick)
        if known is None:
            return self.note("there is none")
        if step.names != "task":
            return await self._send(step, known.context if step.names == "context" else None, known)
        members = {"taskId": known.id, "messageId": known.message_id}
        if known.owner == step.who:
            return await self._is_known(step, known, members)
        client = self.client(step.who, step.wire)
        answer = await client.tell("send", client.params(step.text or known.script.text, members))
        return self._is_refused(answer, ErrorKind.TASK_NOT_FOUND)

    async def _go_on(self, step: GoOn) -> None:
        known = self._picked(step.who, step.pick)
        if known is not None and known.waits_for_its_client:
            return self.note("it might take it as an answer")
        client = self.client(step.who, step.wire)
        members = {"taskId": known.id if known else NOBODY}
        if step.context is not None:
            members["contextId"] = step.context
        params = client.params("go on", members)
        if step.streaming:
            answer: object = await self._watch(client, "stream", params, Watch(wire=step.wire, plain=True))
        else:
            answer = await client.tell("send", params)
        if known is None or known.owner != step.who:
            self._is_refused(answer, ErrorKind.TASK_NOT_FOUND)
        elif step.context is not None:
            self._is_refused(answer, ErrorKind.INVALID_PARAMS)
        else:
            self._is_refused(answer, ErrorKind.UNSUPPORTED_OPERATION)
        return None

    async def _borrow(self, step: Borrow) -> None:
        known = self._picked(step.who, step.pick)
        if known is None or known.owner == step.who or known.session is None:
            return self.note("there is no such session")
        client = self.client(step.who, step.wire)
        bound = {"shared": {"session": {"id": known.session}}}
        answer = await client.tell("send", client.params("COUNT", {"metadata": bound}))
        return self._is_refused(answer, ErrorKind.INVALID_PARAMS)

    async def _get(self, who: str, wire: Wire, known: Known | None, history: int | None = None) -> Task | None:
        params: dict[str, Any] = {"id": known.id if known else NOBODY}
        if history is not None:
            params["historyLength"] = history
        answer = await self.client(who, wire).tell("get", params)
        if known is None or known.owner != who:
            self._is_refused(answer, ErrorKind.TASK_NOT_FOUND)
            return None
        assert not isinstance(answer, Refusal), f"{known.name} is not shown: {answer}"
        task = read_task(wire, answer, plain=known.plain)
        known.seen(task, history=history)
        self.note(f"{known.name} is {known.state.value}")
        return task

    async def _list(self, step: List) -> None:
        wanted = Wanted(owner=step.who, context=None, state=step.state)
        params: dict[str, Any] = {"pageSize": step.size, "historyLength": step.history}
        context = self._picked(step.who, step.context) if isinstance(step.context, Pick) else step.context
        context = context.context if isinstance(context, Known) else context
        after = self._picked(step.who, step.after) if step.after is not None else None
        params |= {"contextId": context, "statusTimestampAfter": after.since if after is not None else None}
        if step.state is not None:
            params["status"] = step.state.value if step.wire.version == "0.3" else f"TASK_STATE_{step.state.name}"
        if step.artifacts:
            params["includeArtifacts"] = True
        wanted = Wanted(owner=step.who, context=context, state=step.state, after=params["statusTimestampAfter"])
        expected = self.world.expects(wanted)
        given = {name: value for name, value in params.items() if value is not None}
        found, totals = await self._pages(step.who, step.wire, given, artifacts=step.artifacts)
        self.note(f"listed {len(found)} of {totals}")
        for task in found:
            assert step.state in (None, task.status.state), f"listed as {step.state}: {task.status}"
        expected.check(found, totals)

    async def _pages(
        self, who: str, wire: Wire, params: dict[str, Any], *, artifacts: bool
    ) -> tuple[list[Task], list[int]]:
        """All tasks of a list, page by page, and the total that each page said."""
        found: list[Task] = []
        totals: list[int] = []
        token = ""
        while True:
            page = await self.client(who, wire).tell("list", params | ({"pageToken": token} if token else {}))
            assert not isinstance(page, Refusal), f"no list: {page}"
            if wire.version == "1.0":
                schemas.check("1.0", schemas.TASK_PAGE, page)
            assert page["pageSize"] == params.get("pageSize", 50)
            assert len(page["tasks"]) <= page["pageSize"]
            tasks = [read_task(wire, json, plain=True) for json in page["tasks"]]
            for task in tasks:
                self.world.named(task.id, who).seen(task, history=params.get("historyLength"), artifacts=artifacts)
            found += tasks
            totals.append(page["totalSize"])
            token = page["nextPageToken"]
            if not token:
                return found, totals
            assert len(tasks) == page["pageSize"], "a page is not full, and yet another follows"

    async def _cancel(self, step: Cancel) -> None:
        known = self._picked(step.who, step.pick)
        answer = await self.client(step.who, step.wire).tell("cancel", {"id": known.id if known else NOBODY})
        if known is None or known.owner != step.who:
            return self._is_refused(answer, ErrorKind.TASK_NOT_FOUND)
        if isinstance(answer, Refusal):
            assert not known.stays_open, f"{known.name} is open, and yet refused: {answer}"
            if known.state is TaskState.CANCELED:
                assert step.wire.version == "0.3", f"{known.name} is canceled already: {answer}"
                return self._is_refused(answer, ErrorKind.TASK_NOT_CANCELABLE)
            assert known.script.end.terminal, f"{known.name} never ends by itself, and yet refused: {answer}"
            known.is_in(known.script.end)
            return self._is_refused(answer, ErrorKind.TASK_NOT_CANCELABLE)
        assert not known.state.terminal or (known.state is TaskState.CANCELED and step.wire.version == "1.0"), (
            f"{known.name} was {known.state} already"
        )
        known.state = TaskState.CANCELED
        known.seen(read_task(step.wire, answer, plain=known.plain))
        return self.note(f"{known.name} is canceled")

    async def _subscribe(self, step: Subscribe) -> None:
        known = self._picked(step.who, step.pick)
        plain = known is not None and known.plain
        watch = Watch(wire=step.wire, plain=plain, known=known, after=step.after, leaves=step.leaves)
        client = self.client(step.who, step.wire)
        params = {"id": known.id if known else NOBODY}
        answer = await self._watch(client, "subscribe", params, watch)
        if known is None or known.owner != step.who:
            return self._is_refused(answer, ErrorKind.TASK_NOT_FOUND)
        replays = step.after is not None or step.wire.version == "0.3"
        if answer is None:
            assert replays or not known.state.terminal, f"{known.name} has ended, and its stream begins"
            if step.after is None:
                known.seen(watch.first)
            return self.note(f"{known.name} is told from event {watch.numbered[0][0]} on")
        assert not replays, f"the stream of {known.name} is refused: {answer}"
        assert not known.stays_open, f"the stream of {known.name} is refused, which is open: {answer}"
        endless = not (known.state.terminal or known.script.end.terminal)
        assert not endless, f"{known.name} never ends by itself, and yet refused: {answer}"
        if not known.state.terminal:
            known.is_in(known.script.end)
        return self._is_refused(answer, ErrorKind.UNSUPPORTED_OPERATION)

    # --- push notifications -------------------------------------------------------------------------------

    async def _push(self, step: Push) -> None:
        known = self._picked(step.who, step.pick)
        client = self.client(step.who, step.wire)
        task_id = known.id if known else NOBODY
        if known is None or known.owner != step.who:
            params = push_params(step, task_id, {"url": self.pushes.receiver.url("/never")})
            return self._is_refused(await client.tell(f"push-{step.what}", params), ErrorKind.TASK_NOT_FOUND)
        if step.what == "set":
            return await self.pushes.configured(step, client, known)
        if step.what == "list":
            return await self.pushes.listed(step, client, known)
        answer = await client.tell(f"push-{step.what}", push_params(step, task_id, {}))
        config_id = step.id or "one"
        if step.what == "delete":
            assert not isinstance(answer, Refusal), f"{config_id} of {known.name} cannot be deleted: {answer}"
            return self.pushes.drop(known, config_id)
        if config_id not in known.configs:
            return self._is_refused(answer, ErrorKind.TASK_NOT_FOUND)
        return self.pushes.is_config(step.wire, answer, known, config_id)

    # --- at the end ---------------------------------------------------------------------------------------

    async def _look_at_everything(self) -> None:
        """All is over: every wire tells the same of every task, and every stream has told it."""
        with anyio.fail_after(DEADLINE):
            for watch in self.watches:
                await watch.over.wait()
        for number, known in enumerate(self.world.tasks):
            tasks = [task for wire in WIRES if (task := await self._get(known.owner, wire, known)) is not None]
            for wire, task in zip(WIRES, tasks, strict=True):
                assert likeness(task) == likeness(tasks[0]), f"{known.name} looks different on {wire}"
            await self._get(OTHER[known.owner], WIRES[number % 4], known)
            self._check_streams(known, tasks[0])
        for number, who in enumerate(OTHER):
            pages = List(
                who=who,
                wire=WIRES[number + len(self.world.tasks) & 3],
                context=None,
                state=None,
                after=None,
                size=2,
                history=None,
                artifacts=True,
            )
            await self._list(pages)
        self.world.check_sessions()
        await self.pushes.check()
        canceled = sum(task.state is TaskState.CANCELED for task in self.world.tasks)
        prompts = self.agent.asked("POST", "/prompt_async")
        assert len(self.world.tasks) - canceled <= prompts <= len(self.world.tasks), f"{prompts} prompts were sent"

    def _check_streams(self, known: Known, now: Task) -> None:
        own = [watch for watch in self.watches if watch.known is known]
        whole = [watch for watch in own if not (watch.leaves or watch.blocking)]
        for watch in whole:
            known.streamed(watch.numbered, watch.after, now)
        for watch in whole:
            missing = known.missing(watch.numbered)
            assert not missing, f"a stream of {known.name} lacks {missing}"
        for watch in own:
            state = watch.first.status.state
            assert not watch.blocking or state.interrupted or state is known.state, f"{known.name} was sent: {state}"


def _began(task: Task) -> str:
    return task.history[0].message_id if task.history else ""
