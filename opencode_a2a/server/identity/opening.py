"""Opens the methods of authentication that are turned on, and keeps what they use up to date.

The one place for both: the command `serve`, by its settings, and `open_agent`, by its options.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from attrs import frozen

from opencode_a2a.config.groups.capabilities import CAPABILITIES
from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.config.settings_secrets import redactor_of_credentials
from opencode_a2a.config.settings_values import credentials_of_file
from opencode_a2a.distribution import how_to_install
from opencode_a2a.redaction import redacted
from opencode_a2a.server.identity.authenticator import API_KEY_HEADER, Authenticator
from opencode_a2a.server.identity.credentials_file import CredentialsFile
from opencode_a2a.server.signals import Reload
from sansio.access import CredentialsError, CredentialSet
from sansio.access.oidc import OidcPolicy

if TYPE_CHECKING:
    from opencode_a2a.server.identity.token_issuer import OidcIssuer

FILE, ISSUER, CERTIFICATE = "A2A_STATIC_AUTH_CREDENTIALS_FILE", "A2A_OIDC_ISSUER", "A2A_CLIENT_CERT_HEADER"
_LIBRARIES = ("joserfc", "cryptography")


@frozen
class ServedIdentities:
    """The authenticator of a server. `credentials`: those that are known at the start."""

    authenticator: Authenticator
    credentials: CredentialSet
    file: CredentialsFile | None = None
    watch_keys: Callable[[], Coroutine[Any, Any, None]] | None = None

    @property
    def reloads(self) -> tuple[Reload, ...]:
        """The functions that load files again."""
        return () if self.file is None else (self.file.reload,)

    async def run(self) -> None:
        """Keep credentials and keys up to date, for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.authenticator.watch)
            if self.file is not None:
                tasks.start_soon(self.file.watch)
            if self.watch_keys is not None:
                tasks.start_soon(self.watch_keys)


@frozen(kw_only=True)
class IdentityOptions:
    """The methods of authentication beside a list of credentials; none of them is on by default.

    `credentials_file`: the path of a JSON file with more credentials, read again when it changes. `api_key_header`:
    where API keys are read from. `certificate_header`: the header by which a trusted proxy names the client's
    certificate. `oidc`: the rules for tokens of an OpenID provider; they need the extra `oidc`.
    """

    credentials_file: str | None = None
    api_key_header: str = API_KEY_HEADER
    certificate_header: str = ""
    oidc: OidcPolicy | None = None


def identity_options(settings: Settings) -> IdentityOptions:
    """Return what the settings turn on. Raises `SettingsError` for settings that do not go together."""
    if settings.client_cert_header is not None and not settings.trusted_proxies:
        raise SettingsError([f"{CERTIFICATE}: is set, but no proxy of A2A_TRUSTED_PROXIES is there to name one"])
    return IdentityOptions(
        credentials_file=settings.credentials_file,
        api_key_header=settings.api_key_header,
        certificate_header=settings.client_cert_header or "",
        oidc=oidc_policy(settings),
    )


@asynccontextmanager
async def open_identities(
    credentials: CredentialSet, options: IdentityOptions, *, realm: str, wall: Callable[[], float]
) -> AsyncGenerator[ServedIdentities]:
    """Open what the options turn on. Raises `SettingsError` for a file that cannot be used, or a missing library."""
    credentials, file = await load_credentials(credentials, options.credentials_file)
    async with AsyncExitStack() as stack:
        issuer = await _issuer(stack, options.oidc, wall)
        authenticator = Authenticator(
            credentials,
            realm=realm,
            api_key_header=options.api_key_header,
            certificate_header=options.certificate_header,
            issuer=issuer,
            wall=wall,
        )
        if file is not None:
            file.use = authenticator.replace
        watch_keys = None if issuer is None else issuer.watch
        yield ServedIdentities(authenticator, credentials, file, watch_keys)


async def load_credentials(
    credentials: CredentialSet, path: str | None
) -> tuple[CredentialSet, CredentialsFile | None]:
    """Return the credentials with those of the file at `path`, and the file. Raises `SettingsError`."""
    if path is None:
        return credentials, None
    file = CredentialsFile(path, _hiding_parser(path), credentials)
    try:
        return await file.load(), file
    except CredentialsError as error:
        problems = [f"{FILE}: {path}: {problem}" for problem in error.problems]
    raise SettingsError(problems)  # out here, so that no error that holds the content travels along


def _hiding_parser(path: str) -> Callable[[str], CredentialSet]:
    """Return the parser of the file at `path`, which has the secrets that it reads hidden from then on."""

    def parse(text: str) -> CredentialSet:
        credentials = credentials_of_file(text)
        redacted.know(path, redactor_of_credentials(credentials))
        return credentials

    return parse


async def _issuer(stack: AsyncExitStack, policy: OidcPolicy | None, wall: Callable[[], float]) -> OidcIssuer | None:
    """Open the issuer of tokens, with the libraries of the extra `oidc`; None where none is set."""
    if policy is None:
        return None
    from opencode_a2a.server.identity.issuer_client import IssuerClient

    try:
        from opencode_a2a.server.identity.token_issuer import OidcIssuer
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _LIBRARIES:
            raise
        raise SettingsError([f"{ISSUER}: tokens need {missing}: {how_to_install('oidc')}"]) from None
    client = await stack.enter_async_context(IssuerClient(policy.issuer))
    return OidcIssuer(policy, client, wall)


def oidc_policy(settings: Settings) -> OidcPolicy | None:
    """Return the rules for tokens; None without an issuer. Raises `SettingsError` where there is no audience."""
    if settings.oidc_issuer is None:
        return None
    if not settings.oidc_audience:
        raise SettingsError([f"A2A_OIDC_AUDIENCE: is not set, but {ISSUER} is: a token has to be for this server"])
    return OidcPolicy(
        issuer=settings.oidc_issuer,
        audiences=frozenset(settings.oidc_audience),
        principal_claim=settings.oidc_principal_claim,
        capabilities_claim=settings.oidc_capabilities_claim,
        scope_capabilities=settings.oidc_scope_capabilities,
        algorithms=settings.oidc_algorithms,
        capabilities=CAPABILITIES,
    )
