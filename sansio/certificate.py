"""Reads what a certificate says of itself: until when it is good, and for which names (RFC 5280).

Decides nothing about trust, and checks no signature: a TLS library does that.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

SOON: Final = 14 * 86_400
"""Seconds before its end from which on a certificate has to be replaced."""

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_SEQUENCE, _OCTETS, _OBJECT_ID, _UTC_TIME, _TIME = 0x30, 0x04, 0x06, 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _ADDRESS = 0x82, 0x87  # of a GeneralName
_ALTERNATIVE_NAMES: Final = bytes((0x55, 0x1D, 0x11))


class CertificateError(ValueError):
    """The bytes are no certificate."""


@frozen(kw_only=True)
class Certificate:
    """A certificate's claims. `begins`, `ends`: epoch seconds between which it is good.

    `names`: host names in lower case, with wildcards, and IP addresses.
    """

    begins: float
    ends: float
    names: tuple[str, ...]

    def is_for(self, host: str) -> bool:
        """Whether a host name or an IP address is among its names (RFC 6125, section 6.4.3)."""
        host = host.rstrip(".").lower()
        _, dot, rest = host.partition(".")
        return host in self.names or bool(dot and f"*.{rest}" in self.names and not _is_address(host))

    def ends_soon(self, now: float) -> bool:
        """Whether it ends within `SOON`, or has ended. `now`: epoch seconds."""
        return self.ends - now < SOON


def read_certificate(pem: bytes) -> Certificate:
    """Read the first certificate of a PEM file. Raises `CertificateError`."""
    found = _PEM.search(pem)
    if found is None:
        raise CertificateError("there is no certificate in it")
    try:
        return _certificate(base64.b64decode(found[1]))
    except (IndexError, ValueError, binascii.Error, StopIteration):
        pass
    raise CertificateError("its certificate cannot be read")


def _certificate(der: bytes) -> Certificate:
    [(_, whole)] = [*_elements(der)]
    signed = [*_elements(next(_elements(whole))[1])]
    first = 1 if signed[0][0] == _VERSION else 0
    # version, serial number, algorithm, issuer, validity, subject, key, and what is optional
    begins, ends = (_moment(tag, text) for tag, text in _elements(signed[first + 3][1]))
    extensions = [content for tag, content in signed if tag == _EXTENSIONS]
    names = tuple(name for one in extensions for name in _names(one))
    return Certificate(begins=begins, ends=ends, names=names)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tags and contents of the elements that follow each other. Raises `ValueError`, `IndexError`."""
    place = 0
    while place < len(data):
        tag, size, begin = data[place], data[place + 1], place + 2
        if size > 0x80:
            begin += size - 0x80
            size = int.from_bytes(data[place + 2 : begin], "big")
        if size == 0x80 or begin + size > len(data):
            raise ValueError("an element is longer than what it is in")
        yield tag, data[begin : begin + size]
        place = begin + size


def _moment(tag: int, text: bytes) -> float:
    written = text.decode("ascii")
    if tag == _UTC_TIME:  # its years are 1950 to 2049 (section 4.1.2.5.1)
        written = ("19" if written[:2] >= "50" else "20") + written
    elif tag != _TIME:
        raise ValueError("no time")
    return datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _names(extensions: bytes) -> Iterator[str]:
    for _, extension in _elements(next(_elements(extensions))[1]):
        parts = [*_elements(extension)]
        if parts[0] != (_OBJECT_ID, _ALTERNATIVE_NAMES) or parts[-1][0] != _OCTETS:
            continue
        for tag, name in _elements(next(_elements(parts[-1][1]))[1]):
            if tag == _DNS_NAME:
                yield name.decode("ascii").lower()
            elif tag == _ADDRESS:
                yield str(ipaddress.ip_address(name))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
