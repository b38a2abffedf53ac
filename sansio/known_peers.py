"""Agents that the operator knows by a name: where each is, which credential it gets, and who may call it.

Pure: files and the environment are read elsewhere. Knows the names of credentials, never the credentials.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen

from sansio.a2a.cards.parse import Origin, card_urls
from sansio.a2a.errors import ProtocolError
from sansio.outbound import Target, parse_target

LARGEST_FILE: Final = 1024 * 1024
MOST_PEERS: Final = 256
_MOST_PROBLEMS: Final = 16
_LONGEST_DESCRIPTION: Final = 1000

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_USUAL_PORTS: Final = {80, 443}
_CLIMBS: Final = re.compile(r"/(\.|%2e){1,2}(?=/)", re.IGNORECASE)
_MEMBERS: Final = ("url", "bearer_env", "basic_env", "description", "tools")


TOOLS: Final = frozenset({"call"})
"""The tools of a model by which an agent may be used."""


class KnownPeersError(ValueError):
    """Files of known peers are not valid: all problems, a line each, which names the file and the field."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))


@frozen(kw_only=True)
class KnownPeer:
    """An agent with a name. `url`: its base URL, or that of its card; `origin`: the part that may be shown.

    `bearer_env`, `basic_env`: the environment variable with its token or its login, at most one of the two.
    `tools`: those of the model's tools that may be used with it; None: all of them.
    """

    name: str
    url: str = field(repr=False)
    origin: str
    bearer_env: str | None = None
    basic_env: str | None = None
    description: str | None = None
    tools: frozenset[str] | None = None

    def allows(self, tool: str) -> bool:
        """Return whether one of the model's tools may be used with it."""
        return self.tools is None or tool in self.tools

    def covers(self, url: str) -> bool:
        """Return whether an accepted URL is that of this agent, or lies below it."""
        try:
            target = parse_target(url, ())
        except ProtocolError:
            return False
        path = target.path.partition("?")[0].rstrip("/") + "/"
        return target.origin == self.origin and path.startswith(self.base_path) and not _CLIMBS.search(path)

    def is_at(self, target: Target) -> bool:
        """Return whether a target may be this agent's host: by either scheme, or another name of this machine."""
        own = parse_target(self.url, ())
        names = [Origin(one.scheme, one.host, one.port) for one in (own, target)]
        if own.host != target.host and not all(name.is_loopback for name in names):
            return False
        return own.port == target.port or {own.port, target.port} == _USUAL_PORTS

    @property
    def base_path(self) -> str:
        """The path below which the agent is, with a slash at its end."""
        path = urlsplit(self.url).path
        if path.endswith(".json"):
            path = path.rpartition("/")[0].removesuffix("/.well-known")
        return path.rstrip("/") + "/"


def barring(peers: Iterable[KnownPeer], url: str, tool: str) -> KnownPeer | None:
    """Return the peer that a URL may lead to and that is not for a tool; None where there is none.

    Other spellings of a path count, as servers may read them: where `covers` says no in doubt, this says yes.
    """
    try:
        target = parse_target(url, ())
    except ProtocolError:
        return None
    there = [peer for peer in peers if peer.is_at(target)]
    path = target.path.partition("?")[0]
    for spelling in {_plain_path(path), _plain_path(unquote(path))} if there else ():
        found = [peer for peer in there if spelling.startswith(_plain_path(unquote(peer.base_path)))]
        best = max(found, key=lambda peer: len(peer.base_path), default=None)
        if best is not None and not best.allows(tool):
            return best
    return None


def _plain_path(path: str) -> str:
    """Return a path without case, empty segments, parameters, and segments that climb; with a slash at its end."""
    segments: list[str] = []
    for segment in path.replace("\\", "/").casefold().split("/"):
        name = segment.partition(";")[0]
        if name == "..":
            del segments[-1:]
        elif name not in ("", "."):
            segments.append(name)
    return "".join(f"/{segment}" for segment in segments) + "/"


def parse_known_peers(texts: Mapping[str, bytes]) -> dict[str, KnownPeer]:
    """Parse the texts of files, by the name of each; return the peers by name.

    A file is a JSON object: names to URLs, or to objects with the members `url`, `bearer_env` or `basic_env`,
    `description` and `tools`. Raises `KnownPeersError`.
    """
    reader = _Reader()
    for file, text in texts.items():
        reader.file = file
        for name, value in reader.members(text):
            reader.take(name, value)
        if len(reader.peers) > MOST_PEERS:
            reader.problem("", f"there must not be more than {MOST_PEERS} peers")
            break
    if reader.problems:
        raise KnownPeersError(reader.problems[:_MOST_PROBLEMS])
    return reader.peers


