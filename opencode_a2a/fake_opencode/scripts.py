"""The turns of the fake OpenCode: a turn is data, chosen by a keyword in the prompt.

Pure: it must know nothing of events, time, or HTTP. `turns` plays what is written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

HELLO = "Hello! I am a stand-in for OpenCode, so no model was asked."
THOUGHT = "Let me think about that."
AFTER_THOUGHT = "I have thought about it."
BEFORE_TOOL = "First I look. "
AFTER_TOOL = "Now I know."
TOOL_OUTPUT = "hello-from-tool\n"
FILE_CONTENT = "written by the stand-in\n"
SPACED = "\n\n  indented\n\n\tü \u2028 🌱  \n and open at the end \n\n"
REFUSAL = "that key is not valid"
RATE_LIMIT = "too many requests"
CHILD_PROMPT = "say hello"
TICKS = 600


@frozen
class Say:
    """Text, token by token. `ticking`: with the pause between ticks, not the one between tokens."""

    tokens: tuple[str, ...]
    ticking: bool = False


@frozen
class Think:
    """Reasoning, token by token."""

    tokens: tuple[str, ...]


@frozen(kw_only=True)
class Permission:
    """The permission that a tool asks for before it runs."""

    permission: str
    patterns: tuple[str, ...]
    metadata: dict[str, Any]
    always: tuple[str, ...]


@frozen(kw_only=True)
class CallTool:
    """One tool call. `progress`: the metadata of each further running state. `error` takes the place of the
    result. `edited`: the file it claims to have written; nothing is written."""

    tool: str
    input: dict[str, Any]
    title: str = ""
    output: str = ""
    metadata: dict[str, Any] = field(factory=dict)
    progress: tuple[dict[str, Any], ...] = ()
    error: str | None = None
    permission: Permission | None = None
    edited: str | None = None


@frozen(kw_only=True)
class CallServer:
    """A call of a tool that a server offers; it is made, and what comes back is the tool's output."""

    tool: str
    input: dict[str, Any]


@frozen
class Ask:
    """A call of the question tool; waits for the answers."""

    questions: tuple[dict[str, Any], ...]


@frozen
class Delegate:
    """A subagent: a child session with a turn of its own, scripted by its own prompt."""

    prompt: str
    description: str = "look"


@frozen(kw_only=True)
class Refuse:
    """The provider refuses for good; the turn ends with an APIError."""

    status: int
    message: str


@frozen
class RetryLater:
    """The provider refuses for now; the session waits and tries again."""

    message: str


Act: TypeAlias = Say | Think | CallTool | CallServer | Ask | Delegate | Refuse | RetryLater
Step: TypeAlias = tuple[Act, ...]
Outputs: TypeAlias = tuple[str, ...]
"""The outputs, or the errors, of the tools that a turn has called on servers so far."""


@frozen
class Script:
    """A turn: one step for each time the model would be asked, and so for each assistant message.

    A step that depends on the outputs of tools is a function of them.
    """

    steps: tuple[Step | Callable[[Outputs], Step], ...]


@frozen(kw_only=True)
class Prompt:
    """The input of a script. `rest`: what follows the keyword and one white space; `turn` counts the
    session's prompts from 1."""

    text: str
    rest: str
    directory: str
    turn: int


@frozen(kw_only=True)
class Chosen:
    """The script of a prompt. `instant`: its events come before the prompt is answered, without pauses."""

    script: Script
    instant: bool


def words(text: str) -> tuple[str, ...]:
    """Cuts a text into tokens that, put together, are the text again."""
    return tuple(re.findall(r"\s*\S+|\s+\Z", text))


def say(text: str) -> Script:
    """One step that says a text."""
    return Script(((Say(words(text)),),))


def _then_say(*acts: Act) -> Script:
    return Script((acts, (Say(words(AFTER_TOOL)),)))


def _bash(*, ask: bool = False) -> CallTool:
    command = f"echo {TOOL_OUTPUT.strip()}"
    permission = Permission(permission="bash", patterns=(command,), metadata={"command": command}, always=("echo *",))
    return CallTool(
        tool="bash",
        input={"command": command, "description": "Says hello"},
        title=command,
        output=TOOL_OUTPUT,
        metadata={"output": TOOL_OUTPUT, "exit": 0, "truncated": False},
        progress=({"output": ""}, {"output": TOOL_OUTPUT}),
        permission=permission if ask else None,
    )


