"""The cards of a deployment: the public one, minimal, and the one for callers who have proved who they are, complete.

Each extension is published under the names of both versions, with what is true in that version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Protocol

from attrs import evolve, frozen

from sansio.a2a.cards.agent_card import CardSpec, Extension, Skill
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.media_types import JSON
from sansio.a2a.model import JsonObject
from sansio.a2a.tasks.shared_metadata import SESSION_BINDING
from sansio.extensions.methods.method_rows import MethodExtension
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.published.compatibility import ServedVersion, compatibility_profile, wire_contract
from sansio.extensions.published.contracts import Offer, extended_params, public_params
from sansio.extensions.published.profile import Deployment, profile_of
from sansio.opencode.deployment import (
    CHAT,
    CHAT_EXAMPLES,
    INPUT_MODES,
    MESSAGE_EXTENSIONS,
    OUTPUT_MODES,
    ExtensionPair,
)
from sansio.opencode.extension_names import (
    COMPATIBILITY_PROFILE,
    EXTENSION_URIS,
    MODEL_SELECTION,
    WIRE_CONTRACT,
)

Params = Callable[[ServedVersion], JsonObject | None]

SPECIFIED_IN = "docs/extensions"
"""The folder with a page for each extension."""


@frozen(kw_only=True)
class PublishedExtension:
    """An extension: its names on either version, which may be equal, and its entry in each card.

    `public`: whether the public card has it under its name in version 1.0. Under that in 0.3, it always has.
    """

    name: str
    uris: Mapping[str, str]
    description: str
    public: bool
    public_params: Params
    extended_params: Params

    @property
    def described(self) -> str:
        """The description for cards, with the place of its specification among our documents."""
        return f"{self.description} Specification: {SPECIFIED_IN}/{self.name}.md"

    def uri(self, version: str) -> str:
        """Return the URI of the extension on a version."""
        return self.uris[version]


class Caller(Protocol):
    """Reader of the extended card. `capabilities`: those of the credential, beyond chatting."""

    @property
    def principal(self) -> str: ...

    @property
    def credential_id(self) -> str | None: ...

    @property
    def capabilities(self) -> Set[str]: ...


def _of_messages(pair: ExtensionPair) -> PublishedExtension:
    profiled = pair.name in (SESSION_BINDING, MODEL_SELECTION)

    def extended(of: ServedVersion) -> JsonObject:
        return {**pair.extended_params, **({"profile": profile_of(of.deployment)} if profiled else {})}

    return PublishedExtension(
        name=pair.name,
        uris=pair.uris,
        description=pair.description,
        public=True,
        public_params=lambda of: pair.public_params,
        extended_params=extended,
    )


def _of_methods(extension: MethodExtension) -> PublishedExtension:
    return PublishedExtension(
        name=extension.label,
        uris=extension.uris,
        description=extension.about,
        public=extension is MethodExtension.INTERACTIVE_INTERRUPT,
        public_params=lambda of: public_params(Offer(extension, of.version, of.deployment)),
        extended_params=lambda of: extended_params(Offer(extension, of.version, of.deployment)),
    )


def _of_all(name: str, description: str, params: Params) -> PublishedExtension:
    return PublishedExtension(
        name=name,
        uris=EXTENSION_URIS[name],
        description=description,
        public=False,
        public_params=lambda of: None,
        extended_params=params,
    )


EXTENSIONS = (
    *map(_of_messages, MESSAGE_EXTENSIONS),
    *map(_of_methods, MethodExtension),
    _of_all(
        COMPATIBILITY_PROFILE,
        "What this deployment is, and how far each of its methods and extensions can be relied upon.",
        compatibility_profile,
    ),
    _of_all(
        WIRE_CONTRACT,
        "Which methods and endpoints can be called, and what refuses the others; /openapi.json has all schemas.",
        wire_contract,
    ),
)
"""All extensions there are, a row each."""


# --- skills -----------------------------------------------------------------------------------------------


def _skill(id: str, name: str, extension: MethodExtension, *tags: str, example: str) -> tuple[MethodExtension, Skill]:
    modes = (JSON,)
    return extension, Skill(
        id=id,
        name=name,
        description=extension.about,
        tags=tags,
        input_modes=modes,
        output_modes=modes,
        examples=(example,),
    )


SKILLS = (
    _skill(
        "opencode.sessions.management",
        "OpenCode Session Management",
        MethodExtension.SESSION_MANAGEMENT,
        *("opencode", "sessions", "history", "provider-private"),
        example="List my sessions, those used last first.",
    ),
    _skill(
        "opencode.providers.query",
        "OpenCode Provider Catalog",
        MethodExtension.PROVIDER_DISCOVERY,
        *("opencode", "providers", "models", "provider-private"),
        example="Which models can I choose for a message?",
    ),
    _skill(
        "opencode.workspace.control",
        "OpenCode Workspace Control",
        MethodExtension.WORKSPACE_CONTROL,
        *("opencode", "project", "workspace", "worktree", "provider-private"),
        example="List the worktrees of the project.",
    ),
    _skill(
        "opencode.interrupt.recovery",
        "OpenCode Interrupt Recovery",
        MethodExtension.INTERRUPT_RECOVERY,
        *("interrupt", "permission", "question", "provider-private"),
        example="Which permissions do my tasks wait for?",
    ),
    _skill(
        "opencode.interrupt.callback",
        "Shared Interrupt Callback",
        MethodExtension.INTERACTIVE_INTERRUPT,
        *("interrupt", "permission", "question", "shared"),
        example="Allow once what the task asks for.",
    ),
)
"""The skills behind the methods, each with its extension."""


def _with_examples(deployment: Deployment) -> Iterator[Skill]:
    yield evolve(CHAT, examples=CHAT_EXAMPLES)
    for extension, skill in SKILLS:
        rows = {
            row.name: row for version in deployment.versions for row in Offer(extension, version, deployment).rows
        }
        yield evolve(skill, examples=tuple(f"{rows[name].about} ({name})" for name in METHODS if name in rows))


# --- the cards --------------------------------------------------------------------------------------------


def card_of(deployment: Deployment) -> CardSpec:
    """Return the public card: what any client needs to know, and nothing this deployment does not do."""
    description = deployment.description
    if deployment.project:
        description = f"{description} Project: {deployment.project}."
    return CardSpec(
        name=deployment.title,
        description=description,
        version=deployment.version,
        url=deployment.url,
        versions=deployment.versions,
        bindings=deployment.bindings,
        schemes=deployment.schemes,
        skills=(evolve(CHAT, examples=CHAT_EXAMPLES), *(skill for _, skill in SKILLS)),
        input_modes=INPUT_MODES,
        output_modes=OUTPUT_MODES,
        extensions=_unique(_public(deployment)),
        documentation_url=deployment.documentation_url,
        push_notifications=True,
        extended_card=True,
    )


def extended_card_of(deployment: Deployment, caller: Caller, version: str | None = None) -> CardSpec:
    """Render the card for an authenticated caller: the public one, with all parameters of the extensions.

    `version`: of the request; the card has its members and extensions. `None`: those of all versions on offer. A
    session is bound to a principal, so that extension's parameters name the caller.
    """
    return evolve(
        card_of(deployment),
        skills=tuple(_with_examples(deployment)),
        extensions=_unique(_complete(deployment, caller, version)),
        shown_versions=None if version is None else (version,),
    )


def _served_versions(deployment: Deployment) -> list[ServedVersion]:
    """Return the versions on offer, each with the URIs of all extensions under its names."""
    return [
        ServedVersion(version, deployment, [one.uri(version) for one in EXTENSIONS])
        for version in sorted(deployment.versions)
    ]


def _public(deployment: Deployment) -> Iterator[Extension]:
    for one in EXTENSIONS:
        for of in _served_versions(deployment):
            if one.public or DIALECTS[of.version].shows_all_metadata:
                yield Extension(uri=one.uri(of.version), description=one.described, params=one.public_params(of))


def _complete(deployment: Deployment, caller: Caller, version: str | None) -> Iterator[Extension]:
    versions = [of for of in _served_versions(deployment) if version in (None, of.version)]
    for one in EXTENSIONS:
        for of in versions:
            params = one.extended_params(of)
            if one.name == SESSION_BINDING:
                params = {**(params or {}), "caller": _caller_facts(caller)}
            yield Extension(uri=one.uri(of.version), description=one.described, params=params)


def _unique(extensions: Iterator[Extension]) -> Sequence[Extension]:
    """Return each URI once: some extensions have the same on both versions."""
    return tuple({one.uri: one for one in extensions}.values())


def _caller_facts(caller: Caller) -> JsonObject:
    facts: JsonObject = {"principal": caller.principal, "capabilities": sorted(caller.capabilities)}
    if caller.credential_id is not None:
        facts["credential_id"] = caller.credential_id
    return facts
