"""Terms: what does a provider charge beyond, or apart from, the figures of its table entry?

Each rule stands on a provider's own price page and is one that litellm applies as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from gateway import figures
from gateway.pricing import INCLUSIVE, OFF_PEAK, Price
from gateway.targets import Provider

# Fireworks: "cached input tokens are 50 % of the price", where a model's page says no other.
_FIREWORKS_CACHED = Decimal("0.5")


def price_under_terms(provider: Provider, family: str, entry: Mapping[str, Any]) -> Price | None:
    """The price of an entry at this provider: its region and its rules included.

    Raises `ValueError` for a figure that is no price.
    """
    stated = figures.figures_of(entry)
    if stated is None:
        return None
    if family == "fireworks_ai" and figures.CACHED not in stated:
        stated[figures.CACHED] = stated[figures.INPUT] * _FIREWORKS_CACHED
    uplift = _uplift(provider, family, entry)
    terms: dict[str, Any] = {name: figure * uplift for name, figure in stated.items()}
    # xAI charges the long rate from the threshold on, the others above it.
    terms[INCLUSIVE] = family == "xai"
    return Price.from_entry(terms | {OFF_PEAK: entry.get(OFF_PEAK)})


def _uplift(provider: Provider, family: str, entry: Mapping[str, Any]) -> Decimal:
    """Regional processing: OpenAI's `eu.` and `us.` hosts, Vertex AI outside `global`."""
    name = ""
    if family == "openai":
        region = (urlsplit(provider.base_url or "").hostname or "").removesuffix(".api.openai.com")
        name = f"regional_processing_uplift_multiplier_{region}"
    elif family == "vertex_ai":
        location = str(provider.options.get("vertex_location") or "global")
        name = "" if location.lower() == "global" else "regional_endpoint_uplift_multiplier"
    return Decimal(repr(entry.get(name, 1)))