def _bad_tool(prompt: Prompt) -> Script:
    path = f"{prompt.directory}/no-such-file.txt"
    return _then_say(CallTool(tool="read", input={"filePath": path}, error=f"File not found: {path}"))


def _write(prompt: Prompt) -> Script:
    name = next(iter(prompt.rest.split()), "hello.txt")
    path = f"{prompt.directory}/{name}"
    call = CallTool(
        tool="write",
        input={"filePath": path, "content": FILE_CONTENT},
        title=name,
        output="The file is written.",
        metadata={"diagnostics": {}, "filepath": path, "exists": False, "truncated": False},
        edited=path,
    )
    return _then_say(Say(("Writing it. ",)), call)


def _question(prompt: Prompt) -> Script:
    options = [{"label": "A", "description": "the first"}, {"label": "B", "description": "the second"}]
    return _then_say(Ask(({"question": "Which one?", "header": "Choice", "options": options},)))


def _long(prompt: Prompt) -> Script:
    count = next((int(word) for word in prompt.rest.split() if word.isdigit()), 100)
    return Script(((Say(tuple(f"w{index} " for index in range(count))),),))


def call_peer(text: str, **more: str) -> CallServer:
    """A call of another agent: its URL (or @ and a name) is the text's first word, the message is the rest."""
    url, _, message = text.partition(" ")
    return CallServer(tool="a2a_call", input={"url": url, "message": message, **more})


def _say_last(outputs: Outputs) -> Step:
    return (Say(words(outputs[-1])),)


def _peer(prompt: Prompt) -> Script:
    """Calls another agent, and says what comes back."""
    return Script(((call_peer(prompt.rest),), _say_last))


def _peer_answer(prompt: Prompt) -> Script:
    """Calls another agent, answers what it asks with `once`, and says what comes back."""

    def answering(outputs: Outputs) -> Step:
        found = re.search(r"^task_id: (\S+)$", outputs[-1], re.MULTILINE)
        if "state: input-required" not in outputs[-1] or found is None:
            return _say_last(outputs)
        url = prompt.rest.partition(" ")[0]
        return (call_peer(f"{url} once", task_id=found[1]),)

    return Script(((call_peer(prompt.rest),), answering, lambda outputs: _say_last(outputs) if outputs[1:] else ()))


SCRIPTS: Mapping[str, Callable[[Prompt], Script]] = {
    "THINK": lambda prompt: Script(((Think(words(THOUGHT)), Say(words(AFTER_THOUGHT))),)),
    "TOOL": lambda prompt: _then_say(_bash()),
    "BADTOOL": _bad_tool,
    "WRITE": _write,
    "STEPS": lambda prompt: _then_say(Say(words(BEFORE_TOOL)), _bash()),
    "FAIL401": lambda prompt: Script(((Refuse(status=401, message=REFUSAL),),)),
    "RETRY": lambda prompt: Script(((RetryLater(RATE_LIMIT), Say(words(HELLO))),)),
    "SLOW": lambda prompt: Script(((Say(tuple(f"tick{n} " for n in range(TICKS)), ticking=True),),)),
    "SPACE": lambda prompt: say(SPACED),
    "PERMISSION": lambda prompt: _then_say(_bash(ask=True)),
    "QUESTION": _question,
    "SUBTASK": lambda prompt: _then_say(Delegate(prompt.rest or CHILD_PROMPT)),
    "ECHO": lambda prompt: say(prompt.rest),
    "LONG": _long,
    "PEER": _peer,
    "PEERASK": _peer_answer,
    "EMPTY": lambda prompt: Script(((),)),
    "COUNT": lambda prompt: say(f"You have said {prompt.turn} things."),
}


def script_for(
    text: str, *, directory: str, turn: int, scripts: Mapping[str, Callable[[Prompt], Script]] = SCRIPTS
) -> Chosen:
    """The script of the first keyword in a text; INSTANT before it (or alone) makes it instant."""
    instant = False
    for word in re.finditer(r"\S+", text):
        if word.group() == "INSTANT":
            instant = True
        elif word.group() in scripts:
            rest = text[word.end() + 1 :]
            prompt = Prompt(text=text, rest=rest, directory=directory, turn=turn)
            return Chosen(script=scripts[word.group()](prompt), instant=instant)
    return Chosen(script=say(HELLO), instant=instant)
