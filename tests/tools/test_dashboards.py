"""The example dashboard and alert rules name metrics and labels that there are, and show every metric but a few."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from sansio.metrics import METERS, Kind
from tests.paths import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "opencode-a2a.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"

LABELS = {
    f"{meter.name}{ending}": {*meter.labels, *(["le"] if ending == "_bucket" else [])}
    for meter in METERS
    for ending in (("_bucket", "_sum", "_count") if meter.kind is Kind.HISTOGRAM else ("",))
} | {name: set() for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "up")}
"""Every sample's name, and the labels that it has of its own."""

SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""
WORDS = {"by", "without", "and", "or", "unless", "on", "ignoring", "bool", "offset"}
NOT_SHOWN = {
    *("a2a_cancel_abort_attempt_total", "a2a_cancel_abort_success_total", "a2a_cancel_abort_error_total"),
    "a2a_stream_requests_total",
    *("a2a_upstream_instance_connected", "a2a_upstream_instance_turns"),  # of several OpenCodes only
    "a2a_tls_certificate_expiry_timestamp_seconds",  # a rule warns of it
}
"""Metrics for a closer look, which the dashboard leaves out."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}")
_RANGE = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"(?<![\w.])[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\(|[\w:])")


def names_and_labels(expression: str) -> tuple[set[str], set[str]]:
    """The metrics of a PromQL expression, and the labels that it selects and groups by."""
    text = _RANGE.sub("", _STRING.sub("''", expression))
    labels = {label.strip() for found in _GROUPING.findall(text) for label in found.split(",")}
    text = _GROUPING.sub("", text)
    for _, matchers in _SELECTOR.findall(text):
        labels |= {re.split(r"[=!~]", matcher)[0].strip() for matcher in matchers.split(",") if matcher.strip()}
    text = re.sub(r"\{[^}]*\}", "", text)
    return set(_NAME.findall(text)) - WORDS, labels - {""}


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text("utf-8")))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for rule in rules():
        yield rule["alert"], rule["expr"]


@pytest.mark.parametrize(("title", "expression"), [*expressions()])
def test_an_expression_can_be_read(title: str, expression: str) -> None:
    plain = expression.replace("$__rate_interval", "1m").replace("$__range", "1h")

    assert promql_parser.parse(plain) is not None, title


def test_what_is_no_expression_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="invalid"):
        promql_parser.parse("sum(rate(a2a_requests_total[1m])) by")


@pytest.mark.parametrize(("title", "expression"), [*expressions()])
def test_an_expression_names_metrics_and_labels_that_there_are(title: str, expression: str) -> None:
    names, labels = names_and_labels(expression)

    assert names
    assert names <= set(LABELS), title
    assert labels <= SCRAPED.union(*(LABELS[name] for name in names)), title
    assert expression.count("(") == expression.count(")")


def test_the_reader_of_expressions_finds_names_and_labels() -> None:
    found = names_and_labels('sum by (le, b) (rate(one_bucket{x="a{b}",y=~"c"}[5m])) / on (z) two > 0.5 and 3 < 4e3')

    assert found == ({"one_bucket", "two"}, {"le", "b", "x", "y", "z"})


def test_a_legend_names_labels_that_its_expression_keeps() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert wanted <= names_and_labels(target["expr"])[1], panel["title"]


def test_the_dashboard_shows_every_metric_but_those_for_a_closer_look() -> None:
    targets = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    shown = {name for expression in targets for name in names_and_labels(expression)[0]}
    names = {name.removesuffix("_bucket") for name in shown}

    assert {meter.name for meter in METERS} - names == NOT_SHOWN


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    cells = [
        (column, row)
        for panel in panels
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24


def test_a_rule_says_what_it_means_and_how_grave_it_is() -> None:
    found = rules()

    assert len({rule["alert"] for rule in found}) == len(found) > 10
    for rule in found:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}
        kept = names_and_labels(rule["expr"])[1] | {"instance"}
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= kept
