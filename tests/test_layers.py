"""The rules of the house, read off the imports: who may import whom, and what the core must not touch.

Knows the shipped packages as source text alone: it parses them and never imports them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from attrs import field, frozen

ROOT = Path(__file__).parent.parent
SHIPPED = ("sansio", "opencode_a2a", "runtime_http", "runtime_asyncio", "runtime_trio")

CORE = frozenset({"sansio", "sansio.a2a", "sansio.opencode", "sansio.extensions", "sansio.transport", "sansio.mcp"})
ROOMS = (
    ".agent",
    ".server",
    ".tool",
    ".terminal",
    ".client",
    ".outbound",
    ".config",
    ".fake_opencode",
    ".tracing",
    ".metrics",
)

CALLING = ("opencode_a2a.client", "opencode_a2a.outbound")
SHARED = frozenset({"sansio", "sansio.a2a", "opencode_a2a", "opencode_a2a.config", "opencode_a2a.tracing"})

# Layer -> the other layers it may import. A module belongs to the longest name here that it starts with, so
# "sansio" stands for what lies directly in it. Runtimes are found by name: opencode_a2a's row lacks them.
LAYERS: dict[str, frozenset[str]] = {
    "sansio.a2a": frozenset(),
    "sansio.opencode": frozenset({"sansio.a2a"}),
    "sansio.extensions": frozenset({"sansio.a2a", "sansio.opencode"}),
    "sansio.transport": frozenset(),
    "sansio.mcp": frozenset(),
    "sansio": frozenset({"sansio.a2a", "sansio.transport"}),
    "opencode_a2a": frozenset({"opencode_a2a.cli"}),
    "opencode_a2a.cli": CORE | frozenset(f"opencode_a2a{room}" for room in ("", *ROOMS)),
    "opencode_a2a.agent": CORE
    | frozenset({"opencode_a2a", "opencode_a2a.server", "opencode_a2a.tool", *CALLING, "opencode_a2a.config"})
    | frozenset({"opencode_a2a.tracing", "opencode_a2a.metrics"}),
    "opencode_a2a.server": frozenset(
        {"sansio", "sansio.a2a", "sansio.transport", "opencode_a2a", "opencode_a2a.outbound", "opencode_a2a.config"}
        | {"opencode_a2a.tracing", "opencode_a2a.metrics"}
    ),
    "opencode_a2a.tool": SHARED | frozenset({"sansio.mcp", "opencode_a2a.server", *CALLING}),
    "opencode_a2a.terminal": SHARED | frozenset(CALLING),
    "opencode_a2a.client": SHARED | frozenset({"opencode_a2a.outbound"}),
    "opencode_a2a.outbound": SHARED | {"sansio.transport"},
    "opencode_a2a.config": frozenset({"sansio", "sansio.a2a", "sansio.transport", "opencode_a2a"}),
    "opencode_a2a.tracing": frozenset({"sansio", "sansio.a2a", "opencode_a2a", "opencode_a2a.config"}),
    "opencode_a2a.metrics": frozenset({"sansio", "sansio.a2a"}),
    "opencode_a2a.fake_opencode": frozenset({"sansio.a2a"}),
    "runtime_http": frozenset({"sansio.transport"}),
    "runtime_asyncio": frozenset({"sansio.transport", "runtime_http"}),
    "runtime_trio": frozenset({"sansio.transport", "runtime_http"}),
    "tests": frozenset(),
    "fuzz": frozenset(),
}

# Module -> the one layer that may import it.
RESERVED = {
    "prometheus_client": "opencode_a2a.metrics",
    "asyncio": "runtime_asyncio",
    "uvloop": "runtime_asyncio",
    "hypercorn.asyncio": "runtime_asyncio",
    "trio": "runtime_trio",
    "hypercorn.trio": "runtime_trio",
}

CORE_LIBRARIES = frozenset({"attr", "attrs", "orjson", "google"})
IMPURE_MODULES = frozenset(
    {
        "anyio",
        "asyncio",
        "httpx",
        "hypercorn",
        "logging",
        "os",
        "random",
        "secrets",
        "socket",
        "threading",
        "time",
    }
    | {
        "trio",
        "uuid",
        "concurrent",
        "multiprocessing",
        "select",
        "selectors",
        "shutil",
        "signal",
        "sqlite3",
        "ssl",
    }
    | {"subprocess", "tempfile"}
)
CLOCKS = frozenset(
    {"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"}
)
IMPURE_CALLS = frozenset({"input()", "open()", "print()"})


@frozen
class Module:
    """One module as text. `name` is dotted; a package's `__init__` bears the package's own name."""

    name: str
    source: str = field(repr=False)
    is_package: bool = False


@frozen(order=True)
class Use:
    """One imported or reached-for dotted name, and the line it stands on."""

    target: str
    line: int


@frozen(order=True)
class Violation:
    where: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: {self.what}"


def starts_with(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def layer_of(name: str) -> str | None:
    """The layer a dotted name belongs to; None when it is not ours."""
    found = [layer for layer in LAYERS if starts_with(name, layer)]
    return max(found, key=len, default=None)


def origin(module: Module, node: ast.ImportFrom) -> str:
    """The absolute module a `from … import` names, leading dots resolved."""
    if node.level == 0:
        return node.module or ""
    parts = module.name.split(".")
    kept = len(parts) - node.level + (1 if module.is_package else 0)
    return ".".join([*parts[:kept], *([node.module] if node.module else [])])


def imports_of(module: Module) -> Iterator[Use]:
    """Every import wherever it stands: in functions and under TYPE_CHECKING too, and by `import_module("…")`.

    `from a import b` gives `a.b`: whether b is a module or a name in one is for the caller to say.
    """
    for node in ast.walk(ast.parse(module.source)):
        match node:
            case ast.Import():
                yield from (Use(alias.name, node.lineno) for alias in node.names)
            case ast.ImportFrom():
                start = origin(module, node)
                for alias in node.names:
                    yield Use(start if alias.name == "*" else f"{start}.{alias.name}", node.lineno)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Use(name, node.lineno)


def reached_names(module: Module) -> Iterator[Use]:
    """Every name or dotted name used in an expression, spelled by where its first part was imported from."""
    tree = ast.parse(module.source)
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound.update({a.asname: a.name for a in node.names if a.asname})
        elif isinstance(node, ast.ImportFrom):
            bound.update({a.asname or a.name: f"{origin(module, node)}.{a.name}" for a in node.names})
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            parts: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name):
                yield Use(".".join([bound.get(inner.id, inner.id), *reversed(parts)]), node.lineno)


def called_names(module: Module) -> Iterator[Use]:
    """Every plain name that is called, as `name()`: a field may well be named like a built-in function."""
    for node in ast.walk(ast.parse(module.source)):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                yield Use(f"{name}()", node.lineno)


def layer_violations(module: Module) -> Iterator[Violation]:
    own = layer_of(module.name)
    assert own is not None, f"{module.name} is in no layer"
    for use in imports_of(module):
        other = layer_of(use.target)
        if other is not None and other != own and other not in LAYERS[own]:
            yield Violation(module.name, use.line, f"{own} must not import {use.target}")


def reserved_violations(module: Module) -> Iterator[Violation]:
    for use in imports_of(module):
        for reserved, owner in RESERVED.items():
            if starts_with(use.target, reserved) and layer_of(module.name) != owner:
                yield Violation(module.name, use.line, f"only {owner} may import {use.target}")


def purity_violations(module: Module) -> Iterator[Violation]:
    """What keeps the core from being pure: modules that touch the world, clocks, and foreign libraries."""
    if not starts_with(module.name, "sansio"):
        return
    for use in imports_of(module):
        top = use.target.partition(".")[0]
        if top in IMPURE_MODULES:
            yield Violation(module.name, use.line, f"the core must not import {use.target}")
        elif top not in sys.stdlib_module_names and top not in CORE_LIBRARIES and layer_of(top) is None:
            yield Violation(module.name, use.line, f"{use.target} is no library of the core's")
    for use in (*reached_names(module), *called_names(module)):
        if use.target in CLOCKS or use.target in IMPURE_CALLS:
            yield Violation(module.name, use.line, f"the core must not use {use.target}")


def import_cycles(modules: Mapping[str, Module]) -> list[tuple[str, ...]]:
    """Circles of modules that import each other, from their alphabetically first members on.

    Not every circle there is, but at least one as long as there is any.
    """
    edges: dict[str, set[str]] = {}
    for name, module in modules.items():
        targets = (use.target for use in imports_of(module))
        edges[name] = {t if t in modules else t.rpartition(".")[0] for t in targets} & modules.keys() - {name}
    found: set[tuple[str, ...]] = set()
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            circle = path[path.index(name) :]
            first = circle.index(min(circle))
            found.add((*circle[first:], *circle[:first]))
        elif name not in finished:
            for target in sorted(edges[name]):
                visit(target, [*path, name])
            finished.add(name)

    for name in sorted(modules):
        visit(name, [])
    return sorted(found)


def shipped_modules() -> dict[str, Module]:
    modules: dict[str, Module] = {}
    for package in SHIPPED:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            modules[name] = Module(name, path.read_text(encoding="utf-8"), is_package)
    return modules


MODULES = shipped_modules()


def told(violations: Iterator[Violation]) -> list[str]:
    return [str(violation) for violation in sorted(violations)]


def test_every_package_is_looked_at() -> None:
    assert {name.partition(".")[0] for name in MODULES} == set(SHIPPED)
    assert {"sansio.a2a", "sansio.opencode", "sansio.extensions"} <= MODULES.keys()


@pytest.mark.parametrize(
    "violations", [layer_violations, reserved_violations, purity_violations], ids=["layers", "event loops", "purity"]
)
def test_no_module_breaks_a_rule(violations: Callable[[Module], Iterator[Violation]]) -> None:
    assert [one for module in MODULES.values() for one in told(violations(module))] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert import_cycles(MODULES) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("sansio.a2a.bindings.sse", "import opencode_a2a.config.settings"),
        ("sansio.a2a.bindings.sse", "from sansio.opencode import turn"),
        ("sansio.a2a.bindings.sse", "from ...opencode.turns.turn import Turn"),
        ("sansio.a2a.bindings.sse", "from ... import http"),
        ("sansio.a2a.bindings.sse", "def late():\n    from sansio import extensions"),
        ("sansio.opencode.turns.turn", "from sansio.extensions import table"),
        ("sansio.opencode.turns.turn", "import sansio.http"),
        ("sansio.extensions.methods.method_table", "from sansio.http import Request"),
        ("sansio.http", "from sansio.opencode.turns.turn import Turn"),
        ("sansio.http", "from .extensions import table"),
        ("opencode_a2a.cli.main", "import runtime_asyncio"),
        ("opencode_a2a.cli.main", "import importlib\nimportlib.import_module('runtime_trio')"),
        ("opencode_a2a.cli.main", "from importlib import import_module\nimport_module('runtime_trio')"),
        ("opencode_a2a.cli.main", "__import__('runtime_trio')"),
        ("opencode_a2a.cli.demo", "from tests.upstream import StandIn"),
        ("opencode_a2a.server.store.sql", "from opencode_a2a.client import transport"),
        ("opencode_a2a.server.http.dispatch", "from opencode_a2a.agent.service import Service"),
        ("opencode_a2a.server.http.asgi", "from sansio.opencode.upstream import requests"),
        ("opencode_a2a.server.http.documents", "import sansio.extensions.published.openapi"),
        ("opencode_a2a.terminal.output", "from sansio.opencode.turns import turn"),
        ("opencode_a2a.config.settings", "import opencode_a2a.agent.application"),
        ("runtime_asyncio", "import sansio.a2a"),
        ("runtime_http.pool", "from sansio import http"),
        ("runtime_http.pool", "import runtime_trio"),
        ("sansio.transport.connections", "from sansio.a2a import errors"),
        ("runtime_trio.server", "from opencode_a2a.config.settings import Settings"),
        ("runtime_trio", "from runtime_asyncio import run"),
        (
            "sansio.a2a.tasks.task_log",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sansio.opencode import turn",
        ),
    ],
)
def test_checker_finds_an_import_against_the_arrows(name: str, source: str) -> None:
    assert len(told(layer_violations(Module(name, source)))) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("sansio.a2a.tasks.task_log", "from . import model\nfrom .model import Task\nimport sansio.a2a.errors"),
        ("sansio.opencode.turns.turn", "from ..a2a.model import Task\nfrom .blocks import Block"),
        ("sansio.extensions.methods.method_table", "from sansio.opencode import turn\nfrom sansio.a2a import model"),
        ("sansio.http", "from sansio.a2a.errors import ProtocolError\nfrom .access import Access"),
        (
            "opencode_a2a.cli.main",
            "from sansio.extensions import table\nfrom sansio import http\nfrom . import app",
        ),
        ("runtime_asyncio.server", "from .loop import lag\nimport sansioish"),
        ("runtime_asyncio.connection", "import runtime_http\nfrom sansio.transport.connections import Connection"),
    ],
)
def test_checker_lets_imports_along_the_arrows_pass(name: str, source: str) -> None:
    assert told(layer_violations(Module(name, source))) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("opencode_a2a.agent.turns.turn_runner", "import asyncio"),
        ("opencode_a2a.agent.turns.turn_runner", "from trio import Event"),
        ("opencode_a2a.agent.turns.turn_runner", "import hypercorn.trio"),
        ("opencode_a2a.server.http.asgi", "from hypercorn import asyncio"),
        ("opencode_a2a.server.http.asgi", "from asyncio.events import get_running_loop"),
        ("runtime_asyncio", "import trio"),
        ("runtime_asyncio", "from hypercorn.trio import serve"),
        ("runtime_trio", "import asyncio as loop"),
        ("runtime_http", "import asyncio"),
        ("runtime_http", "from hypercorn.trio.task_group import TaskGroup"),
        ("runtime_trio", "try:\n    import uvloop\nexcept ImportError:\n    raise"),
    ],
)
def test_checker_finds_an_event_loop_outside_its_runtime(name: str, source: str) -> None:
    assert len(told(reserved_violations(Module(name, source)))) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("runtime_asyncio", "import asyncio, uvloop\nfrom hypercorn.asyncio import serve"),
        ("runtime_trio.server", "import trio\nfrom hypercorn.trio import serve"),
        ("opencode_a2a.server.http.asgi", "import anyio\nfrom hypercorn.typing import Scope\nimport triode"),
    ],
)
def test_checker_lets_each_runtime_have_its_loop(name: str, source: str) -> None:
    assert told(reserved_violations(Module(name, source))) == []


@pytest.mark.parametrize("impure", sorted(IMPURE_MODULES))
def test_checker_finds_each_impure_import_in_the_core(impure: str) -> None:
    for source in (f"import {impure}", f"from {impure} import thing", f"import {impure}.inner as harmless"):
        assert len(told(purity_violations(Module("sansio.opencode.turns.turn", source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime.now()",
        "from datetime import UTC, datetime\ndatetime.now(tz=UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "import datetime as d\nd.date.today()",
        "from datetime import datetime as moment\nmoment.today()",
        "from datetime import date\ndefault = date.today",
        "import pydantic",
        "from yaml import safe_load",
        "print('seen')",
        "with open('name') as file:\n    pass",
    ],
)
def test_checker_finds_clocks_terminals_files_and_foreign_libraries_in_the_core(source: str) -> None:
    assert len(told(purity_violations(Module("sansio.a2a.tasks.task_log", source)))) == 1


def test_checker_lets_pure_code_pass() -> None:
    source = """
