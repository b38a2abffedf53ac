"""A scripted model on loopback that speaks OpenAI's `/v1/chat/completions` as a stream.

A keyword in the last user text chooses the script. It knows nothing of A2A, nor who asks.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import attrs

HELLO = "Hello from the scripted model."
THOUGHT = "Let me think this through."
AFTER_THOUGHT = "Done thinking."
BEFORE_TOOL = "First I look. "
OPTIONS = ("Left", "Right")
TODO = "Write it down"
AFTER_TOOL = "Now I know."
TOOL_OUTPUT = "hello-from-tool"
FILE_CONTENT = "written by the model\n"
MISSING_FILE = "no-such-file.txt"
QUESTION = "Tea or coffee?"
NO_PEERS = "I have no tool to call anybody with."
LABELS = ("Tea", "Coffee")
SPACED = "\n\n  indented\n\n\tü \u2028 🌱  \n and open at the end \n\n"
REFUSAL = "that is an invalid key"
RATE_LIMIT = "slow down please"
INTERNAL = "TypeError: x is undefined\n    at run (/opt/provider/src/session.ts:12:7)"
PROMPT_TOKENS = 11
COMPLETION_TOKENS = 7
TICKS = 300
TICK_SECONDS = 0.1


@attrs.frozen
class Say:
    text: str


@attrs.frozen
class Think:
    text: str


@attrs.frozen(kw_only=True)
class CallTool:
    call_id: str
    name: str
    arguments: dict[str, Any]


@attrs.frozen
class Pause:
    seconds: float


@attrs.frozen(kw_only=True)
class Refuse:
    status: int
    code: str
    message: str
    headers: dict[str, str] = attrs.field(factory=dict)


Step: TypeAlias = Say | Think | CallTool | Pause
Reply: TypeAlias = Sequence[Step] | Refuse


@attrs.frozen(kw_only=True)
class Prompt:
    """What a script may look at: the last user text, how many texts the user said, what tools have answered
    to the last one, how often this very text was asked before, and which tools there are."""

    text: str
    user_texts: int
    outputs: tuple[str, ...]
    asked_before: int
    tools: frozenset[str]

    @property
    def tool_results(self) -> int:
        """How often a tool has answered."""
        return len(self.outputs)

    @property
    def argument(self) -> str:
        """The word after the keyword."""
        return self.text.split()[1]

    @property
    def rest(self) -> str:
        """All that follows the keyword."""
        return self.text.split(maxsplit=1)[1]


def words(text: str) -> list[str]:
    """Cut so that the pieces, put together, are the text again."""
    pieces = text.split(" ")
    return [piece + " " for piece in pieces[:-1]] + [pieces[-1]]


def say(text: str) -> list[Step]:
    return [Say(word) for word in words(text) if word]


def bash(prompt: Prompt) -> CallTool:
    return CallTool(
        call_id=f"call_bash_{prompt.user_texts}_{prompt.tool_results}",
        name="bash",
        arguments={"command": f"echo {TOOL_OUTPUT}", "description": "Says hello"},
    )


def hello(prompt: Prompt) -> Reply:
    return say(HELLO)


def think(prompt: Prompt) -> Reply:
    return [*(Think(word) for word in words(THOUGHT)), *say(AFTER_THOUGHT)]


def tool(prompt: Prompt) -> Reply:
    return say(AFTER_TOOL) if prompt.tool_results else [bash(prompt)]


def bad_tool(prompt: Prompt) -> Reply:
    if prompt.tool_results:
        return say(AFTER_TOOL)
    return [CallTool(call_id=f"call_read_{prompt.user_texts}", name="read", arguments={"filePath": MISSING_FILE})]


def write(prompt: Prompt) -> Reply:
    if prompt.tool_results:
        return say(AFTER_TOOL)
    arguments = {"filePath": prompt.argument, "content": FILE_CONTENT}
    return [CallTool(call_id=f"call_write_{prompt.user_texts}", name="write", arguments=arguments)]


def steps(prompt: Prompt) -> Reply:
    return say(AFTER_TOOL) if prompt.tool_results else [*say(BEFORE_TOOL), bash(prompt)]


def question(prompt: Prompt) -> Reply:
    if prompt.tool_results:
        return say(AFTER_TOOL)
    options = [{"label": label, "description": label.lower()} for label in OPTIONS]
    asked = {"question": "Which one?", "header": "One", "options": options}
    call_id = f"call_question_{prompt.user_texts}"
    return [CallTool(call_id=call_id, name="question", arguments={"questions": [asked]})]


def todo(prompt: Prompt) -> Reply:
    if prompt.tool_results:
        return say(AFTER_TOOL)
    todos = [{"content": TODO, "status": "pending", "priority": "high", "id": "1"}]
    return [CallTool(call_id=f"call_todo_{prompt.user_texts}", name="todowrite", arguments={"todos": todos})]


def run(prompt: Prompt) -> Reply:
    if prompt.tool_results:
        return say(AFTER_TOOL)
    arguments = {"command": prompt.rest, "description": "Runs what was asked for"}
    return [CallTool(call_id=f"call_run_{prompt.user_texts}", name="bash", arguments=arguments)]


def ask(prompt: Prompt) -> Reply:
    if prompt.tool_results:
        return say(AFTER_TOOL)
    options = [{"label": label, "description": f"take {label}"} for label in LABELS]
    questions = [{"question": QUESTION, "header": "Choice", "options": options}]
    return [CallTool(call_id=f"call_ask_{prompt.user_texts}", name="question", arguments={"questions": questions})]


def delegate(prompt: Prompt) -> Reply:
    if prompt.tool_results:
        return say(AFTER_TOOL)
    arguments = {"description": "look", "prompt": prompt.rest, "subagent_type": "general"}
    return [CallTool(call_id=f"call_task_{prompt.user_texts}", name="task", arguments=arguments)]


def call_peer(prompt: Prompt, text: str, **more: str) -> CallTool:
    """A call of the agent whose URL is the text's first word, with the rest as the message."""
    url, _, message = text.partition(" ")
    call_id = f"call_peer_{prompt.user_texts}_{prompt.tool_results}"
    return CallTool(call_id=call_id, name="a2a_call", arguments={"url": url, "message": message, **more})


