"""`X-Forwarded-Client-Cert`: which certificate it names, and that nothing a client sends changes that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.access.client_certificates import authentication_of
from sansio.access.forwarded_client_cert import LONGEST, MOST_ELEMENTS, MOST_PAIRS, nearest_name, parse_elements

HASH = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688"
FULL = f'By=spiffe://a/proxy;Hash={HASH};Cert="-----BEGIN%20";Subject="CN=ci,O=Ex";URI=spiffe://a/ci;DNS=ci.a;DNS=b.a'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (FULL, "uri:spiffe://a/ci"),
        (f"Hash={HASH};DNS=ci.a;DNS=b.a", "dns:ci.a"),
        ('Subject="CN=ci,O=Ex;=\\\\"y\\\\""'.replace("\\\\", "\\"), 'subject:CN=ci,O=Ex;="y"'),
        (f'Hash={HASH.upper()};Subject="";URI=', f"hash:{HASH}"),
        (f"{FULL},By=b;URI=spiffe://a/nearest", "uri:spiffe://a/nearest"),
        (f"{FULL}, uri=spiffe://a/nearest", "uri:spiffe://a/nearest"),
        ("URI=https://a/?x=y", "uri:https://a/?x=y"),
        ('Subject="CN=Ex\\, Inc"', "subject:CN=Ex\\, Inc"),
    ],
)
def test_the_nearest_element_names_a_certificate(text: str, name: str) -> None:
    assert nearest_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", "CN=ada,", "URI", "=x", "URI=a,", "URI=a;", ",URI=a", "URI=a;;DNS=b", 'URI="a', 'URI="a"b', 'URI=a"b"'),
        *("By=spiffe://a/proxy", "Hash=abc", "URI=a;URI=b", 'Subject="a";Subject="b"', "Cert=x;Cert=y;URI=a"),
        *(f"{FULL},", f'Subject="open,{FULL}', f'Subject="a\\",{FULL}', f"broken;{FULL}", 'URI=\\"a'),
        pytest.param(",".join(["URI=a"] * (MOST_ELEMENTS + 1)), id="many elements"),
        pytest.param(";".join(["DNS=a"] * (MOST_PAIRS + 1)), id="many pairs"),
        pytest.param("URI=" + "a" * LONGEST, id="long"),
    ],
)
def test_what_is_malformed_or_ambiguous_names_nobody(text: str) -> None:
    assert nearest_name(text) is None
    assert authentication_of("X-Forwarded-Client-Cert", text) is None


def test_a_name_is_a_principal_of_its_kind_where_it_is_printable_and_short() -> None:
    found = authentication_of("x-forwarded-client-cert", FULL)
    plain = authentication_of("X-Client-Cert-Subject", FULL[:20])

    assert found is not None
    assert found.identity.principal == "cert:uri:spiffe://a/ci"
    assert plain is not None
    assert plain.identity.principal == f"cert:{FULL[:20]}"
    for name in ("a\tb", "é", "a" * 252):
        assert authentication_of("x-forwarded-client-cert", f'URI="{name}"') is None


values = st.text(st.characters(codec="ascii", exclude_characters="\\"), max_size=20)
keys = st.sampled_from(["By", "URI", "DNS"])


def written(pairs: list[tuple[str, str]]) -> str:
    """An element, with every value quoted."""
    return ";".join('{}="{}"'.format(key, value.replace('"', '\\"')) for key, value in pairs)


@given(st.lists(st.lists(st.tuples(keys, values), min_size=1, max_size=4), min_size=1, max_size=4))
def test_what_is_written_is_read(elements: list[list[tuple[str, str]]]) -> None:
    found = parse_elements(",".join(map(written, elements)))

    assert found is not None
    assert [sorted(pair) for pair in map(flat, found)] == [
        sorted((key.lower(), value) for key, value in element) for element in elements
    ]


def flat(element: object) -> list[tuple[str, str]]:
    assert isinstance(element, dict)
    return [(key, value) for key, values in element.items() for value in values]


@given(st.text(st.sampled_from('URIDNSuri="\\,;ab ') | st.characters(codec="latin-1"), max_size=60))
def test_whatever_a_client_sends_the_name_is_of_the_proxys_own_element_or_nobodys(sent: str) -> None:
    for own, name in (("By=p;URI=spiffe://a/ci", "uri:spiffe://a/ci"), (FULL, "uri:spiffe://a/ci")):
        assert nearest_name(f"{sent},{own}") in (name, None)


@given(values)
def test_nor_does_a_subject_of_any_text_name_another_certificate(subject: str) -> None:
    quoted = subject.replace('"', '\\"')
    for sent in ("", 'Subject="x,', 'Subject="x\\,', "URI=other,"):
        found = nearest_name(f'{sent}Hash={HASH};Subject="{quoted}"')
        assert found in (f"subject:{subject}" if subject else f"hash:{HASH}", None)
