"""Reports over the ledger: who used what, which calls were there, and what happened in one?

All are exact to the moment, and quick on millions of calls: sums are read from the roll-ups
(gateway/store/rollup/) and, for what those do not have yet, from the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

import aiosqlite

from gateway.store import callpages, callrows, overviews, usagereport
from gateway.store import series as over_time
from gateway.store.callpages import CallPage, CallRow
from gateway.store.callrows import Attempt, CallDetail
from gateway.store.filters import EVERYTHING, Filter
from gateway.store.overviews import ErrorRow, Overview, SavingsRow, TargetRow
from gateway.store.rollup.bins import BinName
from gateway.store.series import Line, Series
from gateway.store.usagereport import GROUPS, UsageRow

__all__ = [
    "GROUPS",
    "Attempt",
    "CallDetail",
    "CallPage",
    "CallRow",
    "ErrorRow",
    "Filter",
    "Line",
    "Overview",
    "Reports",
    "SavingsRow",
    "Series",
    "TargetRow",
    "UsageRow",
]


class Reports:
    """Reads; they see what is committed and disturb nobody. One at a time on a connection.

    They raise `ValueError` or `KeyError` for what cannot be asked.
    """

    def __init__(self, db: aiosqlite.Connection) -> None:
        self._db = db

    async def usage(
        self, by: Sequence[str] = (), where: Filter = EVERYTHING, zone: tzinfo = UTC
    ) -> list[UsageRow]:
        """Sums per group, `by` any of `GROUPS`; see `gateway.store.usagereport`."""
        return await usagereport.usage(self._db, by, where, zone)

    async def overview(self, where: Filter = EVERYTHING) -> Overview:
        """What a period comes to, with its latencies."""
        return await overviews.overview(self._db, where)

    async def series(
        self,
        measure: str,
        by: str | None = None,
        where: Filter = EVERYTHING,
        zone: tzinfo = UTC,
        bins: BinName = "day",
        top: int = 8,
    ) -> Series:
        """A measure over time, a line for each of the largest groups and one for the others."""
        return await over_time.series(self._db, measure, by, where, zone, bins, top)

    async def latencies(
        self, where: Filter = EVERYTHING, zone: tzinfo = UTC, bins: BinName = "day"
    ) -> Series:
        """Durations and times to the first event over time, their medians and 95th percentiles."""
        return await over_time.latencies(self._db, where, zone, bins)

    async def errors(self, where: Filter = EVERYTHING) -> list[ErrorRow]:
        """How calls failed, the most frequent first."""
        return await overviews.errors(self._db, where)

    async def targets(self, where: Filter = EVERYTHING) -> list[TargetRow]:
        """How attempts went at each target."""
        return await overviews.targets(self._db, where)

    async def savings(self, by: str, where: Filter = EVERYTHING) -> list[SavingsRow]:
        """What the cache saved, by `key`, `team` or `model`; the largest first."""
        return await overviews.savings(self._db, by, where)

    async def last_used(self) -> dict[str, int]:
        """Keys to when they last made a call, in unix milliseconds."""
        return await overviews.last_used(self._db)

    async def calls(
        self, where: Filter = EVERYTHING, limit: int = 50, after: str | None = None
    ) -> CallPage:
        """The latest calls, page by page; see `gateway.store.callpages`."""
        return await callpages.page(self._db, where, limit, after)

    async def call(self, call_id: str) -> CallDetail | None:
        """One call with its attempts; None if there is nothing of it."""
        return await callrows.call_detail(self._db, call_id)
