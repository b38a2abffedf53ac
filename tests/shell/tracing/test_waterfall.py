"""The picture of a trace has a row for each span, in the order in which they began, children below their parents."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.shell.tracing.collector import Received, Value
from tests.shell.tracing.waterfall import waterfall

SVG = "{http://www.w3.org/2000/svg}"


def span(number: int, parent: int, started: float, ended: float, **attributes: Value) -> Received:
    return Received(
        name=f"span <{number}>",
        kind="CLIENT",
        trace_id="a" * 32,
        span_id=f"{number:016x}",
        parent_id=f"{parent:016x}",
        attributes={name.replace("_", "."): value for name, value in attributes.items()},
        failed=number == 3,
        started=int(started * 1e6),
        seconds=(ended - started) / 1000,
        resource={},
    )


def test_each_span_has_a_row_with_its_bar() -> None:
    spans = [span(3, 2, 40, 50, error_type="503"), span(2, 1, 10, 60), span(4, 1, 70, 100), span(1, 9, 0, 100)]

    picture = ElementTree.fromstring(waterfall(spans))
    texts = [element.text or "" for element in picture.iter(f"{SVG}text")]
    bars = [element for element in picture.iter(f"{SVG}rect") if element.get("height") == "16"]
    names = [text for text in texts if text.startswith("span <")]

    assert names == ["span <1>", "span <1>", "span <2>", "span <3>", "span <4>"]
    assert "10.0 ms, 503" in texts
    assert [round(float(bar.get("width", "0")) / 6.4) for bar in bars] == [100, 50, 10, 30]
    assert len({bar.get("fill") for bar in bars}) == 2