def peer(prompt: Prompt) -> Reply:
    """Calls another agent, and says what came back."""
    if "a2a_call" not in prompt.tools:
        return say(NO_PEERS)
    return say(prompt.outputs[-1]) if prompt.outputs else [call_peer(prompt, prompt.rest)]


def peer_answer(prompt: Prompt) -> Reply:
    """Calls another agent, answers its question with the first option, and says what came back at last."""
    if not prompt.outputs:
        return [call_peer(prompt, prompt.rest)]
    found = re.search(r"^task_id: (\S+)$", prompt.outputs[-1], re.MULTILINE)
    if "state: input-required" not in prompt.outputs[-1] or found is None:
        return say(prompt.outputs[-1])
    return [call_peer(prompt, f"{prompt.argument} {OPTIONS[0]}", task_id=found[1])]


def space(prompt: Prompt) -> Reply:
    return say(SPACED)


def count(prompt: Prompt) -> Reply:
    return say(f"You have said {prompt.user_texts} things.")


def fail401(prompt: Prompt) -> Reply:
    return Refuse(status=401, code="invalid_api_key", message=REFUSAL)


def retry(prompt: Prompt) -> Reply:
    if prompt.asked_before:
        return say(HELLO)
    return Refuse(status=429, code="rate_limit_exceeded", message=RATE_LIMIT, headers={"retry-after-ms": "300"})


def slow(prompt: Prompt) -> Reply:
    return [step for tick in range(TICKS) for step in (Say(f"tick{tick} "), Pause(TICK_SECONDS))]


def tick(prompt: Prompt) -> Reply:
    """As many ticks as the prompt says."""
    return [step for tick in range(int(prompt.argument)) for step in (Say(f"tick{tick} "), Pause(TICK_SECONDS))]


def two_texts(prompt: Prompt) -> Reply:
    """As many ticks as the prompt says, a tool call, and as many tocks."""
    name = "tock" if prompt.tool_results else "tick"
    written: list[Step] = [Say(name)]
    for number in range(int(prompt.argument)):
        written += [Say(f" {number}"), Pause(TICK_SECONDS)]
    return written if prompt.tool_results else [*written, bash(prompt)]


