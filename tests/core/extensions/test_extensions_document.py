"""The specifications of the extensions: one section for each that a card names, and none for any other."""

from __future__ import annotations

import json
import re

import pytest

from sansio.access import Identity
from sansio.extensions.methods.method_errors import ExtensionErrorKind
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.published.deployment_cards import (
    EXTENSIONS,
    SPECIFIED_IN,
    PublishedExtension,
    card_of,
    extended_card_of,
)
from sansio.extensions.published.profile import Deployment
from tests.paths import ROOT

CALLER = Identity(principal="me", credential_id="c", capabilities=frozenset())
DEPLOYMENT = Deployment(title="T", description="D", version="7", url="https://agent.example", schemes=("bearer",))
TEXT = (ROOT / SPECIFIED_IN).read_text("utf-8")
_URI = re.compile(r"`((?:https://github\.com/[^`]*/extension-specifications\.md#|urn:opencode-a2a:)[^`]*)`")
_EXAMPLE = re.compile(r"```json\n(.*?)```", re.DOTALL)
_ERROR = re.compile(r"`([A-Z]{3,}(?:_[A-Z]+)+)`")


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)\n", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_there_is_one_section_for_each_extension_and_no_other() -> None:
    assert list(sections()) == ["Activation", *(one.name for one in EXTENSIONS)]


def test_the_document_names_the_published_uris_and_no_other() -> None:
    assert set(_URI.findall(TEXT)) == {uri for one in EXTENSIONS for uri in (one.uris["0.3"], one.uris["1.0"])}


@pytest.mark.parametrize("one", EXTENSIONS, ids=lambda one: one.name)
def test_a_section_says_what_a_client_needs(one: PublishedExtension) -> None:
    section = sections()[one.name]

    assert f"`{one.uris['0.3']}`" in section
    assert f"`{one.uris['1.0']}`" in section
    assert re.search(r"^- Purpose: \S", section, re.MULTILINE)
    assert re.search(r"^\| (field|method) \||^Fields: \S", section, re.MULTILINE)
    assert re.search(r"^Errors: \S", section, re.MULTILINE)
    examples = _EXAMPLE.findall(section)
    assert examples
    for example in examples:
        json.loads(example)


@pytest.mark.parametrize("one", EXTENSIONS, ids=lambda one: one.name)
def test_a_section_lists_the_errors_of_its_methods(one: PublishedExtension) -> None:
    told = set(_ERROR.findall(sections()[one.name])) & {kind.name for kind in ExtensionErrorKind}
    rows = [row for row in METHODS.values() if row.extension.label == one.name]

    missing = {kind.name for row in rows for kind in row.errors} - told
    assert not missing


def test_every_extension_on_a_card_says_where_it_is_specified() -> None:
    for card in (card_of(DEPLOYMENT), extended_card_of(DEPLOYMENT, CALLER)):
        assert card.extensions
        for extension in card.extensions:
            [name] = [one.name for one in EXTENSIONS if extension.uri in (one.uris["0.3"], one.uris["1.0"])]
            assert extension.description.endswith(f"{SPECIFIED_IN}#{name}")
            assert name in sections()


def test_every_skill_on_a_card_has_an_example() -> None:
    for card in (card_of(DEPLOYMENT), extended_card_of(DEPLOYMENT, CALLER)):
        assert all(skill.examples for skill in card.skills)
