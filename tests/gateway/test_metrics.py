"""Do the metrics count every call, under names that a caller cannot make up?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.breaker import State
from gateway.errors import InvalidKey
from gateway.exchange import Call
from gateway.limits.demand import Limit, Limited, Verdict
from gateway.metrics import Metrics
from gateway.record import call_record
from gateway.targets import Target
from gateway.trace import AttemptAnswered, AttemptEnded, AttemptSent, AttemptStarted, Routed
from gateway.usage import Usage
from tests.builders import call, target

USAGE = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=5, reasoning_tokens=2)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics({"smart", "p/listed"}, lambda: 3)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """All samples by name and label values (labels by name), histogram buckets left out."""
    text = metrics.render().decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def count(
    metrics: Metrics,
    at: Target,
    *,
    alias: str | None = None,
    status: int = 200,
    error: str | None = None,
    cost: int | None = 30_000,
    attempts: int = 1,
    stream: bool = False,
) -> None:
    asked = call(stream=stream)
    asked.trace.add(Routed(asked.model, alias, (at,)))
    for number, failed in _attempts(attempts, error):
        asked.trace.add(AttemptStarted(number, at, 0.0))
        asked.trace.add(AttemptSent(number, 0.01))
        if not failed:
            asked.trace.add(AttemptAnswered(number, 0.5))
        asked.trace.add(_ended(number, failed, cost))
    metrics.call_ended(asked, call_record(asked, status, error))


def _attempts(number: int, error: str | None) -> Iterator[tuple[int, str | None]]:
    for attempt in range(1, number + 1):
        yield attempt, error if attempt == number else "server_error"


def _ended(number: int, error: str | None, cost: int | None) -> AttemptEnded:
    usage = None if error else USAGE
    return AttemptEnded(
        number=number,
        charge_id=f"c.{number}",
        at_s=1.0,
        error=error,
        usage=usage,
        cost_nano_usd=cost if usage else 0,
    )


def test_calls_tokens_and_cost_are_counted(metrics: Metrics) -> None:
    count(metrics, target("p/listed"))
    count(metrics, target("p/listed"))
    found = samples(metrics)
    assert found["sluice_calls_total", ("p/listed", "200")] == 2
    assert found["sluice_attempts_total", ("", "p/listed")] == 2
    assert found["sluice_tokens_total", ("prompt", "p/listed")] == 20
    assert found["sluice_tokens_total", ("completion", "p/listed")] == 10
    assert found["sluice_tokens_total", ("cached", "p/listed")] == 8
    assert found["sluice_tokens_total", ("reasoning", "p/listed")] == 4
    assert ("sluice_tokens_total", ("cache_write", "p/listed")) not in found
    assert found["sluice_cost_usd_total", ("p/listed",)] == pytest.approx(0.00006)
    assert found["sluice_duration_seconds_count", ("p/listed",)] == 2
    assert found["sluice_overhead_seconds_count", ()] == 2
    assert found["sluice_overhead_seconds_sum", ()] == pytest.approx(0.02)
    assert found["sluice_in_flight", ()] == 3


def test_errors_and_retries_are_counted_by_their_class(metrics: Metrics) -> None:
    count(metrics, target("p/listed"), status=504, error="timeout", attempts=3)
    found = samples(metrics)
    assert found["sluice_calls_total", ("p/listed", "504")] == 1
    assert found["sluice_errors_total", ("timeout",)] == 1
    assert found["sluice_attempts_total", ("server_error", "p/listed")] == 2
    assert found["sluice_attempts_total", ("timeout", "p/listed")] == 1
    assert found["sluice_retries_total", ("p/listed",)] == 2
    assert ("sluice_cost_usd_total", ("p/listed",)) not in found


def test_an_unknown_price_is_counted_and_is_no_cost(metrics: Metrics) -> None:
    count(metrics, target("p/listed"), cost=None)
    found = samples(metrics)
    assert found["sluice_unpriced_attempts_total", ("p/listed",)] == 1
    assert ("sluice_cost_usd_total", ("p/listed",)) not in found


def test_the_time_to_the_first_event_is_a_streams(metrics: Metrics) -> None:
    count(metrics, target("p/listed"))
    assert ("sluice_first_event_seconds_count", ("p/listed",)) not in samples(metrics)
    count(metrics, target("p/listed"), stream=True)
    assert samples(metrics)["sluice_first_event_seconds_sum", ("p/listed",)] == 0.5


def test_a_request_that_is_no_call_is_only_an_error(metrics: Metrics) -> None:
    metrics.refused(InvalidKey("x"))
    found = samples(metrics)
    assert found["sluice_errors_total", ("invalid_key",)] == 1
    assert not [name for name, _ in found if name == "sluice_calls_total"]


def test_callers_cannot_make_new_label_values(metrics: Metrics) -> None:
    for number in range(50):
        name = f"p/made-up-{number}"
        count(metrics, target(name))
        count(metrics, target(name), alias=f"alias-{number}", status=502, error="server_error")
    refused = call(body={"model": "made-up"})
    metrics.call_ended(refused, call_record(refused, 404, "model_not_found"))
    labels = {label for _, values in samples(metrics) for label in values}
    assert labels <= {
        *("other", "p/other", "", "200", "404", "502", "server_error", "model_not_found"),
        *("prompt", "completion", "cached", "reasoning"),
    }


def test_an_alias_is_counted_under_its_own_name(metrics: Metrics) -> None:
    count(metrics, target("q/unlisted"), alias="smart")
    found = samples(metrics)
    assert found["sluice_calls_total", ("smart", "200")] == 1
    assert found["sluice_attempts_total", ("", "q/other")] == 1


def test_two_registries_do_not_share_anything(metrics: Metrics) -> None:
    count(metrics, target("p/listed"))
    other = Metrics({"p/listed"}, lambda: 0)
    assert ("sluice_calls_total", ("p/listed", "200")) not in samples(other)


def test_there_is_one_series_per_counter_and_no_creation_time(metrics: Metrics) -> None:
    count(metrics, target("p/listed"))
    assert b"_created" not in metrics.render()


def test_refusals_are_counted_by_the_limit_that_refused(metrics: Metrics) -> None:
    for refused_by in (None, Limit("tokens", "team", "red", 5), Limit("requests", "key", "k", 5)):
        asked = call()
        asked.trace.add(Limited(Verdict((), refused_by), "memory"))
        metrics.call_ended(asked, call_record(asked, 429, "rate_limit_exceeded"))
    found = samples(metrics)
    limits = {labels[0] for name, labels in found if name == "sluice_limited_total"}
    assert limits == {"team_tokens", "key_requests"}


def test_a_call_without_attempts_has_no_target(metrics: Metrics) -> None:
    asked: Call = call()
    asked.trace.add(Routed("m", "smart", ()))
    metrics.call_ended(asked, call_record(asked, 400, "capability_missing"))
    found = samples(metrics)
    assert found["sluice_calls_total", ("smart", "400")] == 1
    assert not [name for name, _ in found if name == "sluice_attempts_total"]


def test_the_health_of_configured_targets_is_shown(metrics: Metrics) -> None:
    states: dict[str, State] = {"p/listed": "closed"}
    metrics.watch_health({"p/listed"}, lambda name: states[name])
    seen = []
    for state in get_args(State):
        states["p/listed"] = state
        seen.append(samples(metrics)["sluice_target_benched", ("p/listed",)])
    assert seen == [0.0, 0.5, 1.0]
