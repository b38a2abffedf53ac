"""The console of servers with settings of their own: below a path, with one kind of credential, with a quota."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from opencode_a2a.fake_opencode import HELLO
from tests.interop.console.browser import Page, Person
from tests.interop.console.conftest import TOKEN, Server, logged_in, running_server

pytestmark = pytest.mark.interop

QUOTA = 12
_CREDENTIALS = json.dumps([{"scheme": "bearer", "token": TOKEN, "principal": "ada"}])


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def below_a_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server below a path that no proxy strips, which takes tokens alone."""
    folder = tmp_path_factory.mktemp(f"below-{request.param}")
    more = {"A2A_STATIC_AUTH_CREDENTIALS": _CREDENTIALS}
    with running_server(request.param, folder, prefix="/agents/code", more=more) as server:
        yield server


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def with_a_quota(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes a dozen requests of one credential in five minutes."""
    folder = tmp_path_factory.mktemp(f"quota-{request.param}")
    more = {
        "A2A_STATIC_AUTH_CREDENTIALS": _CREDENTIALS,
        "A2A_RATE_LIMIT_ENABLED": "true",
        "A2A_RATE_LIMIT_MAX_REQUESTS": str(QUOTA),
        "A2A_RATE_LIMIT_WINDOW_SECONDS": "300",
    }
    with running_server(request.param, folder, more=more) as server:
        yield server


def test_only_credentials_that_the_card_names_are_offered(below_a_path: Server, person: Person) -> None:
    page = person.page(f"{below_a_path.url}/console")
    page.find("textbox", "Token")

    assert page.all("radio") == []
    page.write(TOKEN)
    page.press("Enter")
    page.sees("Waiting for you")


def test_the_console_works_below_a_path(below_a_path: Server, person: Person) -> None:
    page = logged_in(person, below_a_path)
    page.click("link", "New task")
    page.fill("textbox", "Message", "hi")
    page.click("button", "Start")
    page.sees(HELLO)
    page.reload()

    page.sees(HELLO)
    assert all(below_a_path.url in url for url in page.requests if url.split(" ")[1].startswith("http"))
    [cookie] = page.ask("Network.getCookies")["cookies"]
    assert cookie["path"] == "/agents/code"
    page.click("button", "Log out")
    page.find("button", "Log in")
    assert page.ask("Network.getCookies")["cookies"] == []


def spent(page: Page) -> None:
    """Use up what the quota has left, as another program with the credential would."""
    headers = {"Authorization": f"Bearer {TOKEN}", "A2A-Version": "1.0", "Content-Type": "application/json"}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}})
    request = json.dumps({"method": "POST", "headers": headers, "body": body})
    asked = f"fetch('./', {request}).then(answer => answer.status)"
    for _ in range(QUOTA + 1):
        if page.run(asked) == 429:
            return
    raise AssertionError("the quota has no end")


def test_too_many_requests_are_reported_in_words(with_a_quota: Server, person: Person) -> None:
    page = logged_in(person, with_a_quota)
    page.click("link", "New task")
    page.fill("textbox", "Message", "hi")
    spent(page)
    page.click("button", "Start")

    page.until(
        "/Too many requests with this credential. Try again in \\d+ s\\./.test("
        "document.querySelector('form .trouble').innerText)"
    )
    assert page.run("document.querySelector('textarea').value") == "hi"  # nothing that was typed is lost
    page.sees("What you see may be old; the page tries again by itself.")

    page.reload()
    page.sees("Too many requests with this credential.")
    page.find("button", "Try again")
    assert [trouble for trouble in page.troubles if "Failed to load resource" not in trouble] == []
