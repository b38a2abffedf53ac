"""The parsers of settings: each turns the text of a setting into a value, or refuses it.

Knows no variable by name, save where a refusal has to point to another one; reads no environment and no file.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Final
from urllib.parse import unquote, urlsplit

from opencode_a2a.config.groups.capabilities import OF_LOGINS
from opencode_a2a.distribution import RUNTIMES_GROUP
from sansio.a2a.cards.parse import BINDINGS, SERVED
from sansio.a2a.versions import VERSIONS
from sansio.access import CredentialSet, Scheme, parse_credentials
from sansio.guards.hosts import ServedHosts
from sansio.outbound import NOT_IN_URLS
from sansio.redact import Secret

RUNTIMES: Final = ("asyncio", "trio")
FALSE: Final = ("false", "f", "no", "n", "off", "0")


class SettingRefusedError(ValueError):
    """Why a text is refused, in words that never repeat the text; empty where what is taken says it all."""


def one_of(*choices: str, fold: Callable[[str], str] = str.lower) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if fold(text) not in choices:
            raise SettingRefusedError
        return fold(text)

    return parse


def runtime(text: str) -> str:
    installed = {entry.name for entry in metadata.entry_points(group=RUNTIMES_GROUP)}
    if text not in {*RUNTIMES, *installed}:
        raise SettingRefusedError
    return text


def flag(text: str) -> bool:
    word = text.lower()
    if word in ("true", "t", "yes", "y", "on", "1"):
        return True
    if word in FALSE:
        return False
    raise SettingRefusedError


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            raise SettingRefusedError
        return value

    return parse


def seconds(*, zero: bool, least: float = 0.0, most: float = math.inf) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not least <= value <= most or (value == 0 and not zero):
            raise SettingRefusedError
        return value

    return parse


def host(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if _address(bare) is None and not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})", bare):
        raise SettingRefusedError
    return bare


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there. No name but localhost is sure to be that."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def url_of(host: str, port: int, *, tls: bool = False) -> str:
    """The URL of a server for callers on this machine: a wildcard address is reached on loopback."""
    address = _address(host)
    if address is not None and address.is_unspecified:
        host = "::1" if address.version == 6 else "127.0.0.1"
    if ":" in host:
        host = f"[{host.replace('%', '%25')}]"
    return f"{'https' if tls else 'http'}://{host}:{port}"


def url(text: str) -> str:
    """An http(s) URL without userinfo or fragment."""
    if NOT_IN_URLS.search(text):
        raise SettingRefusedError("it holds a character no URL has")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise SettingRefusedError
    if "@" in parts.netloc:
        raise SettingRefusedError("it carries a user name or password")
    if "#" in text:
        raise SettingRefusedError("it has a fragment")
    return parts.geturl()


def origin(text: str) -> str:
    """An http(s) URL that paths can be added to: an origin, at most a plain prefix, no slash at its end."""
    whole_url = url(text)
    if "?" in whole_url:
        raise SettingRefusedError("it has a query")
    path = urlsplit(whole_url).path
    segments = path.rstrip("/").split("/")[1:]
    if any(unquote(part) in ("", ".", "..") or re.search("%2f|%5c", part, re.I) for part in segments):
        raise SettingRefusedError("its path is not a plain one")
    return whole_url.removesuffix(path) + "".join(f"/{part}" for part in segments)


def public_url(text: str) -> str:
    """An `origin`, whose path keeps the slash at its end: behind a proxy, only one of the two may be there."""
    found = origin(text)
    return f"{found}/" if urlsplit(text).path.rstrip("/") and text.endswith("/") else found


def opencode_url(text: str) -> str:
    if "@" in text.partition("//")[2].partition("/")[0]:
        raise SettingRefusedError(
            "it carries a login, which belongs in OPENCODE_SERVER_USERNAME and OPENCODE_SERVER_PASSWORD"
        )
    return origin(text)


def database_url(text: str) -> str:
    if not re.match(r"[a-z][a-z0-9_]*(\+[a-z0-9_]+)?://", text, re.I):
        raise SettingRefusedError
    return text


def versions(text: str) -> tuple[str, ...]:
    """A comma-separated or JSON list of protocol versions, each reduced to its line."""
    items = json.loads(text) if text.startswith("[") else text.split(",")
    found = dict.fromkeys(version(str(item).strip()) for item in items if str(item).strip())
    if not found:
        raise SettingRefusedError
    return tuple(found)


def served_hosts(text: str) -> ServedHosts:
    """A comma-separated or JSON list of the hosts that requests may name."""
    entries = words(text)
    try:
        return ServedHosts.of(entries)
    except ValueError as error:
        problem = str(error)
    raise SettingRefusedError(problem)


def words(text: str) -> tuple[str, ...]:
    """A comma-separated or JSON list of texts."""
    items = json.loads(text) if text.startswith("[") else text.split(",")
    if not all(isinstance(item, str) for item in items):
        raise SettingRefusedError
    return tuple(item.strip() for item in items if item.strip())


_BINDING_SPELLINGS: Mapping[str, str] = {re.sub(r"[^a-z]", "", name.lower()): name for name in SERVED}
"""The bindings by their letters: earlier releases took `json-rpc`, `http_json` and the like."""


def bindings(text: str) -> tuple[str, ...]:
    """A comma-separated or JSON list of bindings that our client speaks, each once."""
    return _bindings(text, BINDINGS)


def served_bindings(text: str) -> tuple[str, ...]:
    """A comma-separated or JSON list of bindings that our server speaks, each once."""
    return _bindings(text, SERVED)


def _bindings(text: str, known: Sequence[str]) -> tuple[str, ...]:
    found = [_BINDING_SPELLINGS.get(re.sub(r"[^a-z]", "", word.lower())) for word in words(text)]
    if not found or not set(found) <= set(known):
        raise SettingRefusedError(f"takes {', '.join(known[:-1])} and {known[-1]}")
    return tuple(dict.fromkeys(name for name in found if name is not None))


def factor(text: str) -> float:
    """A finite number, at least 1."""
    value = float(text)
    if not 1 <= value <= 1000:
        raise SettingRefusedError
    return value


def version(text: str) -> str:
    match = re.fullmatch(r"([0-9]+\.[0-9]+)(\.[0-9]+)?", text)
    if match is None or match[1] not in VERSIONS:
        raise SettingRefusedError
    return match[1]


def header_token(text: str) -> Secret:
    if re.search(r"[\x00-\x20\x7f]", text):
        raise SettingRefusedError("it holds white space or a control character")
    return Secret(text)


def user_name(text: str) -> str:
    if ":" in text or not text.isprintable():
        raise SettingRefusedError
    return text


def login(text: str) -> Secret:
    """`user:password`, plain or in base64 (its padding may be missing); kept plain."""
    plain = text
    if ":" not in text:
        try:
            plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
        except (binascii.Error, ValueError):
            raise SettingRefusedError from None
    if ":" not in plain:
        raise SettingRefusedError
    return Secret(plain)


def names(text: str) -> Mapping[str, str]:
    """A JSON object of texts."""
    found = json.loads(text)
    if not isinstance(found, dict) or not all(isinstance(one, str) and one.strip() for one in found.values()):
        raise SettingRefusedError
    return {name: value.strip() for name, value in found.items()}


_CAPABILITIES: Mapping[Scheme, frozenset[str]] = {"basic": OF_LOGINS}


def credentials(text: str) -> CredentialSet:
    """A JSON list of credentials. Raises `CredentialsError` with all that is wrong."""
    return parse_credentials(text, _CAPABILITIES)


def credentials_of_file(text: str) -> CredentialSet:
    """The same in a file, whose entries may all be disabled: it is how the last one is revoked."""
    return parse_credentials(text, _CAPABILITIES, none_enabled=True)


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_TAKEN_HEADERS = frozenset(
    {"authorization", "host", "content-type", "content-length", "transfer-encoding", "connection", "cookie", "origin"}
)


def header_name(text: str) -> str:
    """The name of a request header that has no meaning yet. Raises `SettingRefusedError`."""
    if not _HEADER_NAME.fullmatch(text) or text.lower() in _TAKEN_HEADERS:
        raise SettingRefusedError
    return text
