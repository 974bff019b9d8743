"""Metrics from outside: what does a scrape show?"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics

Samples = dict[tuple[str, tuple[str, ...]], float]


def every_metric() -> Metrics:
    """One in which each metric that there can be is shown."""
    metrics = Metrics([], lambda: 0)
    metrics.count_teams()
    for live in metrics.instruments.live:
        live.set_function(float)
    return metrics


def labels_of_all() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric, by the names that its samples have."""
    return dict(_samples(every_metric()))


def _samples(metrics: Metrics) -> Iterator[tuple[str, tuple[str, set[str]]]]:
    for collector, names in metrics.registry._collector_to_names.items():
        labels = set(collector._labelnames)  # type: ignore[attr-defined] # of all instruments
        kind = collector._type  # type: ignore[attr-defined]
        for name in names:
            more = {"le"} if name.endswith("_bucket") else set()
            yield name, (kind, labels | more)


def samples(text: str) -> Samples:
    """All samples by name and label values (labels by name), histogram buckets left out."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }
