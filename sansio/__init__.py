"""The core: everything that decides, as pure code. Knows no clock, no socket, no event loop.

`sansio.a2a` is the A2A protocol, `sansio.opencode` OpenCode in its terms, `sansio.extensions` the extension methods.
The modules beside them know neither. `sansio.a2a.errors` draws the exceptions; the modules here add four:

    Exception
      TokenRefusedError             a token of an identity provider is not accepted (`access.oidc`)
    ValueError
      CertificateError              bytes are no certificate (`certificate`)
      CredentialsError              credentials in the configuration are not valid; all problems at once (`access`)
      KnownPeersError               files of known peers are not valid; all problems at once (`known_peers`)
"""
