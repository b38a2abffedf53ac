"""What the documents say is so: the guide's program runs, links lead somewhere, and no module goes unmentioned.

Knows documents as text and modules by their paths.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from opencode_a2a import __version__
from tests.paths import ROOT

GUIDE = ROOT / "docs" / "core.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SHIPPED = ("sansio", "opencode_a2a", "runtime_http", "runtime_asyncio", "runtime_trio")
MAY_IMPORT = {"sansio", "attrs", "orjson"}

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_SECTION = re.compile(r"^### `([\w/]+)/`.*\n(?P<rows>(?:(?!^#).*\n)*)", re.MULTILINE)
_ROW = re.compile(r"^\| `([\w/]+\.py)` \|", re.MULTILINE)


def program_of(document: str) -> str:
    """The document's Python blocks as one program, each line with the number it has in the document."""
    lines = [""] * (document.count("\n") + 1)
    for block in _BLOCK.finditer(document):
        first = document.count("\n", 0, block.start(1))
        code = block.group(1).splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines)


def modules_told_of() -> set[str]:
    """The modules that have a row of their own in the document on architecture."""
    document = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    return {f"{found[1]}/{row}" for found in _SECTION.finditer(document) for row in _ROW.findall(found["rows"])}


def modules_with_code() -> set[str]:
    """The shipped modules that define or import anything."""
    paths = [path for package in SHIPPED for path in (ROOT / package).rglob("*.py")]
    return {str(path.relative_to(ROOT)) for path in paths if len(ast.parse(path.read_text("utf-8")).body) > 1}


def test_the_guide_to_the_core_runs() -> None:
    program = program_of(GUIDE.read_text("utf-8"))
    names: dict[str, object] = {}

    exec(compile(program, str(GUIDE), "exec"), names)

    assert program.count("assert ") > 20
    assert "later" in names


def test_the_guide_needs_the_core_alone() -> None:
    tree = ast.parse(program_of(GUIDE.read_text("utf-8")))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert {name.partition(".")[0] for name in imported} == MAY_IMPORT


def test_every_module_has_its_line_in_the_document_on_architecture() -> None:
    assert modules_told_of() == modules_with_code()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(path: Path) -> None:
    targets = _LINK.findall(path.read_text("utf-8"))

    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_document_has_its_place_on_the_site() -> None:
    """A page that is left out fails `mkdocs build --strict`; so does a line that leads to no page."""
    lines = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    pages = [line for line in lines if not line.startswith("repository/")]

    assert sorted(pages) == sorted(str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md"))


def test_the_commands_of_the_readme_set_up_what_the_checks_set_up() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    checks = (ROOT / ".ci" / "run").read_text("utf-8")
    steps = ["--require-hashes -r requirements.lock", "--no-deps --no-build-isolation -e ."]

    demo, tests = re.findall(r"^    (python3 -m venv .* requirements\.lock .*)$", readme, re.MULTILINE)

    assert [step in command for command in (demo, tests, checks) for step in steps] == [True] * 6
    assert "--quiet" not in demo + tests + checks  # half a minute without a word looks like a program that hangs
    assert demo.endswith("opencode-a2a demo")
    assert tests.endswith("python -m pytest -n auto")
    assert "-m pytest -n auto" in checks


def test_the_commands_of_an_operator_install_what_is_pinned() -> None:
    guide = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    wheel, install = re.findall(r"^    (python3 -m venv .*)$", guide, re.MULTILINE)

    assert "--require-hashes -r deploy/requirements-build.txt" in wheel
    assert wheel.endswith("pip wheel --no-deps --no-build-isolation --wheel-dir dist .")
    assert "--require-hashes -r deploy/requirements.txt" in install
    assert install.endswith(f"--no-index dist/opencode_a2a-{__version__}-py3-none-any.whl")


_MESSAGE = re.compile(r"`([^`]+)`")
_PIP = "(of pip)"


def texts_of_the_product() -> str:
    """Every constant text of the shipped modules, joined."""
    modules = [path for package in SHIPPED for path in (ROOT / package).rglob("*.py")]
    nodes = (node for path in modules for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    values = (node.value for node in nodes if isinstance(node, ast.Constant))
    return "\n".join(str(value) for value in values if isinstance(value, str | bytes))


def test_messages_of_the_page_on_troubleshooting_are_those_of_the_program() -> None:
    """The first cell of a row has a message in backticks, where a part that differs is `…`."""
    product = texts_of_the_product()
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    symptoms = [row for row in rows if row not in ("---", "what you see")]
    messages = [message for row in symptoms if _PIP not in row for message in _MESSAGE.findall(row)]
    parts = [part.strip() for message in messages for part in message.split("…")]

    assert len(symptoms) >= 25
    assert [part for part in parts if " " in part and part not in product] == []


def test_the_readme_names_the_wheel_of_this_version() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert f"uv tool install dist/opencode_a2a-{__version__}-py3-none-any.whl" in readme


def test_the_readme_is_short_and_has_what_is_looked_for() -> None:
    """Tables and commands may be longer than prose."""
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    prose = [line for line in lines if not line.startswith(("|", "    "))]

    assert len(lines) <= 150
    assert [line for line in prose if len(line) > 120] == []
    assert {f"## {word}" for word in ("Install", "Deploy", "Upgrade", "Troubleshooting")} <= set(lines)


# With a version, it is the other product that is meant.
_BY_NAME = re.compile(r"install\b[^&]*(?<!/)\bopencode[-_]a2a(?!==)(\[|['\"`]|\s|$)")


def test_no_text_installs_the_product_by_its_bare_name() -> None:
    """Package indexes have another product under this name, so what is installed comes from a path."""
    modules = [path for package in SHIPPED for path in (ROOT / package).rglob("*.py")]
    texts = [*DOCUMENTS, *ROOT.glob("tests/*/README.md"), *modules]
    lines = [(path, line) for path in texts for line in path.read_text("utf-8").splitlines()]

    assert _BY_NAME.search("pip install 'opencode-a2a[signing]'")
    assert _BY_NAME.search("pip install --upgrade opencode-a2a")
    assert [(str(path.relative_to(ROOT)), line) for path, line in lines if _BY_NAME.search(line)] == []


def test_the_distribution_and_the_code_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    dynamic, source = project["project"]["dynamic"], project["tool"]["hatch"]["version"]
    stated = re.search(source["pattern"], (ROOT / source["path"]).read_text("utf-8"))

    assert dynamic == ["version"]
    assert stated is not None
    assert stated["version"] == __version__
