"""Prices: what holds for every price and every usage."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import figures
from gateway.pricing import Price
from gateway.usage import Usage

TIERS = [None, "default", "flex", "priority", "balanced", "ultrafast", "fast"]
FIGURE = st.decimals(min_value=0, max_value="0.01", places=14).map(str)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    entry = {figures.INPUT: draw(FIGURE), figures.OUTPUT: draw(FIGURE)}
    for _ in range(draw(st.integers(0, 12))):
        name = figures.figure_name(
            draw(st.sampled_from(figures.KINDS)),
            draw(st.sampled_from([0, 0, 1000, 200_000])),
            draw(st.sampled_from([None, None, *figures.TIERS])),
        )
        entry[name] = draw(FIGURE)
    return entry


@st.composite
def usages(draw: st.DrawFn, tiers: st.SearchStrategy[str | None]) -> Usage:
    """Counts whose parts are parts of their totals."""
    prompt = draw(st.integers(0, 400_000))
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    audio = draw(st.integers(0, prompt))
    completion = draw(st.integers(0, 200_000))
    reasoning = draw(st.integers(0, completion))
    spoken = draw(st.integers(0, completion - reasoning))
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=draw(st.integers(0, written)),
        prompt_audio_tokens=audio,
        prompt_image_tokens=draw(st.integers(0, prompt - audio)),
        completion_tokens=completion,
        reasoning_tokens=reasoning,
        completion_audio_tokens=spoken,
        completion_image_tokens=draw(st.integers(0, completion - reasoning - spoken)),
        service_tier=draw(tiers),
    )


def priced(entry: dict[str, Any]) -> Price:
    price = Price.from_entry(entry)
    assert price is not None
    return price


@given(entries(), usages(st.sampled_from(TIERS)), st.integers(0, 1000), st.integers(0, 1000))
def test_no_split_of_kinds_costs_more_than_the_bound(
    entry: dict[str, Any], usage: Usage, more_prompt: int, more_completion: int
) -> None:
    price = priced(entry)
    bound = price.bound_nano_usd(
        usage.prompt_tokens + more_prompt, usage.completion_tokens + more_completion
    )
    assert 0 <= price.cost_nano_usd(usage) <= bound


@given(entries(), usages(st.just(None)))
def test_prompt_and_completion_add_up_to_the_whole(entry: dict[str, Any], usage: Usage) -> None:
    flat = priced({name: value for name, value in entry.items() if "_tokens" not in name})
    prompt = Usage(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        prompt_audio_tokens=usage.prompt_audio_tokens,
        prompt_image_tokens=usage.prompt_image_tokens,
    )
    completion = Usage(
        completion_tokens=usage.completion_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        completion_audio_tokens=usage.completion_audio_tokens,
        completion_image_tokens=usage.completion_image_tokens,
    )
    apart = flat.cost_nano_usd(prompt) + flat.cost_nano_usd(completion)
    assert abs(apart - flat.cost_nano_usd(usage)) <= 1


@given(entries(), st.integers(0, 1000), st.integers(0, 1000))
def test_twice_the_tokens_cost_twice_as_much_below_a_threshold(
    entry: dict[str, Any], prompt: int, completion: int
) -> None:
    price = priced({name: value for name, value in entry.items() if "_above_" not in name})
    once = price.cost_nano_usd(Usage(prompt_tokens=prompt, completion_tokens=completion))
    twice = price.cost_nano_usd(Usage(prompt_tokens=2 * prompt, completion_tokens=2 * completion))
    assert abs(twice - 2 * once) <= 1


@settings(max_examples=50)
@given(entries())
def test_a_document_is_canonical(entry: dict[str, Any]) -> None:
    price = priced(entry)
    backwards = priced(dict(reversed(entry.items())))
    assert backwards.document() == price.document()
    assert Price.from_document(price.document()).document() == price.document()
