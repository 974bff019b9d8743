"""Answers under idempotency keys: who was first, and what was said?

Claim and look-up are one operation of the writer, so that of two processes that are asked at once
one is first. A claim holds as long as its process has its lease: after a crash it is free.

Answers are sealed with the data key of the virtual key's owner, and bound to their place. One that
does not open (its data key is gone, it was changed) is no answer: the place is free.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiosqlite
import orjson

from gateway.errors import Unavailable
from gateway.idempotency import Answer, Claim, Earlier
from gateway.sealing import DataKeys, NoDataKey, Unsealable
from gateway.store.leases import LeaseLost, Leases, unix_ms
from gateway.store.writer import FAULTS, Operation, Writer

PURGE_S = 60.0
PURGED_AT_ONCE = 50  # answers may be large, and other writes wait

_log = logging.getLogger(__name__)

_OVER = """
(expires_at_ms <= ? OR status IS NULL AND NOT EXISTS (
    SELECT 1 FROM processes WHERE processes.id = owner AND lease_until_ms > ?
))"""
_FREE = f"DELETE FROM idempotency WHERE key_id = ? AND idempotency_key = ? AND {_OVER}"  # noqa: S608
_CLAIM = """
INSERT INTO idempotency
    (key_id, idempotency_key, body_digest, call_id, owner, created_at_ms, expires_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key_id, idempotency_key) DO NOTHING"""
_FIND = """
SELECT call_id, body_digest, status, content_type, body, sealed_for FROM idempotency
WHERE key_id = ? AND idempotency_key = ?"""
_PEEK = f"{_FIND} AND NOT {_OVER}"
_KEEP = """
UPDATE idempotency SET status = ?, content_type = ?, body = ?, sealed_for = ?, expires_at_ms = ?
WHERE key_id = ? AND idempotency_key = ? AND call_id = ? AND status IS NULL"""
_RELEASE = """
DELETE FROM idempotency
WHERE key_id = ? AND idempotency_key = ? AND call_id = ? AND status IS NULL"""
_DROP = """
DELETE FROM idempotency
WHERE key_id = ? AND idempotency_key = ? AND call_id = ? AND status IS NOT NULL"""
_PURGE = """
DELETE FROM idempotency WHERE (key_id, idempotency_key) IN (
    SELECT key_id, idempotency_key FROM idempotency WHERE expires_at_ms <= ? LIMIT ?
)"""


Row = Sequence[Any]


class SqlAnswers:
    """`gateway.idempotency.Answers` over a `Writer`."""

    def __init__(
        self,
        writer: Writer,
        leases: Leases,
        reading: aiosqlite.Connection,
        data_keys: DataKeys,
        clock: Callable[[], int] = unix_ms,
    ) -> None:
        self._writer = writer
        self._data_keys = data_keys
        self._leases = leases
        self._reading = reading
        self._clock = clock
        self._claiming = Operation(
            run=self._claim_all, skip_unclaimed=True, on_unclaimed=self._post_release
        )
        self._keeping = Operation(run=_keep)
        self._releasing = Operation(run=_release)
        self._dropping = Operation(run=_drop)
        self._purging = Operation(run=_purge)

    async def claim(self, claim: Claim) -> Earlier | None:
        place = (claim.key_id, claim.idempotency_key)
        row = await self._claimed(claim)
        if row is None:
            return None
        earlier = await self._earlier(place, row)
        if earlier is not None:
            return earlier
        await self._end(self._dropping, (*place, row[0]))
        row = await self._claimed(claim)
        if row is None:
            return None
        # Somebody else was quicker, and has another try at it.
        return Earlier(body_digest=row[1], answer=None)

    async def peek(self, key_id: str, idempotency_key: str) -> Earlier | None:
        now_ms = self._clock()
        place = (key_id, idempotency_key)
        try:
            async with self._reading.execute(_PEEK, (*place, now_ms, now_ms)) as rows:
                row = await rows.fetchone()
        except sqlite3.Error as error:
            raise Unavailable("The database cannot be read; try again in a moment.") from error
        return await self._earlier(place, tuple(row)) if row else None

    async def keep(self, claim: Claim, answer: Answer, expires_at_ms: int) -> None:
        try:
            sealer = await self._data_keys.make(claim.owner)
        except NoDataKey:
            await self.release(claim)
            return
        context = _context(
            claim.key_id,
            claim.idempotency_key,
            claim.body_digest,
            answer.status,
            answer.content_type,
        )
        body = b64encode(sealer.seal(answer.body.encode(), context)).decode()
        await self._end(self._keeping, (claim, answer, body, expires_at_ms))

    async def _earlier(self, place: tuple[str, str], row: Row) -> Earlier | None:
        """What a row says; None where its answer does not open. Raises `Unavailable`."""
        _, digest, status, content_type, body, owner = row
        if status is None:
            return Earlier(body_digest=digest, answer=None)
        try:
            sealer = await self._data_keys.find(owner or "")
        except NoDataKey as error:
            raise Unavailable("What was answered before cannot be read at the moment.") from error
        if sealer is None:
            return None
        try:
            context = _context(*place, digest, status, content_type)
            opened = sealer.open(b64decode(body), context).decode()
        except (Unsealable, ValueError):
            _log.warning("an answer under an idempotency key was not opened")
            return None
        answer = Answer(status=status, content_type=content_type, body=opened)
        return Earlier(body_digest=digest, answer=answer)

    async def _claimed(self, claim: Claim) -> Row | None:
        """The row that is there already; None if the claim is this call's now."""
        try:
            try:
                return await self._claim(claim)
            except LeaseLost:  # stopped for longer than the lease: take a new one
                await self._leases.regain()
                return await self._claim(claim)
        except (*FAULTS, TimeoutError) as error:
            _log.warning("idempotency key not claimed: %s", error)
            raise Unavailable("The database cannot be written; try again in a moment.") from error

    async def release(self, claim: Claim) -> None:
        await self._end(self._releasing, claim)

    async def purge(self) -> None:
        """Delete what has expired, a little at a time."""
        request = (self._clock(), PURGED_AT_ONCE)
        while await self._writer.submit(self._purging, request) == PURGED_AT_ONCE:
            pass

    async def run(self) -> None:
        """Purge, for ever."""
        while True:
            try:
                await self.purge()
            except (*FAULTS, TimeoutError) as error:
                _log.warning("expired answers not deleted: %s", error)
            await asyncio.sleep(PURGE_S)

    async def _claim(self, claim: Claim) -> Row | None:
        future = self._writer.submit(self._claiming, claim)
        try:
            found: Mapping[str, Row | None] = await future
        except asyncio.CancelledError:
            # Between the commit and this line. See `SqlAccounts`.
            if not future.cancelled() and future.exception() is None:
                self._post_release(claim)
            raise
        return found[claim.call_id]

    async def _end(self, operation: Operation, arguments: Any) -> None:
        try:
            await self._writer.submit(operation, arguments)
        except (*FAULTS, TimeoutError) as error:
            _log.warning("idempotency key not settled: %s", error)

    def _post_release(self, claim: Claim) -> None:
        self._writer.post(self._releasing, claim)

    # ---------------------------------------------------------- in the writer's thread

    def _claim_all(
        self, db: sqlite3.Connection, claims: Sequence[Claim]
    ) -> Mapping[str, Row | None]:
        """By call: what there was before; None for those that are first."""
        owner, now_ms = self._leases.owner(), self._clock()
        found: dict[str, Row | None] = {}
        for claim in claims:
            place = (claim.key_id, claim.idempotency_key)
            db.execute(_FREE, (*place, now_ms, now_ms))
            made = (*place, claim.body_digest, claim.call_id, owner, now_ms, claim.expires_at_ms)
            db.execute(_CLAIM, made)
            row = db.execute(_FIND, place).fetchone()
            found[claim.call_id] = None if row[0] == claim.call_id else row
        return found


def _context(*place: str | int) -> bytes:
    """What an answer is bound to."""
    return b"idempotent answer\0" + orjson.dumps(place)


def _keep(db: sqlite3.Connection, requests: Sequence[tuple[Claim, Answer, str, int]]) -> None:
    for claim, answer, body, expires_at_ms in requests:
        values = (answer.status, answer.content_type, body, claim.owner, expires_at_ms)
        db.execute(_KEEP, (*values, claim.key_id, claim.idempotency_key, claim.call_id))


def _release(db: sqlite3.Connection, claims: Sequence[Claim]) -> None:
    for claim in claims:
        db.execute(_RELEASE, (claim.key_id, claim.idempotency_key, claim.call_id))


def _drop(db: sqlite3.Connection, places: Sequence[tuple[str, str, str]]) -> None:
    db.executemany(_DROP, places)


def _purge(db: sqlite3.Connection, requests: Sequence[tuple[int, int]]) -> int:
    return db.execute(_PURGE, requests[-1]).rowcount
