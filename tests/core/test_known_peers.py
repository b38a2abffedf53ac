"""Files of known peers: what they hold, and each fault with its file and field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.known_peers import LARGEST_FILE, MOST_PEERS, KnownPeer, KnownPeersError, barring, parse_known_peers

WHOLE = {
    "reviewer": {
        "url": "https://Review.example.org/agents/a",
        "bearer_env": "REVIEW_TOKEN",
        "description": "Reviews Python.",
        "tools": ["call"],
    },
    "builder": {"url": "http://127.0.0.1:8001", "basic_env": "BUILD_LOGIN", "tools": []},
    "short": "https://short.example/card.json",
}


def parsed(value: object) -> dict[str, KnownPeer]:
    return parse_known_peers({"peers.json": json.dumps(value).encode()})


def problems(text: bytes | str, *more: bytes) -> list[str]:
    files = {"a.json": text.encode() if isinstance(text, str) else text}
    files |= {f"b{number}.json": other for number, other in enumerate(more)}
    with pytest.raises(KnownPeersError) as caught:
        parse_known_peers(files)
    assert "s3cret" not in str(caught.value)
    return list(caught.value.problems)


def test_peer_has_its_url_and_origin_and_what_else_is_given() -> None:
    peers = parsed(WHOLE)

    assert list(peers) == ["reviewer", "builder", "short"]
    assert peers["reviewer"] == KnownPeer(
        name="reviewer",
        url="https://Review.example.org/agents/a",
        origin="https://review.example.org",
        bearer_env="REVIEW_TOKEN",
        description="Reviews Python.",
        tools=frozenset({"call"}),
    )
    assert peers["short"] == KnownPeer(
        name="short", url="https://short.example/card.json", origin="https://short.example"
    )
    assert "agents" not in repr(peers["reviewer"])


def test_tools_are_all_unless_they_are_listed() -> None:
    peers = parsed(WHOLE)

    assert [peers[name].allows("call") for name in ("reviewer", "builder", "short")] == [True, False, True]
    assert not peers["reviewer"].allows("other")


def test_files_are_read_together_and_an_empty_one_is_none() -> None:
    assert list(
        parse_known_peers({"a": b'{"x": "https://x.example"}', "b": b"{}", "c": b'{"y": "https://y.example"}'})
    )
    assert parse_known_peers({}) == {}


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://review.example.org/agents/a", True),
        ("https://REVIEW.example.org:443/agents/a/", True),
        ("https://review.example.org/agents/a/.well-known/agent-card.json", True),
        ("https://review.example.org/agents/ab", False),
        ("https://review.example.org/agents", False),
        ("https://review.example.org:8443/agents/a", False),
        ("http://review.example.org/agents/a", False),
        ("https://x@review.example.org/agents/a", False),
        ("https://review.example.org/agents/a/../b", False),
        ("https://review.example.org/agents/a/%2E%2e/b", False),
        ("nonsense", False),
    ],
)
def test_peer_covers_its_url_and_what_lies_below(url: str, covered: bool) -> None:
    assert parsed(WHOLE)["reviewer"].covers(url) is covered


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://x.example", "/"),
        ("https://x.example/a/", "/a/"),
        ("https://x.example/a/card.json", "/a/"),
        ("https://x.example/a/.well-known/agent-card.json", "/a/"),
    ],
)
def test_base_of_a_peer_is_where_its_card_is_looked_for(url: str, base: str) -> None:
    assert parsed({"x": url})["x"].base_path == base


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"x": {}}, "x.url: must be an http or https URL"),
        ({"x": {"url": 1}}, "x.url: must be an http or https URL"),
        ({"x": "ftp://x.example"}, "x.url: must be an http or https URL"),
        ({"x": "https://a:s3cret@x.example"}, "x.url: must not carry a login"),
        ({"x": "https://x.example/#s3cret"}, "x.url: must not have a fragment"),
        (
            {"x": "https://x.example/?s3cret"},
            "x.url: must not hold a query (?…) unless it is the URL of a card (….json)",
        ),
        ({"x": "https://127.1/s3cret"}, "x.url: its host must be a plain name or address"),
        ({"x": 1}, "x: must be a URL, or an object with the member url"),
        ({"x": {"url": "https://x.example", "bearer": "s3cret"}}, "x: the member 'bearer' is not known"),
        ({"x": {"url": "https://x.example", "bearer_env": "A-B"}}, "x.bearer_env: must be the name of an environ"),
        ({"x": {"url": "https://x.example", "basic_env": 7}}, "x.basic_env: must be the name of an environment"),
        ({"x": {"url": "https://x.example", "bearer_env": "A", "basic_env": "B"}}, "x.basic_env: must not be there"),
        ({"x": {"url": "https://x.example", "description": "a\x1b[2J"}}, "x.description: must be a line of at most"),
        ({"x": {"url": "https://x.example", "description": "a" * 1001}}, "x.description: must be a line of at most"),
        (
            {
                "x": {"url": "https://x.example", "bearer_env": "A"},
                "y": {"url": "https://x.example/", "bearer_env": "B"},
            },
            "y.url: is that of x too, which has another credential",
        ),
        ({"x": {"url": "https://x.example", "tools": "call"}}, "x.tools: must be a list of tools; there are: call"),
        (
            {"x": {"url": "https://x.example", "tools": ["Call me"]}},
            "x.tools: must be a list of tools; there are: call",
        ),
        ({"x": {"url": "https://x.example", "tools": ["nope"]}}, "x.tools: must be a list of tools; there are: call"),
        ({"a b": "https://x.example"}, "a name has 1 to 64 letters, digits, dots, dashes and underscores; not 'a b'"),
        ({"": "https://x.example"}, "a name has 1 to 64"),
        (["https://x.example"], "must be an object: names of peers"),
        ({f"p{number}": "https://x.example" for number in range(MOST_PEERS + 1)}, "there must not be more than 256"),
    ],
)
def test_fault_is_reported_with_its_file_and_field(value: object, problem: str) -> None:
    (found,) = problems(json.dumps(value))

    assert found.startswith(f"a.json: {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "is not JSON: "),
        (b'{"x": s3cret}', "is not JSON: "),
        (b"\xff", "is not JSON in UTF-8"),
        (b'{"x": ' * 100_000, "is not JSON"),
        (b" " * (LARGEST_FILE + 1), "must not be larger than"),
        (b'{"x": "https://a.example", "x": "https://b.example"}', "x: is there already"),
        (b'{"x": {"url": "https://a.example", "url": "https://b.example"}}', "x.url: is there twice"),
    ],
    ids=["cut", "no value", "no text", "deep", "large", "name twice", "member twice"],
)
def test_text_that_is_no_file_of_peers_is_refused(text: bytes, problem: str) -> None:
    (found,) = problems(text)

    assert found.startswith(f"a.json: {problem}")


def test_all_faults_are_reported_at_once_up_to_a_bound() -> None:
    found = problems(
        '{"x": 1, "y": {}}', b'{"x": "https://x.example", "y": "https://y.example"}', b'{"y": "https://z"}'
    )

    assert [line.partition(" ")[0] for line in found] == ["a.json:", "a.json:", "b1.json:"]
    assert len(problems(json.dumps({f"x{number}": 1 for number in range(200)}))) == 16


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("https://x.example"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["url", "bearer_env", "basic_env", "description", "tools", "x"]) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_text_is_peers_or_refused(text: bytes) -> None:
    peers: dict[str, KnownPeer] = {}
    found = ["file: none"]
    try:
        peers = parse_known_peers({"file": text})
    except KnownPeersError as error:
        found = list(error.problems)
    assert found
    assert all(line.startswith("file: ") for line in found)
    assert all(peer.name == name and peer.covers(peer.url) for name, peer in peers.items())


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("https://h.example/agents/a", "people"),
        ("https://H.example:443/agents/a/x", "people"),
        ("http://h.example/agents/a", "people"),
        ("https://h.example/agents/%61", "people"),
        ("https://h.example//agents/./a;v=1", "people"),
        ("https://h.example/x/../agents/A", "people"),
        ("https://h.example/agents/open/%2e%2e/a", "people"),
        ("https://h.example/agents/a/x/../../a/card.json", "people"),
        ("https://h.example/agents/a/models", None),
        ("https://h.example/agents/a/models/../x", "people"),
        ("https://h.example/agents/ab", None),
        ("https://h.example:8443/agents/a", None),
        ("https://other.example/agents/a", None),
        ("http://localhost:8001/x", "local"),
        ("http://[::1]:8001", "local"),
        ("http://localhost:8002", None),
        ("nonsense", None),
    ],
)
def test_an_agent_for_people_is_barred_however_its_url_is_spelt(url: str, peer: str | None) -> None:
    peers = parsed(
        {
            "people": {"url": "https://h.example/agents/a", "tools": []},
            "models": "https://h.example/agents/a/models",
            "local": {"url": "http://127.0.0.1:8001", "tools": []},
        }
    )
    barred = barring(peers.values(), url, "call")
    assert (barred.name if barred is not None else None) == peer
