"""The push notifications of the model-based test: what was configured, and what receivers must have been told by now.

Knows no principals: whose task it is was settled before.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define, field

from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import StatusUpdate, Task, TaskState
from tests.shell.harness import REST_03, RPC_03, Wire
from tests.shell.model.program_client import Client, Refusal
from tests.shell.model.random_program import Push
from tests.shell.model.reference_model import Known, Target
from tests.shell.push_receiver import PushReceiver


def config_in(wire: Wire, json: Any) -> tuple[str, str, str, str]:
    """A push configuration as it was told: its task, its id, its URL and its token."""
    if wire.version == "1.0":
        return json["taskId"], json["id"], json["url"], json["token"]
    inner = json["pushNotificationConfig"]
    task_id, config_id = json.get("taskId"), inner["id"]
    if wire == REST_03:
        _, task_id, _, config_id = json["name"].split("/")
        assert config_id == inner["id"]
    return task_id, config_id, inner["url"], inner["token"]


def push_params(step: Push, task_id: str, config: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an operation on push configurations, as the step's line names them."""
    if step.what == "set":
        return {"taskId": task_id} | (config if step.wire.version == "1.0" else {"pushNotificationConfig": config})
    task_name, id_name = ("taskId", "id") if step.wire.version == "1.0" else ("id", "pushNotificationConfigId")
    return {task_name: task_id} | ({} if step.what == "list" else {id_name: step.id or "one"})


@define(eq=False)
class Pushes:
    """Every place that was ever configured, at one receiver."""

    receiver: PushReceiver
    targets: list[tuple[Known, Target]] = field(factory=list)

    def target(self, known: Known, id: str, *, whole: bool) -> Target:
        """A new place to send to, in the place of the one with that id."""
        self.drop(known, id)
        target = Target(path=f"/{len(self.targets)}", token=f"token-{len(self.targets)}", whole=whole)
        self.targets.append((known, target))
        if id:
            known.configs[id] = target
        return target

    def drop(self, known: Known, id: str) -> None:
        target = known.configs.pop(id, None)
        if target is not None:
            target.whole, target.cut = False, known.stays_open

    async def configured(self, step: Push, client: Client, known: Known) -> None:
        whole = known.stays_open
        target = self.target(known, step.id or "", whole=whole)
        config = {"url": self.receiver.url(target.path), "token": target.token}
        if step.id is not None:
            config["id"] = step.id
        answer = await client.tell("push-set", push_params(step, known.id, config))
        assert not isinstance(answer, Refusal), f"a configuration of {known.name} was refused: {answer}"
        named = config_in(step.wire, answer)[1]
        if step.id is None:
            assert named not in known.configs, f"the server has named two configurations {named}"
            known.configs[named] = target
        self.is_config(step.wire, answer, known, step.id or named)

    async def listed(self, step: Push, client: Client, known: Known) -> None:
        found: list[Any] = []
        params: dict[str, Any] = push_params(step, known.id, {})
        if step.wire != RPC_03 and step.id is not None:
            params["pageSize"] = 1
        while True:
            page = await client.tell("push-list", params)
            assert not isinstance(page, Refusal), f"no configurations of {known.name}: {page}"
            configs = page if isinstance(page, list) else page["configs"]
            assert len(configs) <= params.get("pageSize", 100)
            found += configs
            token = page.get("nextPageToken") if isinstance(page, dict) else None
            if not token:
                break
            params["pageToken"] = token
        ids = [config_in(step.wire, config)[1] for config in found]
        assert sorted(ids) == sorted(known.configs), f"{known.name} has {list(known.configs)}: listed are {ids}"
        for name, config in zip(ids, found, strict=True):
            self.is_config(step.wire, config, known, name)

    def is_config(self, wire: Wire, json: Any, known: Known, id: str) -> None:
        assert not isinstance(json, Refusal), f"configuration {id} of {known.name} is not shown: {json}"
        target = known.configs[id]
        assert config_in(wire, json) == (known.id, id, self.receiver.url(target.path), target.token), json

    async def check(self) -> None:
        """What had to be told of its end was, what had not was not, and all of it in order."""
        for known, target in self.targets:
            if target.whole:
                try:
                    await self.receiver.until(partial(self._is_told_of_its_end, known, target))
                except TimeoutError:
                    raise AssertionError(f"{known.name} never told {target} that it is {known.state.value}") from None
            ends = [state for state in self._pushed(known, target) if state.terminal]
            assert len(ends) <= (0 if target.cut else 1), f"{known.name} told {target} of its end: {ends}"
        assert not self.receiver.at("/never"), "somebody was told of a task of another's"

    def _is_told_of_its_end(self, known: Known, target: Target) -> bool:
        return known.state in self._pushed(known, target)

    def _pushed(self, known: Known, target: Target) -> list[TaskState]:
        """The states that a receiver was told of."""
        received = self.receiver.at(target.path)
        numbers = [one.number for one in received]
        assert numbers == sorted(set(numbers)), f"{target} was told out of order: {numbers}"
        states: list[TaskState] = []
        for one in received:
            assert one.headers["x-a2a-notification-token"] == target.token
            item = CODECS[one.headers["a2a-version"]].parse_item(one.json)
            assert known.id in (getattr(item, "id", None), getattr(item, "task_id", None))
            if isinstance(item, Task | StatusUpdate):
                states.append(item.status.state)
        return states