def break_internally(prompt: Prompt) -> Reply:
    """An error that names the provider's insides: for good, or once, if the prompt says so."""
    if prompt.argument == "once":
        if prompt.asked_before:
            return say(HELLO)
        return Refuse(status=429, code="rate_limit_exceeded", message=INTERNAL, headers={"retry-after-ms": "300"})
    return Refuse(status=400, code="invalid_request", message=INTERNAL)


def say_back(prompt: Prompt) -> Reply:
    return say(prompt.text)


SCRIPTS: dict[str, Callable[[Prompt], Reply]] = {
    "THINK": think,
    "TOOL": tool,
    "BADTOOL": bad_tool,
    "WRITE": write,
    "STEPS": steps,
    "QUESTION": question,
    "TODO": todo,
    "RUN": run,
    "ASK": ask,
    "DELEGATE": delegate,
    "PEER": peer,
    "PEERASK": peer_answer,
    "SPACE": space,
    "COUNT": count,
    "FAIL401": fail401,
    "RETRY": retry,
    "SLOW": slow,
    "TICK": tick,
    "TWOTEXTS": two_texts,
    "BREAK": break_internally,
    "SAYBACK": say_back,
}


@attrs.define
class Script:
    """Answers requests. The only thing it remembers is which texts were asked before."""

    asked: Counter[str] = attrs.field(factory=Counter)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def reply(self, request: dict[str, Any]) -> Reply:
        if not request.get("tools"):  # OpenCode asks for a session's title without tools
            return [Say("A scripted title")]
        tools = frozenset(tool["function"]["name"] for tool in request["tools"])
        prompt = self.prompt(request["messages"], tools)
        keyword = next((word for word in prompt.text.split() if word in SCRIPTS), None)
        return SCRIPTS[keyword](prompt) if keyword else hello(prompt)

    def prompt(self, messages: list[dict[str, Any]], tools: frozenset[str]) -> Prompt:
        user = [index for index, message in enumerate(messages) if message["role"] == "user"]
        text = text_of(messages[user[-1]]["content"])
        with self.lock:
            asked_before = self.asked[text]
            self.asked[text] += 1
        return Prompt(
            text=text,
            user_texts=len(user),
            outputs=tuple(
                text_of(message["content"]) for message in messages[user[-1] :] if message["role"] == "tool"
            ),
            asked_before=asked_before,
            tools=tools,
        )


def text_of(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")


def chunks(reply: Sequence[Step]) -> Iterator[dict[str, Any]]:
    """The stream's `chat.completion.chunk` objects; pauses are slept here."""
    called = False
    index = 0
    for step in reply:
        match step:
            case Say(text):
                yield chunk({"content": text})
            case Think(text):
                yield chunk({"reasoning_content": text})
            case CallTool(call_id=call_id, name=name, arguments=arguments):
                called = True
                function = {"name": name, "arguments": json.dumps(arguments)}
                yield chunk(
                    {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
                )
                index += 1
            case Pause(seconds):
                time.sleep(seconds)
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    }
    yield chunk({}, finish_reason="tool_calls" if called else "stop") | {"usage": usage}


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "scripted",
        "choices": [choice],
    }


class Handler(BaseHTTPRequestHandler):
    """One request, one reply, then the connection is closed: that ends a stream whose length nobody knows."""

    server: ModelHTTPServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        reply = self.server.script.reply(json.loads(body))
        if isinstance(reply, Refuse):
            self.refuse(reply)
        else:
            self.stream(reply)

    def refuse(self, refusal: Refuse) -> None:
        error = {"message": refusal.message, "type": "invalid_request_error", "code": refusal.code}
        body = json.dumps({"error": error}).encode()
        self.send_response(refusal.status)
        for name, value in refusal.headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, reply: Sequence[Step]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            for each in chunks(reply):
                self.wfile.write(b"data: " + json.dumps(each).encode() + b"\n\n")
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except ConnectionError:
            return  # the turn was aborted: whoever asked is gone

    def log_message(self, format: str, *args: object) -> None:
        """Silent: pytest's own report is the only one wanted."""


class ModelHTTPServer(ThreadingHTTPServer):
    """Threads are daemons, so that a reply in mid-pause holds up nobody."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = Script()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def running_model() -> Iterator[str]:
    """Serve scripts on a free port; yields the provider's base URL."""
    with ModelHTTPServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.base_url
        finally:
            server.shutdown()
            thread.join()
