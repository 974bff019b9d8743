"""The worst case: what can an attempt cost at most, when can nobody say, and where is it less?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from gateway.exchange import JSON, Call
from gateway.targets import Model, Target
from gateway.tokens import answer_tokens, bound_completion_tokens, bound_prompt_tokens

# What an attempt is bound to where neither the caller nor anybody's table names a longest answer.
UNKNOWN_LIMIT_TOKENS = 16_384

# What a caller asks a provider to do, and to charge for, beside answering.
_PROVIDERS_OWN = frozenset(
    ("web_search_options", "enable_search", "search_parameters", "plugins", "mcp_servers")
)
# What has a router behind the target answer with another model, at that one's price.
_OTHER_MODELS = frozenset(("models", "fallbacks"))
_LIMITS = ("max_tokens", "max_completion_tokens")
_RENAMED = frozenset({"openai", "azure"})  # their newer models refuse the older name
_LEAST_ANSWER_TOKENS = 64
_USUAL_RESERVE_TOKENS = 4096
# What asks for tokens that need not be seen: reasoning, speech, images, what is rejected.
_UNSEEN = frozenset(
    ("reasoning_effort", "reasoning", "thinking", "modalities", "prediction", "best_of")
)
_CALLERS_TOOLS = frozenset({"function", "custom"})


def bound_nano_usd(call: Call) -> int | None:
    """The worst case of an attempt; None where the price is unknown."""
    model = call.chosen.model
    if model.price is None:
        return None
    completion = bound_completion_tokens(call.body, model)
    if completion is None:
        completion = UNKNOWN_LIMIT_TOKENS * (call.body.get("n") or 1)
    return model.price.bound_nano_usd(bound_prompt(call.body, model), completion)


def bound_prompt(body: JSON, model: Model) -> int:
    """At least as many tokens as the prompt has at this model."""
    return bound_prompt_tokens(body, model.max_image_tokens)


def can_grow(body: JSON, model: Model) -> bool:
    """Can what a stream holds follow what comes of it? Only if all that is billed is seen."""
    return (
        body.get("stream") is True
        and model.hidden_reasoning is False
        and not any(map(body.get, _LIMITS))
        and not _asks_for(body, _UNSEEN)
    )


def unbounded(body: JSON, model: Model, *, topped_up: bool = False) -> str | None:
    """Why `bound_nano_usd` is no upper bound; None if it is one.

    Of a stream that is `topped_up` if possible, nobody has to know the longest answer.
    """
    if model.price is None:
        return "its price is not known"
    longest = model.max_completion_tokens or bound_completion_tokens(body, model)
    if longest is None and not (topped_up and can_grow(body, model)):
        return "its longest answer is not known; send max_tokens"
    if _asks_for(body, _PROVIDERS_OWN) or any(_own_tools(body)):
        return "tools that the provider runs cost what they will"
    if _asks_for(body, _OTHER_MODELS):
        return "other models that the provider may turn to have other prices"
    if any(_by_reference(body, model)):
        return "the size of what is sent by reference is not known; send it inline"
    return None


def shortened(call: Call, left_nano_usd: int) -> tuple[Call, int] | None:
    """The call with the longest answer that so much money pays for, and how long that is.

    Only where the caller sets no limit and the whole answer comes at once; None also where hardly
    an answer would be left.
    """
    body, model = call.body, call.chosen.model
    longest = model.max_completion_tokens or model.context_window
    if call.stream or model.price is None or longest is None or any(map(body.get, _LIMITS)):
        return None
    name = _LIMITS[call.chosen.provider.kind in _RENAMED]
    prompt, price = bound_prompt(body, model), model.price

    def too_much(tokens: int) -> bool:
        completion = bound_completion_tokens({**body, name: tokens}, model) or 0
        return price.bound_nano_usd(prompt, completion) > left_nano_usd

    tokens = bisect_left(range(longest + 1), True, key=too_much) - 1
    if tokens < _LEAST_ANSWER_TOKENS:
        return None
    return call.with_(body={**body, name: tokens}), tokens


def cheaper(call: Call, targets: Iterable[Target]) -> list[Target]:
    """The targets whose worst case is lower than the attempt's own; where that has none, which do.

    Targets of other aliases are for errors of providers, not for want of money.
    """
    bounded = unbounded(call.body, call.chosen.model, topped_up=True) is None
    here = _usually_held(call) if bounded else None
    found: list[Target] = []
    for target in targets:
        if target.fallback_on or unbounded(call.body, target.model, topped_up=True):
            continue
        there = _usually_held(call.with_(target=target))
        if here is None or (there is not None and there < here):
            found.append(target)
    return found


def _usually_held(call: Call) -> int | None:
    """What an attempt holds at first, to compare targets by."""
    body, model = call.body, call.chosen.model
    if model.price is None or not can_grow(body, model):
        return bound_nano_usd(call)
    first = answer_tokens(body, _USUAL_RESERVE_TOKENS)
    tokens = min(first, bound_completion_tokens(body, model) or first)
    return model.price.bound_nano_usd(bound_prompt(body, model), tokens)


def _asks_for(body: JSON, names: frozenset[str]) -> bool:
    """An empty object does: it stands for all defaults. An empty list asks for nothing."""
    return any(body[name] not in (None, False, []) for name in names & body.keys())


def _own_tools(body: JSON) -> Iterator[bool]:
    for tool in body.get("tools") or ():
        yield not (isinstance(tool, Mapping) and tool.get("type") in _CALLERS_TOOLS)


def _by_reference(body: JSON, model: Model) -> Iterator[bool]:
    """Of each part of the prompt: must the provider fetch it, or open it, to know its size?"""
    for message in body.get("messages") or ():
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            yield isinstance(part, Mapping) and not _bounded(part, model)


def _bounded(part: Mapping[str, object], model: Model) -> bool:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return True
    if kind in ("image_url", "image"):
        if model.max_image_tokens is not None:
            return True
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        return isinstance(url, str) and url.startswith("data:")
    if kind == "input_audio":
        audio = part.get("input_audio")
        return isinstance(audio, Mapping) and isinstance(audio.get("data"), str)
    return False
