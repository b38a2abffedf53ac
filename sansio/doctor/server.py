"""Judges what a server meets: its settings, port, clock, public URL, proxy, and where it may connect to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from sansio.a2a.cards.agent_card import addresses_of
from sansio.doctor.finding import Finding, Outcome, fail, of_problem, ok, skipped, warn
from sansio.guards.hosts import ServedHosts

SETTINGS, PORT, CLOCK, CARD, STREAMS = "settings", "port", "clock", "public URL", "streams"
MOST_SKEW: Final = 5.0
"""Seconds by which two clocks may differ."""
PROBE_EVENTS: Final = 4
PROBE_PAUSE: Final = 0.15
"""A probe of streams has so many events, with so many seconds between two of them."""


def judge_settings(problems: Sequence[str], warnings: Sequence[str], risks: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield a row for each problem and each warning of settings; each begins with the name of its variable."""
    for problem in problems:
        name, colon, _ = problem.partition(": ")
        remedy = f"set {name} to what it takes, or unset it" if colon else "see docs/configuration.md"
        yield fail(SETTINGS, problem, remedy)
    for warning in warnings:
        yield warn(SETTINGS, warning, f"see {warning.partition(' ')[0].rstrip(':,')} in docs/configuration.md")
    for risk in risks:
        yield of_problem(SETTINGS, risk, outcome=Outcome.WARN)
    if not (problems or warnings or risks):
        yield ok(SETTINGS, "all settings are valid")


@frozen(kw_only=True)
class PortFacts:
    """Observations of the address to listen on. `error`: why it cannot be had; None where it is free.

    `taken`: something listens there. `ours`: it serves the card of this deployment.
    """

    address: str
    error: str | None = None
    taken: bool = False
    ours: bool = False


def judge_port(facts: PortFacts) -> Finding:
    """Make the row of the port."""
    if facts.ours:
        return ok(PORT, f"{facts.address} is taken by this deployment's own server")
    if facts.taken:
        return fail(PORT, f"{facts.address} is taken by another program", "set A2A_PORT (--port), or stop that one")
    if facts.error is not None:
        return fail(
            PORT, f"{facts.address}: {facts.error}", "set A2A_HOST and A2A_PORT to an address of this machine"
        )
    return ok(PORT, f"{facts.address} is free")


def judge_clock(ahead: float | None) -> Finding:
    """Make the row of the clock. `ahead`: seconds by which the other clock is ahead of ours; None: unknown."""
    if ahead is None:
        return skipped(CLOCK, "there is no other clock to compare with")
    if abs(ahead) > MOST_SKEW:
        word = "behind" if ahead > 0 else "ahead of"
        return warn(
            CLOCK, f"this machine is {abs(ahead):.0f} s {word} the one where OpenCode runs", "set both by NTP"
        )
    return ok(CLOCK, f"within {MOST_SKEW:g} s of the one where OpenCode runs")


@frozen(kw_only=True)
class CardFacts:
    """Observations at the public URL. `url`: it, without a slash at its end; `error`: why there is no card.

    `interfaces`: the URLs in the card. `running`: a server of this deployment is known to run. `refused`: what
    answers there takes the request for a bad one, as a server does that is asked for another host.
    """

    url: str
    error: str | None = None
    interfaces: Sequence[str] = ()
    running: bool = False
    refused: bool = False


def judge_hosts(url: str, hosts: ServedHosts) -> Iterator[Finding]:
    """Yield a row where requests to the public URL are refused, since the server does not answer for its host."""
    parts = urlsplit(url)
    if not (hosts.serves(parts.netloc) or hosts.serves(parts.hostname)):
        detail = f"A2A_ALLOWED_HOSTS does not have {parts.hostname}, the host of the public URL {url}"
        yield fail(CARD, detail, f"add {parts.hostname} to A2A_ALLOWED_HOSTS, or set A2A_PUBLIC_URL")


def judge_card(facts: CardFacts) -> Finding:
    """Make the row of the card under the public URL."""
    if facts.error is not None:
        if facts.refused:
            host = urlsplit(facts.url).hostname
            return fail(
                CARD,
                f"{facts.url} does not lead to the card: {facts.error}",
                f"add {host} to the server's A2A_ALLOWED_HOSTS, and let the proxy pass Host on",
            )
        if not facts.running:
            return skipped(CARD, f"no server answers at {facts.url}; run this again while it runs")
        return fail(
            CARD,
            f"the server runs, and {facts.url} does not lead to its card: {facts.error}",
            "set A2A_PUBLIC_URL to where callers reach it, or mend the proxy in front",
        )
    here = addresses_of(facts.url)
    elsewhere = [url for url in facts.interfaces if url.rstrip("/") not in here]
    if elsewhere or not facts.interfaces:
        names = ", ".join(elsewhere[:3]) or "no URL"
        return fail(
            CARD,
            f"the card at {facts.url} sends callers to {names}",
            f"start the server there with A2A_PUBLIC_URL={facts.url}",
        )
    return ok(CARD, f"the card at {facts.url} names it")


def judge_stream(seconds: Sequence[float] | None, reason: str = "") -> Finding:
    """Make the row of streams, from when each event of the probe came; None: there was no probe, for a `reason`.

    A proxy that keeps an answer until it is whole gives all events at once.
    """
    if seconds is None:
        return skipped(STREAMS, reason)
    sent_in = (PROBE_EVENTS - 1) * PROBE_PAUSE
    if len(seconds) < PROBE_EVENTS:
        return warn(
            STREAMS, f"{len(seconds)} of {PROBE_EVENTS} events of a stream came", "look at the proxy in front"
        )
    if seconds[-1] - seconds[0] < sent_in / 2:
        return fail(
            STREAMS,
            f"{PROBE_EVENTS} events sent over {sent_in:.2f} s come all at once: a proxy in front buffers them",
            "turn buffering off there (nginx: proxy_buffering off; gzip off for text/event-stream)",
        )
    return ok(STREAMS, "events come through as they are sent")
