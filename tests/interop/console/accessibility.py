"""Checks a page with axe-core, which is installed from npm by its pins, once per machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.interop.console.browser import Page
from tests.interop.environments import made
from tests.real.installation import UnavailableError, run

_PINS = [Path(__file__).parent / "axe" / name for name in ("package.json", "package-lock.json")]


def _install(folder: Path) -> None:
    for pin in _PINS:
        shutil.copy(pin, folder / pin.name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run(command, cwd=folder, env=os.environ)


def axe() -> Path:
    """The path of axe-core, installed first if need be. Raises `UnavailableError`."""
    if shutil.which("npm") is None:
        raise UnavailableError("npm is not installed, and axe-core comes as an npm package")
    return made("axe", _PINS, _install) / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: Page) -> list[str]:
    """Every rule of WCAG 2.2 AA, or of good practice, that the page breaks, with the elements that break it."""
    if not page.run("'axe' in window"):
        try:
            source = axe().read_text("utf-8")
        except UnavailableError as error:
            if os.environ.get("TEST_REQUIRE_INTEROP") == "1":
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        page.run(source + "; 0")
    found = page.run(
        "axe.run().then(({violations}) => violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' | ')))"
    )
    return [str(violation) for violation in found]
