"""Rows of the table of methods: all facts of a method, for the code that runs it and the code that publishes it.

Knows no method.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from enum import Enum
from typing import Any, TypeAlias

from attrs import frozen

from sansio.a2a.bindings.json_output import Steps
from sansio.a2a.model import JsonObject
from sansio.a2a.tasks.shared_metadata import INTERACTIVE_INTERRUPT
from sansio.a2a.versions import VERSIONS
from sansio.extensions.methods.method_errors import ExtensionErrorKind
from sansio.extensions.methods.parameters import Arguments, Parameter
from sansio.opencode import extension_names
from sansio.opencode.upstream.requests import Location, UpstreamCall


class MethodExtension(Enum):
    """The extensions whose methods these are: its name, and what it is for."""

    SESSION_MANAGEMENT = (
        extension_names.SESSION_MANAGEMENT,
        "Read, steer and change OpenCode's sessions.",
    )
    PROVIDER_DISCOVERY = (
        extension_names.PROVIDER_DISCOVERY,
        "Which providers and models OpenCode knows, and which of them can be used.",
    )
    WORKSPACE_CONTROL = (
        extension_names.WORKSPACE_CONTROL,
        "Which projects, workspaces and worktrees there are; and to make and remove them, where that is allowed.",
    )
    INTERRUPT_RECOVERY = (
        extension_names.INTERRUPT_RECOVERY,
        "Which permissions and questions of the caller's tasks wait for an answer.",
    )
    INTERACTIVE_INTERRUPT = (
        INTERACTIVE_INTERRUPT,
        "Answer what a task waits for: a permission or a question.",
    )

    @property
    def label(self) -> str:
        """The extension's name in the code and in the URI of version 1.0."""
        return self.value[0]

    @property
    def about(self) -> str:
        """The purpose of the extension, in a sentence."""
        return self.value[1]

    @property
    def uris(self) -> Mapping[str, str]:
        """The URI of the extension in each version."""
        return extension_names.EXTENSION_URIS[self.label]


class Access(Enum):
    """Effect of a method: it reads, it changes state, or it makes OpenCode work."""

    READ = "read"
    MUTATION = "mutation"
    CONTROL = "control"


class Ownership(Enum):
    """Relation that a caller must have to the named session. Unclaimed sessions are everybody's."""

    NONE = "none"
    LISTS = "sessions of other callers are left out"
    READS = "the session must be the caller's, or nobody's"
    CLAIMS = "the session must be the caller's, or becomes the caller's"


class Toggle(Enum):
    """Setting that switches methods on; the value is the variable's name."""

    SESSION_SHELL = "A2A_ENABLE_SESSION_SHELL"
    WORKSPACE_MUTATIONS = "A2A_ENABLE_WORKSPACE_MUTATIONS"


class Scope(Enum):
    """Origin of the answer: OpenCode, or the adapter's own state."""

    UPSTREAM = "upstream"
    LOCAL = "adapter-local"


@frozen
class Reply:
    """OpenCode's answer: its decoded JSON (None: it was empty), and the cursor of what comes after it."""

    value: Any
    cursor: str | None = None


Project: TypeAlias = Callable[[Reply, Arguments], JsonObject | Steps[JsonObject]]
"""From an answer to a result, in which tasks and messages are still values of the model. Raises `ValueError`.

Where that takes long, it is made in steps.
"""


@frozen(kw_only=True)
class Before:
    """A call before the method's own, where `needed`. `absorb` adds its answer to the arguments."""

    needed: Callable[[Arguments], bool]
    call: Callable[[Arguments, Location], UpstreamCall]
    absorb: Callable[[Arguments, Reply], Arguments]


@frozen(kw_only=True)
class Result:
    """Result of a method: its members, each with its type's name. `made`: the member with the session it made."""

    members: Mapping[str, str]
    made: Callable[[JsonObject], str] | None = None

    @property
    def items_type(self) -> str | None:
        """The type of the items, or of the one item."""
        return self.members.get("items") or self.members.get("item")


@frozen(kw_only=True)
class MethodRow:
    """One method.

    `key`: its short name among those of its extension. `unsupported`: names of parameters that are refused as
    another way to page. `call` and `project` are there where OpenCode is asked; `shrink` makes less of a large
    answer while it is being decoded.
    """

    name: str
    key: str
    extension: MethodExtension
    access: Access
    about: str
    result: Result
    parameters: tuple[Parameter, ...] = ()
    unsupported: tuple[str, ...] = ()
    ownership: Ownership = Ownership.NONE
    capability: str | None = None
    toggle: Toggle | None = None
    scope: Scope = Scope.UPSTREAM
    experimental: bool = False
    versions: tuple[str, ...] = VERSIONS
    errors: tuple[ExtensionErrorKind, ...] = ()
    before: Before | None = None
    call: Callable[[Arguments, Location], UpstreamCall] | None = None
    project: Project | None = None
    shrink: Callable[[Any], Any] | None = None

    def projected(self, reply: Reply, given: Arguments) -> Steps[JsonObject]:
        """Make the result of OpenCode's answer, in steps. Raises `ValueError`. Only where OpenCode is asked."""
        assert self.project is not None
        made = self.project(reply, given)
        return (yield from made) if isinstance(made, Generator) else made

    @property
    def all_errors(self) -> tuple[ExtensionErrorKind, ...]:
        """The errors it can end with: what its own row names, and what follows from the rest of it."""
        kinds: list[ExtensionErrorKind] = []
        if self.toggle is not None:
            kinds.append(ExtensionErrorKind.METHOD_DISABLED)
        if self.capability is not None:
            kinds.append(ExtensionErrorKind.AUTHORIZATION_FORBIDDEN)
        if self.ownership in (Ownership.READS, Ownership.CLAIMS):
            kinds += [
                ExtensionErrorKind.SESSION_NOT_FOUND,
                ExtensionErrorKind.SESSION_FORBIDDEN,
                ExtensionErrorKind.SESSION_UNOWNED,
            ]
        if self.scope is Scope.UPSTREAM:
            kinds += [
                ExtensionErrorKind.UPSTREAM_UNREACHABLE,
                ExtensionErrorKind.UPSTREAM_HTTP_ERROR,
                ExtensionErrorKind.UPSTREAM_PAYLOAD_ERROR,
            ]
        return tuple(dict.fromkeys((*kinds, *self.errors)))

    @property
    def retention(self) -> str:
        """The stability of the method that is promised to clients."""
        if self.toggle is not None:
            return "deployment-conditional"
        return "experimental-upstream" if self.experimental else "stable"
