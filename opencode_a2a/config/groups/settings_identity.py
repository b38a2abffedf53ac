"""The settings of how callers prove who they are, beside the list of credentials in the environment.

Knows no request and no issuer.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.settings_guards import GuardSettings
from opencode_a2a.config.settings_rows import row

_IDENTITY: Final = "How callers prove who they are"


@frozen(kw_only=True)
class IdentitySettings(GuardSettings):
    """The rows of authentication."""

    credentials_file: str | None = row(
        _IDENTITY,
        "A2A_STATIC_AUTH_CREDENTIALS_FILE",
        str,
        None,
        "a JSON file with more credentials, read again when it changes and on SIGHUP "
        "(docs/authentication.md): a path",
    )
    api_key_header: str = row(
        _IDENTITY,
        "A2A_API_KEY_HEADER",
        values.header_name,
        "X-API-Key",
        "the header that API keys are read from: the name of a header",
    )

    @property
    def has_other_callers(self) -> bool:
        """Whether callers can come from elsewhere than the list of credentials in the environment."""
        return self.credentials_file is not None
