"""The policy of calling other agents, as the settings have it. Opens no connection, and loads nothing that does."""

from __future__ import annotations

from typing import Final

from opencode_a2a.config.settings import Settings
from sansio.outbound import CALLER_RULES, PEER_RULES, OutboundPolicy

CALLER_POLICY: Final = OutboundPolicy(rules=CALLER_RULES, allow_private=True)
"""The policy for agents whose URL a person gives, with the credentials for it."""


def peer_policy(settings: Settings) -> OutboundPolicy:
    """Return the policy for agents that a model names by their URL."""
    return OutboundPolicy(
        rules=PEER_RULES, allow_private=settings.client_allow_private_hosts, allowed=settings.client_allowed_hosts
    )
