"""Budgets over SQL: how is money held, released and spent, and never more than there is?

Everything here runs inside the transaction of the intent, the settlement or the sweep that it
belongs to. A refusal is a conditional update that touched no row. Rows of `budget_periods` appear
when they are first needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain

from gateway.ledger import Granted, Reservation, Short
from gateway.store.rows import Statement, insert
from gateway.store.writer import OperationRefused

_Account = tuple[str, int, int, bool]
"""A budget in a period, and its limit as an attempt knows it."""

_TAKE = (
    "UPDATE budget_periods SET reserved_nano_usd = reserved_nano_usd + ? "
    "WHERE budget_id = ? AND period_start_ms = ? "
    "AND (? = 0 OR spent_nano_usd + reserved_nano_usd <= ? - ?) "
    "RETURNING spent_nano_usd + reserved_nano_usd"
)
_GIVE_BACK = (
    "UPDATE budget_periods SET reserved_nano_usd = reserved_nano_usd - ? "
    "WHERE budget_id = ? AND period_start_ms = ?"
)
_ADD_PERIOD = (
    "INSERT INTO budget_periods (budget_id, period_start_ms, spent_nano_usd, reserved_nano_usd) "
    "VALUES (?, ?, 0, 0) ON CONFLICT (budget_id, period_start_ms) DO NOTHING"
)
_BALANCE = (
    "SELECT spent_nano_usd, reserved_nano_usd FROM budget_periods "
    "WHERE budget_id = ? AND period_start_ms = ?"
)
_HOLD = insert(
    "charge_reservations",
    ("charge_id", "budget_id", "period_start_ms", "nano_usd"),
    "ON CONFLICT (charge_id, budget_id) "
    "DO UPDATE SET nano_usd = charge_reservations.nano_usd + excluded.nano_usd",
)
# One row at least for a charge that is open, also if it holds nothing.
_HELD = (
    "SELECT r.budget_id, r.period_start_ms FROM charges AS c LEFT JOIN charge_reservations AS r "
    "ON r.charge_id = c.charge_id WHERE c.charge_id = ? AND c.state = 'open'"
)
_RAISE_BOUND = "UPDATE charges SET bound_nano_usd = bound_nano_usd + ? WHERE charge_id = ?"
_SPEND = Statement(
    2,
    lambda values: (
        f"WITH v (cost, charge_id) AS (VALUES {values}) "  # noqa: S608 - marks of parameters
        "UPDATE budget_periods SET reserved_nano_usd = reserved_nano_usd - ended.held, "
        "spent_nano_usd = spent_nano_usd + ended.cost FROM ("
        "SELECT r.budget_id, r.period_start_ms, SUM(r.nano_usd) AS held, SUM(v.cost) AS cost "
        "FROM v JOIN charge_reservations AS r ON r.charge_id = v.charge_id "
        "GROUP BY r.budget_id, r.period_start_ms) AS ended "
        "WHERE budget_periods.budget_id = ended.budget_id "
        "AND budget_periods.period_start_ms = ended.period_start_ms"
    ),
    single=(
        "UPDATE budget_periods SET reserved_nano_usd = reserved_nano_usd - held.nano_usd, "
        "spent_nano_usd = spent_nano_usd + ? FROM charge_reservations AS held "
        "WHERE held.charge_id = ? AND budget_periods.budget_id = held.budget_id "
        "AND budget_periods.period_start_ms = held.period_start_ms"
    ),
)
_RELEASE = Statement(
    1,
    lambda values: f"DELETE FROM charge_reservations WHERE charge_id IN (VALUES {values})",  # noqa: S608 - marks of parameters
)

_SPEND_BOUNDS = """
UPDATE budget_periods SET reserved_nano_usd = reserved_nano_usd - lost.held,
    spent_nano_usd = spent_nano_usd + lost.cost
FROM (
    SELECT r.budget_id, r.period_start_ms, SUM(r.nano_usd) AS held,
           SUM(COALESCE(c.bound_nano_usd, 0)) AS cost
    FROM charge_reservations AS r JOIN charges AS c ON c.charge_id = r.charge_id
    WHERE c.owner = ? AND c.state = 'open'
    GROUP BY r.budget_id, r.period_start_ms
) AS lost
WHERE budget_periods.budget_id = lost.budget_id
AND budget_periods.period_start_ms = lost.period_start_ms
"""
# A charge that was settled by a process that did not know yet of a budget it was counted in.
_SPEND_FORGOTTEN = """
UPDATE budget_periods SET reserved_nano_usd = reserved_nano_usd - late.held,
    spent_nano_usd = spent_nano_usd + late.cost
FROM (
    SELECT r.budget_id, r.period_start_ms, SUM(r.nano_usd) AS held,
           SUM(COALESCE(c.cost_nano_usd, 0)) AS cost
    FROM charge_reservations AS r JOIN charges AS c ON c.charge_id = r.charge_id
    WHERE c.state <> 'open'
    GROUP BY r.budget_id, r.period_start_ms
) AS late
WHERE budget_periods.budget_id = late.budget_id
AND budget_periods.period_start_ms = late.period_start_ms
"""
_RELEASE_FORGOTTEN = (
    "DELETE FROM charge_reservations WHERE EXISTS (SELECT 1 FROM charges "
    "WHERE charges.charge_id = charge_reservations.charge_id AND charges.state <> 'open')"
)
_RELEASE_LOST = (
    "DELETE FROM charge_reservations WHERE charge_id IN "
    "(SELECT charge_id FROM charges WHERE owner = ? AND state = 'open')"
)


def take(db: sqlite3.Connection, reservations: Sequence[Reservation]) -> Granted | Short:
    """Take all of an attempt's reservations from their budgets, or none of them."""
    left: list[int] = []
    for number, wanted in enumerate(reservations):
        used = _take_one(db, wanted)
        if used is None:
            for taken in reservations[:number]:
                place = (taken.nano_usd, taken.budget_id, taken.period_start_ms)
                db.execute(_GIVE_BACK, place)
            return _short(db, wanted)
        left.append(wanted.limit_nano_usd - used)
    return Granted(tuple(left))


