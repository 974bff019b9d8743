"""Sharing: what do several processes share, and may they do without?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway.config import Config, ConfigError, RateLimits
from gateway.references import Missing, dereference

RATES = ("rpm", "tpm", "concurrent")
"""Settings that are counted over all processes, or in vain."""
_SCHEMES = ("redis://", "rediss://", "unix://")


def redis_url(config: Config, environ: Mapping[str, str], base_dir: Path) -> str | None:
    """Where Redis is; None without one.

    Raises `ConfigError` where it is named but missing, and where several processes would each
    keep the configured limits for themselves.
    """
    url = redis_address(config, environ, base_dir)
    if url is None and config.server.workers > 1 and has_limits(config.limits):
        message = (
            f"server.workers = {config.server.workers} with [limits] and without redis.url: each "
            "process would count for itself. Set redis.url, or one worker, or no limits."
        )
        raise ConfigError([message])
    return url


def refuse_unshared(settings: Iterable[Mapping[str, Any]]) -> None:
    """Raises `ConfigError` if a key or team, by its settings, has a limit of its own."""
    if any(own.get(rate) for own in settings for rate in RATES):
        message = (
            "Keys or teams have rpm, tpm or concurrent set, there is more than one worker and no "
            "redis.url: each process would count for itself. Set redis.url, or one worker."
        )
        raise ConfigError([message])


def has_limits(limits: RateLimits) -> bool:
    """Is there any limit in `[limits]`?"""
    defaults = (getattr(limits, f"{scope}_{rate}") for scope in ("key", "team") for rate in RATES)
    named = (*limits.models.values(), *limits.targets.values())
    return any(defaults) or any(getattr(one, rate) for one in named for rate in RATES)


def redis_address(config: Config, environ: Mapping[str, str], base_dir: Path) -> str | None:
    """Where Redis is, for whatever purpose. Raises `ConfigError`."""
    if config.redis.url is None:
        return None
    url = dereference(config.redis.url, environ, base_dir)
    if isinstance(url, Missing):
        if url.optional:
            return None
        raise ConfigError([f"redis.url: {url.what} is missing"])
    if not url.startswith(_SCHEMES):
        # Whatever stands there may hold a password.
        raise ConfigError([f"redis.url: must begin with {', '.join(_SCHEMES)}"])
    return url
