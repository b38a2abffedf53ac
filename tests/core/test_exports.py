"""The two packages that export names: each name is found, explained, and loaded only when it is used."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pydoc
import subprocess
import sys
from types import ModuleType

import pytest

PACKAGES = ("sansio.a2a", "sansio.opencode")


def imported_for_type_checkers(package: ModuleType) -> list[str]:
    """The names that a package imports below `if TYPE_CHECKING`."""
    (block,) = (
        node for node in ast.parse(inspect.getsource(package)).body if ast.unparse(node)[:16] == "if TYPE_CHECKING"
    )
    return [alias.name for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names]


def loaded_by(statement: str) -> set[str]:
    """The modules of the core that a fresh interpreter has after a statement."""
    program = f"import sys; {statement}; print(*(name for name in sys.modules if name.startswith('sansio')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", PACKAGES)
def test_type_checkers_and_the_interpreter_find_the_same_names(name: str) -> None:
    package = importlib.import_module(name)

    assert sorted(imported_for_type_checkers(package)) == sorted(package.__all__)
    assert all(getattr(package, export) is not None for export in package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = package.nonsense


@pytest.mark.parametrize("name", PACKAGES)
def test_help_explains_every_name(name: str) -> None:
    package = importlib.import_module(name)
    document = package.__doc__ or ""

    assert [export for export in package.__all__ if f"`{export}`" not in document] == []
    assert document.splitlines()[0] in pydoc.plain(pydoc.render_doc(package))


@pytest.mark.parametrize("name", PACKAGES)
def test_the_example_of_the_package_runs(name: str) -> None:
    package = importlib.import_module(name)
    (example,) = (found for found in doctest.DocTestFinder(recurse=False).find(package) if found.examples)

    assert doctest.DocTestRunner().run(example).failed == 0
    assert len(example.examples) <= 10


def test_what_is_not_used_is_not_loaded() -> None:
    assert loaded_by("import sansio.a2a, sansio.opencode") == {"sansio", *PACKAGES}
    assert not loaded_by("import sansio.a2a.errors") & {"sansio.a2a.server", "sansio.a2a.client"}
    assert "sansio.a2a.client.calls" not in loaded_by("from sansio.a2a import understand")
    assert "sansio.a2a.server" not in loaded_by("from sansio.a2a import send_call, read_card")
