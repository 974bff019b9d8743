"""FOCUS: how does a cost tool read the ledger?

The columns and their values follow the FinOps Open Cost and Usage Specification, FOCUS 1.2
(https://focus.finops.org). One row is what a key used of a model on a day, or one attempt. What
cost nothing and used nothing has no row. Columns of our own begin with `x_`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiosqlite
import orjson

from gateway.cli.exporting import DAY_MS, Field, Kind, Period, Row, month_of, usage_days
from gateway.store import exports

_COLUMNS: Mapping[str, Kind] = {
    "BilledCost": "usd",
    "BillingAccountId": "text",
    "BillingAccountName": "text",
    "BillingAccountType": "text",
    "BillingCurrency": "text",
    "BillingPeriodEnd": "time",
    "BillingPeriodStart": "time",
    "ChargeCategory": "text",
    "ChargeClass": "text",
    "ChargeDescription": "text",
    "ChargeFrequency": "text",
    "ChargePeriodEnd": "time",
    "ChargePeriodStart": "time",
    "ConsumedQuantity": "whole",
    "ConsumedUnit": "text",
    "ContractedCost": "usd",
    "EffectiveCost": "usd",
    "InvoiceIssuerName": "text",
    "ListCost": "usd",
    "PricingCategory": "text",
    "PricingCurrency": "text",
    "PricingQuantity": "whole",
    "PricingUnit": "text",
    "ProviderName": "text",
    "PublisherName": "text",
    "RegionId": "text",
    "RegionName": "text",
    "ResourceId": "text",
    "ResourceName": "text",
    "ResourceType": "text",
    "ServiceCategory": "text",
    "ServiceName": "text",
    "ServiceSubcategory": "text",
    "SkuId": "text",
    "SkuMeter": "text",
    "SkuPriceId": "text",
    "SubAccountId": "text",
    "SubAccountName": "text",
    "SubAccountType": "text",
    "Tags": "json",
    "x_AskedModel": "text",
    "x_PromptTokens": "whole",
    "x_CachedTokens": "whole",
    "x_CompletionTokens": "whole",
    "x_Attempts": "whole",
    "x_Unpriced": "whole",
}
FIELDS = [Field(name, kind) for name, kind in _COLUMNS.items()]

_ALWAYS = {
    "BillingAccountType": "Gateway",
    "BillingCurrency": "USD",
    "ChargeCategory": "Usage",
    "ChargeFrequency": "Usage-Based",
    "ConsumedUnit": "Tokens",
    "PricingCategory": "Standard",
    "PricingCurrency": "USD",
    "PricingUnit": "Tokens",
    "ResourceType": "Virtual key",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceName": "Chat completions",
    "ServiceSubcategory": "Generative AI",
    "SkuMeter": "Tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a row is about."""

    since_ms: int
    until_ms: int
    key_id: str
    team: str | None
    asked_model: str
    provider: str
    model: str
    tags: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    attempts: int
    unpriced: int
    cost_nano_usd: int


@dataclass(frozen=True, slots=True)
class Focus:
    """`account` is the billing account's id; `names` are those of keys."""

    account: str
    names: Mapping[str, str]

    async def usage(self, db: aiosqlite.Connection, period: Period) -> AsyncIterator[list[Row]]:
        """By day, key, team, model and target."""
        async for day_ms, found in usage_days(db, period):
            start = day_ms // DAY_MS * DAY_MS
            yield [
                self._row(used)
                for row in found
                if (
                    used := Used(
                        since_ms=start,
                        until_ms=start + DAY_MS,
                        key_id=row.group[0] or "",
                        team=row.group[1],
                        asked_model=row.group[2] or "",
                        provider=row.group[3] or "",
                        model=row.group[4] or "",
                        tags="{}",
                        prompt_tokens=row.tokens["prompt_tokens"],
                        cached_tokens=row.tokens["cached_tokens"],
                        completion_tokens=row.tokens["completion_tokens"],
                        attempts=row.attempts,
                        unpriced=row.unpriced,
                        cost_nano_usd=row.cost_nano_usd,
                    )
                )
                and _counts(used)
            ]

    async def charges(self, db: aiosqlite.Connection, period: Period) -> AsyncIterator[list[Row]]:
        """By attempt."""
        columns = exports.CHARGES.columns
        async for page in exports.batches(db, exports.CHARGES, period.since_ms, period.until_ms):
            used = (_of_charge(dict(zip(columns, row, strict=True))) for row in page)
            yield [self._row(one) for one in used if _counts(one)]

    def _row(self, used: Used) -> Row:
        month = month_of(used.since_ms)
        sku = f"{used.provider}/{used.model}"
        tokens = used.prompt_tokens + used.completion_tokens
        cost = dict.fromkeys(
            ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), used.cost_nano_usd
        )
        values: dict[str, Any] = {
            **_ALWAYS,
            **cost,
            "BillingAccountId": self.account,
            "BillingAccountName": self.account,
            "BillingPeriodStart": month[0],
            "BillingPeriodEnd": month[1],
            "ChargePeriodStart": used.since_ms,
            "ChargePeriodEnd": used.until_ms,
            "ChargeDescription": f"{tokens} tokens of {sku}, asked for as {used.asked_model}",
            "ConsumedQuantity": tokens,
            "PricingQuantity": tokens,
            **dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName"), used.provider),
            "ResourceId": used.key_id,
            "ResourceName": self.names.get(used.key_id, used.key_id),
            "SkuId": sku,
            "SkuPriceId": sku,
            "SubAccountId": used.team,
            "SubAccountName": used.team,
            "SubAccountType": "Team" if used.team is not None else None,
            "Tags": used.tags,
            "x_AskedModel": used.asked_model,
            "x_PromptTokens": used.prompt_tokens,
            "x_CachedTokens": used.cached_tokens,
            "x_CompletionTokens": used.completion_tokens,
            "x_Attempts": used.attempts,
            "x_Unpriced": used.unpriced,
        }
        return [values.get(name) for name in _COLUMNS]


def _of_charge(row: Mapping[str, Any]) -> Used:
    start_ms = row["opened_at_ms"] // 1000 * 1000
    lasted_s = -(-(row["duration_ms"] or 0) // 1000)
    return Used(
        since_ms=start_ms,
        until_ms=start_ms + 1000 * max(1, lasted_s),
        key_id=row["key_id"],
        team=row["team"],
        asked_model=row["asked_model"],
        provider=row["provider"],
        model=row["model"],
        tags=orjson.dumps(dict.fromkeys(orjson.loads(row["tags"]), True)).decode(),
        prompt_tokens=row["prompt_tokens"] or 0,
        cached_tokens=row["cached_tokens"] or 0,
        completion_tokens=row["completion_tokens"] or 0,
        attempts=1,
        unpriced=row["unpriced"],
        cost_nano_usd=row["cost_nano_usd"] or 0,
    )


def _counts(used: Used) -> bool:
    return bool(used.cost_nano_usd or used.prompt_tokens or used.completion_tokens)
