"""The reserve: for how long an answer does a stream hold money, and for how much more next?

Where the caller sets no limit, holding the model's longest answer would shut out others for
nothing. Such a stream holds a first part, and more before it passes on more. That is safe only
where every token that is billed is seen to come, so models that reason in hidden tokens, or that
nobody knows enough of, hold their longest answer from the start.
"""

from __future__ import annotations

from bisect import bisect_right

from gateway.exchange import Call
from gateway.pricing import Price
from gateway.tokens import answer_tokens, bound_completion_tokens
from gateway.worstcase import bound_prompt, can_grow

_LEAST_STEP_TOKENS = 64


def reserve_of(call: Call, each_tokens: int) -> Reserve | None:
    """What a stream begins with, for choices of `each_tokens`; None: with its worst case."""
    body, model = call.body, call.chosen.model
    if model.price is None or not can_grow(body, model):
        return None
    first, most = answer_tokens(body, each_tokens), bound_completion_tokens(body, model)
    if most is not None and first >= most:
        return None
    return Reserve(model.price, bound_prompt(body, model), first, most)


class Reserve:
    """An answer of at most `tokens` is paid for by `bound_nano_usd`, its prompt included."""

    __slots__ = ("_most", "_price", "_prompt", "_step", "bound_nano_usd", "tokens", "top_ups")

    def __init__(self, price: Price, prompt_tokens: int, first: int, most: int | None) -> None:
        self._price = price
        self._prompt = prompt_tokens
        self._step = first
        self._most = most
        self.tokens = first
        self.bound_nano_usd = price.bound_nano_usd(prompt_tokens, first)
        self.top_ups = 0

    def covers(self, tokens: int) -> bool:
        """Is so much of an answer paid for? All of it is once its longest is."""
        return tokens <= self.tokens or self.tokens == self._most

    def next(self, needed: int) -> int:
        """A length to ask for when `needed` tokens are not covered: so many steps more."""
        steps = -(-(needed - self.tokens) // self._step)
        return self._at_most(self.tokens + steps * self._step)

    def least(self, needed: int) -> int:
        """The shortest length that is worth asking for."""
        return self._at_most(max(needed, self.tokens + _LEAST_STEP_TOKENS))

    def affordable(self, tokens: int, left_nano_usd: int) -> int:
        """The longest length up to `tokens` that so much more money pays for."""
        longer = range(self.tokens, tokens + 1)
        return self.tokens - 1 + bisect_right(longer, left_nano_usd, key=self.price_of)

    def price_of(self, tokens: int) -> int:
        """What has to be held beside what is, for an answer of so many tokens."""
        return self._price.bound_nano_usd(self._prompt, tokens) - self.bound_nano_usd

    def reach(self, tokens: int) -> None:
        """The money for so many tokens is held now."""
        self.bound_nano_usd += self.price_of(tokens)
        self.tokens = tokens
        self.top_ups += 1

    def _at_most(self, tokens: int) -> int:
        return tokens if self._most is None else min(tokens, self._most)