def take_each(
    db: sqlite3.Connection, wanted: Sequence[Sequence[Reservation]]
) -> list[Granted | Short]:
    """Take the reservations of several attempts: together if there is room for all of them.

    The answers are those of one after the other, which is done where somebody has to be refused.
    """
    sums: dict[_Account, int] = {}
    for held in chain.from_iterable(wanted):
        sums[_account(held)] = sums.get(_account(held), 0) + held.nano_usd
    together = [_reservation(account, nano_usd) for account, nano_usd in sorted(sums.items())]
    answer = take(db, together) if len(wanted) > 1 else None
    if not isinstance(answer, Granted):
        return [take(db, reservations) for reservations in wanted]
    pairs = zip(together, answer.left_nano_usd, strict=True)
    left = {_account(held): rest + held.nano_usd for held, rest in pairs}
    return [_granted(left, reservations) for reservations in wanted]


def hold(db: sqlite3.Connection, taken: Iterable[tuple[str, Sequence[Reservation]]]) -> None:
    """Write down which charge holds what was taken."""
    rows = [
        (charge_id, held.budget_id, held.period_start_ms, held.nano_usd)
        for charge_id, reservations in taken
        for held in reservations
    ]
    _HOLD.execute(db, rows)


def top_up(
    db: sqlite3.Connection, charge_id: str, nano_usd: int, reservations: Sequence[Reservation]
) -> Granted | Short:
    """Let an open charge hold, and cost, so much more. Raises `OperationRefused` for another.

    Of a budget that it holds nothing of (set after it was opened, and about to be counted) nothing
    is taken.
    """
    places = set(db.execute(_HELD, (charge_id,)))
    if not places:
        raise OperationRefused(f"{charge_id} is not open")
    wanted = [held for held in reservations if (held.budget_id, held.period_start_ms) in places]
    answer = take(db, wanted)
    if isinstance(answer, Granted):
        hold(db, [(charge_id, wanted)])
        db.execute(_RAISE_BOUND, (nano_usd, charge_id))
    return answer


def peek(db: sqlite3.Connection, reservations: Sequence[Reservation]) -> Granted | Short:
    """What `take` would answer."""
    left: list[int] = []
    for wanted in reservations:
        spent, reserved = _balance(db, wanted)
        left.append(wanted.limit_nano_usd - spent - reserved - wanted.nano_usd)
        if wanted.hard and left[-1] < 0:
            return _short(db, wanted)
    return Granted(tuple(left))


def spend(db: sqlite3.Connection, ended: Sequence[tuple[int, str]]) -> None:
    """Release what charges hold, and add their costs. Without reservations nothing happens.

    `ended` are costs and charges, each charge once.
    """
    _SPEND.execute(db, ended)
    _RELEASE.execute(db, [(charge_id,) for _, charge_id in ended])


def spend_bounds(db: sqlite3.Connection, owner: str) -> None:
    """The same, at their bounds, for the open charges of a process that is gone."""
    db.execute(_SPEND_BOUNDS, (owner,))
    db.execute(_RELEASE_LOST, (owner,))


def spend_forgotten(db: sqlite3.Connection) -> None:
    """The same for charges that are settled and still hold something."""
    if db.execute(_SPEND_FORGOTTEN).rowcount:
        db.execute(_RELEASE_FORGOTTEN)


def _account(held: Reservation) -> _Account:
    return (held.budget_id, held.period_start_ms, held.limit_nano_usd, held.hard)


def _reservation(account: _Account, nano_usd: int) -> Reservation:
    budget_id, period_start_ms, limit_nano_usd, hard = account
    return Reservation(
        budget_id=budget_id,
        period_start_ms=period_start_ms,
        nano_usd=nano_usd,
        limit_nano_usd=limit_nano_usd,
        hard=hard,
    )


def _granted(left: dict[_Account, int], reservations: Sequence[Reservation]) -> Granted:
    """What is left after one of several attempts; `left` is what was before it, and is changed."""
    for held in reservations:
        left[_account(held)] -= held.nano_usd
    return Granted(tuple(left[_account(held)] for held in reservations))


def _take_one(db: sqlite3.Connection, wanted: Reservation) -> int | None:
    """What is then spent and held of the budget; None for a refusal."""
    place = (wanted.budget_id, wanted.period_start_ms)
    parameters = (
        *(wanted.nano_usd, *place),
        *(int(wanted.hard), wanted.limit_nano_usd, wanted.nano_usd),
    )
    row = db.execute(_TAKE, parameters).fetchone()
    if row is None and db.execute(_ADD_PERIOD, place).rowcount == 1:
        row = db.execute(_TAKE, parameters).fetchone()
    return None if row is None else int(row[0])


def _short(db: sqlite3.Connection, wanted: Reservation) -> Short:
    spent, reserved = _balance(db, wanted)
    unspent = wanted.limit_nano_usd - spent
    return Short(wanted.budget_id, unspent - reserved, unspent)


def _balance(db: sqlite3.Connection, wanted: Reservation) -> tuple[int, int]:
    row = db.execute(_BALANCE, (wanted.budget_id, wanted.period_start_ms)).fetchone()
    return row or (0, 0)
