"""Families of sums: what is summed up of charges and calls, and by what?

A family has measures, sums over rows of its source, and dimensions that rows differ in. Its kinds
are the sets of dimensions that sums are kept for: a question is answered from the first kind that
has all the dimensions it names, so the most frequent questions read the fewest rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.store.charges import COUNTS
from gateway.store.rollup.histogram import DURATION, FIRST_EVENT, OVERHEAD

QUARTER_MS = 900_000
"""The finest sums are of quarter hours: the days of every time zone consist of whole ones."""
DAY_MS = 86_400_000

DIMENSIONS = (
    *("key_id", "team", "asked_model", "provider", "model"),
    *("target", "status", "error", "tag"),
)
"""All dimensions of all families: the columns of `rollup_groups`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`dimensions` and `measures` are SQL over a row of `source`; measures are summed. `rows` is
    a condition: which rows count. A question may also name dimensions that no kind has: it is
    answered from the rows, however many there are.

    The dimension `tag` is a JSON array in the source: a row counts for each of its tags.
    """

    name: str
    source: str
    time: str
    rows: str = "1 = 1"
    dimensions: Mapping[str, str]
    measures: Mapping[str, str]
    kinds: Mapping[str, tuple[str, ...]]

    @property
    def quarters(self) -> str:
        return f"{self.name}_quarters"

    @property
    def days(self) -> str:
        return f"{self.name}_days"

    def kind_for(self, named: Collection[str]) -> str | None:
        """The first kind with all these dimensions; None: only the rows themselves can tell."""
        for kind, dimensions in self.kinds.items():
            if set(named) <= set(dimensions):
                return kind
        return None


def _first(*same: str) -> str:
    """1 for the attempt with which its call counts: its first one, or its first with the `same`."""
    equal = "".join(f" AND earlier.{name} = charges.{name}" for name in same)
    return (
        "CASE WHEN attempt = 1 OR NOT EXISTS (SELECT 1 FROM charges AS earlier "  # noqa: S608
        f"WHERE earlier.call_id = charges.call_id AND earlier.attempt < charges.attempt{equal}"
        ") THEN 1 ELSE 0 END"
    )


def _count(condition: str) -> str:
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"


USAGE = Family(
    name="usage",
    source="charges",
    time="opened_at_ms",
    dimensions={
        "key_id": "key_id",
        "team": "team",
        "asked_model": "asked_model",
        "provider": "provider",
        "model": "model",
        "tag": "tags",
        "error": "error",
    },
    measures={
        "cost_nano_usd": "COALESCE(cost_nano_usd, 0)",
        "attempts": "1",
        "calls": _first(),
        "provider_calls": _first("provider"),
        "target_calls": _first("provider", "model"),
        "errors": _count("error IS NOT NULL"),
        "unpriced": "CASE WHEN state <> 'open' THEN unpriced ELSE 0 END",
        "estimated": _count("source IN ('estimated', 'partial')"),
        "open": _count("state = 'open'"),
        "lost": _count("state = 'lost'"),
        **{name: f"COALESCE({name}, 0)" for name in COUNTS},
    },
    kinds={
        "total": (),
        "model": ("asked_model",),
        "team": ("team",),
        "target": ("provider", "model"),
        "tag": ("tag",),
        "full": ("key_id", "team", "asked_model", "provider", "model"),
    },
)
"""What attempts used and cost."""

TARGETS = Family(
    name="targets",
    source="charges",
    time="opened_at_ms",
    dimensions={"provider": "provider", "model": "model", "error": "error"},
    measures={
        "attempts": "1",
        "errors": _count("error IS NOT NULL"),
        **DURATION.measures("error IS NULL"),
        **FIRST_EVENT.measures("error IS NULL"),
    },
    kinds={"target": ("provider", "model"), "full": ("provider", "model", "error")},
)
"""How attempts went at each target, and how long those took that went well."""

UNKNOWN_MODEL = ""
"""What callers ask for and nobody has counts as one: they may invent any number of names."""

_CALLER = {
    "key_id": "key_id",
    "team": "team",
    "asked_model": (
        f"CASE WHEN error = 'model_not_found' THEN '{UNKNOWN_MODEL}' ELSE asked_model END"
    ),
}

CALLS = Family(
    name="calls",
    source="calls",
    time="received_at_ms",
    dimensions={
        **_CALLER,
        "target": "target",
        "status": "status",
        "error": "error",
        "cache": "cache",
        "tag": "tags",
    },
    measures={
        "calls": "1",
        "errors": _count("error IS NOT NULL"),
        "streams": "stream",
        "attempts": "attempts",
        "hits": _count("cache = 'hit'"),
        "coalesced": _count("cache = 'coalesced'"),
        "misses": _count("cache = 'miss'"),
        "bypassed": _count("cache = 'bypass'"),
        "saved_nano_usd": "COALESCE(saved_nano_usd, 0)",
        "saved_tokens": "COALESCE(saved_tokens, 0)",
        **DURATION.measures("error IS NULL"),
        **FIRST_EVENT.measures("error IS NULL"),
        **OVERHEAD.measures("error IS NULL"),
    },
    kinds={
        "total": (),
        "model": ("asked_model",),
        "team": ("team",),
        "target": ("target",),
        "full": ("key_id", "team", "asked_model"),
    },
)
"""How calls went, what the cache did, and how long those took that went well."""

ERRORS = Family(
    name="errors",
    source="calls",
    time="received_at_ms",
    rows="error IS NOT NULL",
    dimensions={**_CALLER, "status": "status", "error": "error"},
    measures={"calls": "1"},
    kinds={
        "error": ("status", "error"),
        "full": ("key_id", "team", "asked_model", "status", "error"),
    },
)
"""How calls failed."""

FAMILIES = (USAGE, TARGETS, CALLS, ERRORS)
