"""Is the first call under an idempotency key first, and is its answer kept?"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from gateway.errors import Unavailable
from gateway.idempotency import Answer, Claim, Earlier
from gateway.sealing import Sealer, new_key
from gateway.store.answers import PURGED_AT_ONCE, SqlAnswers
from gateway.store.datakeys import SqlDataKeys
from gateway.store.leases import Leases
from gateway.store.sqlite import reading
from gateway.store.writer import Writer
from tests.fakes.datakeys import FakeDataKeys
from tests.gateway.store.conftest import OpenWriter
from tests.gateway.store.entries import NOW_MS, Clock, Gate, Rows

HOUR_MS = 3_600_000
MASTER = Sealer(new_key())
ANSWER = Answer(status=200, content_type="application/json", body='{"a":1}')


def claim(call_id: str = "call_1", **more: Any) -> Claim:
    values: dict[str, Any] = {
        "key_id": "k1",
        "owner": "team:red",
        "idempotency_key": "order-1",
        "body_digest": "d1",
        "call_id": call_id,
        "expires_at_ms": NOW_MS + HOUR_MS,
    }
    return Claim(**(values | more))


@pytest.fixture
async def answers(
    path: Path, writer: Writer, leases: Leases, clock: Clock
) -> AsyncIterator[SqlAnswers]:
    async with reading(path) as db:
        yield opened(writer, leases, db, clock)


def opened(writer: Writer, leases: Leases, db: aiosqlite.Connection, clock: Clock) -> SqlAnswers:
    data_keys = SqlDataKeys(MASTER, writer, db, clock)
    return SqlAnswers(writer, leases, db, data_keys, clock)


def kept(rows: Rows) -> list[dict[str, Any]]:
    return rows.all("SELECT * FROM idempotency ORDER BY call_id")


async def test_the_first_claim_is_first_and_the_next_one_hears_of_it(answers: SqlAnswers) -> None:
    assert await answers.claim(claim()) is None
    second = await answers.claim(claim("call_2", body_digest="d2"))
    assert second == Earlier(body_digest="d1", answer=None)


async def test_keys_of_others_are_others(answers: SqlAnswers) -> None:
    assert await answers.claim(claim()) is None
    assert await answers.claim(claim("call_2", key_id="k2")) is None
    assert await answers.claim(claim("call_3", idempotency_key="order-2")) is None


async def test_of_many_claims_at_once_one_is_first(
    answers: SqlAnswers, path: Path, open_writer: OpenWriter, clock: Clock
) -> None:
    async with reading(path) as db:
        writer = await open_writer()
        other_leases = Leases(writer, 5.0, clock)
        await other_leases.renew()
        other = opened(writer, other_leases, db, clock)
        found = await asyncio.gather(
            *((answers, other)[n % 2].claim(claim(f"call_{n}")) for n in range(20))
        )
    assert found.count(None) == 1


async def test_what_was_answered_is_found(answers: SqlAnswers) -> None:
    await answers.claim(claim())
    assert await answers.peek("k1", "order-1") == Earlier(body_digest="d1", answer=None)
    await answers.keep(claim(), ANSWER, NOW_MS + HOUR_MS)
    earlier = Earlier(body_digest="d1", answer=ANSWER)
    assert await answers.claim(claim("call_2")) == earlier
    assert await answers.peek("k1", "order-1") == earlier
    assert await answers.peek("k2", "order-1") is None


async def test_what_was_released_is_free(answers: SqlAnswers, rows: Rows) -> None:
    await answers.claim(claim())
    await answers.release(claim())
    assert kept(rows) == []
    assert await answers.claim(claim("call_2")) is None


async def test_an_answer_is_not_released(answers: SqlAnswers) -> None:
    await answers.claim(claim())
    await answers.keep(claim(), ANSWER, NOW_MS + HOUR_MS)
    await answers.release(claim())
    assert await answers.claim(claim("call_2")) is not None


async def test_another_calls_claim_is_neither_answered_nor_released(answers: SqlAnswers) -> None:
    await answers.claim(claim())
    await answers.keep(claim("call_2"), ANSWER, NOW_MS + HOUR_MS)
    await answers.release(claim("call_2"))
    assert await answers.claim(claim("call_3")) == Earlier(body_digest="d1", answer=None)


async def test_an_answer_ends_when_it_expires(answers: SqlAnswers, clock: Clock) -> None:
    await answers.claim(claim())
    await answers.keep(claim(), ANSWER, NOW_MS + 1000)
    clock.now_ms += 999
    assert await answers.peek("k1", "order-1") is not None
    clock.now_ms += 1
    assert await answers.peek("k1", "order-1") is None
    assert await answers.claim(claim("call_2")) is None


async def test_the_claim_of_a_dead_process_is_free(
    answers: SqlAnswers, path: Path, open_writer: OpenWriter, clock: Clock
) -> None:
    await answers.claim(claim())
    clock.now_ms += 6000  # longer than the lease
    async with reading(path) as db:
        writer = await open_writer()
        leases = Leases(writer, 5.0, clock)
        await leases.renew()
        other = opened(writer, leases, db, clock)
        assert await other.peek("k1", "order-1") is None
        assert await other.claim(claim("call_2")) is None


async def test_the_answer_of_a_dead_process_is_kept(
    answers: SqlAnswers, leases: Leases, clock: Clock
) -> None:
    await answers.claim(claim())
    await answers.keep(claim(), ANSWER, NOW_MS + HOUR_MS)
    await leases.leave()
    assert await answers.peek("k1", "order-1") == Earlier(body_digest="d1", answer=ANSWER)


async def test_a_process_that_lost_its_lease_takes_a_new_one(
    answers: SqlAnswers, clock: Clock
) -> None:
    clock.now_ms += 6000
    assert await answers.claim(claim()) is None


async def test_a_caller_that_leaves_meanwhile_leaves_no_claim(
    answers: SqlAnswers, writer: Writer, rows: Rows
) -> None:
    gate = Gate()
    held = asyncio.ensure_future(writer.submit(gate.operation, None))
    await gate.entered()
    task = asyncio.create_task(answers.claim(claim()))
    await asyncio.sleep(0)
    task.cancel()
    gate.open()
    await held
    with pytest.raises(asyncio.CancelledError):
        await task
    await writer.flush()
    await writer.flush()
    assert kept(rows) == []


async def test_a_caller_that_leaves_after_the_commit_leaves_no_claim(
    answers: SqlAnswers, writer: Writer, rows: Rows
) -> None:
    task = asyncio.create_task(answers.claim(claim()))
    await asyncio.sleep(0)
    while not kept(rows):  # noqa: ASYNC110 - a database sets no event
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await writer.flush()
    await writer.flush()
    assert kept(rows) == [] or not task.cancelled()


async def test_a_database_that_is_locked_is_a_503_and_ends_no_call(
    answers: SqlAnswers, rows: Rows
) -> None:
    rows.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await answers.claim(claim())
    await answers.keep(claim(), ANSWER, NOW_MS)
    await answers.release(claim())
    rows.execute("ROLLBACK")


async def test_what_has_expired_is_deleted(answers: SqlAnswers, clock: Clock, rows: Rows) -> None:
    many = PURGED_AT_ONCE + 7
    for number in range(many):
        await answers.claim(claim(f"call_{number}", idempotency_key=str(number)))
    await answers.claim(claim("call_late", expires_at_ms=NOW_MS + 2 * HOUR_MS))
    await answers.purge()
    assert len(kept(rows)) == many + 1
    clock.now_ms += HOUR_MS
    await answers.purge()
    assert [row["call_id"] for row in kept(rows)] == ["call_late"]


# ----------------------------------------------------------------------------- sealed


async def kept_answer(answers: SqlAnswers) -> None:
    await answers.claim(claim())
    await answers.keep(claim(), ANSWER, NOW_MS + HOUR_MS)


async def test_an_answer_is_not_to_be_read_in_the_database(answers: SqlAnswers, rows: Rows) -> None:
    await kept_answer(answers)
    (row,) = kept(rows)
    assert ANSWER.body not in str(row)
    assert ANSWER.body.encode() not in b64decode(row["body"])
    assert row["sealed_for"] == "team:red"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE idempotency SET body = substr(body, 1, length(body) - 4) || 'AAAA'",
        "UPDATE idempotency SET body = 'plain text'",
        "UPDATE idempotency SET status = 404",
        "UPDATE idempotency SET sealed_for = 'team:blue'",
        "UPDATE idempotency SET body_digest = 'd2'",
        "DELETE FROM data_keys",
    ],
)
async def test_an_answer_that_does_not_open_is_none(
    answers: SqlAnswers, path: Path, rows: Rows, change: str
) -> None:
    await kept_answer(answers)
    rows.execute(change)
    async with reading(path) as db:
        await answers._data_keys.read(db)  # type: ignore[attr-defined]
    assert await answers.peek("k1", "order-1") is None
    assert len(kept(rows)) == 1
    assert await answers.claim(claim("call_2")) is None
    assert await answers.claim(claim("call_3")) == Earlier(body_digest="d1", answer=None)


async def test_an_answer_is_found_after_its_key_has_changed_its_team(answers: SqlAnswers) -> None:
    await kept_answer(answers)
    found = await answers.claim(claim("call_2", owner="team:blue"))
    assert found == Earlier(body_digest="d1", answer=ANSWER)


async def test_an_answer_whose_key_cannot_be_had_is_neither_lost_nor_made_again(
    path: Path, writer: Writer, leases: Leases, clock: Clock
) -> None:
    keys = FakeDataKeys()
    async with reading(path) as db:
        answers = SqlAnswers(writer, leases, db, keys, clock)
        await kept_answer(answers)
        keys.away = True
        with pytest.raises(Unavailable):
            await answers.claim(claim("call_2"))
        with pytest.raises(Unavailable):
            await answers.peek("k1", "order-1")
        keys.away = False
        assert await answers.claim(claim("call_3")) == Earlier(body_digest="d1", answer=ANSWER)


async def test_an_answer_that_cannot_be_sealed_is_not_kept(
    path: Path, writer: Writer, leases: Leases, clock: Clock, rows: Rows
) -> None:
    keys = FakeDataKeys()
    keys.away = True
    async with reading(path) as db:
        answers = SqlAnswers(writer, leases, db, keys, clock)
        await kept_answer(answers)
    assert kept(rows) == []
