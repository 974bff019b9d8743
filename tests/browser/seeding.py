"""A ledger that looks like a company's: what is on the pictures in docs/, and in slow tests?

The same moment and seed make the same ledger. It is written before the gateway's first start.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway import config
from gateway.cache.tally import COUNTS as TALLIED
from gateway.store.budgetadmin import BudgetDraft
from gateway.store.charges import CALL_COLUMNS, COUNTS
from gateway.store.database import administration, prepare
from gateway.store.keytable import KeyDraft

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

TEAMS = ("support", "research", "data-platform", "marketing", "mobile")
# Name, team, share of the calls, the models it asks for.
KEYS = (
    ("support-bot", "support", 34, ("fast", "smart")),
    ("ticket-triage", "support", 14, ("fast",)),
    ("mobile-app", "mobile", 20, ("fast", "smart")),
    ("rag-indexer", "data-platform", 12, ("summary", "fast")),
    ("weekly-report", "data-platform", 3, ("smart", "reason")),
    ("code-review", "research", 7, ("code",)),
    ("notebook-anna", "research", 3, ("smart", "code", "reason")),
    ("campaign-drafts", "marketing", 5, ("smart",)),
    ("translate-worker", "marketing", 8, ("summary",)),
)
# Alias: targets in order, dollars per million tokens in and out, usual tokens out, seconds, share.
MODELS: Mapping[str, tuple[tuple[str, ...], float, float, int, float]] = {
    "smart": (("anthropic/claude-sonnet-4-5", "openai/gpt-4.1"), 3.0, 15.0, 420, 5.2),
    "fast": (("openai/gpt-4.1-mini", "gemini/gemini-2.5-flash"), 0.4, 1.6, 190, 1.3),
    "code": (("anthropic/claude-opus-4-1", "openai/gpt-4.1"), 15.0, 75.0, 700, 11.0),
    "summary": (("gemini/gemini-2.5-flash", "openai/gpt-4.1-mini"), 0.3, 2.5, 150, 1.1),
    "reason": (("openai/o3",), 2.0, 8.0, 2600, 26.0),
}
ERRORS = (("rate_limit_exceeded", 429), ("timeout", 504), ("overloaded", 503), ("client_gone", 499))
_CHARGE_COLUMNS = (
    *("charge_id", "call_id", "attempt", "key_id", "team", "tags", "asked_model"),
    *("provider", "model", "credential", "price_digest", "bound_nano_usd", "opened_at_ms"),
    *("owner", "state", "settled_at_ms", "cost_nano_usd", "unpriced", "error", "source"),
    *("first_event_ms", "duration_ms", *COUNTS),
)
_STATS_COLUMNS = ("hour_ms", "team", "key_id", "asked_model", *TALLIED)

Row = tuple[Any, ...]


async def seed(home: Path, now_ms: int, *, days: int = 30, calls_a_day: int = 900) -> list[str]:
    """Fill the database of the gateway in `home`; the ids of its keys. The file must be new."""
    prepared = prepare(config.Database(), config.Keys(), home)
    async with administration(prepared) as admin:
        ids = [
            (
                await admin.keys.create(
                    KeyDraft(name=name, team=team, models=models, settings=_settings(name))
                )
            ).id
            for name, team, _, models in KEYS
        ]
    maker = _Maker(ids, now_ms, days, calls_a_day)
    with closing(sqlite3.connect(prepared.path)) as db, db:
        db.executemany("INSERT INTO prices VALUES (?, ?, 0)", _prices())
        maker.make()
        db.executemany(_insert("calls", CALL_COLUMNS), maker.calls)
        db.executemany(_insert("charges", _CHARGE_COLUMNS), maker.charges)
        db.executemany(_insert("cache_stats", _STATS_COLUMNS), maker.stats())
        start_ms = now_ms - 80 * DAY_MS
        for place, key_id in enumerate(ids):
            made_ms = start_ms + place * 5 * DAY_MS
            db.execute("UPDATE keys SET created_at_ms = ? WHERE id = ?", (made_ms, key_id))
    async with administration(prepared) as admin:
        for scope, value, dollars, hard in _budgets(ids, maker):
            draft = BudgetDraft(
                scope=scope,
                scope_value=value,
                period="month",
                zone="UTC",
                limit_nano_usd=int(dollars) * 10**9,
                hard=hard,
            )
            await admin.budgets.recount(await admin.budgets.set(draft))
    return ids


def _settings(name: str) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = {
        "support-bot": {"rpm": 600, "cache": True},
        "rag-indexer": {"tpm": 2_000_000, "concurrent": 8, "cache": True},
        "notebook-anna": {"rpm": 30, "clamp": True},
    }
    return known.get(name, {})


def _budgets(ids: list[str], maker: _Maker) -> list[tuple[Any, str, float, bool]]:
    """Limits that some have nearly reached, and one has passed."""

    def about(column: int, value: str, share: float) -> float:
        """So many dollars that what the value spent is this share of them."""
        rows = (row for row in maker.charges if row[12] >= maker.month_ms and row[column] == value)
        spent = sum(row[16] for row in rows) / 1e9
        return max(1.0, spent / share)

    return [
        ("team", "support", about(4, "support", 0.87), True),
        ("team", "research", about(4, "research", 1.07), False),
        ("team", "mobile", about(4, "mobile", 0.52), True),
        ("key", ids[6], about(3, ids[6], 0.78), True),
        ("model", "reason", about(6, "reason", 0.4), True),
    ]


class _Maker:
    """Calls with their charges, in the order of time."""

    def __init__(self, ids: list[str], now_ms: int, days: int, calls_a_day: int) -> None:
        self._ids = ids
        self._now_ms = now_ms
        self._days = days
        self._calls_a_day = calls_a_day
        self._random = random.Random(7)  # noqa: S311
        self.calls: list[Row] = []
        self.charges: list[Row] = []

    @property
    def month_ms(self) -> int:
        """When this month began."""
        now = datetime.fromtimestamp(self._now_ms / 1000, UTC)
        return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp() * 1000)

    def make(self) -> None:
        first_ms = self._now_ms // HOUR_MS * HOUR_MS - self._days * DAY_MS
        for hour in range(self._days * 24 + 1):
            start_ms = first_ms + hour * HOUR_MS
            growth = 0.65 + 0.5 * hour / (self._days * 24)
            count = int(self._calls_a_day / 24 * _busy(start_ms) * growth * self._near(1, 0.15))
            times = sorted(start_ms + int(self._random.random() * HOUR_MS) for _ in range(count))
            for at_ms in times:
                if at_ms < self._now_ms - 4000:
                    self._call(at_ms)

    def _near(self, middle: float, spread: float) -> float:
        return middle * math.exp(self._random.gauss(0, spread))

    def _call(self, at_ms: int) -> None:
        place = self._random.choices(range(len(KEYS)), [key[2] for key in KEYS])[0]
        _, team, _, models = KEYS[place]
        asked = self._random.choices(models, (6, 3, 1)[: len(models)])[0]
        call_id = f"call_{at_ms:012x}{self._random.getrandbits(80):020x}"
        who = (self._ids[place], team, '["prod"]' if place % 3 else "[]")
        chance = self._random.random()
        if chance < 0.13 and asked in ("fast", "summary"):
            self._hit(call_id, at_ms, who, asked)
            return
        trouble = 0.09 if 9.2 < (self._now_ms - at_ms) / DAY_MS < 9.7 else 0.012
        error = self._random.choice(ERRORS) if self._random.random() < trouble else None
        self._answered(call_id, at_ms, who, asked, error)

    def _hit(self, call_id: str, at_ms: int, who: Row, asked: str) -> None:
        tokens = int(self._near(700, 0.5))
        saved = int(tokens * MODELS[asked][2] * 500)
        facts = _facts(who, asked, [{"fact": "cached", "status": "hit", "key": "8c1f0a77b2d94e6f"}])
        told = (None, int(self._random.random() < 0.7), 200, None, 0, 2, 3, 480, facts)
        self.calls.append((call_id, at_ms, *who, asked, asked, *told, "hit", saved, tokens))

    def _answered(
        self, call_id: str, at_ms: int, who: Row, asked: str, error: tuple[str, int] | None
    ) -> None:
        targets, *_ = MODELS[asked]
        failover = len(targets) > 1 and self._random.random() < 0.03
        refused = error is not None and error[0] == "rate_limit_exceeded"
        tried = [] if refused else list(targets[: 2 if failover else 1])
        told: list[dict[str, Any]] = []
        elapsed, first = 1, None
        for number, target in enumerate(tried, start=1):
            last = number == len(tried)
            kind = (error[0] if error else None) if last else "overloaded"
            took, first_ms = self._charge(
                call_id, number, at_ms + elapsed, who, asked, target, kind
            )
            told += [
                {
                    "fact": "attempt_started",
                    "number": number,
                    "target": target,
                    "credential": "default",
                    "at_us": elapsed * 1000,
                },
                {
                    "fact": "attempt_ended",
                    "number": number,
                    "charge": f"{call_id}.{number}",
                    "at_us": (elapsed + took) * 1000,
                    "error": kind,
                },
            ]
            first = elapsed + first_ms if kind is None else None
            elapsed += took + (0 if last else 180)
        good = error is None
        target_name = tried[-1] if good else None
        cache = "miss" if asked in ("fast", "summary") else None
        self.calls.append(
            (
                *(call_id, at_ms, *who, asked, asked, target_name),
                *(int(self._random.random() < 0.7), error[1] if error else 200),
                *(error[0] if error else None, len(tried), first, elapsed),
                *(int(self._near(460, 0.35)), _facts(who, asked, told), cache, None, None),
            )
        )

    def _charge(
        self,
        call_id: str,
        number: int,
        at_ms: int,
        who: Row,
        asked: str,
        target: str,
        error: str | None,
    ) -> tuple[int, int]:
        _, price_in, price_out, out, seconds = MODELS[asked]
        scale = self._near(1, 0.55)
        prompt, answer = int(self._near(1400, 0.8)), int(out * scale) + 1
        took = int(1000 * seconds * scale) + 60 if error is None else int(self._near(900, 0.4))
        first_ms = int(min(took * 0.6, self._near(430, 0.35)))
        counts = dict.fromkeys(COUNTS, 0)
        cost = 0
        if error is None:
            cached = prompt // 2 if took % 4 == 0 else 0
            counts |= {"prompt_tokens": prompt, "cached_tokens": cached}
            counts["completion_tokens"] = answer
            cost = int((prompt - 0.9 * cached) * price_in * 1000 + answer * price_out * 1000)
        provider, _, model = target.partition("/")
        self.charges.append(
            (
                *(f"{call_id}.{number}", call_id, number, *who, asked, provider, model, "default"),
                *(_digest(asked), cost * 4 + 9_000_000, at_ms, "seed", "settled", at_ms + took),
                *(cost, 0, error, None if error else "provider"),
                *(None if error else first_ms, took, *counts.values()),
            )
        )
        return took, first_ms

    def stats(self) -> list[Row]:
        """What the cache counted of these calls."""
        found: dict[Row, list[int]] = {}
        for row in self.calls:
            cache, saved, tokens = row[-3:]
            if cache is None:
                continue
            place = (row[1] // HOUR_MS * HOUR_MS, row[3], row[2], row[5])
            sums = found.setdefault(place, [0] * 8)
            sums[0] += cache == "hit"
            sums[1] += cache == "miss"
            sums[4] += cache == "miss"
            sums[6] += tokens or 0
            sums[7] += saved or 0
        return [(*place, *sums) for place, sums in found.items()]


def _digest(alias: str) -> str:
    return f"{list(MODELS).index(alias):032x}"


def _prices() -> list[Row]:
    return [
        (
            _digest(alias),
            json.dumps(
                {
                    "input_cost_per_token": price_in / 1e6,
                    "cache_read_input_token_cost": price_in / 1e7,
                    "output_cost_per_token": price_out / 1e6,
                }
            ),
        )
        for alias, (_, price_in, price_out, _, _) in MODELS.items()
    ]


def _facts(who: Row, asked: str, told: list[dict[str, Any]]) -> str:
    targets = list(MODELS[asked][0])
    known = [
        {"fact": "identified", "key": who[0], "team": who[1]},
        {
            "fact": "limited",
            "place": "memory",
            "refused_by": None,
            "left": {"key requests": 581, "team tokens": 88_200},
        },
        {"fact": "routed", "alias": asked, "targets": targets},
        *told,
    ]
    return json.dumps(known)


def _busy(at_ms: float) -> float:
    """How busy it is: by day and on working days more."""
    hour, day = at_ms / HOUR_MS % 24, int(at_ms // DAY_MS + 4) % 7
    return (0.3 + 1.9 * math.exp(-(((hour - 13) / 4.5) ** 2))) * (0.35 if day in (0, 6) else 1.15)


def _insert(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
