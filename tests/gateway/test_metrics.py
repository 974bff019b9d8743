"""Do the metrics count every call, under names that a caller cannot make up?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from gateway.breaker import State
from gateway.errors import InvalidKey
from gateway.exchange import Call
from gateway.hedging import Hedged
from gateway.limits.demand import Limit, Limited, Verdict
from gateway.metrics import Metrics
from gateway.record import call_record
from gateway.targets import Target
from gateway.trace import (
    AttemptAnswered,
    AttemptEnded,
    AttemptSent,
    AttemptStarted,
    Identified,
    Paused,
    Routed,
    Skipped,
)
from gateway.usage import Usage
from tests import metrics_view
from tests.builders import KEY, call, target
from tests.metrics_view import Samples, every_metric

USAGE = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=5, reasoning_tokens=2)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics({"smart", "p/listed"}, lambda: 3)


def samples(metrics: Metrics) -> Samples:
    metrics.refresh()
    return metrics_view.samples(metrics.render()[0].decode())


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
    assert found["sluice_attempt_duration_seconds_sum", ("p/listed",)] == pytest.approx(1.98)


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


def test_the_time_of_a_token_is_that_after_a_streams_first_event(metrics: Metrics) -> None:
    count(metrics, target("p/listed"))
    assert ("sluice_time_per_output_token_seconds_count", ("p/listed",)) not in samples(metrics)
    count(metrics, target("p/listed"), stream=True)
    each_s = samples(metrics)["sluice_time_per_output_token_seconds_sum", ("p/listed",)]
    assert each_s == pytest.approx((1.0 - 0.5) / 4)


def test_waiting_for_a_limit_is_told_from_waiting_between_attempts(metrics: Metrics) -> None:
    asked, at = call(), target("p/listed")
    asked.trace.add(Paused(0.5))
    for number in (1, 2):
        asked.trace.add(AttemptStarted(number, at, 0.5))
        asked.trace.add(Paused(3.0))
    metrics.call_ended(asked, call_record(asked, 502, "server_error"))
    assert samples(metrics)["sluice_queue_seconds_sum", ()] == 0.5


def test_attempts_that_overlap_are_counted_for_their_own_targets(metrics: Metrics) -> None:
    asked = call()
    for number, name in ((1, "p/listed"), (2, "q/hedge")):
        asked.trace.add(AttemptStarted(number, target(name), 0.0))
        asked.trace.add(AttemptSent(number, float(number)))
    asked.trace.add(_ended(2, None, 30_000))
    asked.trace.add(_ended(1, "client_gone", 0))
    metrics.call_ended(asked, call_record(asked, 200, None))
    found = samples(metrics)
    assert found["sluice_attempts_total", ("", "q/other")] == 1
    assert found["sluice_attempts_total", ("client_gone", "p/listed")] == 1
    assert found["sluice_tokens_total", ("prompt", "q/other")] == 10


def test_teams_are_counted_only_when_asked_for(metrics: Metrics) -> None:
    def one_call() -> None:
        asked, at = call(), target("p/listed")
        asked.trace.add(Identified(replace(KEY, team="red")))
        asked.trace.add(AttemptStarted(1, at, 0.0))
        asked.trace.add(_ended(1, None, 30_000))
        metrics.call_ended(asked, call_record(asked, 200, None))

    one_call()
    assert not [name for name, _ in samples(metrics) if "team" in name]
    metrics.count_teams()
    one_call()
    found = samples(metrics)
    assert found["sluice_team_calls_total", ("red",)] == 1
    assert found["sluice_team_tokens_total", ("completion", "red")] == 5
    assert found["sluice_team_cost_usd_total", ("red",)] == pytest.approx(0.00003)


def test_a_scraper_of_openmetrics_gets_the_call_behind_a_figure(metrics: Metrics) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    metrics.render(accept)  # from now on they are kept
    count(metrics, target("p/listed"), stream=True)
    text, media_type = metrics.render(accept)
    assert media_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = openmetrics.text_string_to_metric_families(text.decode())
    named = {
        sample.name
        for family in families
        for sample in family.samples
        if sample.exemplar and sample.exemplar.labels == {"call_id": "call_1"}
    }
    assert named == {
        "sluice_duration_seconds_bucket",
        "sluice_first_event_seconds_bucket",
        "sluice_cost_usd_total",
    }
    plain, media_type = metrics.render("text/plain")
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"call_1" not in plain


def test_exemplars_cost_nothing_before_somebody_asks(metrics: Metrics) -> None:
    count(metrics, target("p/listed"))
    assert b"call_1" not in metrics.render("application/openmetrics-text")[0]


def test_a_figure_that_nobody_can_read_is_not_shown(metrics: Metrics) -> None:
    assert ("sluice_redis_available", ()) not in samples(metrics)
    metrics.redis.set_function(lambda: 1)
    assert samples(metrics)["sluice_redis_available", ()] == 1


def test_a_total_that_is_looked_at_is_counted_once(metrics: Metrics) -> None:
    seen = iter((2.0, 5.0, 5.0, 1.0))
    metrics.instruments.dropped.set_function(lambda: next(seen))
    shown = [samples(metrics)["sluice_ledger_dropped_total", ()] for _ in range(4)]
    assert shown == [2, 5, 5, 5]


def test_names_follow_the_conventions_of_prometheus() -> None:
    for family in every_metric().registry.collect():
        assert re.fullmatch(r"sluice_[a-z][a-z_]*[a-z]", family.name)
        assert not re.search(r"_(ms|us|milliseconds|minutes|kb|mb|percent)(_|$)", family.name)
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        else:
            assert family.type in ("counter", "gauge")
            assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))


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
    assert b"_created" not in metrics.render()[0]


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
    metrics.watch_health({"p/other"}, lambda _: "closed")  # the configuration was read again
    assert samples(metrics)["sluice_target_benched", ("p/listed",)] == 0


def test_the_health_of_configured_credentials_is_shown(metrics: Metrics) -> None:
    states: dict[tuple[str, str], State] = {("p", "lab"): "benched", ("p", "default"): "closed"}
    metrics.watch_credentials(states.keys(), lambda *names: states[names])
    found = samples(metrics)
    assert found["sluice_credential_benched", ("lab", "p")] == 1
    assert found["sluice_credential_benched", ("default", "p")] == 0
    metrics.watch_credentials({("p", "default")}, lambda *_: "probing")
    found = samples(metrics)
    assert found["sluice_credential_benched", ("lab", "p")] == 0
    assert found["sluice_credential_benched", ("default", "p")] == 0.5


def test_full_targets_and_second_attempts_are_counted(metrics: Metrics) -> None:
    asked: Call = call()
    for name in ("p/listed", "p/made-up"):
        asked.trace.add(Skipped(name, "limit"))
        asked.trace.add(Skipped(name, "vision"))
    asked.trace.add(Hedged(2, "p/listed", 1.0, "first"))
    metrics.call_ended(asked, call_record(asked, 200, None))
    found = samples(metrics)
    assert found["sluice_target_full_total", ("p/listed",)] == 1
    assert found["sluice_target_full_total", ("p/other",)] == 1
    assert found["sluice_hedges_total", ("p/listed", "first")] == 1
