"""Data keys in memory."""

from __future__ import annotations

from gateway.sealing import NoDataKey, Sealer, new_key


class FakeDataKeys:
    """`gateway.sealing.DataKeys` that knows nothing of its owners before they were asked for."""

    def __init__(self) -> None:
        self.kept: dict[str, Sealer] = {}
        self.seen: set[str] = set()
        self.away = False

    def known(self, owner: str) -> Sealer | None:
        return self.kept.get(owner) if owner in self.seen else None

    async def find(self, owner: str) -> Sealer | None:
        if self.away:
            raise NoDataKey("away")
        if owner in self.kept:
            self.seen.add(owner)
        return self.kept.get(owner)

    async def make(self, owner: str) -> Sealer:
        if self.away:
            raise NoDataKey("away")
        self.seen.add(owner)
        return self.kept.setdefault(owner, Sealer(new_key()))
