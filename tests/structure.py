"""`python -m tests.structure`: figures about the structure of the shipped code."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from tests.test_layers import MODULES, Module, imports_of, layer_of

_LONG = 500
_VERSIONS = {"0.3", "1.0"}
TABLE = "sansio.a2a.versions"


def folder_of(module: Module) -> str:
    """The package that a module lies in."""
    return module.name if module.is_package else module.name.rpartition(".")[0]


def version_comparisons(module: Module) -> Iterator[int]:
    """Lines on which something is compared with the text of a protocol version."""
    for node in ast.walk(ast.parse(module.source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) and side.value in _VERSIONS for side in sides):
                yield node.lineno


def main() -> None:
    """Print the figures."""
    code = [module for module in MODULES.values() if not module.is_package]
    folders = Counter(folder_of(module) for module in code)
    print("Modules in a folder:")
    for folder, count in folders.most_common():
        print(f"  {count:3} {folder}")
    lengths = sorted(((module.source.count("\n"), module.name) for module in code), reverse=True)
    print(f"\nModules of more than {_LONG} lines:")
    for length, name in lengths:
        if length > _LONG:
            print(f"  {length:4} {name}")
    edges: Counter[tuple[str, str]] = Counter()
    for module in MODULES.values():
        own = layer_of(module.name)
        for use in imports_of(module):
            other = layer_of(use.target)
            if own is not None and other is not None and other != own:
                edges[own, other] += 1
    print("\nImports from one layer of another:")
    for (own, other), count in sorted(edges.items()):
        print(f"  {count:4} {own} -> {other}")
    compared = {name: lines for name, module in MODULES.items() if (lines := [*version_comparisons(module)])}
    outside = {name: lines for name, lines in compared.items() if name != TABLE}
    print(
        f"\nComparisons with a version outside {TABLE}: {sum(map(len, outside.values()))} in {len(outside)} modules"
    )
    for name, lines in sorted(outside.items()):
        print(f"  {len(lines):2} {name}")


if __name__ == "__main__":
    main()
