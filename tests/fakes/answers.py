"""Answers under idempotency keys, in memory."""

from __future__ import annotations

from gateway.idempotency import Answer, Claim, Earlier

Place = tuple[str, str]


class FakeAnswers:
    """`gateway.idempotency.Answers` whose store can be looked into. It knows no time."""

    def __init__(self) -> None:
        self.kept: dict[Place, tuple[Claim, Answer | None]] = {}
        self.expires_at_ms: int | None = None
        self.claims = 0

    async def claim(self, claim: Claim) -> Earlier | None:
        self.claims += 1
        earlier = await self.peek(claim.key_id, claim.idempotency_key)
        if earlier is None:
            self.kept[_place(claim)] = (claim, None)
        return earlier

    async def peek(self, key_id: str, idempotency_key: str) -> Earlier | None:
        found = self.kept.get((key_id, idempotency_key))
        return Earlier(body_digest=found[0].body_digest, answer=found[1]) if found else None

    async def keep(self, claim: Claim, answer: Answer, expires_at_ms: int) -> None:
        self.kept[_place(claim)] = (claim, answer)
        self.expires_at_ms = expires_at_ms

    async def release(self, claim: Claim) -> None:
        del self.kept[_place(claim)]


def _place(claim: Claim) -> Place:
    return (claim.key_id, claim.idempotency_key)
