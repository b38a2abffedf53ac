"""The specifications of the extensions: a page for each that a card names, no other, and true examples."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import orjson
import pytest
from jsonschema_rs import Draft202012Validator

from sansio.a2a.cards.agent_card import CardSpec
from sansio.access import Identity
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.published.deployment_cards import (
    EXTENSIONS,
    SPECIFIED_IN,
    PublishedExtension,
    card_of,
    extended_card_of,
)
from sansio.extensions.published.profile import Deployment
from tests.paths import DOCS, ROOT
from tools.docs.extension_schemas import FOLDER, extension_schemas

CALLER = Identity(principal="me", credential_id="c", capabilities=frozenset())
DEPLOYMENT = Deployment(title="T", description="D", version="7", url="https://agent.example", schemes=("bearer",))
FOLDER_OF_PAGES = ROOT / SPECIFIED_IN
INDEX = (DOCS / "extensions.md").read_text("utf-8")
NAMES = {one.name for one in EXTENSIONS}
SECTIONS = ["Activation", "Card", "Fields", "Methods", "Examples", "Errors", "Compatibility"]
MAY_BE_MISSING = {"Fields", "Methods"}
HAVE_NEITHER = {"compatibility-profile", "wire-contract", "push-interrupts"}
_URI = re.compile(r"`((?:https://github\.com/[^`]*/extension-specifications\.md#|urn:opencode-a2a:extension:)[^`]*)`")
_EXAMPLE = re.compile(r"(?:^<!-- schema: (\S+)((?: \S+)?) -->\n)?^```json\n(.*?)^```", re.DOTALL | re.MULTILINE)
_ERROR = re.compile(r"`([A-Z]{3,}(?:_[A-Z]+)+)`")
_NORMATIVE = re.compile(r"\b(MUST|SHOULD|MAY)\b")

EACH = pytest.mark.parametrize("one", EXTENSIONS, ids=lambda one: one.name)


def page(one: PublishedExtension) -> str:
    return (FOLDER_OF_PAGES / f"{one.name}.md").read_text("utf-8")


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def member(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[step]
    return value


def test_there_is_a_page_for_each_extension_and_no_other() -> None:
    assert {path.stem for path in FOLDER_OF_PAGES.glob("*.md")} == NAMES


@pytest.mark.parametrize(
    "card", [card_of(DEPLOYMENT), extended_card_of(DEPLOYMENT, CALLER)], ids=["public", "extended"]
)
def test_every_uri_on_a_card_leads_to_a_page_that_has_it(card: CardSpec) -> None:
    assert card.extensions
    for extension in card.extensions:
        [one] = [one for one in EXTENSIONS if extension.uri in one.uris.values()]
        assert extension.description.endswith(f"Specification: {SPECIFIED_IN}/{one.name}.md")
        assert f"`{extension.uri}`" in page(one)


@EACH
def test_a_page_has_the_uris_of_its_extension_above_all_else(one: PublishedExtension) -> None:
    before = page(one).partition("## ")[0]

    assert page(one).startswith(f"# {one.name}\n")
    assert set(_URI.findall(before)) == set(one.uris.values())


def test_the_index_has_all_uris_and_an_anchor_and_a_link_for_each_extension() -> None:
    assert set(_URI.findall(INDEX)) == {uri for one in EXTENSIONS for uri in one.uris.values()}
    for name in NAMES:
        assert f'<a id="{name}"></a>[`{name}`](extensions/{name}.md)' in INDEX


@EACH
def test_a_page_has_its_sections_in_order(one: PublishedExtension) -> None:
    found = list(sections(page(one)))

    assert set(SECTIONS) - set(found) <= MAY_BE_MISSING
    assert found == [section for section in SECTIONS if section in found]
    assert bool({"Fields", "Methods"} & set(found)) is (one.name not in HAVE_NEITHER)


@EACH
def test_a_page_says_what_is_demanded(one: PublishedExtension) -> None:
    assert _NORMATIVE.search(page(one))


@EACH
def test_the_examples_of_a_page_are_of_its_schemas(one: PublishedExtension) -> None:
    """A comment before an example names the schema, and the member of the example that is of it."""
    definitions = orjson.loads(extension_schemas().get(f"{FOLDER}/{one.name}.json", '{"$defs": {}}'))["$defs"]
    examples = _EXAMPLE.findall(page(one))

    assert bool(examples) is bool(definitions)
    for definition, path, text in examples:
        assert definition, f"an example without a schema: {text}"
        Draft202012Validator(definitions[definition]).validate(member(orjson.loads(text), path.strip()))


@EACH
def test_a_page_lists_the_errors_of_its_methods(one: PublishedExtension) -> None:
    named = set(_ERROR.findall(page(one)))
    rows = [row for row in METHODS.values() if row.extension.label == one.name]

    assert {kind.name for row in rows for kind in row.all_errors} <= named


@pytest.mark.parametrize("text", [INDEX, *map(page, EXTENSIONS)], ids=["index", *(one.name for one in EXTENSIONS)])
def test_no_level_of_headings_is_left_out(text: str) -> None:
    levels = [len(found) for found in re.findall(r"^(#+) ", text, re.MULTILINE)]

    assert levels.count(1) == 1
    assert [pair for pair in pairwise(levels) if pair[1] > pair[0] + 1] == []


def test_every_skill_on_a_card_has_an_example() -> None:
    for card in (card_of(DEPLOYMENT), extended_card_of(DEPLOYMENT, CALLER)):
        assert all(skill.examples for skill in card.skills)
