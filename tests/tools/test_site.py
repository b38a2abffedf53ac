"""The documents' site: files of the checkout come along, links lead to them, and no page asks another host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import DOCS, ROOT

pytest.importorskip("mkdocs", reason="the extra docs is not installed")

from tools.docs.site import PROJECT_PAGES, address_of, foreign_requests, linked_files, with_site_links

SETTINGS = """
site_name: A
hooks: [HOOK]
theme: {name: material, font: false}
plugins: []
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one page, the project's pages, a file that the page links to, and settings of the site."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "Caddyfile").write_text("caddy", "utf-8")
    for name in PROJECT_PAGES:
        (tmp_path / name).write_text(f"# {name}\n\nSee [the page](docs/index.md).\n", "utf-8")
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n[a](../deploy/Caddyfile) [b](../SECURITY.md)\n", "utf-8")
    settings = SETTINGS.replace("HOOK", str(ROOT / "tools" / "docs" / "site.py"))
    (tmp_path / "mkdocs.yml").write_text(settings, "utf-8")
    return tmp_path


def build(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout below it."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("docs/streams.md", "streams.md"),
        ("docs/bindings/grpc.md", "bindings/grpc.md"),
        ("README.md", "index.md"),
        ("CHANGELOG.md", "repository/CHANGELOG.md"),
        ("deploy/docker/Dockerfile", "repository/deploy/docker/Dockerfile"),
    ],
)
def test_a_file_of_the_checkout_has_an_address(path: str, address: str) -> None:
    assert address_of(ROOT / path, DOCS) == address


def test_links_to_files_outside_of_the_documents_lead_to_copies() -> None:
    text = "[a](../deploy/install.sh) [b](streams.md#x) [c](https://example.org) [d](#here) [e](missing.md)"
    expected = text.replace("../deploy", "repository/deploy")

    assert with_site_links(text, DOCS / "page.md", DOCS) == expected
    assert with_site_links("[a](docs/streams.md#x)", ROOT / "SECURITY.md", DOCS) == "[a](../streams.md#x)"


def test_files_that_a_document_links_to_are_found(checkout: Path) -> None:
    assert linked_files(checkout / "docs" / "index.md") == [
        checkout / "deploy" / "Caddyfile",
        checkout / "SECURITY.md",
    ]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img alt="" src="http://example.org/badge.svg">',
        '<pre class="mermaid"><code>graph LR</code></pre>',
    ],
)
def test_what_asks_another_host_is_found(html: str) -> None:
    assert len(foreign_requests(html)) == 1


def test_links_and_own_files_ask_no_other_host() -> None:
    assert foreign_requests('<a href="https://a2a-protocol.org">A2A</a><script src="assets/x.js"></script>') == []


def test_a_site_is_built_with_the_files_that_its_pages_link_to(checkout: Path) -> None:
    outcome = build(checkout)

    assert outcome.returncode == 0, outcome.stderr
    assert (checkout / "site/repository/deploy/Caddyfile").read_text("utf-8") == "caddy"
    assert 'href="repository/SECURITY/"' in (checkout / "site/index.html").read_text("utf-8")
    assert 'href="../.."' in (checkout / "site/repository/SECURITY/index.html").read_text("utf-8")


def test_a_page_that_asks_another_host_fails_the_build(checkout: Path) -> None:
    with (checkout / "docs" / "index.md").open("a", encoding="utf-8") as page:
        page.write("\n![badge](https://example.org/badge.svg)\n")

    outcome = build(checkout)

    assert outcome.returncode != 0
    assert "index.md asks another host" in outcome.stderr
