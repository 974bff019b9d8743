"""Prices: hand-computed cases per provider's format. Comments show the sum in dollars."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import figures
from gateway.pricing import Price
from gateway.usage import Usage

GPT_4O = {
    "input_cost_per_token": 2.5e-6,
    "cache_read_input_token_cost": 1.25e-6,
    "output_cost_per_token": 1e-5,
    "input_cost_per_token_priority": 4.25e-6,
    "cache_read_input_token_cost_priority": 2.125e-6,
    "output_cost_per_token_priority": 1.7e-5,
    "input_cost_per_token_batches": 1.25e-6,
}
GPT_AUDIO = {
    "input_cost_per_token": 2.5e-6,
    "output_cost_per_token": 1e-5,
    "input_cost_per_audio_token": 4e-5,
    "output_cost_per_audio_token": 8e-5,
}
O3 = {
    "input_cost_per_token": 2e-6,
    "cache_read_input_token_cost": 5e-7,
    "output_cost_per_token": 8e-6,
    "input_cost_per_token_flex": 1e-6,
    "cache_read_input_token_cost_flex": 2.5e-7,
    "output_cost_per_token_flex": 4e-6,
}
SONNET = {
    "input_cost_per_token": 3e-6,
    "cache_read_input_token_cost": 3e-7,
    "cache_creation_input_token_cost": 3.75e-6,
    "cache_creation_input_token_cost_above_1hr": 6e-6,
    "output_cost_per_token": 1.5e-5,
    "input_cost_per_token_above_200k_tokens": 6e-6,
    "cache_read_input_token_cost_above_200k_tokens": 6e-7,
    "cache_creation_input_token_cost_above_200k_tokens": 7.5e-6,
    "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-5,
    "output_cost_per_token_above_200k_tokens": 2.25e-5,
}
GEMINI_PRO = {
    "input_cost_per_token": 1.25e-6,
    "cache_read_input_token_cost": 1.25e-7,
    "output_cost_per_token": 1e-5,
    "input_cost_per_token_above_200k_tokens": 2.5e-6,
    "cache_read_input_token_cost_above_200k_tokens": 2.5e-7,
    "output_cost_per_token_above_200k_tokens": 1.5e-5,
    "input_cost_per_token_priority": 2.25e-6,
    "output_cost_per_token_priority": 1.8e-5,
    "input_cost_per_token_above_200k_tokens_priority": 4.5e-6,
    "output_cost_per_token_above_200k_tokens_priority": 2.7e-5,
}
GEMINI_FLASH = {
    "input_cost_per_token": 3e-7,
    "input_cost_per_audio_token": 1e-6,
    "cache_read_input_token_cost": 3e-8,
    "output_cost_per_token": 2.5e-6,
    "output_cost_per_reasoning_token": 2.5e-6,
    "output_cost_per_image_token": 3e-5,
    "input_cost_per_token_priority": 5.4e-7,
    "output_cost_per_token_priority": 4.5e-6,
}
NOVA = {
    "input_cost_per_token": 6e-8,
    "cache_read_input_token_cost": 1.5e-8,
    "output_cost_per_token": 2.4e-7,
}
DEEPSEEK = {
    "input_cost_per_token": 2.8e-7,
    "cache_read_input_token_cost": 2.8e-8,
    "cache_creation_input_token_cost": 0.0,
    "output_cost_per_token": 4.2e-7,
}
QWEN = {
    "tiered_pricing": [
        {"range": [0, 256000.0], "input_cost_per_token": 5e-8, "output_cost_per_token": 4e-7},
        {
            "range": [256000.0, 1000000.0],
            "input_cost_per_token": 2.5e-7,
            "output_cost_per_token": 2e-6,
        },
    ]
}


def price(entry: dict[str, Any]) -> Price:
    found = Price.from_entry(entry)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("entry", "usage", "nano_usd"),
    [
        # 1000 x 2.5e-6 + 300 x 1e-5 = 0.0055
        pytest.param(GPT_4O, Usage(prompt_tokens=1000, completion_tokens=300), 5_500_000),
        # 200 x 2.5e-6 + 800 x 1.25e-6 + 300 x 1e-5 = 0.0045
        pytest.param(
            GPT_4O,
            Usage(prompt_tokens=1000, cached_tokens=800, completion_tokens=300),
            4_500_000,
            id="openai cached",
        ),
        # 200 x 4.25e-6 + 800 x 2.125e-6 + 300 x 1.7e-5 = 0.00765
        pytest.param(
            GPT_4O,
            Usage(
                prompt_tokens=1000,
                cached_tokens=800,
                completion_tokens=300,
                service_tier="priority",
            ),
            7_650_000,
            id="openai priority",
        ),
        # the response says `default`: 0.0055
        pytest.param(
            GPT_4O,
            Usage(prompt_tokens=1000, completion_tokens=300, service_tier="default"),
            5_500_000,
            id="openai default tier",
        ),
        # no figure for flex: the standard one, 0.0055
        pytest.param(
            GPT_4O,
            Usage(prompt_tokens=1000, completion_tokens=300, service_tier="flex"),
            5_500_000,
            id="openai tier without figures",
        ),
        # reasoning is output: 100 x 2e-6 + 900 x 8e-6 = 0.0074
        pytest.param(
            O3,
            Usage(prompt_tokens=100, completion_tokens=900, reasoning_tokens=700),
            7_400_000,
            id="openai reasoning",
        ),
        # 60 x 1e-6 + 40 x 2.5e-7 + 900 x 4e-6 = 0.00367
        pytest.param(
            O3,
            Usage(
                prompt_tokens=100,
                cached_tokens=40,
                completion_tokens=900,
                reasoning_tokens=700,
                service_tier="flex",
            ),
            3_670_000,
            id="openai flex",
        ),
        # 20 x 2.5e-6 + 80 x 4e-5 + 50 x 1e-5 + 150 x 8e-5 = 0.01575
        pytest.param(
            GPT_AUDIO,
            Usage(
                prompt_tokens=100,
                prompt_audio_tokens=80,
                completion_tokens=200,
                completion_audio_tokens=150,
            ),
            15_750_000,
            id="openai audio",
        ),
        # 1000 x 3e-6 + 5000 x 3e-7 + 1500 x 3.75e-6 + 500 x 6e-6 + 400 x 1.5e-5 = 0.019125
        pytest.param(
            SONNET,
            Usage(
                prompt_tokens=8000,
                cached_tokens=5000,
                cache_write_tokens=2000,
                cache_write_1h_tokens=500,
                completion_tokens=400,
            ),
            19_125_000,
            id="anthropic cache read, 5 minute and 1 hour writes",
        ),
        # 200000 is not above 200000: 200000 x 3e-6 + 100 x 1.5e-5 = 0.6015
        pytest.param(
            SONNET,
            Usage(prompt_tokens=200_000, completion_tokens=100),
            601_500_000,
            id="anthropic at the threshold",
        ),
        # all at the long rate: 100000 x 6e-6 + 100000 x 6e-7 + 40000 x 7.5e-6 + 10000 x 1.2e-5
        # + 1000 x 2.25e-5 = 0.6 + 0.06 + 0.3 + 0.12 + 0.0225 = 1.1025
        pytest.param(
            SONNET,
            Usage(
                prompt_tokens=250_000,
                cached_tokens=100_000,
                cache_write_tokens=50_000,
                cache_write_1h_tokens=10_000,
                completion_tokens=1000,
            ),
            1_102_500_000,
            id="anthropic above 200k",
        ),
        # 150000 x 2.5e-6 + 100000 x 2.5e-7 + 2000 x 1.5e-5 = 0.43
        pytest.param(
            GEMINI_PRO,
            Usage(prompt_tokens=250_000, cached_tokens=100_000, completion_tokens=2000),
            430_000_000,
            id="gemini above 200k",
        ),
        # 250000 x 4.5e-6 + 2000 x 2.7e-5 = 1.179
        pytest.param(
            GEMINI_PRO,
            Usage(prompt_tokens=250_000, completion_tokens=2000, service_tier="PRIORITY"),
            1_179_000_000,
            id="gemini above 200k, priority",
        ),
        # 700 x 3e-7 + 300 x 1e-6 + 210 x 2.5e-6 + 1290 x 3e-5 = 0.039735
        pytest.param(
            GEMINI_FLASH,
            Usage(
                prompt_tokens=1000,
                prompt_audio_tokens=300,
                completion_tokens=1500,
                completion_image_tokens=1290,
            ),
            39_735_000,
            id="gemini audio in, image out",
        ),
        # priority's output price stands before the general one for thinking: 1000 x 4.5e-6
        pytest.param(
            GEMINI_FLASH,
            Usage(completion_tokens=1000, reasoning_tokens=900, service_tier="priority"),
            4_500_000,
            id="gemini thinking, priority",
        ),
        # 500 x 6e-8 + 500 x 1.5e-8 + 10 x 2.4e-7 = 0.0000399
        pytest.param(
            NOVA,
            Usage(prompt_tokens=1000, cached_tokens=500, completion_tokens=10),
            39_900,
            id="bedrock nova",
        ),
        # misses 300 x 2.8e-7 + hits 700 x 2.8e-8 + 100 x 4.2e-7 = 0.0001456
        pytest.param(
            DEEPSEEK,
            Usage(prompt_tokens=1000, cached_tokens=700, completion_tokens=100),
            145_600,
            id="deepseek cache hits",
        ),
        # 256000 x 5e-8 + 10 x 4e-7 = 0.012804
        pytest.param(
            QWEN,
            Usage(prompt_tokens=256_000, completion_tokens=10),
            12_804_000,
            id="alibaba first tier",
        ),
        # 256001 x 2.5e-7 + 10 x 2e-6 = 0.06402025; without a cache price, cached is input
        pytest.param(
            QWEN,
            Usage(prompt_tokens=256_001, cached_tokens=1000, completion_tokens=10),
            64_020_250,
            id="alibaba second tier",
        ),
    ],
)
def test_a_usage_costs_what_it_costs_by_hand(
    entry: dict[str, Any], usage: Usage, nano_usd: int
) -> None:
    assert price(entry).cost_nano_usd(usage) == nano_usd


def test_a_threshold_may_hold_from_the_first_token_that_reaches_it() -> None:
    entry = GEMINI_PRO | {"threshold_inclusive": True}
    usage = Usage(prompt_tokens=200_000)
    assert price(entry).cost_nano_usd(usage) == 500_000_000
    assert price(GEMINI_PRO).cost_nano_usd(usage) == 250_000_000
    assert price(entry).digest != price(GEMINI_PRO).digest


def test_of_several_thresholds_the_highest_that_is_exceeded_holds() -> None:
    entry = {
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 0,
        "input_cost_per_token_above_128k_tokens": 2e-6,
        "input_cost_per_token_above_512k_tokens": 4e-6,
    }
    costs = [
        price(entry).cost_nano_usd(Usage(prompt_tokens=count)) // count
        for count in (128_000, 128_001, 512_000, 512_001)
    ]
    assert costs == [1000, 2000, 2000, 4000]


@pytest.mark.parametrize(
    ("tokens", "nano_usd"), [(1, 0), (2, 1), (3, 2), (5, 2), (6, 3), (7, 4), (1_000_001, 500_000)]
)
def test_a_cost_is_rounded_once_half_even(tokens: int, nano_usd: int) -> None:
    half_a_nano = price({"input_cost_per_token": 5e-10, "output_cost_per_token": 0})
    assert half_a_nano.cost_nano_usd(Usage(prompt_tokens=tokens)) == nano_usd


def test_parts_are_not_rounded_apart() -> None:
    entry = {"input_cost_per_token": 5e-10, "output_cost_per_token": 5e-10}
    usage = Usage(prompt_tokens=1, completion_tokens=1)
    assert price(entry).cost_nano_usd(usage) == 1


def test_a_figure_is_read_from_its_text_and_not_from_its_binary_value() -> None:
    entry = {"input_cost_per_token": 1.1e-7, "output_cost_per_token": 3.3e-7}
    # 10^12 tokens show an error of one in 10^15.
    usage = Usage(prompt_tokens=10**12, completion_tokens=10**12)
    assert price(entry).cost_nano_usd(usage) == 440_000 * 10**9
    assert price(entry).figure("input_cost_per_token") == "0.00000011"


def test_what_the_cache_covered_is_not_charged_again_as_audio() -> None:
    usage = Usage(prompt_tokens=100, cached_tokens=90, prompt_audio_tokens=80)
    # 10 audio x 4e-5 + 90 cached, for want of another price, x 2.5e-6
    assert price(GPT_AUDIO).cost_nano_usd(usage) == 625_000


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"input_cost_per_token": 1e-6}, id="no output"),
        pytest.param({"cost_per_second": 0.002, "input_cost_per_second": 0.002}, id="seconds"),
        pytest.param(
            {"input_cost_per_character": 5e-6, "output_cost_per_character": 1e-5}, id="characters"
        ),
        pytest.param(
            {
                "input_cost_per_token": 0.0,
                "output_cost_per_token": 2.8e-6,
                "input_cost_per_request": 0.005,
            },
            id="requests",
        ),
        pytest.param(
            {"input_cost_per_token": 0, "output_cost_per_token": 0, "output_cost_per_image": 0.08},
            id="songs",
        ),
    ],
)
def test_what_tokens_do_not_tell_is_unpriced_and_never_zero(entry: dict[str, Any]) -> None:
    assert Price.from_entry(entry) is None


def test_an_explicit_zero_is_a_price() -> None:
    free = price({"input_cost_per_token": 0, "output_cost_per_token": 0.0})
    assert free.cost_nano_usd(Usage(prompt_tokens=1000, completion_tokens=1000)) == 0
    assert free.bound_nano_usd(1000, 1000) == 0


@pytest.mark.parametrize("figure", [-1e-6, "dear", float("inf"), float("nan"), True, [1]])
def test_a_figure_that_is_no_price_is_refused(figure: object) -> None:
    with pytest.raises(ValueError, match="output_cost_per_token: not a price"):
        Price.from_entry({"input_cost_per_token": 1e-6, "output_cost_per_token": figure})


def test_equal_figures_have_one_digest_however_they_are_written() -> None:
    same = [
        {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 0, "max_tokens": 5},
        {"output_cost_per_token": 0.0, "input_cost_per_token": "0.00000250"},
    ]
    first, second = map(price, same)
    assert first == second
    assert first.digest == second.digest
    assert len(first.digest) * 4 >= 128
    assert price(GPT_4O).digest != first.digest


def test_tiers_as_a_list_and_as_names_are_one_price() -> None:
    named = {
        f"{kind}{above}": figures[index]
        for index, above in enumerate(("", "_above_256k_tokens"))
        for kind, figures in {
            "input_cost_per_token": (5e-8, 2.5e-7),
            "cache_read_input_token_cost": (5e-8, 2.5e-7),
            "cache_creation_input_token_cost": (5e-8, 2.5e-7),
            "output_cost_per_token": (4e-7, 2e-6),
            "output_cost_per_reasoning_token": (4e-7, 2e-6),
        }.items()
    }
    usage = Usage(prompt_tokens=300_000, cached_tokens=9, completion_tokens=70, reasoning_tokens=60)
    assert price(named).cost_nano_usd(usage) == price(QWEN).cost_nano_usd(usage)


def test_a_tier_without_output_keeps_the_models_own() -> None:
    tiers = [
        {"range": [0, 1000], "input_cost_per_token": 1e-6},
        {"range": [1000, 2000], "input_cost_per_token": 2e-6},
    ]
    entry = {"tiered_pricing": tiers, "output_cost_per_token": 3e-6}
    usage = Usage(prompt_tokens=1500, completion_tokens=100)
    assert price(entry).cost_nano_usd(usage) == 3_300_000


@pytest.mark.parametrize("entry", [GPT_4O, SONNET, GEMINI_FLASH, QWEN])
def test_a_document_describes_its_price_completely(entry: dict[str, Any]) -> None:
    original = price(entry | {"threshold_inclusive": True})
    restored = Price.from_document(original.document())
    assert restored == original
    usage = Usage(
        prompt_tokens=256_000, cached_tokens=7, completion_tokens=99, service_tier="priority"
    )
    assert restored.cost_nano_usd(usage) == original.cost_nano_usd(usage)


def test_another_document_is_refused() -> None:
    with pytest.raises(ValueError, match="not a price's document"):
        Price.from_document("{}")


def test_a_bound_covers_tiers_and_kinds_but_no_threshold_out_of_reach() -> None:
    sonnet = price(SONNET)
    assert sonnet.bound_nano_usd(200_000, 0) == 200_000 * 6000  # 1 hour writes
    assert sonnet.bound_nano_usd(200_001, 0) == 200_001 * 12000
    assert price(GPT_4O).bound_nano_usd(1000, 300) == 1000 * 4250 + 300 * 17000  # priority


@pytest.mark.parametrize("tier", ["", "_flex", "_priority"])
@pytest.mark.parametrize("kind", figures.KINDS)
def test_a_bound_is_as_high_as_the_dearest_kind_and_tier(kind: str, tier: str) -> None:
    cheap = dict.fromkeys(figures.KINDS, 1e-6)
    bound = price(cheap | {f"{kind}{tier}": 5e-6}).bound_nano_usd(10, 10)
    assert bound == 10 * 5000 + 10 * 1000


def test_a_bound_is_rounded_up() -> None:
    entry = {"input_cost_per_token": 1e-10, "output_cost_per_token": 0}
    assert price(entry).bound_nano_usd(1, 0) == 1
