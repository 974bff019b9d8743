"""`python -m bench.ledger`: does a large ledger stay quick to read? Makes one, and asks it.

The same seed makes the same ledger. Calls follow the working day, a few keys make most of them,
some fail, fall back, or come from the cache.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, tzinfo
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from gateway.periods import zone
from gateway.store.charges import CALL_COLUMNS, COUNTS
from gateway.store.migrate import migrate
from gateway.store.reports import Filter, Reports
from gateway.store.rollup.bins import BinName
from gateway.store.rollup.roll import catch_up
from gateway.store.rollup.sums import extent
from gateway.store.sqlite import connect, create_file, reading

DAY_MS = 86_400_000
END_MS = 20_400 * DAY_MS  # 2025-11-08
BATCH = 50_000

TEAMS = tuple(f"team-{number:02}" for number in range(20))
TAGS = ("batch", "eval", "nightly", "prod", "staging", "support", "web", "mobile")
# Alias, its targets in order, dollars per million tokens in and out, typical tokens out, seconds.
MODELS = (
    ("smart", ("anthropic/claude-sonnet", "openai/gpt-large"), 3.0, 15.0, 450, 6.0),
    ("fast", ("openai/gpt-mini", "groq/llama-70b"), 0.15, 0.6, 220, 1.4),
    ("cheap", ("deepseek/chat", "openai/gpt-mini"), 0.27, 1.1, 300, 4.0),
    ("code", ("anthropic/claude-opus", "openai/gpt-large"), 15.0, 75.0, 900, 14.0),
    ("summary", ("google/flash", "openai/gpt-mini"), 0.1, 0.4, 160, 1.1),
    ("local", ("vllm/llama-8b",), 0.0, 0.0, 250, 2.2),
    ("vision", ("openai/gpt-large", "google/pro"), 2.5, 10.0, 180, 3.5),
    ("extract", ("openai/gpt-mini",), 0.15, 0.6, 90, 0.8),
    ("reason", ("openai/o-large",), 10.0, 40.0, 2500, 35.0),
    ("openai/gpt-mini", ("openai/gpt-mini",), 0.15, 0.6, 200, 1.3),
)
MODEL_WEIGHTS = (24, 28, 9, 6, 12, 7, 3, 6, 2, 3)
ERRORS = (
    ("rate_limit_exceeded", 429, False),
    ("rate_limit", 429, True),
    ("timeout", 504, True),
    ("server_error", 502, True),
    ("content_filter", 400, True),
    ("client_gone", 499, True),
    ("model_not_found", 404, False),
)
CHARGE_COLUMNS = (
    *("charge_id", "call_id", "attempt", "key_id", "team", "tags", "asked_model"),
    *("provider", "model", "credential", "price_digest", "bound_nano_usd", "opened_at_ms"),
    *("owner", "state", "settled_at_ms", "cost_nano_usd", "unpriced", "error", "source"),
    *("first_event_ms", "duration_ms", *COUNTS),
)

Row = tuple[Any, ...]


class Maker:
    """Calls with their charges, in the order of time."""

    def __init__(self, calls: int, days: int, keys: int, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._calls = calls
        self._start_ms = END_MS - days * DAY_MS
        week = [_business(END_MS + hour * 3_600_000) for hour in range(7 * 24)]
        self._step_ms = days * DAY_MS / calls * sum(week) / len(week)
        self.keys = [f"key_{self._random.getrandbits(64):016x}" for _ in range(keys)]
        self._teams = [TEAMS[number * 7 % len(TEAMS)] for number in range(keys)]
        self._tags = [
            orjson.dumps(sorted(self._random.sample(TAGS, number % 3))).decode()
            for number in range(keys)
        ]
        self._key_weights = _running([1 / (rank + 2) for rank in range(keys)])
        self._models = [
            self._random.choices(MODELS, weights=MODEL_WEIGHTS, k=1 + number % 3)
            for number in range(keys)
        ]
        self._clock_ms = float(self._start_ms)

    def rows(self) -> Iterator[tuple[Row, list[Row]]]:
        for number in range(self._calls):
            yield self._call(number)

    def _call(self, number: int) -> tuple[Row, list[Row]]:
        rand = self._random.random
        self._clock_ms += self._step_ms / _business(self._clock_ms) * 2 * rand()
        at_ms = int(self._clock_ms)
        key = self._random.choices(range(len(self.keys)), cum_weights=self._key_weights)[0]
        model = self._models[key][int(rand() * rand() * len(self._models[key]))]
        call_id = f"call_{at_ms:012x}{self._random.getrandbits(80):020x}"
        who = (self.keys[key], self._teams[key], self._tags[key])
        error, status, reached = ERRORS[int(rand() * len(ERRORS))] if rand() < 0.03 else _FINE
        if error is None and rand() < 0.08:
            return self._from_cache(call_id, at_ms, who, model), []
        if error == "model_not_found":
            model = (f"gpt-{int(rand() * 1e6)}", *model[1:])
        charges = self._charges(call_id, at_ms, who, model, error) if reached else []
        took = sum(charge[21] for charge in charges) or 1
        target = f"{charges[-1][7]}/{charges[-1][8]}" if charges and error is None else None
        overhead_us = int(400 * math.exp(self._random.gauss(0, 0.5)))
        cache = ("miss", None, None) if number % 3 == 0 else (None, None, None)
        row = (
            *(call_id, at_ms, *who, model[0], model[0] if reached else None, target),
            *(number % 2, status, error, len(charges), took // 3 if target else None, took),
            *(overhead_us if target else None, _FACTS, *cache),
        )
        return row, charges

    def _from_cache(self, call_id: str, at_ms: int, who: Row, model: Row) -> Row:
        tokens = 200 + int(self._random.random() * 900)
        saved = ("hit", int(tokens * model[3] * 500), tokens)
        call = (call_id, at_ms, *who, model[0], model[0], None, 0, 200, None, 0)
        return (*call, 2, 2 + tokens % 5, 600, _FACTS, *saved)

    def _charges(
        self, call_id: str, at_ms: int, who: Row, model: Row, error: str | None
    ) -> list[Row]:
        charges: list[Row] = []
        for attempt, target in enumerate(model[1], start=1):
            failed = self._random.random() < 0.02
            last = not failed or attempt == len(model[1])
            said = error if last else "overloaded"
            charges.append(self._charge(call_id, attempt, at_ms, who, model, target, said))
            if last:
                break
            at_ms += 400
        return charges

    def _charge(
        self,
        call_id: str,
        attempt: int,
        at_ms: int,
        who: Row,
        model: Row,
        target: str,
        error: str | None,
    ) -> Row:
        _, _, price_in, price_out, out, seconds = model
        scale = math.exp(self._random.gauss(0, 0.8))
        prompt = int(60 + 900 * math.exp(self._random.gauss(0, 1.1)))
        answer = int(out * scale) + 1 if error is None else 0
        took = int(1000 * seconds * scale) + 40
        cost = int(prompt * price_in * 1000 + answer * price_out * 1000) if error is None else 0
        provider, name = target.split("/")
        counts = dict.fromkeys(COUNTS, 0)
        if error is None:
            counts |= {"prompt_tokens": prompt, "completion_tokens": answer}
            counts["cached_tokens"] = prompt // 2 if took % 4 == 0 else 0
        return (
            *(f"{call_id}.{attempt}", call_id, attempt, *who, model[0], provider, name),
            *("default", "00" * 16, cost * 3 + 1000, at_ms, "bench", "settled", at_ms + took),
            *(cost, 0, error, "provider" if error is None else None, took // 3, took),
            *counts.values(),
        )


_FINE = (None, 200, True)
_FACTS = orjson.dumps(
    [
        {"fact": "identified", "key": "key_0000000000000000", "team": "team-00"},
        {"fact": "routed", "alias": "smart", "targets": ["openai/gpt-large"]},
        {"fact": "attempt_started", "number": 1, "target": "openai/gpt-large", "at_us": 400},
        {"fact": "attempt_answered", "number": 1, "at_us": 900_000},
        {"fact": "attempt_ended", "number": 1, "charge": "call_0.1", "at_us": 900_000},
    ]
).decode()


def _running(weights: Any) -> list[float]:
    total, sums = 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    return sums


def _business(at_ms: float) -> float:
    """How busy it is: by day and on working days more."""
    hour = at_ms / 3_600_000 % 24
    day = int(at_ms // DAY_MS + 4) % 7
    return (0.25 + 1.5 * math.exp(-(((hour - 14) / 5) ** 2))) * (0.4 if day in (0, 6) else 1.15)


def make(path: Path, *, calls: int, days: int = 90, keys: int = 200, seed: int = 1) -> list[str]:
    """Write a ledger into a new file; the ids of its keys."""
    create_file(path)
    with closing(connect(path)) as db:
        migrate(db)
        maker = Maker(calls, days, keys, seed)
        for pragma in ("synchronous = OFF", "cache_size = -400000", "journal_mode = OFF"):
            db.execute(f"PRAGMA {pragma}")
        _add_keys(db, maker)
        indexes = _drop_indexes(db)
        rows = maker.rows()
        while batch := list(islice(rows, BATCH)):
            db.execute("BEGIN")
            db.executemany(_insert("calls", CALL_COLUMNS), [call for call, _ in batch])
            charges = [charge for _, charges in batch for charge in charges]
            db.executemany(_insert("charges", CHARGE_COLUMNS), charges)
            db.execute("COMMIT")
        for statement in indexes:
            db.execute(statement)
        db.execute("PRAGMA journal_mode = WAL")
    return maker.keys


def _add_keys(db: sqlite3.Connection, maker: Maker) -> None:
    db.execute("INSERT INTO prices VALUES (?, '{}', 0)", ("00" * 16,))
    db.executemany(
        "INSERT INTO keys (id, name, models, tags, credentials, digest, prefix, created_at_ms) "
        "VALUES (?, ?, '[]', '[]', '{}', ?, 'sk-', 0)",
        [(key, f"name of {key}", key) for key in maker.keys],
    )


def _drop_indexes(db: sqlite3.Connection) -> list[str]:
    """Indexes are quicker to make at the end."""
    found = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
        "AND tbl_name IN ('calls', 'charges')"
    ).fetchall()
    for name, _ in found:
        db.execute(f"DROP INDEX {name}")
    return [statement for _, statement in found]


def _insert(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608


Ask = Callable[[Reports], Awaitable[Any]]


def pages(keys: Sequence[str], end_ms: int) -> dict[str, Ask]:
    """What the pages of a dashboard ask, by name."""
    month, quarter = end_ms - 30 * DAY_MS, end_ms - 90 * DAY_MS
    berlin, india = zone("Europe/Berlin"), zone("Asia/Kolkata")
    lately, long = Filter(since_ms=month), Filter(since_ms=quarter)
    team = Filter(since_ms=month, team=TEAMS[0])
    day = Filter(since_ms=end_ms - DAY_MS)
    return {
        "overview, 30 days": lambda r: _overview(r, lately, UTC, "model"),
        "overview, 30 days, Berlin": lambda r: _overview(r, lately, berlin, "model"),
        "overview, 30 days, India, by key": lambda r: _overview(r, lately, india, "key"),
        "overview, 90 days": lambda r: _overview(r, long, UTC, "team"),
        "overview, 90 days, Berlin": lambda r: _overview(r, long, berlin, "team"),
        "overview, 30 days, one team, Berlin": lambda r: _overview(r, team, berlin, "model"),
        "overview, 24 hours": lambda r: _overview(r, day, UTC, "model", "hour"),
        "overview, 30 days until a while ago": lambda r: _overview(
            r, Filter(since_ms=month - 1_234_567, until_ms=end_ms - 7_654_321), UTC, "model"
        ),
        "usage by key, 30 days": lambda r: r.usage(["key"], lately),
        "usage by key and model, 90 days": lambda r: r.usage(["key", "model"], long),
        "usage by tag, 90 days": lambda r: r.usage(["tag"], long),
        "usage by day and team, 30 days, India": lambda r: r.usage(["day", "team"], lately, india),
        "keys, last used": lambda r: r.last_used(),
        "targets, 24 hours": lambda r: r.targets(day),
        "targets, 30 days": lambda r: r.targets(lately),
        "cache savings by key, 30 days": lambda r: r.savings("key", lately),
        "calls, newest": lambda r: r.calls(),
        "calls, in the middle": lambda r: r.calls(after=f"{end_ms - 25 * DAY_MS}:"),
        "calls of a key": lambda r: r.calls(Filter(key=keys[3])),
        "calls of a rare key": lambda r: r.calls(Filter(key=keys[-1])),
        "calls of a team": lambda r: r.calls(Filter(team=TEAMS[13])),
        "calls for a rare model": lambda r: r.calls(Filter(model="openai/gpt-mini")),
        "calls for a model there is none of": lambda r: r.calls(Filter(model="none")),
        "calls at a target": lambda r: r.calls(Filter(target="groq/llama-70b")),
        "calls at a provider there is none of": lambda r: r.calls(Filter(provider="none")),
        "calls that failed": lambda r: r.calls(Filter(failed=True)),
        "calls with a rare error": lambda r: r.calls(
            Filter(error="content_filter", team=TEAMS[13], model="reason")
        ),
        "calls with status 504 of a key": lambda r: r.calls(Filter(status=504, key=keys[40])),
        "calls from the cache": lambda r: r.calls(Filter(cache="hit")),
        "calls joined to others (there are none)": lambda r: r.calls(Filter(cache="coalesced")),
        "calls with a tag": lambda r: r.calls(Filter(tag="nightly")),
        "calls with a tag there is none of": lambda r: r.calls(Filter(tag="none")),
        "calls that cost over $0.50": lambda r: r.calls(Filter(min_cost_nano_usd=500_000_000)),
        "calls that cost over $100": lambda r: r.calls(Filter(min_cost_nano_usd=10**11)),
    }


async def _overview(
    reports: Reports, where: Filter, at: tzinfo, by: str, bins: BinName = "day"
) -> None:
    """All that stands on the first page."""
    await reports.overview(where)
    await reports.series("cost_nano_usd", by, where, at, bins)
    await reports.series("calls", None, where, at, bins)
    await reports.series("errors", None, where, at, bins)
    await reports.latencies(where, at, bins)
    await reports.errors(where)


async def measure(path: Path, times: int = 5) -> dict[str, tuple[float, float]]:
    """Milliseconds by page: the first time and the median of the others."""
    found: dict[str, tuple[float, float]] = {}
    async with reading(path) as db:
        async with db.execute("SELECT id FROM keys ORDER BY rowid") as rows:
            keys = [key async for (key,) in rows]
        _, end_ms = await extent(db)
        reports = Reports(db)
        for name, ask in pages(keys, end_ms).items():
            took = []
            for _ in range(times):
                began = time.perf_counter()
                await ask(reports)
                took.append((time.perf_counter() - began) * 1000)
            found[name] = (took[0], sorted(took[1:])[len(took) // 2 - 1])
    return found


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", type=Path, required=True, help="a file; made if missing")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    if not chosen.database.exists():
        began = time.perf_counter()
        make(
            chosen.database,
            calls=chosen.calls,
            days=chosen.days,
            keys=chosen.keys,
            seed=chosen.seed,
        )
        print(f"made {chosen.calls} calls in {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()
        steps = asyncio.run(catch_up(chosen.database, at_once=96))
        print(f"summed up in {steps} steps, {time.perf_counter() - began:.0f} s")
    print("| page | first (ms) | again (ms) |\n|---|---|---|")
    for name, (first, again) in asyncio.run(measure(chosen.database)).items():
        print(f"| {name} | {first:.0f} | {again:.0f} |")
    size = chosen.database.stat().st_size
    print(f"{size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
