"""`opencode-a2a card`: shows and checks the card of any A2A agent."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import TextIO

import orjson

from opencode_a2a.cli.outcome import DONE, FAILED, reported
from opencode_a2a.client.card_signatures import check_card
from opencode_a2a.client.cards import FetchedCard, check_url, fetch_card
from opencode_a2a.client.options import CallTarget
from opencode_a2a.client.web import Web
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.terminal.output import Printer, harmless_json, on_one_line
from sansio.a2a.cards.parse import Origin
from sansio.a2a.cards.review import CardReview, review
from sansio.a2a.cards.verification import SignatureCheck
from sansio.a2a.client.client_errors import UsageError


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the command; return the exit code."""
    target = CallTarget.of(options.url, settings)
    return runtime.run(partial(show_card, target, sys.stdout, sys.stderr, as_json=options.json))


async def show_card(target: CallTarget, out: TextIO, err: TextIO, *, as_json: bool = False) -> int:
    """Fetch the card and print it on `out`, and what is wrong on `err`; return the exit code (see its help)."""
    printer = Printer(out, err, command="card")

    async def show() -> int:
        check_url(target.url)
        async with AsyncExitStack() as closing:
            web = Web(target.options, Origin.of(target.url), closing)
            fetched = await fetch_card(web, target.url)
            reviewed = review(fetched.body, fetched.url)
            signature, refusal = await _signature(web, fetched)
        if as_json:
            pretty = orjson.dumps(orjson.loads(fetched.body), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            text = harmless_json(pretty)
        else:
            text = "".join(f"{line.rstrip()}\n" for line in _lines(reviewed, fetched.url, signature))
        printer.print(text)
        problems = [*reviewed.problems, *([refusal] if refusal is not None else [])]
        for problem in problems:
            printer.fault(on_one_line(problem))
        return FAILED if problems else DONE

    return await reported(show(), printer, target)


async def _signature(web: Web, fetched: FetchedCard) -> tuple[str, str | None]:
    """Return what was found of the card's signatures, and what is wrong with it. A wrong one is always."""
    wanted = web.options.signatures
    try:
        outcome = await check_card(web, orjson.loads(fetched.body), fetched.url)
    except UsageError as error:
        if wanted is not SignatureCheck.IGNORE:
            raise
        return f"not checked; {error}", None
    return str(outcome), outcome.refusal(SignatureCheck.CHECK if wanted is SignatureCheck.IGNORE else wanted)


def _lines(reviewed: CardReview, url: str, signature: str) -> Iterator[str]:
    """Yield the card as lines for a person. Texts of the agent cannot move the cursor."""
    card = reviewed.card
    yield on_one_line(f"{card.name or 'unnamed'}  {reviewed.version}")
    if reviewed.description:
        yield on_one_line(reviewed.description)
    yield ""
    for name, values in _facts(reviewed, url, signature):
        for index, value in enumerate(values):
            yield f"  {'' if index else name:<14}{value}"


def _facts(reviewed: CardReview, url: str, signature: str) -> Iterator[tuple[str, list[str]]]:
    card = reviewed.card
    capabilities = {
        "streaming": card.streaming,
        "push notifications": reviewed.push_notifications,
        "extended card": reviewed.extended_card,
    }
    yield "card", [url]
    yield "interfaces", [f"{one!s:<15} {on_one_line(one.address)}" for one in card.interfaces]
    yield "capabilities", [", ".join(name for name, has in capabilities.items() if has) or "none"]
    schemes = [on_one_line(f"{name} ({kind})") for name, kind in reviewed.schemes]
    yield "security", schemes or ["none: everybody may call"]
    yield "takes", [on_one_line(", ".join(reviewed.input_modes)) or "nothing named"]
    yield "gives", [on_one_line(", ".join(reviewed.output_modes)) or "nothing named"]
    yield "extensions", list(card.extensions)
    yield "signed by", [on_one_line(key) or "a key without an id" for key in reviewed.keys]
    yield "signature", [on_one_line(signature)]
    for skill in reviewed.skills:
        tags = f" [{', '.join(skill.tags)}]" if skill.tags else ""
        yield "skill", [on_one_line(f"{skill.id}: {skill.name}{tags}"), *_indented(skill.description)]


def _indented(text: str) -> list[str]:
    return [f"  {on_one_line(text)}"] if text else []
