"""`opencode-a2a doctor`: checks a deployment before and while it serves, and says what mends what is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import anyio
import anyio.to_thread
import orjson

from opencode_a2a.cli.main import with_options
from opencode_a2a.cli.operator.identity_checks import check_credentials, check_issuer
from opencode_a2a.cli.operator.local_checks import LoadedSettings, check_files, check_settings, load_what_can_be
from opencode_a2a.cli.operator.server_checks import check_server
from opencode_a2a.cli.operator.upstream_checks import check_upstreams
from opencode_a2a.config.settings import Settings
from opencode_a2a.distribution import version_text
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.store.database.inspection import inspect_store
from opencode_a2a.server.store.shared.options import SharedOptions
from opencode_a2a.terminal.output import harmless_json, on_one_line
from sansio.a2a.counted import counted
from sansio.doctor.finding import Finding, Outcome, exit_code, fail, worst
from sansio.doctor.store import judge_store

SECONDS: Final = 10.0
"""Seconds that one group of checks may take; all groups run at once."""


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code."""
    loaded = load_what_can_be(with_options(options, os.environ), Path(".env"))
    findings = runtime.run(partial(examine, loaded))
    if options.json:
        _print_json(findings, sys.stdout)
    else:
        _print_rows(findings, sys.stdout)
    return exit_code(findings)


async def examine(loaded: LoadedSettings) -> list[Finding]:
    """Make all checks at once, and return their findings in one order. Takes little more than `SECONDS`."""
    settings = loaded.settings
    groups: dict[str, Callable[[], Awaitable[Sequence[Finding]]]] = {
        "OpenCode": partial(check_upstreams, settings),
        "store": partial(_in_thread, partial(_store, settings)),
        "server": partial(check_server, settings),
        "files": partial(_in_thread, partial(check_files, settings, loaded.environ)),
        "credentials": partial(_in_thread, partial(check_credentials, settings)),
        "issuer": partial(check_issuer, settings),
    }
    found: dict[str, Sequence[Finding]] = {}

    async def look(name: str) -> None:
        with anyio.move_on_after(SECONDS) as scope:
            found[name] = await groups[name]()
        if scope.cancelled_caught:
            found[name] = [
                fail(name, f"no answer within {SECONDS:g} s", "look at what hangs there, and run this again")
            ]

    async with anyio.create_task_group() as tasks:
        for name in groups:
            tasks.start_soon(look, name)
    return [*check_settings(loaded), *(finding for name in groups for finding in found[name])]


def _store(settings: Settings) -> list[Finding]:
    shared = SharedOptions(listen_url=settings.listen_database_url) if settings.shares_store else None
    return list(judge_store(inspect_store(settings.store_url, shared)))


async def _in_thread(check: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    return await anyio.to_thread.run_sync(check, abandon_on_cancel=True)


def _print_json(findings: Sequence[Finding], out: TextIO) -> None:
    document = {
        "outcome": worst(findings).value,
        "program": version_text(),
        "findings": [finding.json for finding in findings],
    }
    out.write(harmless_json(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)))


def _print_rows(findings: Sequence[Finding], out: TextIO) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        print(f"{finding.outcome.value:<9}{finding.check:<{width + 2}}{on_one_line(finding.detail)}", file=out)
        if finding.remedy is not None:
            print(f"{'':<{width + 11}}-> {on_one_line(finding.remedy)}", file=out)
    counts = {outcome: sum(one.outcome is outcome for one in findings) for outcome in Outcome}
    warnings = counted(counts[Outcome.WARN], "warning")
    print(f"\n{counts[Outcome.FAIL]} failed, {warnings}, {counts[Outcome.OK]} ok", file=out)
