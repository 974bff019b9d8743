"""Rates: what does one token of each kind cost, given the tier and the size of the prompt?

A sheet of rates is complete: a kind without a figure of its own costs what it is sold as, cached
and written tokens as input, thinking as output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from gateway import figures
from gateway.figures import Figures, figure_name, text_of

_NANO_DECIMALS = 9
NANO_USD: int = 10**_NANO_DECIMALS


class Rates(NamedTuple):
    """What one token of each kind costs, as integers over the price's scale."""

    input: int
    cached: int
    written: int
    written_1h: int
    input_audio: int
    input_image: int
    output: int
    reasoning: int
    output_audio: int
    output_image: int


Sheets = tuple[tuple[int, Rates], ...]
"""Rates by prompt size, largest first: the first pair whose number is exceeded holds."""

Highest = tuple[tuple[int, int, int], ...]
"""The dearest input and output by prompt size, largest first."""


def scale_of(stated: Figures) -> int:
    """The smallest power of ten, at least a nano-dollar's, over which all figures are integers."""
    decimals = (len(text_of(figure).partition(".")[2]) for figure in stated.values())
    return int(10 ** max(_NANO_DECIMALS, *decimals))


def all_sheets(stated: Figures, scale: int, inclusive: bool) -> dict[str | None, Sheets]:
    """The sheets of each service tier that has figures of its own; None is the standard."""
    return {tier: _sheets(stated, tier, scale, inclusive) for tier in _tiers(stated)}


def _tiers(stated: Figures) -> Iterator[str | None]:
    yield None
    for tier in figures.TIERS:
        if any(name.endswith(f"_{tier}") for name in stated):
            yield tier


def _thresholds(stated: Figures) -> list[int]:
    parts = (name.rpartition("_above_")[2].partition("_tokens") for name in stated)
    return sorted({int(above) for above, found, _ in parts if found and above.isdigit()})


def _sheets(stated: Figures, tier: str | None, scale: int, inclusive: bool) -> Sheets:
    thresholds = _thresholds(stated)
    sheets = [(-1, _rates(stated, tier, [], scale))]
    for count, above in enumerate(thresholds, start=1):
        crossed = thresholds[count - 1 :: -1]
        sheets.append((above - inclusive, _rates(stated, tier, crossed, scale)))
    return tuple(reversed(sheets))


def _rates(stated: Figures, tier: str | None, crossed: list[int], scale: int) -> Rates:
    """The most specific figure of each kind; a kind without one costs as plain input or output."""
    places = [(above, t) for above in [*crossed, 0] for t in dict.fromkeys((tier, None))]

    def find(kind: str, stand_in: Decimal) -> Decimal:
        names = (figure_name(kind, above, t) for above, t in places)
        return next((stated[name] for name in names if name in stated), stand_in)

    def place(kind: str) -> int:
        names = [figure_name(kind, above, t) in stated for above, t in places]
        return names.index(True) if True in names else len(names)

    zero = Decimal(0)
    given, produced = find(figures.INPUT, zero), find(figures.OUTPUT, zero)
    written = find(figures.WRITTEN, given)
    # Thinking is sold as output: a tier's own output price stands before a general one for it.
    inherits = place(figures.REASONING) > place(figures.OUTPUT)
    chosen = (
        *(given, find(figures.CACHED, given), written, find(figures.WRITTEN_1H, written)),
        *(find(figures.INPUT_AUDIO, given), find(figures.INPUT_IMAGE, given)),
        *(produced, produced if inherits else find(figures.REASONING, produced)),
        *(find(figures.OUTPUT_AUDIO, produced), find(figures.OUTPUT_IMAGE, produced)),
    )
    return Rates(*(int(figure.scaleb(len(str(scale)) - 1)) for figure in chosen))


def highest(sheets_of_tiers: Iterable[Sheets]) -> Highest:
    """By prompt size, largest first: the dearest input and output that such a prompt can meet."""
    pairs = sorted(
        (pair for sheets in sheets_of_tiers for pair in sheets), key=lambda pair: pair[0]
    )
    found: list[tuple[int, int, int]] = []
    prompt_rate = completion_rate = 0
    for above, rates in pairs:
        prompt_rate = max(prompt_rate, *rates[:6])
        completion_rate = max(completion_rate, *rates[6:])
        found.append((above, prompt_rate, completion_rate))
    return tuple(reversed(found))
