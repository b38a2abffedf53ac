"""What a certificate says of itself, against what `cryptography` wrote; anything else is refused with one error."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from sansio.certificate import Certificate, CertificateError, read_certificate
from sansio.doctor.certificate import CertificateFacts, judge_certificate
from sansio.doctor.finding import Outcome

DAY = 86_400
CA = trustme.CA()
NOW = datetime.now(UTC)
LEAF = CA.issue_cert("a.example", not_before=NOW, not_after=NOW + timedelta(days=9)).cert_chain_pems[0].bytes()
PEM = CA.issue_cert("Agent.example", "*.wild.example", "127.0.0.1", "::1").cert_chain_pems[0].bytes()


def test_times_and_names_are_read() -> None:
    written = x509.load_pem_x509_certificate(PEM)

    found = read_certificate(b"Subject: somebody\n" + PEM + PEM)

    assert found.begins == written.not_valid_before_utc.timestamp()
    assert found.ends == written.not_valid_after_utc.timestamp()
    assert found.names == ("agent.example", "*.wild.example", "127.0.0.1", "::1")


@pytest.mark.parametrize("year", [1999, 2049, 2050, 2123])
def test_both_forms_of_times_are_read(year: int) -> None:
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    leaf = CA.issue_cert("a.example", not_before=end - timedelta(days=9), not_after=end)

    assert read_certificate(leaf.cert_chain_pems[0].bytes()).ends == end.timestamp()


def test_a_certificate_without_names_has_none() -> None:
    assert read_certificate(CA.cert_pem.bytes()).names == ()


def test_names_of_other_kinds_are_left_out() -> None:
    leaf = CA.issue_cert("ada@mail.example", "a.example").cert_chain_pems[0].bytes()

    assert read_certificate(leaf).names == ("a.example",)


def test_an_address_is_under_no_wildcard() -> None:
    certificate = Certificate(begins=0, ends=1, names=("*.0.0.1", "*.a.example"))

    assert not certificate.is_for("127.0.0.1")
    assert certificate.is_for("127.a.example")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\x17\x0d", b"\x16\x0d"),  # the beginning is no time, but a text
        (b"\x30\x82", b"\x30\x84"),  # the whole is longer than what is there
        (b"\x30\x82", b"\x30\x80"),  # of no length, as DER never is
    ],
    ids=["no time", "too long", "no length"],
)
def test_an_element_of_another_form_is_refused(before: bytes, after: bytes) -> None:
    der = x509.load_pem_x509_certificate(LEAF).public_bytes(Encoding.DER)
    assert before in der
    changed = base64.encodebytes(der.replace(before, after, 1))

    with pytest.raises(CertificateError, match="cannot be read"):
        read_certificate(b"-----BEGIN CERTIFICATE-----\n" + changed + b"-----END CERTIFICATE-----\n")


@given(st.integers(0, len(PEM) - 1), st.binary(max_size=40))
def test_what_is_no_certificate_is_refused_with_one_error(place: int, other: bytes) -> None:
    with contextlib.suppress(CertificateError):
        read_certificate(PEM[:place] + other + PEM[place + len(other) :])


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("agent.example", True),
        ("AGENT.example.", True),
        ("one.wild.example", True),
        ("wild.example", False),
        ("two.one.wild.example", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("::1", True),
        ("other.example", False),
        ("", False),
    ],
)
def test_names_are_compared_as_a_browser_does(host: str, fits: bool) -> None:
    assert read_certificate(PEM).is_for(host) is fits


@pytest.mark.parametrize(
    ("begins", "ends", "host", "has_proxy", "outcome", "says"),
    [
        (-1, 15, "a.example", False, Outcome.OK, "good until 1970-04-26"),
        (-1, 13, "a.example", False, Outcome.WARN, "expires on 1970-04-24, in 13 days"),
        (-1, 0.5, "a.example", False, Outcome.WARN, "in less than a day"),
        (-9, 0, "a.example", False, Outcome.FAIL, "expired on 1970-04-11"),
        (1, 90, "a.example", False, Outcome.FAIL, "not good before 1970-04-12"),
        (-1, 90, "b.example", False, Outcome.FAIL, "is for a.example, and the public URL's host is b.example"),
        (-1, 90, "b.example", True, Outcome.WARN, "is for a.example"),
    ],
)
def test_a_certificate_is_judged(
    begins: float, ends: float, host: str, has_proxy: bool, outcome: Outcome, says: str
) -> None:
    now = 100 * DAY
    certificate = Certificate(begins=now + begins * DAY, ends=now + ends * DAY, names=("a.example",))

    found = judge_certificate(CertificateFacts(certificate=certificate, host=host, has_proxy=has_proxy), now)

    assert (found.outcome, says in found.detail) == (outcome, True), found
    assert (found.remedy is None) is (outcome is Outcome.OK)
