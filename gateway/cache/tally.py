"""The tally: what did the cache do, for whom, in which hour?

Each process counts for itself, and hands its counts to the database now and then
(`gateway.store.cachestats`), where all processes' counts are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.cache.facts import Cached, Saved, Status, Stored, Unreadable
from gateway.exchange import Call

COUNTS = (
    "hits",
    "misses",
    "coalesced",
    "bypasses",
    "additions",
    "unreadable",
    "saved_tokens",
    "saved_nano_usd",
)
_AT = {name: at for at, name in enumerate(COUNTS)}
_OF_STATUS: Mapping[Status, str] = {
    "hit": "hits",
    "miss": "misses",
    "coalesced": "coalesced",
    "bypass": "bypasses",
}
_HOUR_S = 3600

Place = tuple[int, str, str, str]
"""The hour's beginning in unix milliseconds, the team or nothing, the key's id, the model."""
Row = tuple[Place, list[int]]


class Tally:
    """Counts since they were last taken, by place."""

    def __init__(self) -> None:
        self._counts: dict[Place, list[int]] = {}

    def count(self, call: Call, fact: Cached | Saved | Stored | Unreadable, by: int = 1) -> None:
        """Count what a fact of the cache says; -1 takes it back."""
        row = self._row(_place(call))
        if isinstance(fact, Cached):
            row[_AT[_OF_STATUS[fact.status]]] += by
        elif isinstance(fact, Saved):
            row[_AT["saved_tokens"]] += by * fact.tokens
            row[_AT["saved_nano_usd"]] += by * (fact.cost_nano_usd or 0)
        else:
            row[_AT["additions" if isinstance(fact, Stored) else "unreadable"]] += by

    def taken(self) -> list[Row]:
        """All counts; they begin anew."""
        taken, self._counts = list(self._counts.items()), {}
        return taken

    def put_back(self, rows: Iterable[Row]) -> None:
        """What was taken could not be handed over."""
        for place, counts in rows:
            row = self._row(place)
            for at, number in enumerate(counts):
                row[at] += number

    def _row(self, place: Place) -> list[int]:
        row = self._counts.get(place)
        if row is None:
            row = self._counts[place] = [0] * len(COUNTS)
        return row


def _place(call: Call) -> Place:
    if call.key is None:
        raise RuntimeError("Keys comes before Cache")
    hour_ms = int(call.received_at // _HOUR_S) * _HOUR_S * 1000
    return hour_ms, call.key.team or "", call.key.id, call.model
