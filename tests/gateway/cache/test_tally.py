"""Is everything counted once, at the right place?"""

from __future__ import annotations

from gateway.cache.facts import Cached, Saved, Stored, Unreadable
from gateway.cache.tally import COUNTS, Tally
from gateway.keys import VirtualKey
from tests import builders

HOUR_MS = 3_600_000


def counts(**some: int) -> list[int]:
    return [some.get(name, 0) for name in COUNTS]


def test_facts_are_counted_by_hour_team_key_and_model() -> None:
    tally = Tally()
    first = builders.call().with_(received_at=7_300.0)
    for fact in (Cached("miss"), Unreadable(), Stored(9), Cached("bypass")):
        tally.count(first, fact)
    later = first.with_(received_at=10_900.0)
    for fact in (Cached("hit"), Saved(7, 5), Cached("coalesced"), Saved(3, None)):
        tally.count(later, fact)
    alone = first.with_(key=VirtualKey(id="k2", name="alone"))
    tally.count(alone, Cached("hit"))
    assert dict(tally.taken()) == {
        (2 * HOUR_MS, "red", "k1", "m"): counts(misses=1, unreadable=1, additions=1, bypasses=1),
        (3 * HOUR_MS, "red", "k1", "m"): counts(
            hits=1, coalesced=1, saved_tokens=10, saved_nano_usd=5
        ),
        (2 * HOUR_MS, "", "k2", "m"): counts(hits=1),
    }
    assert tally.taken() == []


def test_what_could_not_be_handed_over_is_put_back() -> None:
    tally, call = Tally(), builders.call()
    tally.count(call, Cached("hit"))
    taken = tally.taken()
    tally.count(call, Cached("hit"))
    tally.put_back(taken)
    ((_, row),) = tally.taken()
    assert row == counts(hits=2)


def test_what_did_not_help_is_taken_back() -> None:
    tally, call = Tally(), builders.call()
    tally.count(call, Cached("coalesced"))
    tally.count(call, Cached("coalesced"), -1)
    tally.count(call, Cached("miss"))
    ((_, row),) = tally.taken()
    assert row == counts(misses=1)
