"""Client certificates that a trusted proxy has verified: whom the name that it passes on stands for. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Final

from sansio.access.credentials import Authentication, Identity
from sansio.access.forwarded_client_cert import nearest_name

PREFIX: Final = "cert:"
"""Begins the principal of every certificate, so that none is taken for a principal of the operator's own list."""

READERS: Final[Mapping[str, Callable[[str], str | None]]] = {"x-forwarded-client-cert": nearest_name}
"""The headers that have a form of their own, in lower case. Any other is the name itself."""

_LONGEST: Final = 255


def authentication_of(header: str, text: str) -> Authentication | None:
    """Return who a certificate is of, by the header that the proxy passes on; `None` where that names nobody.

    It lasts as long as the request: the proxy alone knows the certificate.
    """
    read = READERS.get(header.lower())
    name = (text if read is None else read(text) or "").strip(" \t")
    if not name or len(name) > _LONGEST or not name.isascii() or not name.isprintable():
        return None
    identity = Identity(principal=PREFIX + name, credential_id=None, capabilities=frozenset())
    return Authentication(identity=identity, proof=hashlib.sha256(name.encode()).digest(), expires=math.inf)
