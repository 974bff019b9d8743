"""Is there a row for every ending of a call, with what happened in it?"""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import (
    DeadlineExceeded,
    Draining,
    ModelNotAllowed,
    ModelNotFound,
    RateLimited,
    ServerError,
    SluiceError,
    Unavailable,
)
from gateway.exchange import Call, Handler, Reply, Stream
from gateway.ledger import CallRecord
from gateway.trace import Identified
from policies.ledger import Ledger
from tests.builders import KEY, Answers, Closings, call, completion, stream, text_event


class Rows:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def __call__(self, asked: Call, record: CallRecord) -> None:
        assert record.call_id == asked.id
        self.records.append(record)

    @property
    def ending(self) -> tuple[int, str | None]:
        """Status and error of the only row."""
        (record,) = self.records
        return record.status, record.error


async def test_an_answer_is_a_row_for_every_sink() -> None:
    one, other = Rows(), Rows()
    answer = completion()
    assert await Ledger([one, other])(call(), Answers(answer)) is answer
    assert one.ending == other.ending == (200, None)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelNotAllowed("x"), 403, "model_not_allowed"),
        (ModelNotFound("x"), 404, "model_not_found"),
        (RateLimited("x"), 429, "rate_limit"),
        (ServerError("x", status=502), 502, "server_error"),
        (Unavailable("x"), 503, "unavailable"),
        (DeadlineExceeded("x"), 504, "deadline_exceeded"),
        (TypeError("x"), 500, "internal_error"),
    ],
)
async def test_refusals_and_failures_are_rows_too(error: Exception, status: int, kind: str) -> None:
    rows = Rows()
    with pytest.raises(type(error)):
        await Ledger([rows])(call(), Answers(error))
    assert rows.ending == (status, kind)


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        ((), (499, "client_gone")),
        (("client_gone",), (499, "client_gone")),
        (("draining",), (503, "draining")),
        (("deadline_exceeded",), (504, "deadline_exceeded")),
    ],
)
async def test_a_cancelled_call_is_a_row_with_its_reason(
    reason: tuple[str, ...], ending: tuple[int, str]
) -> None:
    rows, reached = Rows(), asyncio.Event()

    async def hang(asked: Call) -> Reply:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def run(handler: Handler) -> Reply:
        return await Ledger([rows])(call(), handler)

    task = asyncio.create_task(run(hang))
    await reached.wait()
    task.cancel(*reason)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rows.ending == ending


async def streamed(rows: Rows, *parts: str | SluiceError) -> Stream:
    batches = ([text_event(part)] if isinstance(part, str) else part for part in parts)
    reply = await Ledger([rows])(call(stream=True), Answers(stream(*batches, close=Closings())))
    assert isinstance(reply, Stream)
    assert rows.records == [], "a stream is no row before it is over"
    return reply


async def test_a_stream_is_a_row_when_it_is_over() -> None:
    rows = Rows()
    async for _ in await streamed(rows, "a", "b"):
        assert rows.records == []
    assert rows.ending == (200, None)
    assert rows.records[0].stream is True


async def test_a_stream_that_breaks_keeps_its_status_and_names_its_error() -> None:
    rows = Rows()
    reply = await streamed(rows, "a", ServerError("x"))
    with pytest.raises(ServerError):
        _ = [events async for events in reply]
    assert rows.ending == (200, "server_error")


async def test_a_stream_that_its_reader_left_is_a_client_gone() -> None:
    rows = Rows()
    reply = await streamed(rows, "a", "b")
    await reply.__anext__()
    await reply.aclose()
    await reply.aclose()
    assert rows.ending == (499, "client_gone")


async def test_a_stream_that_was_drained_says_so() -> None:
    rows = Rows()
    reply = await streamed(rows, "a", "b")
    await reply.aclose(Draining("x"))
    assert rows.ending == (200, "draining")


async def test_the_row_comes_after_what_was_settled_below() -> None:
    order: list[str] = []

    async def settle(ending: object) -> None:
        await asyncio.sleep(0)
        order.append("settled")

    source = stream([text_event("a")])
    source.on_close(settle)
    ledger = Ledger([lambda _call, _record: order.append("row")])
    reply = await ledger(call(stream=True), Answers(source))
    assert isinstance(reply, Stream)
    _ = [events async for events in reply]
    assert order == ["settled", "row"]


async def test_an_explanation_is_no_row() -> None:
    rows = Rows()
    await Ledger([rows])(call(dry_run=True), Answers(completion()))
    with pytest.raises(ServerError):
        await Ledger([rows])(call(dry_run=True), Answers(ServerError("x")))
    assert rows.records == []


async def test_a_row_says_whose_call_it_was() -> None:
    rows = Rows()
    asked = call(body={"model": "asked"}, controls={"tags": ["t"]})
    asked.trace.add(Identified(KEY))
    await Ledger([rows])(asked, Answers(completion()))
    (record,) = rows.records
    assert (record.key_id, record.team, record.tags) == ("k1", "red", ("t",))
    assert (record.asked_model, record.stream, record.attempts) == ("asked", False, 0)
    assert record.received_at_ms == int(asked.received_at * 1000)
