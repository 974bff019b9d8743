"""Group commit: how does every call's intent become durable without a transaction of its own?

One thread owns the writing connection. The event loop gathers operations and hands them over
together, while no other batch is on its way; the thread runs them as one transaction: one hop
there, one hop back, one commit. (Handing over singly makes the two threads fight for the
interpreter lock: it cost a third of the CPU time of a call.)

- Operations of one kind run together, as one or a few statements over many rows. Nothing may
  depend on the order of operations within a batch.
- A batch is first run without savepoints. If anything in it fails, it is rolled back and run again
  one operation at a time, each in a savepoint: a failing operation undoes and fails only itself.
- If the transaction itself fails (disk full, locked for too long), all its operations fail.
- A caller may stop waiting at any time; nothing here is cancelled by that. See `Operation`.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

MAX_BATCH = 512
MAX_TURNS = 8
LATER_S = 0.2
MAX_LATER = 20_000


class OperationRefused(Exception):
    """What an operation raises when it must not be done: it fails alone."""


FAULTS = (sqlite3.Error, ArithmeticError, LookupError, TypeError, ValueError, OperationRefused)
"""How an operation can fail. (Values that do not fit a column are no `sqlite3.Error`.)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """A kind of write, made once. `run` gets the arguments of all its operations in a batch.

    `run` is called in the writer's thread, perhaps twice, and changes nothing but the database;
    what it returns is the result of each operation, or with `apiece` a list of their results in
    order. The other two are called in the event loop,
    whether or not a caller still waits: `on_failure(arguments, error)` after a failure, and
    `on_unclaimed(arguments)` when it was committed but its caller had left.
    With `skip_unclaimed`, an operation whose caller left in time is not run at all.
    """

    run: Callable[[sqlite3.Connection, Sequence[Any]], Any]
    skip_unclaimed: bool = False
    on_failure: Callable[[Any, Exception], None] | None = None
    on_unclaimed: Callable[[Any], None] | None = None
    apiece: bool = False


Entry = tuple[Operation, Any, "asyncio.Future[Any] | None"]


_NOTHING = Operation(run=lambda _db, _arguments: None)


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


