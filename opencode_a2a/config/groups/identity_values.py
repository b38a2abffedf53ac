"""Parsers of the settings of an identity provider. Each raises `SettingRefusedError` for a text that it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from opencode_a2a.config.groups.capabilities import CAPABILITIES
from opencode_a2a.config.settings_values import SettingRefusedError
from sansio.access.oidc import ALGORITHMS, is_protected


def issuer(text: str) -> str:
    """An https URL without query and fragment; http to this machine."""
    if not is_protected(text):
        raise SettingRefusedError
    parts = urlsplit(text)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise SettingRefusedError
    return text


def algorithms(text: str) -> tuple[str, ...]:
    """A comma-separated list of asymmetric algorithms."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or not set(names) <= {*ALGORITHMS}:
        raise SettingRefusedError
    return names


def scope_capabilities(text: str) -> Mapping[str, frozenset[str]]:
    """A JSON object: a list of capabilities for each scope."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(names, list) for names in found.values()):
        raise SettingRefusedError
    if not all(name in CAPABILITIES for names in found.values() for name in names if isinstance(name, str)):
        raise SettingRefusedError(f"there are the capabilities {', '.join(sorted(CAPABILITIES))}")
    if not all(isinstance(name, str) for names in found.values() for name in names):
        raise SettingRefusedError
    return {scope: frozenset(names) for scope, names in found.items()}
