"""`opencode-a2a migrate`: imports the SQLite database of release 0.7.1 or 1.4.0 into the configured store."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TextIO

import anyio

from opencode_a2a.agent.upgrade import EarlierImport, Names
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.identity.opening import load_credentials
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.store import StoreUnavailableError, StoreUrlError
from opencode_a2a.server.store.database.inspection import inspect_store
from opencode_a2a.server.store.database.urls import parse_database_url
from opencode_a2a.server.store.sql import SqlStore


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code. Raises `StoreError`."""
    source = Path(options.source)
    url = _target(settings, source, dry_run=options.dry_run)
    counts = runtime.run(partial(_import, settings, url, source, dry_run=options.dry_run))
    _print_counts(counts, sys.stdout, dry_run=options.dry_run)
    return 0


async def _import(settings: Settings, url: str, source: Path, *, dry_run: bool) -> Counter[str]:
    credentials, _ = await load_credentials(settings.credentials, settings.credentials_file)
    importing = EarlierImport(Names.of(credentials, settings.import_principals), time.time())
    async with SqlStore(url) as store:
        with anyio.CancelScope(shield=True):
            await store.import_from(source, importing, dry_run=dry_run)
    return importing.counts


def _target(settings: Settings, source: Path, *, dry_run: bool) -> str:
    """Return the URL to import into; for a dry run where no store is yet, that of an empty one in memory."""
    url = settings.store_url
    if settings.shares_store and settings.listen_database_url is not None:
        url = settings.listen_database_url  # a pool may not keep the session that has the database alone
    if url is None:
        raise StoreUrlError("A2A_TASK_STORE_BACKEND is memory: what is imported would be gone at once")
    if not source.is_file():
        raise StoreUnavailableError(f"there is no file {source}")
    path = parse_database_url(url).path
    if path is not None and os.path.realpath(path) == os.path.realpath(source):
        raise StoreUrlError(f"{source} is the configured store itself: `serve` imports what is in it when it starts")
    if not dry_run:
        return url
    facts = inspect_store(url)
    if facts.error is not None:
        raise StoreUnavailableError(f"{facts.where}: {facts.error}")
    if facts.version is None:
        return "sqlite:///:memory:"
    if facts.version != facts.known[-1]:
        raise StoreUrlError("the store has an earlier schema, which a dry run does not change: start the server once")
    return url


def _print_counts(counts: Counter[str], out: TextIO, *, dry_run: bool) -> None:
    lines: list[str] = [f"  {count:>7}  {what}" for what, count in counts.items()]
    if all(what.endswith(", left out") for what in counts):
        lines.insert(0, "  nothing new")
    print("would be imported:" if dry_run else "imported:", *lines, sep="\n", file=out)
