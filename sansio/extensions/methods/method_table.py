"""All extension methods there are, by name, and which of them a deployment offers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sansio.a2a.bindings.jsonrpc import method_not_found
from sansio.a2a.operations import methods_of
from sansio.extensions.methods import catalogue_methods as catalogues
from sansio.extensions.methods import interrupt_methods as interrupts
from sansio.extensions.methods import session_methods as sessions
from sansio.extensions.methods.method_errors import disabled
from sansio.extensions.methods.method_rows import MethodRow, Toggle

METHODS: Mapping[str, MethodRow] = {row.name: row for row in (*sessions.ROWS, *catalogues.ROWS, *interrupts.ROWS)}
"""The table, in the order in which methods are listed."""


def is_on(row: MethodRow, switched_on: Collection[Toggle]) -> bool:
    """Return whether a deployment offers a method."""
    return row.toggle is None or row.toggle in switched_on


def methods_on_offer(version: str, switched_on: Collection[Toggle]) -> list[str]:
    """Return the names of the extension methods of a version that are not switched off."""
    return [row.name for row in METHODS.values() if version in row.versions and is_on(row, switched_on)]


def supported(version: str, switched_on: Collection[Toggle]) -> list[str]:
    """Return every JSON-RPC method on offer: the protocol's, then the extensions'."""
    return [*methods_of(version), *methods_on_offer(version, switched_on)]


def row_of(name: str, version: str, switched_on: Collection[Toggle]) -> MethodRow:
    """Find a method by its name. Raises `ProtocolError`: METHOD_NOT_FOUND or METHOD_DISABLED, with all on offer."""
    row = METHODS.get(name)
    if row is None or version not in row.versions:
        raise method_not_found(name, version, methods_on_offer(version, switched_on))
    if not is_on(row, switched_on):
        assert row.toggle is not None  # only what has one can be off
        raise disabled(name, row.toggle.value, version, supported(version, switched_on))
    return row
