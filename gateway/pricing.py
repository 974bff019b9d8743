"""Prices: what does a usage cost, to the nano-dollar?

All arithmetic is exact: a price holds its figures as integers over one power of ten, and a cost
is rounded once, half-even. The request's whole usage is charged at one sheet of rates, chosen by
the service tier that served it and by the size of its prompt, as OpenAI, Anthropic, Google and
Alibaba do ("all tokens, input and output, are charged at long context rates").

Not covered, because a usage does not count them: web searches and other tools that a provider
runs, cache storage by the hour, video tokens (charged as text), and cached audio (as cached
text).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway import figures
from gateway.figures import Figures, discounted, figures_of, text_of
from gateway.hours import WINDOWS, Hours
from gateway.rates import NANO_USD, Highest, Rates, Sheets, all_sheets, highest, scale_of
from gateway.usage import Usage

INCLUSIVE = "threshold_inclusive"
OFF_PEAK = "off_peak_pricing"
_DIGEST_CHARACTERS = 32  # 128 bits

# What providers call the tier that served a request. `fast` is Anthropic's and OpenAI's name for
# priority; every other name (`default`, `standard`, `auto`, `scale`, …) costs the standard rate.
_TIERS_BY_NAME = {tier: tier for tier in figures.TIERS} | {"fast": "priority"}


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost. Content-addressed: `digest` names exactly these figures."""

    digest: str
    _document: str = field(repr=False, compare=False)
    _scale: int = field(repr=False, compare=False)
    _standard: Sheets = field(repr=False, compare=False)
    _tiers: Mapping[str, Sheets] = field(repr=False, compare=False)
    _highest: Highest = field(repr=False, compare=False)
    _off_peak: tuple[Hours, Price] | None = field(repr=False, compare=False)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Price | None:
        """The price in an entry with litellm's names, in dollars (numbers or decimal text).

        None where tokens alone do not tell the price; an explicit 0 is a price. With
        `threshold_inclusive` a threshold already holds when the prompt reaches it.
        Raises `ValueError` for a figure that is no price.
        """
        stated = figures_of(entry)
        if stated is None:
            return None
        inclusive = bool(entry.get(INCLUSIVE))
        block = entry.get(OFF_PEAK)
        if not block:
            return cls._of(stated, _document(stated, inclusive), inclusive)
        cheap = discounted(stated, block)
        off_peak = Hours.of(block), cls._of(cheap, _document(cheap, inclusive), inclusive)
        return cls._of(stated, _document(stated, inclusive, block), inclusive, off_peak)

    @classmethod
    def _of(
        cls,
        stated: Figures,
        document: str,
        inclusive: bool,
        off_peak: tuple[Hours, Price] | None = None,
    ) -> Price:
        scale = scale_of(stated)
        sheets = all_sheets(stated, scale, inclusive)
        return cls(
            digest=hashlib.sha256(document.encode()).hexdigest()[:_DIGEST_CHARACTERS],
            _document=document,
            _scale=scale // NANO_USD,
            _standard=sheets[None],
            _tiers={name: sheets[t] for name, t in _TIERS_BY_NAME.items() if t in sheets},
            _highest=highest(sheets.values()),
            _off_peak=off_peak,
        )

    @classmethod
    def from_document(cls, document: str) -> Price:
        """The price that a `document()` describes."""
        price = cls.from_entry(orjson.loads(document))
        if price is None:
            raise ValueError("not a price's document")
        return price

    def document(self) -> str:
        """The figures as canonical JSON: sorted names, decimal text, dollars per token."""
        return self._document

    def figure(self, name: str) -> str | None:
        """One figure's decimal text, in dollars per token."""
        found: str | None = orjson.loads(self._document).get(name)
        return found

    def cost_nano_usd(self, usage: Usage, at_s: float | None = None) -> int:
        """The cost of `usage`, rounded once, half-even.

        `at_s` is when the request ended, in unix seconds, now if not given: off-peak prices go by
        it (DeepSeek: "determined by the timestamp of its completion").
        """
        if self._off_peak is not None:
            hours, cheap = self._off_peak
            if hours.include(time.time() if at_s is None else at_s):
                return cheap.cost_nano_usd(usage)
        tier = usage.service_tier
        sheets = self._standard if tier is None else self._tiers.get(tier.lower(), self._standard)
        prompt = usage.prompt_tokens
        rates = next(rates for above, rates in sheets if prompt > above)
        total = _prompt_cost(rates, usage) + _completion_cost(rates, usage)
        quotient, rest = divmod(total, self._scale)
        twice = 2 * rest
        if twice > self._scale or (twice == self._scale and quotient & 1):
            quotient += 1
        return quotient

    def bound_nano_usd(self, prompt_tokens: int, completion_tokens: int) -> int:
        """An upper bound for a call with at most these counts, whatever kinds they turn out to be.

        It holds for every hour, every service tier and every threshold within `prompt_tokens`.
        """
        reachable = (pair for above, *pair in self._highest if prompt_tokens > above)
        prompt_rate, completion_rate = next(reachable)
        total = prompt_tokens * prompt_rate + completion_tokens * completion_rate
        bound = -(-total // self._scale)
        if self._off_peak is not None:
            bound = max(bound, self._off_peak[1].bound_nano_usd(prompt_tokens, completion_tokens))
        return bound


def _prompt_cost(rates: Rates, usage: Usage) -> int:
    """Cache and media counts may overlap: what the cache covered is not charged a second time."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    audio, image = usage.prompt_audio_tokens, usage.prompt_image_tokens
    if not (cached or written or audio or image):
        return usage.prompt_tokens * rates.input
    rest = max(0, usage.prompt_tokens - cached - written)
    audio = min(audio, rest)
    image = min(image, rest - audio)
    written_1h = min(usage.cache_write_1h_tokens, written)
    return (
        (rest - audio - image) * rates.input
        + cached * rates.cached
        + (written - written_1h) * rates.written
        + written_1h * rates.written_1h
        + audio * rates.input_audio
        + image * rates.input_image
    )


def _completion_cost(rates: Rates, usage: Usage) -> int:
    reasoning = usage.reasoning_tokens
    audio, image = usage.completion_audio_tokens, usage.completion_image_tokens
    if not (reasoning or audio or image):
        return usage.completion_tokens * rates.output
    return (
        max(0, usage.completion_tokens - reasoning - audio - image) * rates.output
        + reasoning * rates.reasoning
        + audio * rates.output_audio
        + image * rates.output_image
    )


def _document(stated: Figures, inclusive: bool, off_peak: Mapping[str, Any] | None = None) -> str:
    content: dict[str, object] = {name: text_of(figure) for name, figure in stated.items()}
    if off_peak:
        cheap = discounted({}, off_peak)
        texts = {name: text_of(figure) for name, figure in cheap.items()}
        content[OFF_PEAK] = {n: off_peak[n] for n in WINDOWS if n in off_peak} | texts
    if inclusive:
        content[INCLUSIVE] = True
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()
