"""Each package draws its exceptions in a docstring, and the drawings match the classes."""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import re

import httpx
import pytest

DRAWINGS = {
    "sansio": "sansio",
    "sansio.a2a": "sansio.a2a.errors",
    "sansio.extensions": "sansio.extensions",
    "opencode_a2a.agent": "opencode_a2a.agent",
    "opencode_a2a.client": "opencode_a2a.client",
    "opencode_a2a.config": "opencode_a2a.config",
    "opencode_a2a.outbound": "opencode_a2a.outbound",
    "opencode_a2a.server": "opencode_a2a.server",
    "opencode_a2a.server.store": "opencode_a2a.server.store",
    "opencode_a2a.tool": "opencode_a2a.tool",
}
"""Packages to the modules whose docstrings have the drawings."""

BUILT_IN = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}
ROOTS = BUILT_IN | {httpx.TransportError.__name__}  # what a transport for httpx has to raise
_LINE = re.compile(r"^    (?P<indent>(?:  )*)(?P<name>\w*(?:Error|Exception))(?:  +(?P<about>\S.*))?$")


def drawn(text: str) -> dict[str, str]:
    """Parents by class, as the lines of a drawing are indented."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in text.splitlines():
        if (found := _LINE.match(line)) is not None:
            depth = len(found["indent"]) // 2
            del path[depth:]
            if path:
                parents[found["name"]] = path[-1]
            path.append(found["name"])
    return parents


def package_of(module: str) -> str:
    """The package of `DRAWINGS` that a module belongs to; empty for none."""
    return max((name for name in DRAWINGS if f"{module}.".startswith(f"{name}.")), key=len, default="")


def classes() -> dict[str, dict[str, set[str]]]:
    """Bases by exception class by package. Private classes do not leave their modules and are left out."""
    found: dict[str, dict[str, set[str]]] = {name: {} for name in DRAWINGS}
    for root in ("sansio", "opencode_a2a"):
        package = importlib.import_module(root)
        for module in pkgutil.walk_packages(package.__path__, f"{root}."):
            home = package_of(module.name)
            if not home or module.name.endswith("__main__") or ".migrations." in module.name:
                continue  # a program, and scripts that alembic runs
            for name, value in vars(importlib.import_module(module.name)).items():
                public = isinstance(value, type) and issubclass(value, Exception) and not name.startswith("_")
                if public and value.__module__ == module.name:
                    found[home][name] = {base.__name__ for base in value.__bases__}
    return found


@pytest.mark.parametrize("package", DRAWINGS)
def test_the_drawing_of_a_package_has_its_exceptions(package: str) -> None:
    parents = drawn(importlib.import_module(DRAWINGS[package]).__doc__ or "")
    there = classes()[package]

    assert parents.keys() == there.keys()
    assert {name: parent for name, parent in parents.items() if parent not in there[name]} == {}


def test_every_exception_is_below_a_root_that_callers_know() -> None:
    by_package = classes()
    known = {name for package in by_package.values() for name in package} | ROOTS

    assert [(name, base) for of in by_package.values() for name in of for base in of[name] if base not in known] == []
    assert all(name.endswith("Error") for of in by_package.values() for name in of)


def test_a_drawing_is_read_by_its_indents() -> None:
    text = "Its exceptions:\n\n    Exception\n      OneError\n        TwoError    why\n      ThreeError\n"

    assert drawn(text) == {"OneError": "Exception", "TwoError": "OneError", "ThreeError": "Exception"}