@define
class _Reader:
    """Reader of one file after another. Problems are collected, with the file and the field that each is in."""

    file: str = ""
    peers: dict[str, KnownPeer] = field(factory=dict)
    places: dict[tuple[str, str], KnownPeer] = field(factory=dict)
    problems: list[str] = field(factory=list)

    def problem(self, where: str, reason: str) -> None:
        self.problems.append(f"{self.file}: {where}: {reason}" if where else f"{self.file}: {reason}")

    def members(self, text: bytes) -> list[tuple[str, Any]]:
        """Return the members of a file's object, in order."""
        if len(text) > LARGEST_FILE:
            self.problem("", f"must not be larger than {LARGEST_FILE} bytes")
            return []
        try:
            found = json.loads(text.decode(), object_pairs_hook=_Members)
        except json.JSONDecodeError as error:
            self.problem("", f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}")
        except (ValueError, RecursionError):
            self.problem("", "is not JSON in UTF-8")
        else:
            if isinstance(found, _Members):
                return list(found)
            self.problem("", "must be an object: names of peers, each with its URL or an object")
        return []

    def take(self, name: str, value: Any) -> None:
        """Read one peer."""
        if not _NAME.fullmatch(name):
            self.problem("", f"a name has 1 to 64 letters, digits, dots, dashes and underscores; not {name[:64]!r}")
            return
        if name in self.peers:
            self.problem(name, "is there already; each name must be there once")
            return
        given = {"url": value} if isinstance(value, str) else self._object(name, value)
        if given is None:
            return
        before = len(self.problems)
        peer = self._peer(name, given)
        if len(self.problems) != before:
            return
        place = (peer.origin, peer.base_path)
        twin = self.places.setdefault(place, peer)
        if (twin.bearer_env, twin.basic_env) != (peer.bearer_env, peer.basic_env):
            self.problem(f"{name}.url", f"is that of {twin.name} too, which has another credential")
        self.peers[name] = peer

    def _object(self, name: str, value: Any) -> dict[str, Any] | None:
        if not isinstance(value, _Members):
            self.problem(name, "must be a URL, or an object with the member url")
            return None
        for member, times in value.counts().items():
            if member not in _MEMBERS:
                self.problem(name, f"the member {member[:64]!r} is not known; a peer has {', '.join(_MEMBERS)}")
            elif times > 1:
                self.problem(f"{name}.{member}", "is there twice")
        return dict(value)

    def _peer(self, name: str, given: dict[str, Any]) -> KnownPeer:
        bearer = self._text(name, "bearer_env", given, _is_variable, "must be the name of an environment variable")
        basic = self._text(name, "basic_env", given, _is_variable, "must be the name of an environment variable")
        if bearer is not None and basic is not None:
            self.problem(f"{name}.basic_env", "must not be there beside bearer_env")
        url = given.get("url")
        return KnownPeer(
            name=name,
            url=url if isinstance(url, str) else "",
            origin=self._origin(name, url),
            bearer_env=bearer,
            basic_env=basic,
            description=self._text(
                name,
                "description",
                given,
                lambda text: len(text) <= _LONGEST_DESCRIPTION and text.isprintable(),
                f"must be a line of at most {_LONGEST_DESCRIPTION} characters",
            ),
            tools=self._tools(name, given.get("tools")),
        )

    def _origin(self, name: str, url: Any) -> str:
        if not isinstance(url, str) or not url:
            self.problem(f"{name}.url", "must be an http or https URL")
            return ""
        try:
            target = parse_target(url, (name, "url"))
            card_urls(url)
        except ProtocolError as error:
            self.problem(f"{name}.url", error.violations[0].message)
        except ValueError as error:
            self.problem(f"{name}.url", str(error))
        else:
            return target.origin
        return ""

    def _text(
        self, name: str, member: str, given: dict[str, Any], fits: Callable[[str], object], reason: str
    ) -> str | None:
        value = given.get(member)
        if value is None or (isinstance(value, str) and fits(value)):
            return value
        self.problem(f"{name}.{member}", reason)
        return None

    def _tools(self, name: str, value: Any) -> frozenset[str] | None:
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(tool, str) and tool in TOOLS for tool in value):
            return frozenset(value)
        self.problem(f"{name}.tools", f"must be a list of tools; there are: {', '.join(sorted(TOOLS))}")
        return None


class _Members(tuple[tuple[str, Any], ...]):
    """The members of a JSON object, those that are there twice included."""

    __slots__ = ()

    def counts(self) -> dict[str, int]:
        names = [name for name, _ in self]
        return {name: names.count(name) for name in names[: 2 * len(_MEMBERS)]}


def _is_variable(text: str) -> bool:
    return _VARIABLE.fullmatch(text) is not None
