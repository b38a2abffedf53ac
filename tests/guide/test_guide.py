"""Each answer that the guide shows is what the server answers, on both runtimes."""

from __future__ import annotations

import pytest

from tests.guide.exchanges import reading
from tests.guide.pages import Page, pages

pytestmark = [
    pytest.mark.anyio,
    # a stream that is left: httpx does not close the generators within its own
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]

PAGES = pages()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_server_answers_what_the_page_shows(page: Page, anyio_backend: str) -> None:
    async with reading(anyio_backend, page.server) as reader:
        for example in page.examples:
            answer = await reader.run(example)
            assert answer == example.answer, f"{example.name}: run python -m tests.guide --write {page.name}"
