"""Which calls share an answer, in which form do they get it, and who pays?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.budgets import Clamped
from gateway.cache.caching import Caching
from gateway.cache.entry import Entry
from gateway.cache.facts import Cached, Saved, Stored
from gateway.cache.key import Keys
from gateway.cache.memory import MemoryStore
from gateway.cache.sealed import Seals
from gateway.cache.tally import COUNTS
from gateway.config import Alias
from gateway.config import Cache as CacheSettings
from gateway.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ServerError,
    SluiceError,
    Unavailable,
    UpstreamTimeout,
)
from gateway.exchange import JSON, Call, Completion, Event, Events, Handler, Reply, Stream
from gateway.flight import Flights
from gateway.keys import VirtualKey
from gateway.targets import Target
from gateway.trace import AttemptEnded, AttemptStarted, Fact, Routed, Stopped
from gateway.usage import Usage
from gateway.window import Truncated
from policies.cache import Cache
from tests import builders
from tests.fakes.clock import Clock
from tests.fakes.datakeys import FakeDataKeys

USAGE = Usage(prompt_tokens=5, completion_tokens=7)
USAGE_BODY = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
FIRST, SECOND = builders.target("one/m"), builders.target("two/m")
FALLBACK = replace(builders.target("three/else"), fallback="other")
ALIASES = {
    "smart": Alias(targets=("one/m", "two/m"), cache_ttl_s=60.0),
    "single-use": Alias(targets=("one/m",), cache_ttl_s=0.0),
    "plain": Alias(targets=("one/m",)),
}


class Provider:
    """The path below: answers with its prompt, slowly if told so, and writes what it charged."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.left: list[str] = []
        self.closed = 0
        self.gate: asyncio.Event | None = None
        self.failure: BaseException | None = None
        self.refusals: list[BaseException] = []
        self.target = FIRST
        self.facts: tuple[Fact, ...] = ()
        self.finish_reason = "stop"
        self.words = 3

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        call.trace.add(AttemptStarted(1, self.target, 0.0))
        for fact in (*self.facts, *(self.first_facts if len(self.calls) == 1 else ())):
            call.trace.add(fact)
        try:
            if self.gate:
                await self.gate.wait()
            if self.refusals:
                raise self.refusals.pop(0)
            if self.failure:
                raise self.failure
        except asyncio.CancelledError as error:
            self.left.append(str(error))
            if self.slow_to_settle:
                await self.slow_to_settle.wait()
            raise
        if call.stream:
            stream = Stream(self._chunks(call), self._close)
            stream.on_close(lambda _: self._settle(call))
            return stream
        await self._settle(call)
        return self._completion(call)

    def _completion(self, call: Call) -> Completion:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": prompt(call) * self.words},
                "finish_reason": self.finish_reason,
            }
            for index in range(self.choices or call.body.get("n") or 1)
        ]
        data = {"id": f"id-{len(self.calls)}", "object": "chat.completion", "choices": choices}
        return Completion(data={**data, "usage": USAGE_BODY}, usage=USAGE)

    async def _chunks(self, call: Call) -> AsyncIterator[Events]:
        head = {"id": f"id-{len(self.calls)}", "object": "chat.completion.chunk"}
        for _ in range(self.words):
            delta = {"role": "assistant", "content": prompt(call)}
            yield [Event({**head, "choices": [{"index": 0, "delta": delta}]})]
            await asyncio.sleep(0)
            if self.failure_midway:
                raise self.failure_midway
        last = {"index": 0, "delta": {}, "finish_reason": self.finish_reason}
        yield [Event({**head, "choices": [last]})]
        yield [Event({**head, "choices": [], "usage": USAGE_BODY}, None, USAGE)]

    failure_midway: SluiceError | None = None
    slow_to_settle: asyncio.Event | None = None
    choices: int | None = None
    first_facts: tuple[Fact, ...] = ()

    async def _close(self) -> None:
        self.closed += 1

    async def _settle(self, call: Call) -> None:
        await asyncio.sleep(0)
        ended = AttemptEnded(
            number=1, charge_id="c", at_s=0.0, usage=USAGE, cost_nano_usd=900, error=None
        )
        call.trace.add(ended)


