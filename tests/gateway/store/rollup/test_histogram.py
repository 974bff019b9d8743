"""Does each duration count in one bucket, and is a percentile near the true one?"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from gateway.store.rollup.histogram import DURATION, FIRST_EVENT, OVERHEAD, Histogram


def counted(histogram: Histogram, values: list[int]) -> dict[str, int]:
    sums = ", ".join(f"SUM({sql})" for sql in histogram.measures("1 = 1").values())
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(f"CREATE TABLE t ({histogram.column} BIGINT)")
        db.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        row = db.execute(f"SELECT {sums} FROM t").fetchone()  # noqa: S608
    return dict(zip(histogram.buckets, row, strict=True))


@pytest.mark.parametrize("histogram", [DURATION, FIRST_EVENT, OVERHEAD])
def test_each_value_counts_in_the_first_bucket_it_is_below(histogram: Histogram) -> None:
    for number, bound in enumerate(histogram.bounds):
        assert counted(histogram, [bound - 1])[histogram.buckets[number]] == 1
        assert counted(histogram, [bound])[histogram.buckets[number + 1]] == 1
    values = [0, 3, 10**12, *histogram.bounds]
    assert sum(counted(histogram, values).values()) == len(values)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.99])
@pytest.mark.parametrize("middle", [4, 80, 900, 20_000])
def test_a_percentile_of_spread_values_is_near_the_true_one(middle: int, share: float) -> None:
    rand = random.Random(middle)  # noqa: S311
    values = sorted(int(middle * rand.lognormvariate(0, 0.6)) + 1 for _ in range(2_000))
    true = values[round(share * len(values)) - 1]
    found = DURATION.quantile(counted(DURATION, values), share)
    assert found is not None
    assert found == pytest.approx(true, rel=0.1 if true > 32 else 0.4)


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("value", [1, 3, 33, 64, 90, 1_000, 3_999])
def test_no_percentile_is_outside_its_bucket(value: int, share: float) -> None:
    found = DURATION.quantile(counted(DURATION, [value] * 7), share)
    assert found is not None
    factor = 2**0.5 if value > 32 else 2
    assert value / factor / 1.01 <= found <= value * factor * 1.01


def test_what_is_longer_than_all_bounds_is_the_last_one() -> None:
    assert DURATION.quantile(counted(DURATION, [10**9]), 0.5) == DURATION.bounds[-1]


def test_nothing_has_no_percentile() -> None:
    assert DURATION.quantile(dict.fromkeys(DURATION.buckets, 0), 0.5) is None
