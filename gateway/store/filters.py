"""Filters: which charges or calls does a report mean?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from gateway.store.rollup.plan import Stretch
from gateway.store.rollup.sums import EVER, Value, Where, conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which charges or calls: `since_ms` is included, `until_ms` not. `key` is an id.

    `target` is `provider/model`. `status`, `cache` and `min_cost_nano_usd` are of calls; with
    `failed`, only those with an error.
    """

    key: str | None = None
    team: str | None = None
    model: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    error: str | None = None
    status: int | None = None
    provider: str | None = None
    target: str | None = None
    tag: str | None = None
    cache: str | None = None
    failed: bool = False
    min_cost_nano_usd: int | None = None

    @property
    def period(self) -> Stretch:
        since = EVER[0] if self.since_ms is None else max(self.since_ms, EVER[0])
        until = EVER[1] if self.until_ms is None else min(self.until_ms, EVER[1])
        return since, max(since, until)


EVERYTHING = Filter()


def of_charges(where: Filter) -> Where:
    """As dimensions of sums over attempts."""
    provider, _, model = (where.target or "").partition("/")
    found = _given(
        key_id=where.key,
        team=where.team,
        asked_model=where.model,
        provider=where.provider or provider or None,
        model=model or None,
        error=where.error,
        tag=where.tag,
    )
    contradictory = where.target is not None and where.provider not in (None, provider)
    return {**found, "provider": ()} if contradictory else found


def of_calls(where: Filter) -> Where:
    """As dimensions of sums over calls. Raises `ValueError` for what those cannot tell."""
    for name in ("provider", "min_cost_nano_usd", "failed"):
        if getattr(where, name):
            raise ValueError(f"calls are not summed up by {name}")
    return _given(
        key_id=where.key,
        team=where.team,
        asked_model=where.model,
        target=where.target,
        status=where.status,
        error=where.error,
        cache=where.cache,
        tag=where.tag,
    )


def call_conditions(where: Filter) -> tuple[str, tuple[Value, ...]]:
    """SQL over one row of `calls`, but for the period and the cost."""
    equal = _given(
        key_id=where.key,
        team=where.team,
        asked_model=where.model,
        target=where.target,
        status=where.status,
        error=where.error,
        cache=where.cache,
    )
    text, values = conditions({name: name for name in equal}, equal)
    if where.provider is not None:
        text, values = f"{text} AND target LIKE ? ESCAPE '!'", (*values, _prefix(where.provider))
    if where.tag is not None:
        text, values = f"{text} AND {TAGGED}", (*values, tag_text(where.tag))
    return (f"{text} AND error IS NOT NULL" if where.failed else text), values


TAGGED = "REPLACE(tags, ?, '') <> tags"
"""That a row has a tag: not by LIKE, which takes `Batch` for `batch`."""


def tag_text(tag: str) -> str:
    """As it stands among the tags of a row."""
    return orjson.dumps(tag).decode()


def _prefix(provider: str) -> str:
    for special in "!%_":
        provider = provider.replace(special, f"!{special}")
    return f"{provider}/%"


def _given(**values: str | int | None) -> Mapping[str, tuple[Value, ...]]:
    return {name: (value,) for name, value in values.items() if value is not None}
