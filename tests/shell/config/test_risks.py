"""Risky settings: each has a line that says what to set, and a plain server on loopback has none."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from opencode_a2a.config.risks import risks
from opencode_a2a.config.settings import VARIABLES, Settings, load_settings
from sansio.access import Credential, CredentialSet
from tests.paths import ROOT

LONG, SHORT = "a-token-that-nobody-guesses", "fifteen-chars-x"
SHELL = frozenset({"session_shell"})
SAFE: dict[str, str] = {
    "A2A_HOST": "0.0.0.0",
    "A2A_STATIC_AUTH_CREDENTIALS": json.dumps([{"scheme": "bearer", "token": LONG, "principal": "ci"}]),
    "A2A_PUBLIC_URL": "https://agent.example",
    "A2A_ALLOWED_HOSTS": "agent.example",
    "A2A_TRUSTED_PROXIES": "10.1.0.5",
}


def settings(**environ: str) -> Settings:
    return load_settings({**SAFE, **environ})[0]


def found(given: Settings) -> list[str]:
    return [risk.variable for risk in risks(given)]


def credentials(*entries: dict[str, Any]) -> str:
    return json.dumps(entries)


RISKY = [
    ("A2A_PUBLIC_URL", {"A2A_PUBLIC_URL": ""}),
    ("A2A_PUBLIC_URL", {"A2A_PUBLIC_URL": "http://agent.example"}),
    (
        "A2A_STATIC_AUTH_CREDENTIALS",
        {
            "A2A_STATIC_AUTH_CREDENTIALS": credentials(
                {"scheme": "bearer", "token": LONG, "principal": "ci"},
                {"scheme": "basic", "username": "ada", "password": SHORT},
            )
        },
    ),
    ("A2A_ALLOWED_HOSTS", {"A2A_ALLOWED_HOSTS": ""}),
    ("A2A_ALLOWED_ORIGINS", {"A2A_ALLOWED_ORIGINS": "*"}),
    ("A2A_RATE_LIMIT_ENABLED", {"A2A_RATE_LIMIT_ENABLED": "false"}),
    ("A2A_TRUSTED_PROXIES", {"A2A_TRUSTED_PROXIES": ""}),
    ("A2A_TRUSTED_PROXIES", {"A2A_TRUSTED_PROXIES": "0.0.0.0/0"}),
    ("A2A_TRUSTED_PROXIES", {"A2A_TRUSTED_PROXIES": "10.1.0.5,::/0"}),
    ("A2A_TRUSTED_PROXIES", {"A2A_TRUSTED_PROXIES": "192.0.2.10"}),
    ("A2A_TRUSTED_PROXIES", {"A2A_TRUSTED_PROXIES": "10.1.0.5,2001:db8:1::/48"}),
    ("A2A_MAX_REQUEST_BODY_BYTES", {"A2A_MAX_REQUEST_BODY_BYTES": "0"}),
    ("A2A_MAX_CONNECTIONS_PER_ADDRESS", {"A2A_MAX_CONNECTIONS_PER_ADDRESS": "0"}),
    (
        "A2A_ENABLE_SESSION_SHELL",
        {
            "A2A_ENABLE_SESSION_SHELL": "true",
            "A2A_STATIC_AUTH_CREDENTIALS": credentials(
                {"scheme": "bearer", "token": LONG, "principal": "ci", "capabilities": [*SHELL]}
            ),
        },
    ),
    ("A2A_CLIENT_ALLOW_PRIVATE_HOSTS", {"A2A_CLIENT_ALLOW_PRIVATE_HOSTS": "true"}),
    ("A2A_PUSH_ALLOW_PRIVATE_HOSTS", {"A2A_PUSH_ALLOW_PRIVATE_HOSTS": "true"}),
]


def test_a_server_behind_a_proxy_with_tls_has_no_risk() -> None:
    assert risks(settings()) == []


@pytest.mark.parametrize("given", [{}, {"A2A_RATE_LIMIT_ENABLED": "false", "A2A_PUSH_ALLOW_PRIVATE_HOSTS": "on"}])
def test_a_plain_server_on_loopback_has_no_risk(given: dict[str, str]) -> None:
    assert risks(load_settings(given)[0]) == []


@pytest.mark.parametrize(("variable", "changed"), RISKY, ids=[str(number) for number in range(len(RISKY))])
def test_each_risk_is_a_line_of_its_own(variable: str, changed: dict[str, str]) -> None:
    [risk] = risks(settings(**changed))

    assert risk.variable == variable
    assert risk.variable in {one.name for one in VARIABLES}
    assert str(risk).startswith(f"{variable}: ")
    assert f"; {risk.remedy}" in str(risk)
    assert "\n" not in str(risk)
    assert SHORT not in str(risk)


def test_every_row_is_tried_and_documented() -> None:
    given = settings(**{name: text for _, changed in RISKY for name, text in changed.items()})
    given = attrs.evolve(
        given, credentials=CredentialSet((Credential.bearer(SHORT, principal="ci", capabilities=SHELL),))
    )
    document = (ROOT / "docs" / "security.md").read_text("utf-8").partition("## Risky settings")[2]

    assert set(found(given)) == {variable for variable, _ in RISKY}
    assert [variable for variable, _ in RISKY if f"`{variable}`" not in document] == []


@pytest.mark.parametrize(
    ("changed", "variables"),
    [
        ({"A2A_HOST": "127.0.0.1", "A2A_TRUSTED_PROXIES": ""}, ["A2A_TRUSTED_PROXIES"]),
        ({"A2A_HOST": "127.0.0.1", "A2A_PUBLIC_URL": "", "A2A_TRUSTED_PROXIES": ""}, []),
        ({"A2A_TLS_CERT_FILE": "cert.pem", "A2A_TRUSTED_PROXIES": ""}, []),
        ({"A2A_TLS_CERT_FILE": "cert.pem", "A2A_PUBLIC_URL": "", "A2A_TRUSTED_PROXIES": ""}, []),
        ({"A2A_CLIENT_ALLOW_PRIVATE_HOSTS": "true", "A2A_TOOL_ENABLED": "false"}, []),
        ({"A2A_ENABLE_SESSION_SHELL": "true"}, []),
        (
            {"A2A_ENABLE_SESSION_SHELL": "true", "A2A_STATIC_AUTH_CREDENTIALS_FILE": "callers.json"},
            ["A2A_ENABLE_SESSION_SHELL"],
        ),
        (
            {
                "A2A_STATIC_AUTH_CREDENTIALS": credentials(
                    {"scheme": "bearer", "token_sha256": "ab" * 32, "principal": "ci"}
                )
            },
            [],
        ),
        ({"A2A_TRUSTED_PROXIES": "10.0.0.0/8,fd00::/16"}, []),
        ({"A2A_PUBLIC_URL": "", "A2A_TRUSTED_PROXIES": ""}, ["A2A_PUBLIC_URL", "A2A_TRUSTED_PROXIES"]),
        ({"A2A_PUBLIC_URL": "http://box:81", "A2A_TRUSTED_PROXIES": ""}, ["A2A_PUBLIC_URL", "A2A_TRUSTED_PROXIES"]),
    ],
    ids=[
        *("proxy here", "none", "tls", "tls alone", "no tool", "no capability", "a file", "a hash"),
        *("private networks", "plain", "plain with a name"),
    ],
)
def test_a_row_looks_at_what_matters(changed: dict[str, str], variables: list[str]) -> None:
    assert found(settings(**changed)) == variables


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"A2A_HOST": "127.0.0.1"}, "no limit keeps them from guessing"),
        ({"A2A_HOST": "0.0.0.0"}, "on loopback have none"),
        ({"A2A_HOST": "0.0.0.0", "A2A_PUBLIC_URL": "http://box:81"}, "behind a proxy or a container's bridge"),
    ],
    ids=["loopback", "https", "http"],
)
def test_a_proxy_that_is_not_named_is_described_as_the_limits_see_it(changed: dict[str, str], problem: str) -> None:
    *_, risk = risks(settings(**changed, A2A_TRUSTED_PROXIES=""))

    assert problem in risk.problem


@pytest.mark.parametrize("risky", ["A2A_ALLOWED_ORIGINS=*", "A2A_TRUSTED_PROXIES=0.0.0.0/0"])
def test_what_lets_pages_or_clients_lie_is_a_risk_on_loopback_too(risky: str) -> None:
    name, _, text = risky.partition("=")

    assert found(load_settings({name: text})[0]) == [name]
