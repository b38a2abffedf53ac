"""Meters in a registry of Prometheus' client, and their text form. Needs the extra `metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import anyio.to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from opencode_a2a.metrics.meters import Reading
from sansio.metrics import METERS, Kind, Meter

MOST_LABELS: Final = 500
"""Combinations of label values of one metric; further ones are counted as `other`."""

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class PrometheusMeters:
    """A registry of its own with every row of the table, and the process's own metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._kept: dict[str, Counter | Histogram] = {}
        self._children: dict[tuple[str, tuple[str, ...]], Counter | Histogram] = {}
        self._sizes: dict[str, int] = {}
        self._sources: dict[str, tuple[Meter, Callable[[], Reading]]] = {}
        self._readings: list[tuple[Meter, Reading]] = []
        for meter in METERS:
            if meter.kind is Kind.COUNTER:
                self._kept[meter.name] = Counter(meter.name, meter.help, meter.labels, registry=None)
            elif meter.kind is Kind.HISTOGRAM:
                self._kept[meter.name] = Histogram(
                    meter.name, meter.help, meter.labels, registry=None, buckets=meter.buckets
                )
            for value in meter.known:
                self.count(meter, value, by=0)
        self._registry.register(_Collected(self._collect))
        ProcessCollector(registry=self._registry)

    def count(self, meter: Meter, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        counter = self._child(meter, labels)
        assert isinstance(counter, Counter)
        counter.inc(by)

    def observe(self, meter: Meter, seconds: float, *labels: str) -> None:
        """Add a value to a histogram."""
        histogram = self._child(meter, labels)
        assert isinstance(histogram, Histogram)
        histogram.observe(seconds)

    def read(self, meter: Meter, source: Callable[[], Reading]) -> None:
        """Read a metric from `source` whenever somebody asks."""
        self._sources[meter.name] = meter, source

    async def text(self) -> bytes:
        """Write all metrics in Prometheus' text format 0.0.4: read on the event loop, written in a thread."""
        self._readings = [(meter, source()) for meter, source in self._sources.values()]
        return await anyio.to_thread.run_sync(generate_latest, self._registry)

    def _child(self, meter: Meter, labels: tuple[str, ...]) -> Counter | Histogram:
        found = self._children.get((meter.name, labels))
        if found is None:
            size = self._sizes[meter.name] = self._sizes.get(meter.name, 0) + 1
            key = labels if size <= MOST_LABELS else ("other",) * len(labels)
            kept = self._kept[meter.name]
            found = kept.labels(*key) if labels else kept
            if size <= MOST_LABELS:
                self._children[meter.name, labels] = found
        return found

    def _collect(self) -> Iterator[Metric]:
        """The metrics that are kept here, and the last readings of the others."""
        read = {meter.name for meter, _ in self._readings}
        for name, kept in self._kept.items():
            if name not in read:
                yield from map(_without_times, kept.collect())
        for meter, reading in self._readings:
            if reading is not None:
                yield _family(meter, reading)


class _Collected(Collector):
    """A collector that is a function."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        """Collect."""
        return self._collect()


def _without_times(family: Metric) -> Metric:
    """Leave out when each series began: the text format has no such thing, and the library makes a gauge of it."""
    family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    return family


def _family(meter: Meter, reading: float | Mapping[str, float]) -> Metric:
    kind = CounterMetricFamily if meter.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(meter.name, meter.help, labels=meter.labels)
    if isinstance(reading, Mapping):
        for label, value in reading.items():
            family.add_metric([label], value)
    else:
        family.add_metric([], reading)
    return family
