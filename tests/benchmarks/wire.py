"""The client's half of both versions and bindings: requests as bytes, and whether an answer is complete.

Written against the specification alone: it imports nothing of the server, so it measures any A2A server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs
import orjson

Version = Literal["0.3", "1.0"]
Binding = Literal["jsonrpc", "rest"]
Mode = Literal["send", "stream"]
VERSIONS: tuple[Version, ...] = get_args(Version)
BINDINGS: tuple[Binding, ...] = get_args(Binding)
MODES: tuple[Mode, ...] = get_args(Mode)

# Replaced by an identifier of the same length in every request, so the content-length stays true.
MESSAGE_ID = b"message-id-of-thirty-two-letters"

_METHODS: dict[tuple[Version, Mode], str] = {
    ("0.3", "send"): "message/send",
    ("0.3", "stream"): "message/stream",
    ("1.0", "send"): "SendMessage",
    ("1.0", "stream"): "SendStreamingMessage",
}
_PREFIX: dict[Version, str] = {"0.3": "/v1", "1.0": ""}
_COMPLETED = frozenset({"completed", "TASK_STATE_COMPLETED"})
_FIELDS_0_3 = {"task": "task", "message": "message", "status-update": "status", "artifact-update": "artifact"}
_FIELDS_1_0 = {"task": "task", "message": "message", "statusUpdate": "status", "artifactUpdate": "artifact"}


@attrs.frozen(kw_only=True)
class Wire:
    """One way to ask: protocol version, binding, and whether the answer comes whole or streamed."""

    version: Version
    binding: Binding
    mode: Mode

    def request(self, *, host: str, path: str, token: str | None, text: str) -> bytes:
        """A whole HTTP request on a kept-alive connection, with MESSAGE_ID where the message's id goes."""
        body = json.dumps(self._body(text), separators=(",", ":")).encode()
        rest = f"{path.rstrip('/')}{_PREFIX[self.version]}/message:{self.mode}"
        accept = "text/event-stream" if self.mode == "stream" else "application/json"
        head = [
            f"POST {rest if self.binding == 'rest' else path or '/'} HTTP/1.1",
            f"host: {host}",
            f"accept: {accept}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"a2a-version: {self.version}",
        ]
        if token:
            head.append(f"authorization: Bearer {token}")
        return "\r\n".join([*head, "", ""]).encode() + body

    def check(self, body: bytes, expected: str) -> Verdict:
        """Whether the answer's task is completed and one of its artifacts says exactly `expected`."""
        answer = Answer()
        try:
            for value in _frames(body) if self.mode == "stream" else iter((body,)):
                failure = answer.take(self._unwrap(orjson.loads(value)), self.version)
                if failure:
                    return Verdict(events=answer.events, failure=failure)
        except AnsweredError as error:
            return Verdict(events=answer.events, failure=str(error))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return Verdict(events=answer.events, failure=f"not an A2A answer: {type(error).__name__}")
        return Verdict(events=answer.events, failure=answer.verdict(expected))

    def _body(self, text: str) -> dict[str, Any]:
        identifier = MESSAGE_ID.decode()
        if self.version == "0.3":
            message: dict[str, Any] = {"kind": "message", "messageId": identifier, "role": "user"}
            message["parts"] = [{"kind": "text", "text": text}]
            configuration = {"blocking": True}
        else:
            message = {"messageId": identifier, "role": "ROLE_USER", "parts": [{"text": text}]}
            configuration = {"returnImmediately": False}
        params: dict[str, Any] = {"message": message, "configuration": configuration}
        if self.binding == "rest":
            return params
        return {
            "jsonrpc": "2.0",
            "id": identifier,
            "method": _METHODS[self.version, self.mode],
            "params": params,
        }

    def _unwrap(self, value: dict[str, Any]) -> dict[str, Any]:
        if self.binding == "rest":
            return value
        if "error" in value:
            raise AnsweredError(f"JSON-RPC error {value['error'].get('code')}")
        result: dict[str, Any] = value["result"]
        return result


class AnsweredError(Exception):
    """The server answered with a JSON-RPC error."""


@attrs.frozen(kw_only=True)
class Verdict:
    """How many events an answer had, and why it does not count, if it does not."""

    events: int
    failure: str | None


@attrs.define
class Answer:
    """The task as the answer tells it: folded from its events, or the one task of an answer given whole."""

    events: int = 0
    state: str | None = None
    artifacts: dict[str, str] = attrs.field(factory=dict)

    def take(self, result: dict[str, Any], version: Version) -> str | None:
        """Folds one event in; says what is wrong with it, if anything is."""
        self.events += 1
        if version == "0.3":
            kind, value = _FIELDS_0_3.get(result.get("kind", "")), result
        else:
            name = next((name for name in _FIELDS_1_0 if name in result), "")
            kind, value = _FIELDS_1_0.get(name), result.get(name, {})
        match kind:
            case "artifact":
                self._append(value)
            case "status":
                self.state = value["status"]["state"]
            case "task":
                self.state = value["status"]["state"]
                for artifact in value.get("artifacts") or ():
                    self.artifacts[artifact["artifactId"]] = _text(artifact)
            case _:
                return "neither a task nor one of its events"
        return None

    def verdict(self, expected: str) -> str | None:
        if self.state not in _COMPLETED:
            return f"ended in state {self.state}"
        if expected not in self.artifacts.values():
            return "completed without the whole text"
        return None

    def _append(self, update: dict[str, Any]) -> None:
        artifact = update["artifact"]
        identifier = artifact["artifactId"]
        said = self.artifacts.get(identifier, "") if update.get("append") else ""
        self.artifacts[identifier] = said + _text(artifact)


def _text(artifact: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in artifact["parts"])


def _frames(body: bytes) -> Iterator[bytes]:
    """The data of each server-sent event that has any."""
    for frame in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = [line[5:] for line in frame.split(b"\n") if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data)
