"""Which configurations need a Redis, and which refuse to start without?"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, ModelLimits, RateLimits, Redis, Server
from gateway.sharing import redis_url, refuse_unshared

ENV = {"REDIS_URL": "redis://:word@r:1/0", "HTTP_URL": "https://:word@r"}


def url(config: Config) -> str | None:
    return redis_url(config, ENV, Path())


@pytest.mark.parametrize(
    "limits",
    [
        RateLimits(key_rpm=1),
        RateLimits(team_concurrent=3),
        RateLimits(models={"m": ModelLimits(tpm=5)}),
        RateLimits(targets={"p/m": ModelLimits(concurrent=5)}),
    ],
)
def test_several_processes_with_limits_need_a_redis(limits: RateLimits) -> None:
    with pytest.raises(ConfigError, match=r"redis\.url"):
        url(Config(server=Server(workers=2), limits=limits))
    absent = Redis(url="env:NO_SUCH?")
    with pytest.raises(ConfigError, match=r"redis\.url"):
        url(Config(server=Server(workers=2), limits=limits, redis=absent))
    assert url(Config(limits=limits)) is None
    shared = Config(server=Server(workers=2), limits=limits, redis=Redis(url="env:REDIS_URL"))
    assert url(shared) == ENV["REDIS_URL"]


def test_several_processes_without_limits_need_none() -> None:
    limits = RateLimits(key_rpm=0, models={"m": ModelLimits()}, targets={"p/m": ModelLimits(rpm=0)})
    assert url(Config(server=Server(workers=8), limits=limits)) is None


@pytest.mark.parametrize("written", ["env:NO_SUCH", "file:no-such", "env:HTTP_URL", "localhost"])
def test_a_url_that_cannot_be_used_stops_the_start_and_is_not_shown(written: str) -> None:
    with pytest.raises(ConfigError) as fault:
        url(Config(redis=Redis(url=written)))
    assert "word" not in str(fault.value)


def test_limits_of_keys_need_a_redis_too() -> None:
    refuse_unshared([])
    refuse_unshared([{}, {"rpm": 0, "priority": 3}])
    with pytest.raises(ConfigError, match=r"redis\.url"):
        refuse_unshared([{}, {"tpm": 100}])
