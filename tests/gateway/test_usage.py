"""Usage as providers report it, in OpenAI's shape and the dialects of it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.usage import Usage, usage_from_openai

OPENAI = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 5, "image_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 7, "image_tokens": 8},
}


def test_all_kinds_are_read() -> None:
    assert usage_from_openai(OPENAI, "priority") == Usage(
        prompt_tokens=100,
        cached_tokens=40,
        prompt_audio_tokens=5,
        prompt_image_tokens=6,
        completion_tokens=50,
        reasoning_tokens=20,
        completion_audio_tokens=7,
        completion_image_tokens=8,
        service_tier="priority",
    )


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        ({"cache_read_input_tokens": 9}, {"cached_tokens": 9}),
        ({"prompt_cache_hit_tokens": 9}, {"cached_tokens": 9}),
        ({"cache_creation_input_tokens": 8}, {"cache_write_tokens": 8}),
        (
            {"prompt_tokens_details": {"cache_creation_tokens": 8}},
            {"cache_write_tokens": 8},
        ),
        (
            {
                "prompt_tokens_details": {
                    "cache_creation_tokens": 8,
                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 3},
                }
            },
            {"cache_write_tokens": 8, "cache_write_1h_tokens": 3},
        ),
    ],
)
def test_other_names_for_cached_tokens_are_known(extra: Any, wanted: Any) -> None:
    plain = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    assert usage_from_openai({**plain, **extra}) == Usage(
        prompt_tokens=20, completion_tokens=1, **wanted
    )


@pytest.mark.parametrize("body", [None, {}, [], "usage", {"completion_tokens": 3}])
def test_no_usage_is_none(body: object) -> None:
    assert usage_from_openai(body) is None


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(-3, 0), (None, 0), ("7", 0), (True, 0), (2.0, 2), (-1.5, 0), (2**80, 10**12), (1e30, 10**12)],
)
def test_counts_of_no_sense_stay_within_bounds(count: object, wanted: int) -> None:
    usage = usage_from_openai({"prompt_tokens": count, "completion_tokens": 0})
    assert usage == Usage(prompt_tokens=wanted)


def test_details_that_are_none_are_nothing() -> None:
    body = {**OPENAI, "prompt_tokens_details": None, "completion_tokens_details": [1]}
    assert usage_from_openai(body) == Usage(prompt_tokens=100, completion_tokens=50)


def test_the_total_is_the_sum() -> None:
    assert Usage(prompt_tokens=2, completion_tokens=3).total_tokens == 5
