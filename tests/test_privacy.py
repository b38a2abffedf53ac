"""Tests ask the product through what is public: no test reaches into a private attribute.

A name that begins with one underscore is private. A class may use its own: `self._x` and `cls._x`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

import pytest

from tests.paths import ROOT

ALLOWED = {
    "_exit": {"tests/shell/postgresql_server.py"},  # of `os`: its documented name
    "_run": {"tests/benchmarks/loop_probe.py"},  # of asyncio: there is no public way to time each step of a loop
}
"""Private names, and the modules that may use them. The list gets no longer."""

_BY_NAME = frozenset({"attrgetter", "delattr", "getattr", "hasattr", "setattr"})


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(source: str) -> Iterator[str]:
    """Each private name of something else: as an attribute, imported, or as a text for `setattr` and its like."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield name
            case ast.ImportFrom(names=names):
                yield from (alias.name for alias in names if is_private(alias.name))
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=args) if called in _BY_NAME:
                texts = (one.value for one in args if isinstance(one, ast.Constant) and isinstance(one.value, str))
                yield from (name for text in texts if is_private(name := text.rpartition(".")[2]))


@cache
def uses() -> frozenset[tuple[str, str]]:
    """Each private name that a test uses, and its module. Each process collects this module, and one runs it."""
    return frozenset(
        (name, path.relative_to(ROOT).as_posix())
        for path in (ROOT / "tests").rglob("*.py")
        for name in private_uses(path.read_text("utf-8"))
    )


def test_no_test_reaches_into_what_is_private() -> None:
    assert sorted((name, path) for name, path in uses() if path not in ALLOWED.get(name, ())) == []


def test_what_is_allowed_is_used() -> None:
    assert (
        sorted((name, path) for name, paths in ALLOWED.items() for path in paths if (name, path) not in uses()) == []
    )


@pytest.mark.parametrize(
    "source",
    [
        "agent.service._x",
        "agent.service._x = 1",
        "self.agent._x",
        "len(made()._x)",
        "from opencode_a2a.agent import _x",
        "setattr(module, '_x', 1)",
        "monkeypatch.setattr('opencode_a2a.logs._x', 1)",
        "getattr(agent, '_x', None)",
    ],
)
def test_the_check_finds_a_private_name(source: str) -> None:
    assert list(private_uses(source)) == ["_x"]


@pytest.mark.parametrize(
    "source",
    ["self._x", "cls._x = 1", "agent.__class__", "agent.x", "_x = 1", "getattr(agent, '__self__')", "print('_x')"],
)
def test_the_check_lets_ones_own_pass(source: str) -> None:
    assert list(private_uses(source)) == []
