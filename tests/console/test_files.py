"""The files of the console, without a browser: small, without markup made from texts, and all of them in use."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.paths import ROOT

FOLDER = ROOT / "opencode_a2a" / "console"
ASSETS = sorted(path for path in FOLDER.iterdir() if path.suffix in {".html", ".js", ".css", ".svg"})
SCRIPTS = [path for path in ASSETS if path.suffix == ".js"]
MOST_BYTES = 100_000
UNITS = sorted((Path(__file__).parent / "units").glob("*.test.mjs"))

SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc|eval\("
    r"|new Function|setAttribute\(\s*['\"]on|trustedTypes|javascript:|dangerously|\bimport\("
)
"""Ways by which a text becomes markup or a program."""

VOID = frozenset({"meta", "link", "br", "hr", "input", "img"})
_IMPORT = re.compile(r"^(?:import|export) [^;]*?from '([^']+)';", re.MULTILINE | re.DOTALL)


class Outline(HTMLParser):
    """Notes the elements of a document, and which of them are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] in {"script", "style"}:
            self.inline.append(data)


@pytest.fixture(scope="module")
def outline() -> Outline:
    found = Outline()
    found.feed((FOLDER / "index.html").read_text("utf-8"))
    found.close()
    return found


def test_the_page_is_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS) < MOST_BYTES


def test_assets_lie_in_one_folder_by_names_that_a_url_can_have() -> None:
    assert [path.name for path in ASSETS if not re.fullmatch(r"[a-z0-9-]+\.(js|css|svg|html)", path.name)] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_of_texts(path: Path) -> None:
    assert SINKS.findall(path.read_text("utf-8")) == []


def test_the_check_finds_what_makes_markup() -> None:
    assert SINKS.search("node.innerHTML = text")
    assert SINKS.search("node.setAttribute('onclick', text)")


@pytest.mark.parametrize("path", ASSETS, ids=lambda path: path.name)
def test_no_asset_names_another_origin(path: Path) -> None:
    named = re.findall(r"https?://[\w.-]+\w", path.read_text("utf-8"))

    assert [url for url in named if url != "http://www.w3.org"] == []  # the namespace of SVG, which is not loaded


def test_the_document_closes_what_it_opens(outline: Outline) -> None:
    assert outline.open == []


def test_the_document_has_nothing_inline(outline: Outline) -> None:
    assert outline.inline == []
    for tag, attributes in outline.elements:
        assert [name for name in attributes if name.startswith("on") or name == "style"] == [], tag


def test_paths_are_relative_so_that_a_prefix_may_stand_before_them(outline: Outline) -> None:
    urls = [attributes.get("src") or attributes.get("href") or "" for _, attributes in outline.elements]

    assert [url for url in urls if url and not url.startswith(("console/", "#"))] == []


def test_every_asset_is_in_use_and_every_used_one_is_there(outline: Outline) -> None:
    urls = {attributes.get("src") or attributes.get("href") or "" for _, attributes in outline.elements}
    used = {url.removeprefix("console/") for url in urls if url.startswith("console/")}
    imported = {name for path in SCRIPTS for name in _IMPORT.findall(path.read_text("utf-8"))}

    assert [name for name in imported if not name.startswith("./")] == []
    assert used | {name.removeprefix("./") for name in imported} == {path.name for path in ASSETS} - {"index.html"}


def test_every_imported_name_is_exported_and_used() -> None:
    imports = re.compile(r"^import \{([^}]*)\} from '\./([^']+)';", re.MULTILINE)
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        for names, module in imports.findall(text):
            source = (FOLDER / module).read_text("utf-8")
            for name in filter(None, map(str.strip, names.split(","))):
                declared = rf"^export (?:async )?(?:function|const|class|let) {name}\b"
                assert re.search(declared, source, re.MULTILINE), f"{module} has no {name}"
                assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{path.name} does not use {name}"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name.partition(".")[0])
def test_units(path: Path) -> None:
    """The modules that need no page, run by Node."""
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed")
    done = subprocess.run([node, "--test", str(path)], capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stdout[-6000:]
