"""The schemas of the extensions are files of the documents, one for each, and they are sound."""

from __future__ import annotations

import jsonschema
import orjson
import pytest
from jsonschema import Draft202012Validator

from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.published.deployment_cards import EXTENSIONS
from tests.paths import DOCS
from tools.docs.extension_schemas import FOLDER, extension_schemas

SCHEMAS = extension_schemas()
WITHOUT = {f"{FOLDER}/push-interrupts.json"}
"""Those of extensions that are activation alone."""
EACH_SCHEMA = pytest.mark.parametrize("name", SCHEMAS)


@EACH_SCHEMA
def test_the_file_is_what_the_table_says_now(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == SCHEMAS[name], "run: python -m tools.docs"


@EACH_SCHEMA
def test_each_is_a_json_schema(name: str) -> None:
    schema = orjson.loads(SCHEMAS[name])

    Draft202012Validator.check_schema(schema)
    for definition in schema["$defs"].values():
        Draft202012Validator.check_schema(definition)


def test_there_is_no_other_file_and_no_method_is_left_out() -> None:
    files = {f"{FOLDER}/{path.name}" for path in (DOCS / FOLDER).iterdir()}
    defined = {name for text in SCHEMAS.values() for name in orjson.loads(text)["$defs"]}

    assert files == SCHEMAS.keys() == {f"{FOLDER}/{one.name}.json" for one in EXTENSIONS} - WITHOUT
    assert all(orjson.loads(text)["$defs"] for text in SCHEMAS.values())
    assert {name for name in defined if name.endswith(".params")} == {f"{name}.params" for name in METHODS}


def test_the_schema_tells_right_parameters_from_wrong_ones() -> None:
    name = "a2a.interrupt.permission.reply.params"
    schema = orjson.loads(SCHEMAS[f"{FOLDER}/interactive-interrupt.json"])["$defs"][name]

    jsonschema.validate({"request_id": "per_1", "reply": "once"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"request_id": "per_1", "reply": "perhaps"}, schema)
