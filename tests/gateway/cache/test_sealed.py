"""Can entries be read by their owner, in their place, and by nobody else?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.cache.entry import Entry
from gateway.cache.sealed import Seals
from gateway.usage import Usage
from tests.fakes.datakeys import FakeDataKeys

SECRET = b"what nobody else is to read"
ENTRY = Entry(
    kind="completion",
    payload=SECRET,
    usage=Usage(prompt_tokens=77_777),
    cost_nano_usd=88_888,
    stored_at=1.0,
    expires_at=2.0,
)


class Shelf:
    """What stands behind the memory, as a dictionary of bytes."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}

    async def get(self, key: bytes) -> Entry | None:
        return Entry.decode(self.kept[key]) if key in self.kept else None

    def put(self, key: bytes, entry: Entry) -> None:
        self.kept[key] = entry.encode()


@pytest.fixture
def data_keys() -> FakeDataKeys:
    return FakeDataKeys()


async def kept(seals: Seals, owner: str = "team:red", key: bytes = b"k") -> Entry:
    shelf = Shelf()
    seals.put(shelf, owner, key, ENTRY)
    await seals.close()
    stored = shelf.kept[key]
    assert SECRET not in stored
    assert b"77777" not in stored
    assert b"88888" not in stored
    return Entry.decode(stored)


async def test_an_entry_is_read_by_its_owner_in_its_place(data_keys: FakeDataKeys) -> None:
    for _ in range(2):  # its data key is made, then known
        stored = await kept(Seals(data_keys))
        assert (stored.stored_at, stored.expires_at) == (1.0, 2.0)
        assert await Seals(data_keys).opened("team:red", b"k", stored) == ENTRY


async def test_what_does_not_open_is_none(data_keys: FakeDataKeys) -> None:
    seals = Seals(data_keys)
    stored = await kept(seals)
    await kept(seals, "team:blue")
    changed = replace(stored, payload=stored.payload[:-1] + b"\x00")
    assert await seals.opened("team:red", b"other", stored) is None
    assert await seals.opened("team:blue", b"k", stored) is None
    assert await seals.opened("team:none", b"k", stored) is None
    assert await seals.opened("team:red", b"k", changed) is None
    assert await seals.opened("team:red", b"k", ENTRY) is None  # it was never sealed
    del data_keys.kept["team:red"]
    assert await seals.opened("team:red", b"k", stored) is None


async def test_without_its_data_key_nothing_is_kept_or_read(data_keys: FakeDataKeys) -> None:
    seals, shelf = Seals(data_keys), Shelf()
    stored = await kept(seals)
    data_keys.seen.clear()
    data_keys.away = True
    seals.put(shelf, "team:red", b"k", ENTRY)
    await seals.close()
    assert shelf.kept == {}
    assert await seals.opened("team:red", b"k", stored) is None
