"""The parts of the documents that are generated from tables of the code: each stands between two markers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen

from sansio.extensions.methods.method_rows import MethodExtension
from sansio.extensions.published.deployment_cards import EXTENSIONS
from sansio.opencode.metadata_fields import FIELDS
from tools.docs import (
    error_reference,
    extension_pages,
    extension_schemas,
    extras_reference,
    method_reference,
    metrics_reference,
    settings_reference,
    tool_error_reference,
)

DOCS: Final = Path(__file__).parents[2] / "docs"


@frozen
class GeneratedPart:
    """A part of a document. `name` stands in its markers; `render` returns its Markdown."""

    name: str
    document: str
    render: Callable[[], str]

    @property
    def start(self) -> str:
        """The marker before the part."""
        return f"<!-- {self.name}: begin (made by `python -m tools.docs`) -->"

    @property
    def end(self) -> str:
        """The marker after the part."""
        return f"<!-- {self.name}: end -->"

    def update(self, text: str) -> str:
        """Return a document's text with this part rendered again. Raises `ValueError` if a marker is missing."""
        before, start, rest = text.partition(self.start)
        _, end, after = rest.partition(self.end)
        if not (start and end):
            raise ValueError(f"{self.document} has no markers for the part {self.name}")
        return f"{before}{start}\n\n{self.render()}\n\n{end}{after}"


PARTS: Final = (
    GeneratedPart("settings", "configuration.md", settings_reference.settings_tables),
    GeneratedPart("extras", "configuration.md", extras_reference.extras_table),
    GeneratedPart("capabilities", "configuration.md", settings_reference.capabilities_table),
    GeneratedPart("earlier settings", "upgrade.md", settings_reference.earlier_settings_table),
    GeneratedPart("metrics", "operations.md", metrics_reference.metrics_table),
    GeneratedPart("errors", "errors.md", error_reference.markdown),
    GeneratedPart("reference", "reference.md", method_reference.markdown),
    GeneratedPart("tool errors", "a2a-call.md", tool_error_reference.markdown),
    GeneratedPart("extensions", "extensions.md", extension_pages.index),
    *(
        GeneratedPart(f"card of {one.name}", f"extensions/{one.name}.md", partial(extension_pages.card, one.name))
        for one in EXTENSIONS
    ),
    *(
        GeneratedPart(f"fields of {name}", f"extensions/{name}.md", partial(extension_pages.fields, name))
        for name in FIELDS
    ),
    *(
        GeneratedPart(f"methods of {one.label}", f"extensions/{one.label}.md", partial(extension_pages.methods, one))
        for one in MethodExtension
    ),
)


def update_documents(folder: Path = DOCS) -> None:
    """Render every part again, in the documents of `folder`, and write the schemas of the extensions."""
    for part in PARTS:
        path = folder / part.document
        path.write_text(part.update(path.read_text("utf-8")), "utf-8")
    for name, text in extension_schemas.extension_schemas().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
