"""Load for a gateway that may die: who asked for what, what was served, and what did they see?

Calls are numbered. A call's number goes to the provider as `user` and into the ledger as a tag, so
that the three accounts of one call can be laid side by side.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import aiohttp
import orjson

from tests.fakes import openai
from tests.fakes.upstream import Answer, Request, json_answer, sse_answer

MODEL = "fake/m"
# Dollars a token; in nano-dollars 1234.5 and 2000.75, so that roundings show.
PRICE = {"input_cost_per_token": 0.0000012345, "output_cost_per_token": 0.00000200075}
_PROMPT_NANO, _COMPLETION_NANO = Decimal("1234.5"), Decimal("2000.75")
_CALLERS = 8


def usage_of(number: int) -> dict[str, int]:
    """What the provider says that this call has used."""
    prompt, completion = 10 + number % 37, 1 + number % 11
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def cost_of(usage: dict[str, int]) -> int:
    """In nano-dollars, computed apart from the gateway."""
    cost = usage["prompt_tokens"] * _PROMPT_NANO + usage["completion_tokens"] * _COMPLETION_NANO
    return int(cost.quantize(Decimal(1), ROUND_HALF_EVEN))


@dataclass
class Provider:
    """The script of an `Upstream`: takes `takes_s` or so, and fails some first attempts."""

    takes_s: float = 0.01
    served: Counter[int] = field(default_factory=Counter)

    def __call__(self, request: Request) -> Answer:
        body = request.json
        number = int(body["user"])
        self.served[number] += 1
        if number % 10 == 3 and self.served[number] == 1:
            return json_answer(openai.error("x", "server_error"), 500)
        usage = usage_of(number)
        if not body.get("stream"):
            answer = json_answer(openai.completion(usage=usage))
            return Answer((_pause(self.takes_s), *answer.parts), headers=answer.headers)
        parts: list[bytes | asyncio.Event] = []
        for position, chunk in enumerate(openai.chunks("a", "b", "c")):
            parts += [_pause(self.takes_s * position / 2), chunk]
        return sse_answer(
            [*parts, openai.chunk({}, "stop"), openai.chunk(None, usage=usage), _DONE]
        )


_DONE = openai.DONE


def _pause(seconds: float) -> asyncio.Event:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, event.set)
    return event


@dataclass
class Callers:
    """`ended` are the calls whose whole answer was received: number to call id and usage."""

    ended: dict[int, tuple[str, dict[str, int]]] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    _numbers: Any = field(default_factory=itertools.count)

    async def run(self, base_url: str, key: str) -> None:
        """Call until the gateway is gone."""
        headers = {"authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            url = f"{base_url}/chat/completions"
            await asyncio.gather(*(self._call_on(session, url) for _ in range(_CALLERS)))

    async def _call_on(self, session: aiohttp.ClientSession, url: str) -> None:
        while True:
            number = next(self._numbers)
            self.broken.add(number)
            try:
                await self._call(session, url, number)
            except aiohttp.ClientError:
                return

    async def _call(self, session: aiohttp.ClientSession, url: str, number: int) -> None:
        body: dict[str, Any] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "hello"}],
            "user": str(number),
            "max_tokens": 50,
            "sluice": {"tags": [str(number)]},
        }
        if number % 2:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with session.post(url, data=json.dumps(body)) as answer:
            assert answer.status == 200, await answer.text()
            if number % 10 == 7:  # this one leaves after the first event
                await answer.content.readuntil(b"\n\n")
                answer.close()
                return
            usage = _usage_seen(await answer.read())
        self.broken.discard(number)
        self.ended[number] = (answer.headers["x-sluice-call-id"], usage)


def _usage_seen(answer: bytes) -> dict[str, int]:
    if not answer.startswith(b"data: "):
        usage: dict[str, int] = orjson.loads(answer)["usage"]
        return usage
    *_, last, done, rest = answer.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b""), answer
    usage = orjson.loads(last.removeprefix(b"data: "))["usage"]
    return usage
