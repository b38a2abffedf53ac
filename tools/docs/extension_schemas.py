"""Makes a JSON Schema of each extension that has methods: their parameters, and their results on both versions.

Made from the table that the methods are answered from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import orjson

from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_rows import MethodExtension
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.types import params_schema, result_schema

FOLDER: Final = "extensions/schemas"
"""The folder of the schemas, below that of the documents."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def extension_schemas() -> Mapping[str, str]:
    """Return the text of each schema by its path below the documents."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {
        f"{FOLDER}/{extension.label}.json": orjson.dumps(_schema(extension), option=options).decode()
        for extension in MethodExtension
    }


def _schema(extension: MethodExtension) -> JsonObject:
    return {
        "$schema": DIALECT,
        "$id": f"{extension.uris['1.0']}:schema",
        "title": extension.label,
        "description": extension.about,
        "$defs": dict(_definitions(extension)),
    }


def _definitions(extension: MethodExtension) -> Iterator[tuple[str, JsonObject]]:
    for row in METHODS.values():
        if row.extension is extension:
            yield f"{row.name}.params", {"description": row.about, **params_schema(row)}
            for version in sorted(row.versions):
                yield f"{row.name}.result.{version}", result_schema(row, version)
