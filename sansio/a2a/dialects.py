"""Differences between the versions of the protocol: one row for each, and the rules that read it.

A module that compares a version with a text has a row that is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from sansio.a2a.media_types import A2A_JSON, JSON


@frozen(kw_only=True)
class Dialect:
    """One version of the protocol.

    `media_type`: of answers over HTTP+JSON, and of push notifications.
    `path_prefix`: of its HTTP+JSON paths, with a slash at the start.
    `grpc_service`: the full name of its service over gRPC.
    `has_tenants`: a path may begin with a tenant, and parameters may name one.
    `has_error_details`: an error is a status with a list of typed details (AIP-193); else it is a flat object.
    `names_errors`: the message of an error over gRPC begins with the error's name, by which its clients know it.
    `errors_in_streams`: a refused stream over JSON-RPC is a stream with the error in it.
    `marks_final`: a status update has a flag for the end of the stream.
    `shows_all_metadata`: clients get the shared metadata of every extension, and need not activate one.
    `answers_as_message`: a completed task has its answer as a message too.
    `cancels_canceled`: a task that is canceled can be canceled; 1.0 calls it idempotent (section 3.3.1).
    `replays_ended`: a subscription to a task that has ended gets it once more.
    `confirms_deletion`: the result of a deletion is an empty object, not nothing.
    `push_sends_task`: a push notification is the whole task; else it is the event.
    `card_members`, `capability_members`, `scheme_members`: those that only this version has, of a card, its
    capabilities and its security schemes.
    `push_config_member`: of a message's configuration. `push_config_path`: where a push configuration stands in
    the parameters that set it. `push_scheme_path`: where its authentication scheme stands.
    """

    version: str
    media_type: str
    path_prefix: str
    grpc_service: str
    has_tenants: bool
    has_error_details: bool
    names_errors: bool
    errors_in_streams: bool
    marks_final: bool
    shows_all_metadata: bool
    answers_as_message: bool
    cancels_canceled: bool
    replays_ended: bool
    confirms_deletion: bool
    push_sends_task: bool
    card_members: frozenset[str]
    capability_members: frozenset[str]
    scheme_members: frozenset[str]
    push_config_member: str
    push_config_path: tuple[str, ...]
    push_scheme_path: tuple[str | int, ...]


DIALECTS: Mapping[str, Dialect] = {
    "0.3": Dialect(
        version="0.3",
        media_type=JSON,
        path_prefix="/v1",
        grpc_service="a2a.v1.A2AService",
        has_tenants=False,
        has_error_details=False,
        names_errors=True,
        errors_in_streams=True,
        marks_final=True,
        shows_all_metadata=True,
        answers_as_message=True,
        cancels_canceled=False,
        replays_ended=True,
        confirms_deletion=False,
        push_sends_task=True,
        card_members=frozenset(
            {
                "url",
                "preferredTransport",
                "additionalInterfaces",
                "protocolVersion",
                "security",
                "supportsAuthenticatedExtendedCard",
            }
        ),
        capability_members=frozenset(),
        scheme_members=frozenset({"type", "scheme", "bearerFormat", "description", "in", "name", "openIdConnectUrl"}),
        push_config_member="pushNotificationConfig",
        push_config_path=("pushNotificationConfig",),
        push_scheme_path=("schemes", 0),
    ),
    "1.0": Dialect(
        version="1.0",
        media_type=A2A_JSON,
        path_prefix="",
        grpc_service="lf.a2a.v1.A2AService",
        has_tenants=True,
        has_error_details=True,
        names_errors=False,
        errors_in_streams=False,
        marks_final=False,
        shows_all_metadata=False,
        answers_as_message=False,
        cancels_canceled=True,
        replays_ended=False,
        confirms_deletion=True,
        push_sends_task=False,
        card_members=frozenset({"supportedInterfaces", "securityRequirements"}),
        capability_members=frozenset({"extendedAgentCard"}),
        scheme_members=frozenset(
            {
                "httpAuthSecurityScheme",
                "apiKeySecurityScheme",
                "openIdConnectSecurityScheme",
                "mtlsSecurityScheme",
            }
        ),
        push_config_member="taskPushNotificationConfig",
        push_config_path=(),
        push_scheme_path=("scheme",),
    ),
}


def dialect_of(presentation: str) -> Dialect:
    """Return the dialect of a presentation's key, whose first word is a codec's name."""
    return DIALECTS.get(presentation.partition(" ")[0], DIALECTS["0.3"])
