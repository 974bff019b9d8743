"""Prices: what does a usage cost, to the nano-dollar?

All arithmetic is exact: a price holds its figures as integers over one power of ten, and a cost
is rounded once, half-even. The request's whole usage is charged at one sheet of rates, chosen by
the service tier that served it and by the size of its prompt, as OpenAI, Anthropic, Google and
Alibaba do ("all tokens, input and output, are charged at long context rates").

Not covered, because a usage does not count them: web searches and other tools that a provider
runs, cache storage by the hour, video tokens (charged as text), and cached audio (as cached
text). Off-peak discounts are not applied: such a model costs its standard price.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from gateway import figures
from gateway.figures import Figures, figure_name, figures_of, text_of
from gateway.usage import Usage

_INCLUSIVE = "threshold_inclusive"
_NANO_DECIMALS = 9
_DIGEST_CHARACTERS = 32  # 128 bits

# What providers call the tier that served a request. `fast` is Anthropic's and OpenAI's name for
# priority; every other name (`default`, `standard`, `auto`, `scale`, …) costs the standard rate.
_TIERS_BY_NAME = {tier: tier for tier in figures.TIERS} | {"fast": "priority"}


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


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost. Content-addressed: `digest` names exactly these figures."""

    digest: str
    _document: str = field(repr=False, compare=False)
    _scale: int = field(repr=False, compare=False)
    _standard: Sheets = field(repr=False, compare=False)
    _tiers: Mapping[str, Sheets] = field(repr=False, compare=False)
    _highest: tuple[tuple[int, int, int], ...] = field(repr=False, compare=False)

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
        inclusive = bool(entry.get(_INCLUSIVE))
        document = _document(stated, inclusive)
        scale = _scale(stated)
        sheets = {tier: _sheets(stated, tier, scale, inclusive) for tier in _tiers(stated)}
        return cls(
            digest=hashlib.sha256(document.encode()).hexdigest()[:_DIGEST_CHARACTERS],
            _document=document,
            _scale=scale // 10**_NANO_DECIMALS,
            _standard=sheets[None],
            _tiers={name: sheets[t] for name, t in _TIERS_BY_NAME.items() if t in sheets},
            _highest=_highest(sheets.values()),
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

    def cost_nano_usd(self, usage: Usage) -> int:
        """The cost of `usage`, rounded once, half-even."""
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

        It holds for every service tier and every threshold that `prompt_tokens` can exceed.
        """
        highest = (pair for above, *pair in self._highest if prompt_tokens > above)
        prompt_rate, completion_rate = next(highest)
        total = prompt_tokens * prompt_rate + completion_tokens * completion_rate
        return -(-total // self._scale)


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


def _document(stated: Figures, inclusive: bool) -> str:
    content: dict[str, object] = {name: text_of(figure) for name, figure in stated.items()}
    if inclusive:
        content[_INCLUSIVE] = True
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()


def _scale(stated: Figures) -> int:
    """The smallest power of ten, at least a nano-dollar's, over which all figures are integers."""
    decimals = (len(text_of(figure).partition(".")[2]) for figure in stated.values())
    return int(10 ** max(_NANO_DECIMALS, *decimals))


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


def _highest(all_sheets: Iterable[Sheets]) -> tuple[tuple[int, int, int], ...]:
    """By prompt size, largest first: the dearest input and output that such a prompt can meet."""
    pairs = sorted((pair for sheets in all_sheets for pair in sheets), key=lambda pair: pair[0])
    found: list[tuple[int, int, int]] = []
    prompt_rate = completion_rate = 0
    for above, rates in pairs:
        prompt_rate = max(prompt_rate, *rates[:6])
        completion_rate = max(completion_rate, *rates[6:])
        found.append((above, prompt_rate, completion_rate))
    return tuple(reversed(found))