import base64, json
import attrs, orjson
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from attr import frozen
from .model import Task

def render(now: datetime, clock: "Clock") -> str:
    timely = clock.now() + timedelta(seconds=1)
    input: str = clock.open()
    return input + datetime.fromtimestamp(0, UTC).isoformat() + now.isoformat() + str(timely)
"""
    assert told(purity_violations(Module("sansio.a2a.tasks.task_log", source))) == []


def test_checker_holds_only_the_core_to_purity() -> None:
    assert told(purity_violations(Module("opencode_a2a.config.settings", "import os, time, httpx"))) == []


def cycles_in(sources: Mapping[str, str], packages: frozenset[str] = frozenset()) -> list[tuple[str, ...]]:
    return import_cycles({name: Module(name, source, name in packages) for name, source in sources.items()})


def test_checker_finds_two_modules_that_import_each_other() -> None:
    sources = {"p.a": "from . import b", "p.b": "from p.a import thing", "p.c": "from .a import thing"}
    assert cycles_in(sources) == [("p.a", "p.b")]


def test_checker_finds_a_longer_circle_behind_a_module_seen_before() -> None:
    sources = {"a": "import b, d", "b": "import c", "c": "import d", "d": "def late():\n    import b"}
    assert cycles_in(sources) == [("b", "c", "d")]


def test_checker_finds_a_module_that_imports_from_the_package_that_gathers_it() -> None:
    sources = {"p": "from .model import Task", "p.model": "from p import Task"}
    assert cycles_in(sources, frozenset({"p"})) == [("p", "p.model")]


def test_checker_lets_a_package_gather_modules_that_do_not_look_back() -> None:
    sources = {"p": "from .model import Task", "p.model": "from . import fields", "p.fields": "import json"}
    assert cycles_in(sources, frozenset({"p"})) == []
