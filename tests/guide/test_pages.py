"""How examples are found in a page, and how answers are laid out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opencode_a2a.cli.main import READ_BY, parsed
from opencode_a2a.config.settings import VARIABLES
from tests.guide.__main__ import main
from tests.guide.exchanges import request_of, shortened, transcript_of
from tests.guide.pages import GUIDE, Page, PageError, pages, read_page
from tests.guide.shown import Names, laid_out

PAGE = """# Page

<!-- server -->
```sh
A2A_BINDINGS=GRPC opencode-a2a demo
```

<!-- example: one hides=a,b first=1 last=1 -->
```http
GET / HTTP/1.1
```

Text between.

```http
HTTP/1.1 200 OK
```

<!-- example: two -->
```websocket
GET /websocket HTTP/1.1
A: b

> {"id": 1}

< {"id": 1}
```
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text, "utf-8")
    return path


def test_a_page_has_its_examples_and_the_variables_of_its_server(tmp_path: Path) -> None:
    page = read_page(written(tmp_path, PAGE))

    one, two = page.examples
    assert page.server == {"A2A_BINDINGS": "GRPC"}
    assert (one.name, one.kind, one.request, one.answer) == ("one", "http", "GET / HTTP/1.1\n", "HTTP/1.1 200 OK\n")
    assert one.option("hides") == {"a", "b"}
    assert two.request == two.answer
    assert transcript_of(two.request) == ("GET /websocket HTTP/1.1\nA: b", ['{"id": 1}'])
    assert request_of("GET / HTTP/1.1\nA: b: c\n\nbody\n") == ("GET / HTTP/1.1", [("A", "b: c")], "body\n")
    assert shortened(["a", "b", "c", "d"], one) == ["a", "...\n", "d"]
    assert shortened(["a", "b"], one) == ["a", "b"]


def test_answers_are_written_in_their_places(tmp_path: Path) -> None:
    page = read_page(written(tmp_path, PAGE))

    assert page.with_answers({example.name: example.answer for example in page.examples}) == PAGE
    assert page.with_answers({"one": "HTTP/1.1 404 Not Found\n"}) == PAGE.replace("200 OK", "404 Not Found")


@pytest.mark.parametrize(
    "text",
    [
        "```http\nGET / HTTP/1.1\n```\n",
        "<!-- example: one -->\n```http\nGET / HTTP/1.1\n```\n",
        "<!-- example: one -->\n```http\nGET / HTTP/1.1\n```\n\n```json\n{}\n```\n",
        "<!-- example: one -->\n```websocket\n```\n\n<!-- example: one -->\n```websocket\n```\n",
    ],
    ids=["no name", "no answer", "another kind", "one name twice"],
)
def test_a_block_that_no_test_would_run_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(PageError):
        read_page(written(tmp_path, text))


def test_values_of_a_run_have_names() -> None:
    task, other = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    names = Names("http://127.0.0.1:4321", {"TOKEN": "secret"})

    names.learn({"result": {"id": task, "status": {}}, "nextPageToken": "page-2"})
    shown = names.json({"text": f"{task}:text {other}", "at": "2026-07-28T01:02:03.456Z", "url": names.url})

    assert shown == {"text": "TASK:text ...", "at": "2026-01-01T12:00:00.000Z", "url": "http://127.0.0.1:8000"}
    assert names.insert("TASK_STATE TASK TOKEN CURSOR") == f"TASK_STATE {task} secret page-2"
    assert laid_out(names.json({"a": {"b": 1}, "c": [1], "updated": 7}, frozenset("ac"))) == (
        '{"a": {...}, "c": [...], "updated": ...}'
    )
    names.learn({"taskId": other})
    assert names.text(f"{task} {other}") == "... TASK"


def test_long_json_has_lines_of_its_own() -> None:
    value = {"task": {"id": "x" * 60, "name": "y" * 60, "empty": {}, "n": 1}}

    text = laid_out(value)

    assert text == f'{{"task": {{\n  "id": "{"x" * 60}",\n  "name": "{"y" * 60}", "empty": {{}}, "n": 1\n}}}}'


def test_the_list_has_every_example(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])

    assert len(capsys.readouterr().out.splitlines()) == sum(len(page.examples) for page in pages())
    assert "first-request" in {example.name for example in read_page(GUIDE / "index.md").examples}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_demo_reads_the_variables_that_a_page_starts_it_with(page: Page) -> None:
    read = {variable.name for variable in VARIABLES if variable.attribute in READ_BY["demo"]}

    assert page.server.keys() <= read


def test_the_help_of_the_demo_names_the_variables_that_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(["demo", "--help"])

    named = set(re.findall(r"\bA2A_[A-Z_]+\b", capsys.readouterr().out.partition("options:")[0]))
    read = {variable.name for variable in VARIABLES if variable.attribute in READ_BY["demo"]}
    assert named == read - {"A2A_LOG_FORMAT"}  # it is checked by each command, and `serve` alone uses it
