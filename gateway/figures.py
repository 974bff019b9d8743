"""Figures: which per-token prices does an entry of a price table state?

An entry uses litellm's names: `input_cost_per_token`, optionally followed by a threshold on the
prompt (`_above_200k_tokens`), optionally by a service tier (`_priority`). Figures are decimals
read from the shortest text of each number, which is the text of the table. `tiered_pricing`
lists become figures with thresholds, so that one form is priced, stored and compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

Figures = dict[str, Decimal]

INPUT = "input_cost_per_token"
CACHED = "cache_read_input_token_cost"
WRITTEN = "cache_creation_input_token_cost"
WRITTEN_1H = "cache_creation_input_token_cost_above_1hr"
INPUT_AUDIO = "input_cost_per_audio_token"
INPUT_IMAGE = "input_cost_per_image_token"
OUTPUT = "output_cost_per_token"
REASONING = "output_cost_per_reasoning_token"
OUTPUT_AUDIO = "output_cost_per_audio_token"
OUTPUT_IMAGE = "output_cost_per_image_token"

KINDS = (
    *(INPUT, CACHED, WRITTEN, WRITTEN_1H, INPUT_AUDIO, INPUT_IMAGE),
    *(OUTPUT, REASONING, OUTPUT_AUDIO, OUTPUT_IMAGE),
)
TIERS = ("flex", "priority", "balanced", "ultrafast")

_FIGURE = re.compile(
    rf"(?P<kind>{'|'.join(sorted(KINDS, key=len, reverse=True))})"
    r"(?:_above_(?P<above>\d+)(?P<k>k?)_tokens)?"
    rf"(?:_(?P<tier>{'|'.join(TIERS)}))?"
)
# Charged beside tokens or instead of them, and never counted in a usage.
_OTHER_CHARGE = re.compile(
    r"cost_per_(second|image|character|request|video_per|audio_per)(?!_token)"
)


def is_figure(name: str) -> bool:
    """Is `name` a per-token price that is understood here?"""
    return _FIGURE.fullmatch(name) is not None


def figure_name(kind: str, above: int = 0, tier: str | None = None) -> str:
    """The canonical name of a figure; `above` is a threshold in prompt tokens, 0 for none."""
    threshold = f"_above_{above}_tokens" if above else ""
    return f"{kind}{threshold}{f'_{tier}' if tier else ''}"


def figures_of(entry: Mapping[str, Any]) -> Figures | None:
    """An entry's figures by canonical name, None where tokens alone do not tell its price.

    That is so where the input's or the output's figure is missing, where each request costs
    something, and where tokens are free but seconds, characters or images are not.
    Raises `ValueError` for a figure that is no price.
    """
    tiers = entry.get("tiered_pricing")
    found = _from_tiers(tiers, entry) if tiers else _flat(entry.items())
    if INPUT not in found or OUTPUT not in found or _decimal(entry.get("input_cost_per_request")):
        return None
    if not any(found.values()) and _charges_otherwise(entry):
        return None
    return found


def discounted(stated: Figures, block: Mapping[str, Any]) -> Figures:
    """The figures off-peak: those of the block hold instead, whatever the tier or the prompt."""
    discounts = _flat(block.items())
    return {n: figure for n, figure in stated.items() if _kind(n) not in discounts} | discounts


def text_of(figure: Decimal) -> str:
    """The one spelling of a figure: plain digits, no exponent, no trailing zeros."""
    text = format(figure, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _kind(name: str) -> str:
    match = _FIGURE.fullmatch(name)
    return match["kind"] if match else name


def _flat(items: Iterable[tuple[str, Any]]) -> Figures:
    found = {}
    for name, value in items:
        match = _FIGURE.fullmatch(name)
        if match and value is not None:
            above = int(match["above"] or 0) * (1000 if match["k"] else 1)
            found[figure_name(match["kind"], above, match["tier"])] = _price(name, value)
    return found


def _from_tiers(tiers: Iterable[Mapping[str, Any]], entry: Mapping[str, Any]) -> Figures:
    """One tier holds for the whole request; what it leaves out costs as its input or output."""
    found: Figures = {}
    for index, tier in enumerate(sorted(tiers, key=lambda tier: tier["range"][0])):
        stated = _flat(tier.items())
        if OUTPUT not in stated and OUTPUT in entry:
            stated[OUTPUT] = _price(OUTPUT, entry[OUTPUT])
        _complete(stated)
        above = int(tier["range"][0]) if index else 0
        found |= {figure_name(kind, above): value for kind, value in stated.items()}
    return found


def _complete(stated: Figures) -> None:
    for kind, stand_in in (
        (CACHED, INPUT),
        (WRITTEN, INPUT),
        (WRITTEN_1H, WRITTEN),
        (REASONING, OUTPUT),
    ):
        if kind not in stated and stand_in in stated:
            stated[kind] = stated[stand_in]


def _charges_otherwise(entry: Mapping[str, Any]) -> bool:
    return any(_OTHER_CHARGE.search(name) and _decimal(entry[name]) for name in entry)


def _price(name: str, value: object) -> Decimal:
    figure = _decimal(value)
    if figure is None or not figure.is_finite() or figure < 0:
        raise ValueError(f"{name}: not a price")
    return figure


def _decimal(value: object) -> Decimal | None:
    """A number as its shortest text says; text is read as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        return Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