def prompt(call: Call) -> str:
    text: str = call.body["messages"][0]["content"]
    return text


class Scene:
    """A Cache policy in front of a provider, with a clock of its own."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        config = CacheSettings(**settings)
        self.caching = Caching(
            settings=config,
            aliases=ALIASES,
            keys=Keys(ALIASES, ()),
            memory=MemoryStore(config.max_bytes, self.clock),
            flights=Flights(),
            now=self.clock,
        )
        self.provider = Provider()
        self.policy = Cache(self.caching)

    def call(
        self,
        content: str = "hello",
        *,
        model: str = "smart",
        body: JSON | None = None,
        candidates: tuple[Target, ...] = (FIRST, SECOND),
        **more: Any,
    ) -> Call:
        made = builders.call(
            content, body={"model": model, **(body or {})}, candidates=candidates, **more
        )
        alias = model if model in ALIASES else None
        made.trace.add(Routed(model, alias, candidates))
        return made

    async def ask(self, call: Call | None = None) -> Reply:
        return await self.policy(call or self.call(), self.provider)

    async def text(self, call: Call) -> str:
        """What the call is answered, in either form."""
        reply = await self.ask(call)
        if isinstance(reply, Completion):
            return str(reply.data["choices"][0]["message"]["content"])
        return "".join([said(event) for event in await read(reply)])


def said(event: Event) -> str:
    return "".join(c["delta"].get("content") or "" for c in event.data["choices"])


async def read(reply: Reply) -> Events:
    assert isinstance(reply, Stream)
    return [event async for events in reply for event in events]


def status(call: Call) -> str | None:
    cached = call.trace.last(Cached)
    return cached.status if cached else None


@pytest.fixture
def scene() -> Scene:
    return Scene()


# ------------------------------------------------------------------------ is it on?


@pytest.mark.parametrize(
    ("model", "controls", "settings", "expected"),
    [
        ("smart", {}, {}, "miss"),
        ("plain", {}, {}, None),
        ("plain", {"cache": "on"}, {}, "miss"),
        ("plain", {"cache": True}, {}, "miss"),
        ("plain", {"cache": "ttl=5"}, {}, "miss"),
        ("plain", {"cache": "no-cache"}, {}, None),
        ("plain", {"cache_control": "max-age=60"}, {}, None),
        ("plain", {}, {"cache": True}, "miss"),
        ("plain", {}, {"cache": False}, None),
        ("smart", {"cache": "off"}, {}, None),
        ("smart", {"cache": False}, {}, None),
        ("smart", {"cache": "no-cache"}, {}, "bypass"),
        ("smart", {"cache_control": "no-cache"}, {}, "bypass"),
        ("smart", {"cache_control": "no-store"}, {}, "miss"),
        ("smart", {"cache_control": "no-cache, no-store"}, {}, "bypass"),
        ("smart", {"cache_control": "private, stale-if-error=9"}, {}, "miss"),
        ("single-use", {"cache": "on"}, {"cache": True}, None),
    ],
)
async def test_alias_key_or_call_turn_it_on(
    scene: Scene, model: str, controls: JSON, settings: JSON, expected: str | None
) -> None:
    key = replace(builders.KEY, settings=settings)
    call = scene.call(model=model, controls=controls, key=key)
    await scene.ask(call)
    assert status(call) == expected


@pytest.mark.parametrize("wish", ["maybe", "ttl", "ttl=soon", "on=1", "ttl=-1", "max-age=inf", ""])
async def test_a_wish_that_is_not_understood_is_refused(scene: Scene, wish: str) -> None:
    with pytest.raises(InvalidRequest):
        await scene.ask(scene.call(controls={"cache": wish}))


@pytest.mark.parametrize("name", ["cache", "cache_control"])
async def test_the_end_of_a_long_wish_counts(scene: Scene, name: str) -> None:
    await scene.ask(scene.call(controls={name: "max-age=1," * 100 + "no-store"}))
    assert len(scene.caching.memory) == 0


async def test_no_answer_is_kept_for_ever(scene: Scene) -> None:
    endless = scene.call(controls={"cache": "ttl=1e300"})
    await scene.ask(endless)
    entry = scene.caching.memory.get(scene.caching.keys.digest(endless))
    assert entry
    assert entry.expires_at == scene.clock() + 1e9


async def test_without_caching_every_call_passes(scene: Scene) -> None:
    call = scene.call()
    await Cache(None)(call, scene.provider)
    assert status(call) is None


# --------------------------------------------------------------------- hits and misses


async def test_the_second_call_is_a_hit_and_costs_nothing(scene: Scene) -> None:
    first, second = scene.call(), scene.call()
    assert await scene.text(first) == await scene.text(second) == "hellohellohello"
    assert [status(first), status(second)] == ["miss", "hit"]
    assert len(scene.provider.calls) == 1
    assert first.trace.all(Stored)
    assert second.trace.all(AttemptEnded) == []
    assert second.trace.last(Saved) == Saved(12, 900)


async def test_permuted_keys_and_stream_controls_are_a_hit(scene: Scene) -> None:
    body: JSON = {"temperature": 0.5, "metadata": {"a": 1, "b": 2}}
    await scene.ask(scene.call(body=body))
    twin = scene.call(body={"metadata": {"b": 2, "a": 1}, "temperature": 0.5})
    await scene.ask(twin)
    assert status(twin) == "hit"
    streamed = scene.call(body={**body, "stream_options": {"include_usage": True}}, stream=True)
    await read(await scene.ask(streamed))
    assert status(streamed) == "hit"


CORPUS: list[JSON] = [
    {"temperature": 0.5, "seed": 1, "x_unknown": [1, {"deep": True}]},
    {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [1, 2]}}}],
    },
]


def mutations(value: Any) -> list[Any]:
    """Copies of a JSON value with one place of it changed, everywhere in turn."""
    if isinstance(value, dict):
        changed = [{**value, name: m} for name in value for m in mutations(value[name])]
        fewer = [{k: v for k, v in value.items() if k != name} for name in value]
        return [*changed, *fewer, {**value, "one_more": None}]
    if isinstance(value, list):
        changed = [
            [*value[:i], m, *value[i + 1 :]] for i, v in enumerate(value) for m in mutations(v)
        ]
        return [*changed, [*value, None], value[1:]]
    if isinstance(value, str):
        return [value + " "]
    return [not value] if isinstance(value, bool) else [value + 1]


@pytest.mark.parametrize("body", CORPUS)
def test_every_field_counts(scene: Scene, body: JSON) -> None:
    original = scene.call(body=body)
    digests = {scene.caching.keys.digest(original)}
    changed = mutations(original.body)
    for mutated in changed:
        digests.add(scene.caching.keys.digest(original.with_(body=mutated)))
    assert len(changed) > 10
    # A list loses its first item in one way only: no two mutations are the same.
    assert len(digests) == len({repr(m) for m in changed}) + 1


def key_of(scene: Scene, **changes: Any) -> bytes:
    namespace = changes.pop("namespace", None)
    return scene.caching.keys.digest(scene.call(**changes), namespace)


def test_whose_answer_it_is_counts(scene: Scene) -> None:
    teamless = VirtualKey(id="a", name="a")
    keys = [
        builders.KEY,
        replace(builders.KEY, team="blue"),
        replace(builders.KEY, credentials={"one": "lab"}),
        teamless,
        replace(teamless, id="b"),
    ]
    digests = {key_of(scene, key=key) for key in keys}
    assert len(digests | {key_of(scene, namespace="n")}) == len(keys) + 1
    mate = replace(builders.KEY, id="k2", name="another of the team")
    assert key_of(scene, key=mate) == key_of(scene)


def test_the_chosen_order_of_targets_does_not_count(scene: Scene) -> None:
    swapped = key_of(scene, candidates=(SECOND, FIRST))
    assert swapped == key_of(scene) == key_of(scene, candidates=(SECOND,))
    fewer = Keys({"smart": Alias(targets=("one/m",))}, ())
    assert fewer.digest(scene.call()) != key_of(scene)


async def test_an_answer_expires(scene: Scene) -> None:
    await scene.ask()
    scene.clock.now += 59
    fresh, picky = scene.call(), scene.call(controls={"cache_control": "max-age=58"})
    await scene.ask(fresh)
    assert status(fresh) == "hit"
    scene.clock.now += 1
    late = scene.call()
    await scene.ask(late)
    assert status(late) == "miss"
    scene.clock.now += 59
    await scene.ask(picky)
    assert status(picky) == "miss"


async def test_no_cache_asks_again_and_keeps_the_new_answer(scene: Scene) -> None:
    await scene.ask()
    forced = scene.call(controls={"cache": "no-cache"})
    await scene.ask(forced)
    reply = await scene.ask()
    assert isinstance(reply, Completion)
    assert (len(scene.provider.calls), reply.data["id"]) == (2, "id-2")


async def test_no_store_keeps_nothing(scene: Scene) -> None:
    await scene.ask(scene.call(controls={"cache_control": "no-store"}))
    assert len(scene.caching.memory) == 0


class Cut(Fact):
    storable = False


@pytest.mark.parametrize(
    ("change", "stored"),
    [
        ({}, 1),
        ({"finish_reason": "length"}, 1),
        ({"finish_reason": "tool_calls"}, 1),
        ({"finish_reason": "content_filter"}, 0),
        ({"finish_reason": None}, 0),
        ({"target": FALLBACK}, 0),
        ({"target": SECOND}, 1),
        ({"facts": (Cut(),)}, 0),
        ({"facts": (Truncated("one/m", (1,), 9, 9),)}, 0),
        ({"words": 2000}, 0),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_only_whole_answers_of_the_models_own_are_kept(
    change: JSON, stored: int, stream: bool
) -> None:
    scene = Scene(max_entry_bytes=8192)
    for name, value in change.items():
        setattr(scene.provider, name, value)
    await scene.text(scene.call(stream=stream))
    assert len(scene.caching.memory) == stored


@pytest.mark.parametrize(("choices", "stored"), [(2, 1), (1, 0), (3, 0)])
async def test_an_answer_has_the_choices_that_were_asked_for(
    scene: Scene, choices: int, stored: int
) -> None:
    scene.provider.choices = choices
    await scene.ask(scene.call(body={"n": 2}))
    assert len(scene.caching.memory) == stored


async def test_those_who_share_an_answer_may_change_it(scene: Scene) -> None:
    scene.provider.gate = asyncio.Event()
    tasks = [asyncio.create_task(scene.ask()) for _ in range(3)]
    await until(lambda: len(scene.provider.calls) == 1)
    scene.provider.gate.set()
    for reply in await asyncio.gather(*tasks):
        assert isinstance(reply, Completion)
        assert reply.data["choices"][0]["finish_reason"] == "stop"
        reply.data["choices"].clear()


async def test_a_dry_run_changes_nothing(scene: Scene) -> None:
    dry = scene.call(dry_run=True)
    await scene.ask(dry)
    assert (status(dry), len(scene.caching.memory)) == ("miss", 0)
    await scene.ask()
    dry = scene.call(dry_run=True)
    await scene.ask(dry)
    assert status(dry) == "hit"


async def test_changing_a_reply_does_not_change_the_next(scene: Scene) -> None:
    for _ in range(3):
        reply = await scene.ask()
        assert isinstance(reply, Completion)
        assert reply.data["choices"][0]["finish_reason"] == "stop"
        reply.data["choices"].clear()


# -------------------------------------------------------------------------- the forms


async def test_a_stream_is_replayed_as_it_was(scene: Scene) -> None:
    original = await read(await scene.ask(scene.call(stream=True)))
    again = await read(await scene.ask(scene.call(stream=True)))
    assert [e.encode() for e in again] == [e.encode() for e in original]
    assert [e.data for e in again] == [e.data for e in original]
    assert [e.usage for e in again] == [e.usage for e in original]
    assert len(scene.provider.calls) == 1


@pytest.mark.parametrize("first", [False, True])
async def test_either_form_answers_the_other(scene: Scene, first: bool) -> None:
    texts = [await scene.text(scene.call(stream=form)) for form in (first, not first)]
    assert texts == ["hellohellohello"] * 2
    assert len(scene.provider.calls) == 1


# ------------------------------------------------------------------------ shared flights


async def gathered(scene: Scene, calls: list[Call]) -> list[Any]:
    tasks = [asyncio.create_task(scene.text(call)) for call in calls]
    await until(lambda: len(scene.provider.calls) > 0)
    await asyncio.sleep(0)
    if scene.provider.gate:
        scene.provider.gate.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not ready():  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)


@pytest.mark.parametrize("forms", [(False,), (True,), (True, False), (False, True)])
async def test_identical_calls_share_one(scene: Scene, forms: tuple[bool, ...]) -> None:
    scene.provider.gate = asyncio.Event()
    calls = [
        scene.call(
            stream=forms[i % len(forms)], candidates=((FIRST, SECOND), (SECOND, FIRST))[i % 2]
        )
        for i in range(100)
    ]
    assert set(await gathered(scene, calls)) == {"hellohellohello"}
    assert len(scene.provider.calls) == 1
    assert [status(c) for c in calls] == ["miss"] + ["coalesced"] * 99
    assert all(c.trace.last(Saved) == Saved(12, 900) for c in calls[1:])
    assert calls[0].trace.last(Saved) is None
    assert len(scene.caching.flights) == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_the_flight_goes_on_without_its_starter(scene: Scene, stream: bool) -> None:
    scene.provider.gate = asyncio.Event()
    starter = asyncio.create_task(scene.text(scene.call(stream=stream)))
    await until(lambda: len(scene.provider.calls) == 1)
    follower = asyncio.create_task(scene.text(scene.call(stream=stream)))
    await asyncio.sleep(0)
    starter.cancel("client_gone")
    with pytest.raises(asyncio.CancelledError):
        await starter
    scene.provider.gate.set()
    assert await follower == "hellohellohello"
    assert (len(scene.provider.calls), scene.provider.left) == (1, [])


@pytest.mark.parametrize("stream", [False, True])
async def test_the_last_to_leave_ends_the_flight(scene: Scene, stream: bool) -> None:
    scene.provider.gate = asyncio.Event()
    tasks = [asyncio.create_task(scene.text(scene.call(stream=stream))) for _ in range(3)]
    await until(lambda: len(scene.provider.calls) == 1)
    for task in tasks:
        await asyncio.sleep(0)
        assert scene.provider.left == []
        task.cancel("deadline_exceeded")
        with pytest.raises(asyncio.CancelledError):
            await task
    assert scene.provider.left == ["deadline_exceeded"]
    assert len(scene.caching.flights) == 0


async def test_nobody_joins_a_flight_that_is_being_ended(scene: Scene) -> None:
    provider = scene.provider
    provider.gate, provider.slow_to_settle = asyncio.Event(), asyncio.Event()
    leaving = asyncio.create_task(scene.text(scene.call()))
    await until(lambda: len(provider.calls) == 1)
    leaving.cancel("client_gone")
    await until(lambda: provider.left == ["client_gone"])
    provider.gate.set()
    next_one = scene.call()
    assert await scene.text(next_one) == "hellohellohello"
    assert status(next_one) == "miss"
    assert not leaving.done()  # until its charge is settled
    provider.slow_to_settle.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_the_last_reader_to_leave_closes_the_stream(scene: Scene) -> None:
    first, second = [await scene.ask(scene.call(stream=True)) for _ in range(2)]
    assert isinstance(first, Stream)
    assert isinstance(second, Stream)
    await first.__anext__()
    await first.aclose()
    assert scene.provider.closed == 0
    await second.aclose()
    assert scene.provider.closed == 1
    assert len(scene.caching.memory) == 0


async def test_a_providers_error_is_everybodys(scene: Scene) -> None:
    scene.provider.gate = asyncio.Event()
    scene.provider.failure = ServerError("no")
    errors = await gathered(scene, [scene.call(stream=i % 2 == 0) for i in range(10)])
    assert {type(error) for error in errors} == {ServerError}
    assert len({id(error) for error in errors}) == 10
    assert len(scene.provider.calls) == 1


async def test_an_error_midway_is_every_readers(scene: Scene) -> None:
    scene.provider.failure_midway = ServerError("no")
    errors = await gathered(scene, [scene.call(stream=True) for _ in range(5)])
    assert {type(error) for error in errors} == {ServerError}
    assert len(scene.provider.calls) == 1
    assert len(scene.caching.memory) == 0


@pytest.mark.parametrize("error", [Unavailable("no budget"), RuntimeError("a fault of ours")])
async def test_a_refusal_is_the_starters_and_the_next_one_leads(
    scene: Scene, error: Exception
) -> None:
    scene.provider.gate = asyncio.Event()
    scene.provider.refusals = [error]
    found = await gathered(scene, [scene.call() for _ in range(5)])
    assert found == [error, *["hellohellohello"] * 4]
    assert len(scene.provider.calls) == 2


async def test_who_was_sent_on_too_often_goes_alone(scene: Scene) -> None:
    """Else a crowd that is refused one by one would be woken once for each of it."""
    scene.provider.gate = asyncio.Event()
    scene.provider.failure = Unavailable("no budget")
    calls = [scene.call(stream=i % 2 == 0) for i in range(40)]
    found = await gathered(scene, calls)
    assert {type(error) for error in found} == {Unavailable}
    assert len(scene.provider.calls) == 40
    assert max(len(call.trace.all(Cached)) for call in calls) == 8 + 1


@pytest.mark.parametrize("forms", [(False,), (True,), (False, True), (True, False)])
async def test_an_answer_that_the_starters_budget_shortens_is_its_own(
    scene: Scene, forms: tuple[bool, ...]
) -> None:
    scene.provider.gate = asyncio.Event()
    scene.provider.first_facts = (Clamped(5),)
    calls = [scene.call(stream=forms[i % len(forms)]) for i in range(6)]
    assert await gathered(scene, calls) == ["hellohellohello"] * 6
    assert len(scene.provider.calls) == 2
    assert len(scene.caching.memory) == 1


async def test_a_stream_that_the_starters_budget_stops_midway_is_not_shared(scene: Scene) -> None:
    first = scene.call(stream=True)
    starter, follower = [await scene.ask(c) for c in (first, scene.call(stream=True))]
    late = asyncio.create_task(scene.text(scene.call()))  # it waits for the whole answer
    assert isinstance(starter, Stream)
    assert isinstance(follower, Stream)
    await asyncio.gather(anext(starter), anext(follower))
    first.trace.add(Stopped("team:red/day", 5))
    assert len(await read(starter)) > 1
    with pytest.raises(Unavailable):
        await read(follower)
    assert await late == "hellohellohello"
    assert len(scene.provider.calls) == 2
    assert len(scene.caching.memory) == 1


async def test_a_prompt_that_was_truncated_alike_is_shared(scene: Scene) -> None:
    scene.provider.gate = asyncio.Event()
    calls = [scene.call() for _ in range(3)]
    for call in calls:
        call.trace.add(Truncated("one/m", (1,), 9, 9))
    await gathered(scene, calls)
    assert len(scene.provider.calls) == 1


async def test_a_starters_short_deadline_is_its_own(scene: Scene) -> None:
    scene.provider.gate = asyncio.Event()
    scene.provider.refusals = [UpstreamTimeout("late")]
    calls = [scene.call(timeout_s=0.0), scene.call(), scene.call()]
    found = await gathered(scene, calls)
    assert [type(item) for item in found] == [UpstreamTimeout, str, str]
    assert len(scene.provider.calls) == 2


async def test_a_follower_keeps_its_own_deadline(scene: Scene) -> None:
    scene.provider.gate = asyncio.Event()
    starter = asyncio.create_task(scene.text(scene.call()))
    await until(lambda: len(scene.provider.calls) == 1)
    with pytest.raises(DeadlineExceeded):
        await scene.ask(scene.call(timeout_s=0.01))
    scene.provider.gate.set()
    assert await starter == "hellohellohello"


async def test_nobody_joins_what_is_no_longer_whole_and_laggards_are_ended() -> None:
    scene = Scene(max_entry_bytes=2000)
    scene.provider.words = 100
    fast, slow = [await scene.ask(scene.call(stream=True)) for _ in range(2)]
    assert isinstance(slow, Stream)
    assert len(await read(fast)) == 102
    with pytest.raises(Unavailable):
        await read(slow)
    assert len(scene.provider.calls) == 1
    assert len(scene.caching.memory) == 0


async def test_a_lone_slow_reader_slows_the_provider_and_loses_nothing() -> None:
    scene = Scene(max_entry_bytes=2000)
    scene.provider.words = 100
    reply = await scene.ask(scene.call(stream=True))
    for _ in range(300):
        await asyncio.sleep(0)
    late = scene.call(stream=True)
    text = await scene.text(late)
    assert status(late) == "miss"
    assert text == "".join([said(event) for event in await read(reply)]) == "hello" * 100


async def test_nobody_gets_a_foreign_answer(scene: Scene) -> None:
    """Two thousand pairs of callers, of whom many leave at any moment."""
    rng = random.Random(7)  # noqa: S311 - repeats
    handler: Handler = scene.provider

    async def one(n: int) -> None:
        content = f"<{n // 2 % 500}>"
        call = scene.call(content, stream=rng.random() < 0.5)
        task = asyncio.create_task(_text(scene, call, handler))
        if rng.random() < 0.4:
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            task.cancel("client_gone")
        (found,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(found, asyncio.CancelledError) or found == content * 3, found

    async with asyncio.TaskGroup() as group:
        for n in range(4000):
            group.create_task(one(n))
            if n % 50 == 0:
                await asyncio.sleep(0)
    assert len(scene.caching.flights) == 0
    assert len(scene.provider.calls) < 2000


async def _text(scene: Scene, call: Call, handler: Handler) -> str:
    return await scene.text(call)


# ------------------------------------------------------------------- cleared and counted


async def test_a_clear_holds_for_its_scope_and_leaves_the_rest(scene: Scene) -> None:
    scene.policy = Cache(scene.caching.of(ALIASES, ()))  # as after a change of the configuration
    red, blue = scene.call, replace(builders.KEY, id="k9", team="blue")
    for call in (red(), red(key=blue), red("another")):
        await scene.ask(call)
    scene.caching.epochs.replace({("team:red", "", "smart"): 1})
    seen = [red(), red(key=blue), red("another"), red("another")]
    for call in seen:
        await scene.ask(call)
    assert [status(call) for call in seen] == ["miss", "hit", "miss", "hit"]


async def test_nobody_joins_a_call_from_before_a_clear(scene: Scene) -> None:
    scene.policy = Cache(scene.caching.of(ALIASES, ()))
    scene.provider.gate = asyncio.Event()
    before = asyncio.create_task(scene.ask())
    await settled()
    assert scene.provider.calls
    scene.caching.epochs.replace({("", "", ""): 1})
    after = asyncio.create_task(scene.ask())
    await settled()
    scene.provider.gate.set()
    await asyncio.gather(before, after)
    assert len(scene.provider.calls) == 2


async def settled() -> None:
    """Everybody has gone as far as possible."""
    for _ in range(20):
        await asyncio.sleep(0)


def counted(scene: Scene) -> dict[str, int]:
    sums = dict.fromkeys(COUNTS, 0)
    for _, counts in scene.caching.tally.taken():
        for name, number in zip(COUNTS, counts, strict=True):
            sums[name] += number
    return {name: number for name, number in sums.items() if number}


async def test_what_the_cache_does_is_counted(scene: Scene) -> None:
    await scene.ask()
    await scene.ask()
    await scene.ask(scene.call(controls={"cache": "no-cache"}))
    await scene.ask(scene.call(dry_run=True))
    await scene.ask(scene.call(controls={"cache": "off"}))
    saved = {"saved_tokens": 12, "saved_nano_usd": 900}
    assert counted(scene) == {"hits": 1, "misses": 1, "bypasses": 1, "additions": 2, **saved}


async def test_a_call_that_shared_in_vain_counts_once(scene: Scene) -> None:
    scene.provider.gate = asyncio.Event()
    scene.provider.refusals = [Unavailable("not now")]
    asking = [asyncio.create_task(scene.ask()) for _ in range(3)]
    await settled()
    scene.provider.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers].count(Unavailable) == 1
    counts = counted(scene)
    assert (counts["misses"], counts["coalesced"]) == (2, 1)


class Shelf:
    """What stands behind the memory."""

    def __init__(self) -> None:
        self.kept: dict[bytes, Entry] = {}

    async def get(self, key: bytes) -> Entry | None:
        return self.kept.get(key)

    def put(self, key: bytes, entry: Entry) -> None:
        self.kept[key] = entry


@pytest.fixture
def sealed(scene: Scene) -> Scene:
    """A scene whose entries lie sealed behind the memory."""
    scene.caching = replace(scene.caching, behind=Shelf(), seals=Seals(FakeDataKeys()))
    scene.policy = Cache(scene.caching)
    return scene


async def ask_anew(scene: Scene) -> Call:
    """As another process would, which has nothing in its memory."""
    assert scene.caching.seals is not None
    await scene.caching.seals.close()
    scene.caching.memory.drop_all(lambda _: True)
    call = scene.call()
    await scene.ask(call)
    return call


async def test_sealed_entries_are_hits(sealed: Scene) -> None:
    await sealed.ask()
    assert [status(await ask_anew(sealed)) for _ in range(2)] == ["hit", "hit"]
    shelf = sealed.caching.behind
    assert isinstance(shelf, Shelf)
    assert [entry.kind for entry in shelf.kept.values()] == ["sealed"]


async def test_what_does_not_open_is_a_miss_and_is_replaced(sealed: Scene) -> None:
    await sealed.ask()
    shelf = sealed.caching.behind
    assert isinstance(shelf, Shelf)
    await ask_anew(sealed)
    ((key, entry),) = shelf.kept.items()
    shelf.kept[key] = replace(entry, payload=entry.payload[:-1])
    assert status(await ask_anew(sealed)) == "miss"
    assert status(await ask_anew(sealed)) == "hit"
    assert counted(sealed)["unreadable"] == 1


async def test_nobody_makes_an_entry_live_longer_than_was_sealed(sealed: Scene) -> None:
    await sealed.ask()
    shelf = sealed.caching.behind
    assert isinstance(shelf, Shelf)
    await ask_anew(sealed)
    ((key, entry),) = shelf.kept.items()
    shelf.kept[key] = replace(entry, expires_at=1e9)
    sealed.clock.now += 61
    assert status(await ask_anew(sealed)) == "miss"


async def test_an_entry_that_was_never_sealed_is_not_taken_for_one(sealed: Scene) -> None:
    shelf = sealed.caching.behind
    plain = Scene()
    await plain.ask()
    assert isinstance(shelf, Shelf)
    key = plain.caching.keys.digest(plain.call())
    entry = plain.caching.memory.get(key)
    assert entry
    shelf.kept[key] = entry
    assert status(await ask_anew(sealed)) == "miss"
