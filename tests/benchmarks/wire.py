"""The client's half of both versions and of every binding: requests as bytes, and whether an answer is complete.

Written against the specification alone: of the server it imports nothing but gRPC's messages, which are made from
the specification, so it measures any A2A server. Over gRPC and WebSocket a client has one request at a time, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs
import hpack
import orjson

Version = Literal["0.3", "1.0"]
Binding = Literal["jsonrpc", "rest", "grpc", "websocket"]
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
_RPC = "/lf.a2a.v1.A2AService/"
_WEBSOCKET = "/websocket"
_LONGEST_WINDOW = 2**31 - 1  # of HTTP/2: the client never holds a server up
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

    def opening(self, *, host: str, path: str, token: str | None) -> bytes:
        """Return what a client sends first on a new connection; nothing over plain HTTP/1.1."""
        if self.binding == "grpc":
            settings = (4).to_bytes(2, "big") + _LONGEST_WINDOW.to_bytes(4, "big")
            window = (_LONGEST_WINDOW - 65535).to_bytes(4, "big")
            return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(4, 0, 0, settings) + http2_frame(8, 0, 0, window)
        if self.binding == "websocket":
            head = [f"GET {path.rstrip('/')}{_WEBSOCKET} HTTP/1.1", f"host: {host}", "upgrade: websocket"]
            head += [
                "connection: upgrade",
                "sec-websocket-version: 13",
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            ]
            head += ["sec-websocket-protocol: a2a.v1", f"a2a-version: {self.version}"]
            return _http1(head, token)
        return b""

    def request(self, *, host: str, path: str, token: str | None, text: str) -> bytes:
        """Return a whole request on a kept-alive connection, with MESSAGE_ID where the message's id goes.

        Over gRPC, that is its one message; over WebSocket a frame, whose mask changes nothing.
        """
        if self.binding == "grpc":
            return self._grpc_message(text)
        body = json.dumps(self._body(text), separators=(",", ":")).encode()
        if self.binding == "websocket":
            return websocket_frame(body)
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
        return _http1(head, token) + body

    def header_blocks(self, *, host: str, token: str | None) -> tuple[bytes, bytes]:
        """Return the header block of a connection's first call over gRPC, and that of every later one."""
        method = _METHODS[self.version, self.mode]
        fields = [(":method", "POST"), (":scheme", "http"), (":path", _RPC + method), (":authority", host)]
        fields += [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "benchmark")]
        if token:
            fields.append(("authorization", f"Bearer {token}"))
        encoder = hpack.Encoder()
        return encoder.encode(fields), encoder.encode(fields)

    def check(self, body: bytes, expected: str) -> Verdict:
        """Whether the answer's task is completed and one of its artifacts says exactly `expected`."""
        answer = Answer()
        try:
            for value in self._values(body):
                failure = answer.take(value, self.version)
                if failure:
                    return Verdict(events=answer.events, failure=failure)
        except AnsweredError as error:
            return Verdict(events=answer.events, failure=str(error))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return Verdict(events=answer.events, failure=f"not an A2A answer: {type(error).__name__}")
        return Verdict(events=answer.events, failure=answer.verdict(expected))

    def _values(self, body: bytes) -> Iterator[dict[str, Any]]:
        """Yield the task, the message or the event in each part of an answer."""
        if self.binding == "grpc":
            yield from map(_json_of, _grpc_messages(body))
            return
        if self.binding == "websocket":
            parts: Iterator[bytes] = iter(body.splitlines())
        else:
            parts = _frames(body) if self.mode == "stream" else iter((body,))
        for part in parts:
            value = orjson.loads(part)
            if "streamEnd" not in value:
                yield self._unwrap(value)

    def _grpc_message(self, text: str) -> bytes:
        from sansio.a2a.protobuf.messages import message  # the other bindings are measured without it

        said = {"message_id": MESSAGE_ID.decode(), "role": "ROLE_USER", "parts": [{"text": text}]}
        made: bytes = message("lf.a2a.v1.SendMessageRequest")(message=said).SerializeToString()
        return len(made).to_bytes(5, "big") + made

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


def http2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def websocket_frame(text: bytes) -> bytes:
    """Return a client's text message (RFC 6455, section 5.2), with a mask that changes nothing."""
    length = len(text)
    size = bytes((0x80 | length,)) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + text


def _http1(head: list[str], token: str | None) -> bytes:
    proof = [f"authorization: Bearer {token}"] if token else []
    return "\r\n".join([*head, *proof, "", ""]).encode()


def _grpc_messages(body: bytes) -> Iterator[bytes]:
    """Yield the messages of gRPC that follow each other."""
    at = 0
    while at < len(body):
        end = at + 5 + int.from_bytes(body[at + 1 : at + 5], "big")
        yield body[at + 5 : end]
        at = end


def _json_of(data: bytes) -> dict[str, Any]:
    """Return what a `StreamResponse` says, as version 1.0 has it in JSON; a `SendMessageResponse` has its fields."""
    from sansio.a2a.protobuf.messages import message

    found = message("lf.a2a.v1.StreamResponse").FromString(data)
    if found.HasField("artifact_update"):
        update = found.artifact_update
        return {"artifactUpdate": {"append": update.append, "artifact": _artifact_of(update.artifact)}}
    if found.HasField("status_update"):
        return {"statusUpdate": {"status": _status_of(found.status_update.status)}}
    if found.HasField("task"):
        artifacts = [_artifact_of(one) for one in found.task.artifacts]
        return {"task": {"status": _status_of(found.task.status), "artifacts": artifacts}}
    return {}


def _artifact_of(artifact: Any) -> dict[str, Any]:
    return {"artifactId": artifact.artifact_id, "parts": [{"text": part.text} for part in artifact.parts]}


def _status_of(status: Any) -> dict[str, Any]:
    return {"state": type(status).DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[status.state].name}


def _text(artifact: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in artifact["parts"])


def _frames(body: bytes) -> Iterator[bytes]:
    """The data of each server-sent event that has any."""
    for frame in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = [line[5:] for line in frame.split(b"\n") if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data)
