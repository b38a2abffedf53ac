"""`python -m tests.guide`: `--list` prints the examples of the guide, `--write` runs them and writes the answers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import anyio

from tests.guide.exchanges import reading
from tests.guide.pages import Page, pages


async def answers_of(page: Page, backend: str) -> dict[str, str]:
    """The answer to each example of a page, by its name."""
    async with reading(backend, page.server) as reader:
        return {example.name: await reader.run(example) for example in page.examples}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the examples, or write their answers."""
    parser = argparse.ArgumentParser(prog="python -m tests.guide", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the examples, a line each")
    parser.add_argument(
        "--write", action="store_true", help="run the examples and write their answers into the guide"
    )
    parser.add_argument("pages", nargs="*", help="names of pages, such as requests.md; all unless given")
    options = parser.parse_args(arguments)
    for page in pages():
        if options.pages and page.name not in options.pages:
            continue
        if options.list:
            for example in page.examples:
                print(f"{page.name} {example.name} ({example.kind})")
        if options.write:
            answers = anyio.run(answers_of, page, "asyncio")
            page.path.write_text(page.with_answers(answers), "utf-8")
            print(f"{page.name}: {len(answers)} examples")


if __name__ == "__main__":
    main()
