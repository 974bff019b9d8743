"""The context window: what fits into a model's, and which messages go when nothing does?

Room for a prompt is what three constraints leave of it: the answer's share is kept free, the
prompt has a limit of its own at some providers, and both together have one at most. What nobody
knows of a model forbids nothing.

Messages are dropped by whole turns: a user's message with all that follows it up to the next
user's. A tool's result never parts from its call. System and developer messages stay, and so does
the last turn. Nothing is rewritten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.targets import Model
from gateway.tokens import asked_completion_tokens
from gateway.trace import Fact

JSON = dict[str, Any]
Turns = list[list[int]]

_SHOWN_RANGES = 16
# Four bytes of UTF-8 a character; role and separators as in `gateway.tokens`.
_BYTES, _MESSAGE = 4, 64
_PLAIN = frozenset({"role", "content"})
_MORE = frozenset({"tools", "functions", "response_format", "tool_choice"})


@dataclass(frozen=True, slots=True)
class Truncated(Fact):
    """Messages were dropped, so that the rest fits `target`.

    `dropped` are their places among the messages, from 0, after an alias's system message was
    joined to them. `tokens` is about how many they had, `kept_tokens` how many the rest has.
    """

    storable: ClassVar[bool] = False

    target: str
    dropped: tuple[int, ...]
    tokens: int
    kept_tokens: int

    def describe(self) -> JSON:
        return {
            "fact": "truncated",
            "target": self.target,
            "messages": ",".join(ranges(self.dropped)),
            "tokens": self.tokens,
            "kept_tokens": self.kept_tokens,
        }

    def header(self) -> str:
        """`messages=1-8,11; tokens=3456`; of very many ranges the first ones."""
        shown = ranges(self.dropped)
        if len(shown) > _SHOWN_RANGES:
            shown = [*shown[:_SHOWN_RANGES], "..."]
        return f"messages={','.join(shown)}; tokens={self.tokens}"


def ranges(indices: Sequence[int]) -> list[str]:
    """Ascending numbers as text: `1-8`, `11`."""
    found: list[list[int]] = []
    for index in indices:
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]


# -------------------------------------------------------------------------------- the room


def answer_tokens(body: JSON) -> int | None:
    """The longest answer that the caller asked for. Choices (`n`) do not share a window."""
    return asked_completion_tokens(body)


def room(model: Model, asked: int | None, reserve: int) -> float:
    """How many tokens a prompt may have, with the answer's share kept free; inf if unknown."""
    prompt, window = model.max_prompt_tokens, model.context_window
    if window is None:
        return math.inf if prompt is None else prompt
    longest = model.max_completion_tokens or window
    answer = min(reserve, longest, window // 2) if asked is None else min(asked, longest)
    left = max(0, window - answer)
    return left if prompt is None or left < prompt else prompt


def widest_room(model: Model) -> float:
    """How many tokens a prompt may have at the very most, whatever the answer."""
    return min(model.max_prompt_tokens or math.inf, model.context_window or math.inf)


def is_surely_short(body: JSON, most: float) -> bool:
    """Is it plain text that fits, whatever its characters are? In a microsecond."""
    if not _MORE.isdisjoint(body):
        return False
    messages = body["messages"]
    size = _MESSAGE * (1 + len(messages))
    for message in messages:
        content = message.get("content")
        if type(content) is not str or not message.keys() <= _PLAIN:
            return False
        size += _BYTES * len(content)
    return size <= most


# ------------------------------------------------------------------------------- the turns


def turns(messages: Sequence[JSON]) -> Turns:
    """The places of the messages that may go, turn by turn, oldest first; the last may not.

    A turn whose tools are answered in a later one is one with it and those between.
    """
    found: Turns = []
    called_in: dict[str, int] = {}
    answered: dict[int, int] = {}  # a turn to the last one that answers its tools
    for index, message in enumerate(messages):
        role = message["role"]
        if role in ("system", "developer"):
            continue
        if role == "user" or not found:
            found.append([])
        here = len(found) - 1
        found[here].append(index)
        for call in message.get("tool_calls") or ():
            called_in[call.get("id") or ""] = here
        if role == "tool":
            answered[called_in.get(message.get("tool_call_id") or "", here)] = here
    return _joined(found, answered)


def _joined(found: Turns, answered: Mapping[int, int]) -> Turns:
    """Turns from a call to its answer become one."""
    joined: Turns = []
    reach = -1
    for number, turn in enumerate(found):
        if number > reach:
            joined.append([])
        joined[-1] += turn
        reach = max(reach, answered.get(number, number))
    return joined


def kept_messages(
    messages: Sequence[JSON], tokens: Sequence[int], strategy: str, most: float
) -> list[int] | None:
    """The places of the messages that stay, in order; None where too little can go.

    `tokens` are those of each message, `most` how many may stay together. `oldest` drops turns
    from the beginning. `middle` keeps turns from the beginning and from the end alternately, until
    neither fits. Either way what is dropped is one stretch.
    """
    found = turns(messages)
    sizes = [sum(tokens[index] for index in turn) for turn in found]
    left = most - sum(tokens) + sum(sizes[:-1])
    if left < 0:
        return None
    head, tail = 0, max(0, len(found) - 1)  # the turns before `head` and from `tail` on stay
    forward, backward = strategy == "middle", True
    while head < tail and (forward or backward):
        forward = forward and sizes[head] <= left
        if forward:
            left -= sizes[head]
            head += 1
        backward = backward and head < tail and sizes[tail - 1] <= left
        if backward:
            tail -= 1
            left -= sizes[tail]
    dropped = {index for turn in found[head:tail] for index in turn}
    return [index for index in range(len(messages)) if index not in dropped]
