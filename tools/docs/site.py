"""Hooks of the site that mkdocs builds of the documents.

Documents link to files of the checkout, as code hosts show them: the site gets a copy of each. A page that would ask
another host for a script, a font or a picture is a warning, which `mkdocs build --strict` makes a failure.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

COPIES: Final = "repository"
"""Folder of the site with the files from outside of the documents' folder."""

PROJECT_PAGES: Final = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
"""Files at the top of the checkout that have a place in the site's navigation."""

FRONT_PAGE: Final = "index.md"
"""Page of the site that stands where a code host shows the README."""

LOG: Final = logging.getLogger("mkdocs.hooks.site")

_TARGET: Final = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
_ASKS_ANOTHER_HOST: Final = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^\"'\s>]+"
)
_NEEDS_A_SCRIPT: Final = 'class="mermaid"'


def address_of(path: Path, docs: Path) -> str:
    """Return where the site has a file, relative to the site's root. `docs` is the folder of the documents."""
    if path.is_relative_to(docs):
        return path.relative_to(docs).as_posix()
    if path == docs.parent / "README.md":
        return FRONT_PAGE
    return f"{COPIES}/{path.relative_to(docs.parent).as_posix()}"


def linked_files(source: Path) -> list[Path]:
    """List the files that a document links to, by their absolute paths. A link to what is missing is left out."""
    targets = (source.parent / target for target in _TARGET.findall(source.read_text("utf-8")))
    return [Path(os.path.normpath(target)) for target in targets if target.is_file()]


def with_site_links(markdown: str, source: Path, docs: Path) -> str:
    """Return a document with each link to a file of the checkout as the site has it."""
    folder = Path(address_of(source, docs)).parent

    def site_link(found: re.Match[str]) -> str:
        target = source.parent / found[1]
        if not target.is_file():
            return found[1]
        return os.path.relpath(address_of(Path(os.path.normpath(target)), docs), folder)

    return _TARGET.sub(site_link, markdown)


def foreign_requests(html: str) -> list[str]:
    """List what a page would load from another host, and pictures that need a script from one."""
    diagrams = [_NEEDS_A_SCRIPT] if _NEEDS_A_SCRIPT in html else []
    return [*_ASKS_ANOTHER_HOST.findall(html), *diagrams]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the project, the files that documents link to, and those that these link to."""
    docs = Path(config.docs_dir)
    project = [docs.parent / name for name in PROJECT_PAGES]
    pages = [docs / file.src_uri for file in files.documentation_pages()]
    pending = [*project, *(path for page in pages for path in linked_files(page))]
    while pending:
        path = pending.pop()
        address = address_of(path, docs)
        if files.get_file_from_path(address) is None:
            inclusion = InclusionLevel.INCLUDED if path in project else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, address, abs_src_path=str(path), inclusion=inclusion))
            if path.suffix == ".md":
                pending.extend(linked_files(path))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page to files from outside of the documents' folder."""
    return with_site_links(markdown, Path(str(page.file.abs_src_path)), Path(config.docs_dir))


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Report what a page would load from another host."""
    for request in foreign_requests(output):
        LOG.warning("%s asks another host: %s", page.file.src_uri, request)
    return output
