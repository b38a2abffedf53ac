"""One description gives the reader, the writer and the schema of a type; what each option of it does."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen

from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs.fields import Fields, read_document
from sansio.a2a.codecs.wire_types import (
    ANY,
    FLAG,
    NATURAL,
    TEXT,
    TEXTS,
    Made,
    Many,
    Member,
    Nested,
    Object,
    Tag,
    required,
)
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import DataPart, JsonObject


@frozen(kw_only=True)
class Leaf:
    name: str
    size: int | None = None


@frozen(kw_only=True)
class Tree:
    id: str
    leaves: tuple[Leaf, ...] = ()
    tags: tuple[str, ...] = ()
    open: bool = False
    note: Any = None
    secret: str | None = None


LEAF = Object(name="Leaf", model=Leaf, members=(required("name", TEXT, "name"), Member("size", NATURAL, "size")))
INNER: Object[JsonObject] = Object(name="Inner", model=dict, members=(Member("note", ANY, "note", null=True),))
TREE = Object(
    name="Tree",
    model=Tree,
    first=("open",),
    members=(
        required("kind", Tag("tree")),
        required("treeId", TEXT, "id", names=("treeId", "treeName")),
        Member("leaves", Many(LEAF), "leaves"),
        Member("tags", TEXTS, "tags"),
        required("open", FLAG, "open", default=False),
        required("inner", Nested(INNER)),
        Member("label", Made(lambda tree: f"tree {tree.id}", {"type": "string"})),
        Member("secret", TEXT, "secret", hidden=True),
        Member("published", TEXT),
    ),
)
WRITTEN: JsonObject = {
    "kind": "tree",
    "treeId": "t",
    "leaves": [{"name": "a"}, {"name": "b", "size": 3}],
    "open": True,
    "inner": {"note": None},
    "label": "tree t",
}
VALUE = Tree(id="t", leaves=(Leaf(name="a"), Leaf(name="b", size=3)), open=True)


def refer(name: str) -> JsonObject:
    return {"$ref": name}


def violations(document: JsonObject) -> list[tuple[str, str]]:
    with pytest.raises(ProtocolError) as caught:
        read_document(document, TREE.read)
    return [(one.field, one.message) for one in caught.value.violations]


def test_the_writer_leaves_out_what_is_missing_hidden_or_only_published() -> None:
    assert TREE.write(VALUE) == WRITTEN
    assert next(iter(TREE.write(VALUE))) == "kind"


def test_the_reader_takes_what_the_writer_gives() -> None:
    assert read_document(WRITTEN, TREE.read) == VALUE


def test_the_reader_takes_hidden_members_other_names_and_defaults() -> None:
    document = {"treeName": "t", "inner": {"note": 5}, "secret": "s", "label": 5, "published": 5}

    assert read_document(document, TREE.read) == Tree(id="t", note=5, secret="s")


def test_the_reader_notes_everything_that_is_wrong_and_first_what_stands_first() -> None:
    wrong = {"treeId": "", "leaves": [{"size": -1}, 5], "tags": [1], "open": "x", "inner": []}

    assert violations(wrong) == [
        ("open", "must be true or false"),
        ("treeId", "must not be empty"),
        ("leaves[0].name", "is required"),
        ("leaves[0].size", "must be between 0 and 2147483647"),
        ("leaves[1]", "must be an object"),
        ("tags[0]", "must be a string"),
        ("inner", "must be an object"),
    ]


def test_what_is_required_is_missed_unless_it_has_a_default() -> None:
    assert violations({}) == [("treeId", "is required"), ("inner", "is required")]


def test_the_schema_has_the_members_in_their_order_without_the_hidden_ones() -> None:
    assert TREE.definition(refer) == {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "const": "tree"},
            "treeId": {"type": "string"},
            "leaves": {"type": "array", "items": {"$ref": "Leaf"}},
            "tags": {"type": "array", "items": {"type": "string"}},
            "open": {"type": "boolean"},
            "inner": {"$ref": "Inner"},
            "label": {"type": "string"},
            "published": {"type": "string"},
        },
        "required": ["kind", "treeId", "open", "inner"],
    }


def test_a_type_that_is_only_written_cannot_be_read() -> None:
    only_written: Object[Leaf] = Object(name="Leaf", members=LEAF.members)

    assert only_written.write(Leaf(name="a")) == {"name": "a"}
    with pytest.raises(TypeError, match="only written"):
        only_written.read(Fields({"name": "a"}))


# --- what comes of it in the codecs -----------------------------------------------------------------------


def test_a_part_with_two_contents_is_refused_with_what_is_wrong_in_them() -> None:
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": 5, "raw": "?", "metadata": []}]}
    with pytest.raises(ProtocolError) as caught:
        v1_0.parse_send({"message": message})

    assert [one.field for one in caught.value.violations] == [
        "message.parts[0].metadata",
        "message.parts[0].text",
        "message.parts[0].raw",
        "message.parts[0]",
    ]


def test_an_untagged_part_of_version_0_3_is_refused_with_what_else_is_wrong() -> None:
    with pytest.raises(ProtocolError) as caught:
        v0_3.parse_send({"message": {"messageId": "m", "role": "user", "parts": [{"text": "a", "metadata": 5}]}})

    assert {one.field for one in caught.value.violations} == {"message.parts[0].kind", "message.parts[0].metadata"}


def test_null_is_data() -> None:
    part = DataPart(data=None)

    assert v1_0.render_part(part) == {"data": None}
    assert v0_3.render_part(part) == {"kind": "data", "data": {"value": None}}


def test_an_object_that_is_null_is_as_good_as_none() -> None:
    members = (Member("leaf", LEAF, "leaf"), Member("leaves", Many(LEAF), "leaves"))
    branch: Object[JsonObject] = Object(name="Branch", model=dict, members=members)

    assert read_document({"leaf": None, "leaves": None}, branch.read) == {"leaves": ()}
    assert read_document({"leaf": {"name": "a"}}, branch.read) == {"leaf": Leaf(name="a")}
