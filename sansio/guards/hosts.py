"""`Host` headers that a deployment answers: the defence against DNS names that somebody else points at its address.

Pure; knows no route and no request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from sansio.a2a.errors import ErrorKind, ProtocolError

_ENTRY: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")

_HOST: Final = re.compile(  # RFC 9110, section 7.2, and RFC 3986, section 3.2.2
    r"(\[[0-9A-Fa-f:.]+\]|([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(:[0-9]*)?"
)


@frozen
class ServedHosts:
    """Host names, each alone or with a port; `*.` stands for any labels before the rest. Empty: every host."""

    entries: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[str]) -> ServedHosts:
        """Read entries in any case. Raises `ValueError` for what is no host."""
        names = frozenset(entry.strip().lower().rstrip(".") for entry in entries if entry.strip())
        wrong = next((name for name in names if _ENTRY.fullmatch(name) is None), None)
        if wrong is not None:
            raise ValueError(
                "takes host names, each alone or with a port, such as a.example, *.example or a.example:81"
            )
        return cls(names)

    def serves(self, host: str | None) -> bool:
        """Return whether a request with this `Host` header is answered. An entry without a port stands for every
        port.
        """
        if not self.entries:
            return True
        given = (host or "").strip().lower()
        bare = re.sub(r":[0-9]*$", "", given).rstrip(".")
        if not bare:
            return False
        if given in self.entries or bare in self.entries:
            return True
        labels = bare.split(".")
        return any(f"*.{'.'.join(labels[first:])}" in self.entries for first in range(1, len(labels)))

    def check(self, host: str | None) -> None:
        """Refuse another host, and a header that is no host. Raises `ProtocolError` (INVALID_REQUEST)."""
        if host is not None and _HOST.fullmatch(host.strip(" \t")) is None:
            raise ProtocolError(ErrorKind.INVALID_REQUEST, "The Host header is not a host name with an optional port")
        if not self.serves(host):
            raise ProtocolError(ErrorKind.INVALID_REQUEST, "The Host header names no host of this deployment")
