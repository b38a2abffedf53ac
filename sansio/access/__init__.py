"""Who calls: credentials, and the identity that each proves.

Pure: knows neither where the configuration comes from nor how a refusal is sent. What proves a caller is compared as
digests only, and never shown.
"""

from __future__ import annotations

from sansio.access.credential_list import CredentialsError, joined, parse_credentials
from sansio.access.credentials import Authentication, Credential, CredentialSet, Identity, Scheme
from sansio.access.passwords import PasswordHash

__all__ = [
    "Authentication",
    "Credential",
    "CredentialSet",
    "CredentialsError",
    "Identity",
    "PasswordHash",
    "Scheme",
    "joined",
    "parse_credentials",
]
