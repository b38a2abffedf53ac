"""Makes a JSON Schema of each extension: its fields of metadata, its methods, or its `params` on the extended card.

Made from the tables by which requests are read and answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import orjson

from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.types import params_schema, result_schema
from sansio.extensions.published.card_params import CARD_PARAMS
from sansio.extensions.published.deployment_cards import EXTENSIONS, PublishedExtension
from sansio.opencode.metadata_fields import FIELDS, Carrier, fields_on, metadata_schema

FOLDER: Final = "extensions/schemas"
"""The folder of the schemas, below that of the documents."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def extension_schemas() -> Mapping[str, str]:
    """Return the text of each schema by its path below the documents. An extension that defines nothing has none."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {
        f"{FOLDER}/{extension.name}.json": orjson.dumps(_schema(extension), option=options).decode()
        for extension in EXTENSIONS
        if any(_definitions(extension.name))
    }


def _schema(extension: PublishedExtension) -> JsonObject:
    return {
        "$schema": DIALECT,
        "$id": f"{extension.uris['1.0']}:schema",
        "title": extension.name,
        "description": extension.description,
        "$defs": dict(_definitions(extension.name)),
    }


def _definitions(name: str) -> Iterator[tuple[str, JsonObject]]:
    for carrier in Carrier:
        if name in FIELDS and fields_on(name, carrier):
            yield carrier.schema_name, metadata_schema(name, carrier)
    yield from CARD_PARAMS.get(name, {}).items()
    for row in METHODS.values():
        if row.extension.label == name:
            yield f"{row.name}.params", {"description": row.about, **params_schema(row)}
            for version in sorted(row.versions):
                yield f"{row.name}.result.{version}", result_schema(row, version)
