"""Prices against litellm's own calculator: every difference has a reason here.

litellm runs in a process of its own, off the network. It answers in floats of dollars, so costs
agree when they differ by no more than rounding. A reason that no longer explains anything fails
the test as well: then the table or litellm has changed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.catalog import Catalog, load_table
from gateway.targets import Provider
from gateway.usage import Usage

FAMILIES = (
    *("openai", "azure", "anthropic", "gemini", "vertex_ai", "bedrock", "deepseek", "mistral"),
    *("cohere_chat", "groq", "xai", "dashscope", "fireworks_ai", "perplexity", "together_ai"),
    *("databricks", "snowflake"),
)
MODELS_PER_FAMILY = 40
OFF_PEAK_S = datetime(2026, 11, 3, 5, tzinfo=UTC).timestamp()  # by DeepSeek's hours

USAGES: dict[str, dict[str, Any]] = {
    "plain": {"prompt_tokens": 1200, "completion_tokens": 350},
    "cached": {"prompt_tokens": 10_000, "cached_tokens": 4000, "completion_tokens": 350},
    "written": {
        "prompt_tokens": 10_000,
        "cached_tokens": 2000,
        "cache_write_tokens": 3000,
        "cache_write_1h_tokens": 1000,
        "completion_tokens": 350,
    },
    "reasoning": {"prompt_tokens": 1000, "completion_tokens": 800, "reasoning_tokens": 500},
    "audio": {
        "prompt_tokens": 1000,
        "prompt_audio_tokens": 300,
        "completion_tokens": 800,
        "completion_audio_tokens": 500,
    },
    "image": {
        "prompt_tokens": 1000,
        "prompt_image_tokens": 300,
        "completion_tokens": 1500,
        "completion_image_tokens": 1290,
    },
    "at the threshold": {"prompt_tokens": 200_000, "completion_tokens": 100},
    "long": {
        "prompt_tokens": 300_000,
        "cached_tokens": 100_000,
        "cache_write_tokens": 10_000,
        "completion_tokens": 2000,
    },
    "flex": {
        "prompt_tokens": 10_000,
        "cached_tokens": 4000,
        "completion_tokens": 350,
        "service_tier": "flex",
    },
    "priority": {
        "prompt_tokens": 10_000,
        "cached_tokens": 4000,
        "completion_tokens": 350,
        "reasoning_tokens": 50,
        "service_tier": "priority",
    },
    "long, priority": {
        "prompt_tokens": 300_000,
        "cached_tokens": 4000,
        "completion_tokens": 350,
        "service_tier": "priority",
    },
}


@dataclass(frozen=True)
class Difference:
    """One usage at one model: our nano-dollars and litellm's dollars. None: no price."""

    family: str
    model: str
    usage: str
    entry: dict[str, Any]
    ours: int | None
    theirs: float | None


# Each reason, and what it explains.
REASONS: dict[str, Callable[[Difference], bool]] = {
    "litellm says 0 where it knows no price per token; we say unpriced": lambda d: (
        d.ours is None and d.theirs == 0
    ),
    "priced per second or request as well, which litellm leaves out; we do not": lambda d: (
        d.ours is None and ("pegasus" in d.model or bool(d.entry.get("input_cost_per_request")))
    ),
    "litellm refuses to price partners' models on Vertex AI by these names": lambda d: (
        d.family == "vertex_ai" and d.theirs is None
    ),
    "litellm does not pass Fireworks' service tier on; the table has its price": lambda d: (
        d.family == "fireworks_ai" and "priority" in d.usage
    ),
    "litellm charges Perplexity's cached tokens as new ones; the table has their price": lambda d: (
        d.family == "perplexity"
        and "cached_tokens" in USAGES[d.usage]
        and "cache_read_input_token_cost" in d.entry
    ),
    "litellm takes perplexity/perplexity/sonar for perplexity/sonar": lambda d: (
        (d.family, d.model) == ("perplexity", "perplexity/sonar")
    ),
}


def chosen(names: list[str]) -> list[str]:
    """At most so many names, evenly spread."""
    step = max(1, len(names) // MODELS_PER_FAMILY)
    return names[::step]


def entry_of(table: dict[str, Any], family: str, model: str) -> dict[str, Any]:
    entry: dict[str, Any] = table.get(f"{family}/{model}") or table.get(model) or {}
    return entry


def litellm_dollars(models: list[tuple[str, str]]) -> list[list[float | None]]:
    request = json.dumps({"at_s": OFF_PEAK_S, "models": models, "usages": list(USAGES.values())})
    script = Path(__file__).parent / "litellm_costs.py"
    done = subprocess.run(
        [sys.executable, str(script)], input=request, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[list[float | None]] = json.loads(done.stdout)
    return answers


def agree(ours: int | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is None and theirs is None
    return abs(ours - theirs * 1e9) <= 0.51 + theirs * 1e9 * 1e-12


def differences(models: list[tuple[str, str]], catalog: Catalog) -> Iterator[Difference]:
    table = load_table()
    for (family, name), answers in zip(models, litellm_dollars(models), strict=True):
        provider = Provider(name=family, kind=family, lane="library")
        price = catalog.model(provider, name).price
        for (usage, counts), theirs in zip(USAGES.items(), answers, strict=True):
            ours = None if price is None else price.cost_nano_usd(Usage(**counts), OFF_PEAK_S)
            if not agree(ours, theirs):
                entry = entry_of(table, family, name)
                yield Difference(family, name, usage, entry, ours, theirs)


def test_each_difference_to_litellms_calculator_is_explained() -> None:
    catalog = Catalog.load({})
    models = [
        (family, name)
        for family in FAMILIES
        for name in chosen(catalog.names(family, responses=True))
    ]
    assert len(models) > 400
    explained: Counter[str] = Counter()
    unexplained = []
    for difference in differences(models, catalog):
        reasons = [reason for reason, holds in REASONS.items() if holds(difference)]
        explained.update(reasons)
        if not reasons:
            unexplained.append(difference)
    assert unexplained == []
    assert set(explained) == set(REASONS)
    # Most agree: the reasons are exceptions, not the rule.
    assert sum(explained.values()) < len(models) * len(USAGES) / 5
