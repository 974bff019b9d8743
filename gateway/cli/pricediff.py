"""Price changes: what would a file change, and from what to what?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway import figures
from gateway.catalog import Catalog
from gateway.cli.pricefiles import FilePrice, Providers, single_figures, table_figures
from gateway.figures import Figures, text_of

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChange:
    """A model whose price would be another one. `before` is empty where nobody knew a price."""

    model: str
    before: Figures
    after: Figures
    given: Figures

    @property
    def figures(self) -> dict[str, float]:
        """As they are sent."""
        return {name: float(value) for name, value in self.given.items()}

    def as_row(self) -> dict[str, Any]:
        names = [n for n in {**self.before, **self.after} if self._differs(n)]
        return {
            "model": self.model,
            "figures": {name: text_of(value) for name, value in self.given.items()},
            "changes": [
                {
                    "figure": n,
                    "before": _text(self.before.get(n)),
                    "after": _text(self.after.get(n)),
                }
                for n in names
            ],
        }

    def _differs(self, name: str) -> bool:
        return self.before.get(name) != self.after.get(name)


class CurrentPrices:
    """The figures in force at a moment: the table's, `[model_info]`'s and the dated ones."""

    def __init__(
        self,
        catalog: Catalog,
        providers: Providers,
        listed: Iterable[Mapping[str, Any]],
        at_ms: int,
    ) -> None:
        self._catalog = catalog
        self._providers = providers
        self._own: dict[str, Mapping[str, float]] = {}
        begun = [row for row in listed if (row["effective_from_ms"] or 0) <= at_ms]
        for row in sorted(begun, key=lambda row: row["effective_from_ms"] or 0):
            self._own[row["model"]] = row["figures"]

    def of(self, model: str) -> Figures:
        """Raises `KeyError` for a provider that there is none of."""
        provider, _, name = model.partition("/")
        known = table_figures(self._catalog.entry(self._providers[provider]["kind"], name) or {})
        own = self._own.get(model)
        return changed(known, single_figures(own)) if own else known


def changed(known: Figures, given: Figures) -> Figures:
    """A price with both base figures replaces another whole; less corrects single ones."""
    whole = figures.INPUT in given and figures.OUTPUT in given
    return dict(given) if whole else {**known, **given}


def price_changes(prices: Iterable[FilePrice], current: CurrentPrices) -> list[PriceChange]:
    """Those that differ, by model."""
    found = []
    for price in prices:
        before = current.of(price.model)
        after = changed(before, price.figures)
        if before != after:
            found.append(
                PriceChange(model=price.model, before=before, after=after, given=price.figures)
            )
    return sorted(found, key=lambda change: change.model)


def per_million(dollars_per_token: Any) -> str:
    """A figure as price pages say it."""
    if dollars_per_token is None:
        return "-"
    return f"${text_of(Decimal(str(dollars_per_token)) * MILLION)}"


def shown_rows(changes: Sequence[PriceChange]) -> list[dict[str, Any]]:
    """A row for each figure that differs."""
    return [
        {"model": change.model, **figure}
        for change in changes
        for figure in change.as_row()["changes"]
    ]


def _text(figure: Decimal | None) -> str | None:
    return None if figure is None else text_of(figure)
