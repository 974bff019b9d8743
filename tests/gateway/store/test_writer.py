from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.store import writer as writer_module
from gateway.store.sqlite import transaction
from gateway.store.writer import Operation, OperationRefused, Writer
from tests.gateway.store.conftest import OpenWriter
from tests.gateway.store.entries import Gate, Rows, until


def _write(db: sqlite3.Connection, names: Sequence[str]) -> str:
    for name in names:
        db.execute(
            "INSERT INTO teams (name, credentials, created_at_ms) VALUES (?, '{}', 0)", (name,)
        )
        if name == "refused":
            raise OperationRefused
    return "written"


WRITE = Operation(run=_write)


def names(rows: Rows) -> set[str]:
    return {row["name"] for row in rows.all("SELECT name FROM teams")}


async def outcomes(*futures: asyncio.Future[Any]) -> list[Any]:
    return await asyncio.gather(*futures, return_exceptions=True)


async def test_a_result_is_committed_when_it_arrives(writer: Writer, rows: Rows) -> None:
    assert await writer.submit(WRITE, "a") == "written"
    assert names(rows) == {"a"}


async def test_what_waits_together_is_one_transaction(writer: Writer, rows: Rows) -> None:
    gate = Gate()
    held = writer.submit(gate.operation, None)
    await gate.entered()
    waiting = [writer.submit(WRITE, str(number)) for number in range(50)]
    await asyncio.sleep(0)  # the loop hands over what one turn gathered
    assert names(rows) == set()
    gate.open()
    await asyncio.gather(held, *waiting)
    assert writer.batches == 2
    assert len(names(rows)) == 50


@pytest.mark.parametrize(
    ("failing", "fault"),
    [
        ("refused", OperationRefused),  # after its insert: that is undone
        ("a", sqlite3.IntegrityError),  # a second time
        (2**70, OverflowError),
        ("\ud800", UnicodeEncodeError),
    ],
)
async def test_a_failing_operation_undoes_and_fails_only_itself(
    writer: Writer, rows: Rows, failing: Any, fault: type[Exception]
) -> None:
    futures = [writer.submit(WRITE, name) for name in ("a", failing, "b")]
    first, failed, last = await outcomes(*futures)
    assert (first, last) == ("written", "written")
    assert isinstance(failed, fault)
    assert names(rows) == {"a", "b"}


async def test_a_locked_database_fails_the_batch_and_the_thread_survives(
    writer: Writer, rows: Rows
) -> None:
    rows.execute("BEGIN IMMEDIATE")
    failed = await outcomes(*(writer.submit(WRITE, name) for name in ("a", "b")))
    assert [str(error) for error in failed] == ["database is locked"] * 2
    rows.execute("ROLLBACK")
    assert await writer.submit(WRITE, "c") == "written"
    assert names(rows) == {"c"}


async def test_a_full_disk_fails_the_batch_and_the_thread_survives(
    writer: Writer, rows: Rows
) -> None:
    def limit(db: sqlite3.Connection, pages: Sequence[int]) -> None:
        db.execute(f"PRAGMA max_page_count = {pages[0]}")

    limiting = Operation(run=limit)
    await writer.submit(limiting, 1)  # as many as there are: no more can be added
    failed = await outcomes(*(writer.submit(WRITE, letter * 100_000) for letter in "ab"))
    assert [str(error) for error in failed] == ["database or disk is full"] * 2
    await writer.submit(limiting, 1_000_000)
    assert await writer.submit(WRITE, "c") == "written"
    assert names(rows) == {"c"}


async def test_an_operation_whose_caller_left_in_time_is_not_run(
    writer: Writer, rows: Rows
) -> None:
    gate = Gate()
    skipping = Operation(run=_write, skip_unclaimed=True)
    held = writer.submit(gate.operation, None)
    await gate.entered()
    futures = [writer.submit(kind, name) for kind, name in ((skipping, "a"), (WRITE, "b"))]
    for future in futures:
        future.cancel()
    gate.open()
    await held
    await writer.flush()
    assert names(rows) == {"b"}


async def test_a_committed_operation_whose_caller_left_is_reported(writer: Writer) -> None:
    gate, unclaimed = Gate(), list[str]()
    reporting = Operation(run=_write, skip_unclaimed=True, on_unclaimed=unclaimed.append)
    left, stayed = (writer.submit(reporting, name) for name in ("left", "stayed"))
    held = writer.submit(gate.operation, None)
    await gate.entered()  # written, not yet committed
    left.cancel()
    gate.open()
    await asyncio.gather(stayed, held)
    assert unclaimed == ["left"]


async def test_a_failure_is_reported_whether_or_not_somebody_waits(writer: Writer) -> None:
    failures: list[tuple[str, str]] = []

    def note(name: str, error: Exception) -> None:
        failures.append((name, type(error).__name__))

    noting = Operation(run=_write, on_failure=note)
    writer.post(noting, "refused")
    waiting = writer.submit(noting, "refused")
    with pytest.raises(OperationRefused):
        await waiting
    assert failures == [("refused", "OperationRefused")] * 2


async def test_a_caller_waits_no_longer_than_the_time_limit(
    open_writer: OpenWriter, rows: Rows
) -> None:
    writer, gate = await open_writer(timeout_s=0.02), Gate()
    held = writer.submit(gate.operation, None)
    await gate.entered()
    late = writer.submit(WRITE, "late")
    for future in (held, late):
        with pytest.raises(TimeoutError):
            await future
    gate.open()
    await writer.flush()
    assert names(rows) == {"late"}


async def test_what_may_wait_rides_in_the_next_batch(writer: Writer, rows: Rows) -> None:
    writer.post_later(WRITE, "later")
    await writer.submit(WRITE, "now")
    assert names(rows) == {"now", "later"}
    assert writer.batches == 1


async def test_what_may_wait_does_not_wait_for_long(writer: Writer, rows: Rows) -> None:
    writer.post_later(WRITE, "alone")
    await until(lambda: names(rows) == {"alone"})


async def test_what_may_wait_is_dropped_and_counted_when_it_is_too_much(
    writer: Writer, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_LATER", 2)
    for name in "abcd":
        writer.post_later(WRITE, name)
    await writer.flush()
    assert names(rows) == {"a", "b"}
    assert writer.dropped == 2


async def test_stopping_writes_what_is_queued(
    writer: Writer, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH", 3)
    for number in range(10):
        writer.post(WRITE, f"posted {number}")
        writer.post_later(WRITE, f"later {number}")
    await writer.stop()
    assert len(names(rows)) == 20
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        await writer.submit(WRITE, "after")


async def test_two_writers_take_turns(open_writer: OpenWriter, rows: Rows) -> None:
    writers = [await open_writer(), await open_writer()]
    futures = [
        writer.submit(WRITE, f"{number} of {index}")
        for index, writer in enumerate(writers)
        for number in range(20)
    ]
    await asyncio.gather(*futures)
    assert len(names(rows)) == 40


async def test_a_transaction_of_another_connection_is_waited_for(
    writer: Writer, rows: Rows
) -> None:
    with transaction(rows._db):
        waiting = writer.submit(WRITE, "a")
        await asyncio.sleep(0.01)
        assert not waiting.done()
    assert await waiting == "written"
