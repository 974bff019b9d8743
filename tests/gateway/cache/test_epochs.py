"""Does a clear concern what it names, all of it, and nothing else?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest

from gateway.cache.epochs import LABEL_BYTES, Epochs, Scope, labels

PLACES = list(product(("team:red", "key:k1"), ("", "tests"), ("smart", "fast")))


@pytest.mark.parametrize(
    ("scope", "concerned"),
    [
        (Scope(), PLACES),
        (Scope(owner="team:red"), [p for p in PLACES if p[0] == "team:red"]),
        (Scope(namespace="tests"), [p for p in PLACES if p[1] == "tests"]),
        (Scope(model="fast"), [p for p in PLACES if p[2] == "fast"]),
        (Scope(owner="key:k1", namespace="tests", model="fast"), [("key:k1", "tests", "fast")]),
        (Scope(owner="team:blue"), []),
    ],
)
def test_a_clear_concerns_its_scope(scope: Scope, concerned: list[tuple[str, str, str]]) -> None:
    epochs = Epochs()
    epochs.replace({(scope.owner, scope.namespace, scope.model): 1})
    assert [place for place in PLACES if epochs.of(*place)] == concerned
    assert [place for place in PLACES if scope.covers(labels(*place))] == concerned


def test_each_further_clear_makes_another_epoch() -> None:
    epochs, seen = Epochs(), set()
    clears = [("", "", ""), ("team:red", "", ""), ("", "", "fast"), ("team:red", "", "fast")]
    counts: dict[tuple[str, str, str], int] = {}
    for place in clears * 3:
        counts = {**counts, place: counts.get(place, 0) + 1}
        epochs.replace(counts)
        seen.add(epochs.of("team:red", "tests", "fast"))
    assert len(seen) == 12


def test_watchers_hear_of_what_was_cleared_since() -> None:
    epochs, heard = Epochs(), list[Sequence[Scope]]()
    epochs.watch(heard.append)
    epochs.replace({("team:red", "", ""): 1, ("", "tests", ""): 4})
    epochs.replace({("team:red", "", ""): 2, ("", "tests", ""): 4})
    epochs.replace({("team:red", "", ""): 2, ("", "tests", ""): 4})
    assert heard == [[Scope(owner="team:red"), Scope(namespace="tests")], [Scope(owner="team:red")]]


def test_a_pattern_is_as_long_as_labels() -> None:
    key = labels("team:red", "tests", "fast")
    assert len(key) == LABEL_BYTES
    assert Scope(owner="team:red", namespace="tests", model="fast").pattern() == key.hex()
    assert Scope(model="fast").pattern() == "?" * 16 + key.hex()[16:]
    assert Scope().pattern() == "?" * 24