class Writer:
    """The writing side of a database, for one event loop. `await stop()` ends it.

    `timeout_s` bounds how long a caller waits for a result.
    """

    def __init__(self, db: sqlite3.Connection, timeout_s: float) -> None:
        self._db = db
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._gathered: deque[Entry] = deque()
        self._later: deque[Entry] = deque()
        self._batches: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._busy = False  # a batch is with the thread, or about to be handed over
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._later_armed = self._expiry_armed = self._stopping = False
        self._stopped = self._loop.create_future()
        self.dropped = 0
        self.batches = 0
        self._thread = threading.Thread(target=self._serve, name="sluice-writer", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ in the event loop

    def __len__(self) -> int:
        """How many operations wait to be handed over."""
        return len(self._gathered) + len(self._later)

    @property
    def lag_s(self) -> float:
        """How long the oldest result that is waited for has been so."""
        until = next((until for until, future in self._waiting if not future.done()), None)
        return 0.0 if until is None else self._loop.time() + self._timeout_s - until

    def submit(self, operation: Operation, arguments: Any) -> asyncio.Future[Any]:
        """Queue an operation. The future gets its result after the commit, or a `FAULTS` error.

        After `timeout_s` it gets a `TimeoutError`; cancelling it is allowed.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._stopping:
            future.set_exception(sqlite3.ProgrammingError("the store is closed"))
            return future
        self._gather((operation, arguments, future))
        self._waiting.append((self._loop.time() + self._timeout_s, future))
        if not self._expiry_armed:
            self._expiry_armed = True
            self._loop.call_later(self._timeout_s, self._expire)
        return future

    def post(self, operation: Operation, arguments: Any) -> None:
        """Queue an operation that nobody waits for."""
        self._gather((operation, arguments, None))

    def post_later(self, operation: Operation, arguments: Any) -> None:
        """Let an operation ride in the next batch, or in one of its own before long.

        When too many wait already, it is dropped and counted.
        """
        if len(self._later) >= MAX_LATER:
            self.dropped += 1
            return
        self._later.append((operation, arguments, None))
        if not self._later_armed:
            self._later_armed = True
            self._loop.call_later(LATER_S, self._wake)

    async def flush(self) -> None:
        """Return when all that was submitted or posted until now is done and reported."""
        await self.submit(_NOTHING, None)

    async def stop(self) -> None:
        """Run all that is queued, then end the thread. The connection stays its opener's."""
        self._stopping = True
        if not self._busy:
            self._hand_over()
        await asyncio.shield(self._stopped)
        self._thread.join()

    def _gather(self, entry: Entry) -> None:
        self._gathered.append(entry)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._gather_on, 0, 0)

    def _gather_on(self, turn: int, known: int) -> None:
        """Wait while each turn of the loop brings more: calls that go on together ride together."""
        count = len(self._gathered)
        if turn < MAX_TURNS and known < count < MAX_BATCH:
            self._loop.call_soon(self._gather_on, turn + 1, count)
        else:
            self._hand_over()

    def _wake(self) -> None:
        self._later_armed = False
        if not self._busy:
            self._hand_over()

    def _hand_over(self) -> None:
        batch = _up_to(MAX_BATCH, self._gathered) + _up_to(MAX_BATCH, self._later)
        self._busy = bool(batch)
        if batch:
            self._batches.put(batch)
        elif self._stopping and not self._stopped.done():
            self._batches.put(None)
            self._stopped.set_result(None)

    def _expire(self) -> None:
        # After a stall of this loop, what was committed meanwhile is delivered first.
        self._loop.call_soon(self._expire_now)

    def _expire_now(self) -> None:
        now = self._loop.time()
        waiting = self._waiting
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            _, future = waiting.popleft()
            if not future.done():
                future.set_exception(TimeoutError("not committed in time"))
        self._expiry_armed = bool(waiting)
        if waiting:
            self._loop.call_at(waiting[0][0], self._expire)

    def _deliver(self, batch: list[Entry], outcomes: list[Any]) -> None:
        self.batches += 1
        self._loop.call_soon(self._gather_on, 0, 0)
        for (operation, arguments, future), outcome in zip(batch, outcomes, strict=True):
            if type(outcome) is _Failed:
                if operation.on_failure is not None:
                    operation.on_failure(arguments, outcome.error)
                if future is not None and not future.done():
                    future.set_exception(outcome.error)
                    future.exception()  # known; a caller that left must not cause a warning
            elif future is None:
                continue
            elif not future.done():
                future.set_result(outcome)
            elif operation.on_unclaimed is not None:
                operation.on_unclaimed(arguments)

    # --------------------------------------------------------- in the writer's thread

    def _serve(self) -> None:
        while (batch := self._batches.get()) is not None:
            batch, outcomes = self._commit(batch)
            self._loop.call_soon_threadsafe(self._deliver, batch, outcomes)

    def _commit(self, batch: list[Entry]) -> tuple[list[Entry], list[Any]]:
        """The operations that were run, and what came of each."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            batch = [entry for entry in batch if not _is_needless(entry)]
            outcomes = self._run_together(batch)
            if outcomes is None:
                self._roll_back()
                db.execute("BEGIN IMMEDIATE")
                outcomes = self._run_singly(batch)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            outcomes = [_Failed(error)] * len(batch)
        return batch, outcomes

    def _run_together(self, batch: list[Entry]) -> list[Any] | None:
        groups: dict[Operation, list[Any]] = {}
        for operation, arguments, _ in batch:
            groups.setdefault(operation, []).append(arguments)
        try:
            results = {kind: self._results(kind, group) for kind, group in groups.items()}
        except FAULTS:
            return None
        return [next(results[entry[0]]) for entry in batch]

    def _results(self, kind: Operation, group: Sequence[Any]) -> Iterator[Any]:
        result = kind.run(self._db, group)
        return iter(result) if kind.apiece else repeat(result)

    def _run_singly(self, batch: list[Entry]) -> list[Any]:
        """May raise: an error that ends the transaction (disk full) fails all its operations."""
        outcomes: list[Any] = []
        for operation, arguments, _ in batch:
            self._db.execute("SAVEPOINT operation")
            try:
                outcomes.append(next(self._results(operation, [arguments])))
            except FAULTS as error:
                if not self._db.in_transaction and isinstance(error, sqlite3.Error):
                    raise
                outcomes.append(_Failed(error))
                self._db.execute("ROLLBACK TO operation")
            self._db.execute("RELEASE operation")
        return outcomes

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _is_needless(entry: Entry) -> bool:
    operation, _, future = entry
    return operation.skip_unclaimed and future is not None and future.done()


def _up_to(count: int, entries: deque[Entry]) -> list[Entry]:
    return [entries.popleft() for _ in range(min(count, len(entries)))]
