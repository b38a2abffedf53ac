"""The guide to deployment names what there is: settings, files and commands."""

from __future__ import annotations

import re
import subprocess

from tests.deploy.tools import DEPLOY, FILES, SETTINGS, names_in
from tests.paths import DOCS

GUIDE, SYMPTOMS = ((DOCS / name).read_text() for name in ("deployment.md", "troubleshooting.md"))


def test_the_guide_names_settings_alone() -> None:
    assert names_in(GUIDE + SYMPTOMS) - SETTINGS == set()
    assert len(names_in(GUIDE + SYMPTOMS)) > 15


def test_the_guides_commands_are_those_of_the_script() -> None:
    usage = subprocess.run(
        ["sh", str(DEPLOY / "install.sh"), "--help"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    offered = set(re.findall(r"^    ([a-z]+)\b", usage, re.MULTILINE)) | set(re.findall(r"--[a-z-]+", usage))
    used = re.findall(r"install\.sh ([a-z]+)([^`\n]*)", GUIDE)

    assert {command for command, _ in used} >= {"install", "upgrade", "switch", "add", "remove"}
    for command, rest in used:
        assert command in offered
        assert set(re.findall(r"--[a-z-]+", rest)) <= offered


def test_the_guide_leads_to_every_way() -> None:
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(\.\./(deploy[^)]*)\)", GUIDE)}
    folders = {path.parent.relative_to(DEPLOY.parent).as_posix() for path in FILES if path.parent != DEPLOY}

    named = {folder for folder in folders if any(one.startswith(folder) for one in linked) or f"`{folder}`" in GUIDE}
    assert folders - named <= {"deploy/systemd"}  # which the script installs
    assert "deploy/install.sh" in linked
