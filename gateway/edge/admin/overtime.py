"""The overview's series: how did it change with time, and who had which part of it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from gateway.edge.admin.shapes import JSON, Fields, Flag, Many, Maybe, Number, Text, Whole
from gateway.store.administration import Administration
from gateway.store.reports import Filter, Line, Series
from gateway.store.rollup.bins import BinName

TOP = 8
_RANKED = 64
"""So many groups are asked for, so that who cost most is found among who called most."""

_COUNTS = Many(Whole())
_TIMES = Many(Maybe(Number()))
_GROUP = Fields(
    {
        "id": Maybe(Text(free=True)),
        "name": Text(free=True),
        "other": Flag(),
        **dict.fromkeys(("cost_nano_usd", "calls", "tokens"), _COUNTS),
    },
    name="GroupSeries",
)
_COUNTED: Mapping[str, str] = {
    "calls": "calls",  # each once: those of the groups may be attempts
    "errors": "errors",
    "cache_hits": "hits",
    "saved_nano_usd": "saved_nano_usd",
}
_MEASURED: Mapping[str, tuple[str, str]] = {
    "p50_ms": ("duration", "p50"),
    "p95_ms": ("duration", "p95"),
    "first_event_p50_ms": ("first_event", "p50"),
    "first_event_p95_ms": ("first_event", "p95"),
}
BY = ("model", "team", "key", "provider")
STEPS: Sequence[BinName] = ("hour", "day")
SERIES = Fields(
    {
        "step": Text(choices=STEPS),
        "by": Text(choices=BY),
        "labels": Many(Text(free=True)),
        "times_ms": _COUNTS,
        "groups": Many(_GROUP),
        **dict.fromkeys(_COUNTED, _COUNTS),
        **dict.fromkeys(_MEASURED, _TIMES),
    },
    name="Series",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the series are of: `by` is one of `BY`."""

    where: Filter
    zone: tzinfo
    step: BinName
    by: str


async def over_time(look: Administration, frame: Frame) -> JSON:
    """Raises `ValueError` for what cannot be shown so."""

    async def series(measure: str, by: str | None = None) -> Series:
        return await look.reports.series(
            measure, by, frame.where, frame.zone, frame.step, _RANKED if by else TOP
        )

    # A call knows only the provider that served it: attempts stand for calls there.
    calls = await series("attempts" if frame.by == "provider" else "calls", frame.by)
    measures = {
        "cost_nano_usd": await series("cost_nano_usd", frame.by),
        "calls": calls,
        "tokens": await series("tokens", frame.by),
    }
    ids = _ranked(measures)
    names = await look.keys.names([i for i in ids if i]) if frame.by == "key" else {}
    counted = {name: await series(measure) for name, measure in _COUNTED.items()}
    times = await look.reports.latencies(frame.where, frame.zone, frame.step)
    return {
        "step": frame.step,
        "by": frame.by,
        "labels": calls.labels,
        "times_ms": calls.starts_ms,
        "groups": _groups(ids, measures, names),
        **{name: _whole(found.lines[0]) for name, found in counted.items()},
        **{name: _values(times.lines, group) for name, group in _MEASURED.items()},
    }


def _ranked(measures: Mapping[str, Series]) -> list[str | None]:
    """The groups that cost most, then those with most calls: at most `TOP`."""
    lines = [*measures["cost_nano_usd"].lines, *measures["calls"].lines]
    return list(dict.fromkeys(line.group[0] for line in lines if not line.other))[:TOP]


def _groups(
    ids: Sequence[str | None], measures: Mapping[str, Series], names: Mapping[str, str]
) -> list[JSON]:
    """A line of each group in each measure; what is in none of them is that of the others."""
    lines = {measure: _by_group(series) for measure, series in measures.items()}
    nothing = [0] * len(measures["calls"].starts_ms)
    found: list[JSON] = [
        {
            "id": group,
            "name": names.get(group or "", group or "none"),
            "other": False,
            **{measure: by_group.get(group, nothing) for measure, by_group in lines.items()},
        }
        for group in ids
    ]
    others = {
        measure: [
            total - sum(row[measure][place] for row in found)
            for place, total in enumerate(_sums(series))
        ]
        for measure, series in measures.items()
    }
    if any(any(values) for values in others.values()):
        found.append({"id": None, "name": "other", "other": True, **others})
    return found


def _by_group(series: Series) -> dict[str | None, list[int]]:
    return {line.group[0]: _whole(line) for line in series.lines if not line.other}


def _sums(series: Series) -> list[int]:
    """Of all lines, bin by bin."""
    whole = [_whole(line) for line in series.lines]
    return [sum(values) for values in zip(*whole, strict=True)]


def _whole(line: Line) -> list[int]:
    return [int(value or 0) for value in line.values]


def _values(lines: Sequence[Line], group: tuple[str, str]) -> list[float | None]:
    return next(list(line.values) for line in lines if line.group == group)
