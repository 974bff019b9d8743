"""The cache in memory: which entries stay when there is no room for all?

The least recently used go first, by bytes. An entry that has expired is gone when it is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gateway.cache.entry import Entry


class MemoryStore:
    """Entries of one process, at most `max_bytes` of them."""

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at <= self._now():
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def peek(self, key: bytes) -> Entry | None:
        """As `get`, but leaves no trace."""
        entry = self._entries.get(key)
        return None if entry is None or entry.expires_at <= self._now() else entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep an entry, unless it alone is larger than all that there is room for."""
        self.drop(key)
        if entry.size_bytes > self._max_bytes:
            return
        self._entries[key] = entry
        self.size_bytes += entry.size_bytes
        while self.size_bytes > self._max_bytes:
            self.drop(next(iter(self._entries)))

    def drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= entry.size_bytes

    def drop_all(self, which: Callable[[bytes], bool]) -> None:
        """Drop the entries whose keys are in question."""
        for key in [key for key in self._entries if which(key)]:
            self.drop(key)
