"""The page on clients that work has the table of the tests with these clients, as it is now."""

from __future__ import annotations

from tests.interop.agent import READY_MADE, SOCKETS, WAYS
from tests.interop.client_table import pinned, table
from tests.paths import DOCS


def test_the_page_has_the_table_of_the_tests() -> None:
    text = (DOCS / "clients.md").read_text("utf-8")
    shown = text.partition("client_table`) -->")[2].partition("<!-- clients: end -->")[0]

    assert shown.strip() == table(), "paste the output of: python -m tests.interop.client_table"


def test_every_client_has_its_version() -> None:
    clients = {way.client for way in (*WAYS, *READY_MADE, *SOCKETS)}

    assert {client: pinned(client) for client in clients if not pinned(client)} == {}
    assert pinned("python-0.3").startswith("`a2a-sdk` 0.3.")
