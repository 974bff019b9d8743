"""Does the benchmark say what its samples allow, and no more?"""

from operator import sub, truediv
from pathlib import Path

import pytest

from bench.samples import Sample, Samples, rate
from bench.tables import report


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    return Samples(tmp_path / "samples.jsonl")


def sample(target: str, number: int, cpu_ms: float, **fields: object) -> Sample:
    given = {"suite": "unary", "connections": 16, "requests": 100, "seconds": 2.0, **fields}
    return Sample(target=target, round=number, cpu_ms=cpu_ms, **given)  # type: ignore[arg-type]


def test_a_ratio_is_the_median_of_the_ratios_within_each_round(samples: Samples) -> None:
    for number, (mine, other) in enumerate([(30.0, 10.0), (40.0, 20.0), (1000.0, 100.0)]):
        samples.add(sample("sluice", number, mine))
        samples.add(sample("bare", number, other))
    metric = samples.cpu_per_request
    assert samples.paired(truediv, metric, "unary", "sluice", "bare", 16) == pytest.approx(3.0)
    assert samples.paired(sub, metric, "unary", "sluice", "bare", 16) == pytest.approx(0.2)


def test_a_round_that_lacks_the_reference_counts_for_no_ratio(samples: Samples) -> None:
    samples.add(sample("sluice", 0, 30.0))
    assert samples.paired(truediv, rate, "unary", "sluice", "bare", 16) is None


def test_cpu_time_is_divided_by_how_slow_the_core_was(samples: Samples) -> None:
    samples.add(sample("bare", 0, 10.0, pace_us=500.0))
    samples.add(sample("bare", 1, 20.0, pace_us=1000.0))
    figures = [samples.cpu_per_request(s) for s in samples.of("unary")]
    assert figures == pytest.approx([0.1, 0.1])


def test_every_sample_is_a_line_of_json_as_soon_as_it_is_taken(tmp_path: Path) -> None:
    samples = Samples(tmp_path / "samples.jsonl")
    samples.add(sample("bare", 0, 10.0))
    assert '"target": "bare"' in (tmp_path / "samples.jsonl").read_text()


def test_figures_of_a_target_that_failed_under_load_are_marked_and_explained(
    samples: Samples,
) -> None:
    samples.add(sample("bare", 0, 10.0))
    samples.add(sample("sluice", 0, 30.0, errors={"status_503": 7}))
    text = "\n".join(report(samples))
    assert "| sluice | 0.300 † |" in text
    assert "3.00 x †" in text
    assert "| bare | 0.100 |" in text
    assert "invalid: sluice, unary, C=16, round 1: 7 x status_503" in text
