"""Which `Host` headers are answered."""

from __future__ import annotations

import pytest

from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.guards.hosts import ServedHosts

HOSTS = ServedHosts.of(["A.example", "*.sub.example.", "b.example:81", "[::1]", "127.0.0.1"])


@pytest.mark.parametrize(
    "host",
    [
        "a.example",
        "A.EXAMPLE:8000",
        "a.example.",
        "x.sub.example",
        "x.y.sub.example:1",
        "b.example:81",
        "[::1]",
        "[::1]:8000",
        "127.0.0.1:8000",
    ],
)
def test_a_host_of_the_list_is_answered(host: str) -> None:
    assert HOSTS.serves(host)
    HOSTS.check(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":80",
        "evil.example",
        "a.example.evil",
        "evila.example",
        "sub.example",
        "xsub.example",
        "b.example",
        "b.example:82",
        "a.example@evil",
        "[::2]",
    ],
)
def test_another_host_is_refused(host: str | None) -> None:
    assert not HOSTS.serves(host)
    with pytest.raises(ProtocolError) as caught:
        HOSTS.check(host)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


@pytest.mark.parametrize("host", [None, "", "anything"])
def test_without_a_list_every_host_is_answered(host: str | None) -> None:
    ServedHosts().check(host)


@pytest.mark.parametrize("entry", ["*", "http://a.example", "a.example/x", "a b", "*.", "a*.example", "a:b"])
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="takes host names"):
        ServedHosts.of([entry])


@pytest.mark.parametrize("host", ["a@b", "a/b", "a?b", "a@b/c?d", "a b", "a:b", "[::1", "a#b", "a:1:2", "%zz"])
def test_a_header_that_is_no_host_is_refused_by_everybody(host: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        ServedHosts().check(host)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


@pytest.mark.parametrize("host", ["a", "a.example:81", "[::1]:8000", "[::1]", "a_b", "127.0.0.1:", "xn--a"])
def test_a_header_that_is_a_host_passes(host: str) -> None:
    ServedHosts().check(host)
