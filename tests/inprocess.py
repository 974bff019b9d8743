"""The whole gateway in the test's own process, with a provider and clocks that the test holds.

It is composed as `gateway.serving` composes it; only the lanes are fakes, and the clocks of limits
and health stand still, so that two calls meet the same state at the same moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from gateway import process
from gateway.cache.redis import RedisStore
from gateway.configfile import load
from gateway.edge.controls import controls
from gateway.edge.explain import Explain
from gateway.edge.visits import Visits
from gateway.errors import SluiceError
from gateway.exchange import JSON, Call, Handler, Policy, Reply, Stream, chain
from gateway.generation import Admit
from gateway.health import Health
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.parts import Parts
from gateway.store.budgetadmin import BudgetDraft
from gateway.store.database import administration, prepare
from gateway.store.keytable import KeyDraft
from gateway.store.redis import Redis, Script
from gateway.thirdparty import load_policies, with_third_party
from gateway.trace import Trace
from gateway.upstream.lanes import Lanes
from gateway.usage import Usage
from gateway.wire.requests import parse_chat_request
from policies import request_path
from policies.keys import Keys
from tests.builders import completion, stream, text_event, usage_event
from tests.fakes.clock import Clock
from tests.ledger_view import LedgerView, Row

REPLY = "a reply that no explanation may show"
USAGE = Usage(prompt_tokens=10, completion_tokens=500)


@dataclass
class FakeLane:
    """Answers every attempt, but for targets that are to fail. `gate`, if set, is waited for."""

    failing: dict[str, SluiceError] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[Call] = field(default_factory=list)

    async def __call__(self, call: Call) -> Reply:
        assert not call.dry_run
        self.calls.append(call)
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if (error := self.failing.get(call.chosen.name)) is not None:
            raise error
        if not call.stream:
            answer = completion(REPLY, USAGE)
            return replace(answer, data=answer.data | {"usage": {"total_tokens": 510}})
        end = text_event("")
        end.data["choices"][0]["finish_reason"] = "stop"
        return stream([text_event(REPLY)], [end], [usage_event(USAGE)])

    async def aclose(self) -> None: ...


@dataclass
class InProcess:
    """One gateway. `secrets` are those of virtual keys, by name."""

    home: Path
    secrets: Mapping[str, str]
    lane: FakeLane
    clock: Clock
    redis: Redis | None
    parts: Parts
    policies: Sequence[Policy]
    path: Handler
    explainer: Explain

    @property
    def ledger(self) -> LedgerView:
        return LedgerView(self.home / "data" / "sluice.db")

    def call(
        self,
        body: JSON,
        *,
        id: str = "call_1",
        key: str = "plain",
        dry_run: bool = False,
        **headers: str,
    ) -> Call:
        """A call as the HTTP edge makes one. Header names with `_` for `-`."""
        checked, given = parse_chat_request(orjson.dumps(body))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Call(
            id=id,
            body=checked,
            credential=self.secrets.get(key, key),
            headers=named,
            controls=controls(named, given),
            received_at=time.time(),
            deadline=asyncio.get_running_loop().time() + 60,
            trace=Trace(),
            dry_run=dry_run,
        )

    async def make(self, call: Call) -> SluiceError | None:
        """Make a call and read its answer to the end; the error that it was answered with."""
        try:
            reply = await self.path(call)
            if isinstance(reply, Stream):
                async for _ in reply:
                    pass
        except SluiceError as error:
            return error
        return None

    async def explain(self, call: Call) -> JSON:
        """The explanation of a call with `dry_run`, as it would arrive."""
        explained: JSON = orjson.loads(orjson.dumps(await self.explainer.explain(call)))
        return explained

    async def settled(self) -> None:
        """Return when all that is queued is written: entries of the cache, then the ledger."""
        caching: Any = self.parts.caching
        if caching.seals is not None:
            await caching.seals.close()
        if isinstance(caching.behind, RedisStore):
            await caching.behind.close()
        elif caching.behind is not None:
            await caching.behind.get(b"what stands behind all that is to be written")
        await self.parts.accounts.drain()  # type: ignore[attr-defined]

    def forget(self) -> None:
        """Empty the memory of the cache; what stands behind it stays."""
        assert self.parts.caching is not None
        self.parts.caching.memory.drop_all(lambda _: True)

    async def row(self, call: Call) -> tuple[Row, list[Row]]:
        """What the ledger has of a call that was made, and its charges."""
        await self.settled()
        return await self.ledger.ended(call.id)


@asynccontextmanager
async def in_process(
    home: Path,
    config: str,
    keys: Sequence[KeyDraft] = (),
    budgets: Sequence[BudgetDraft] = (),
    redis_url: str | None = None,
) -> AsyncIterator[InProcess]:
    """A gateway with this `config.toml`; `keys` and `budgets` are drafts."""
    path = home / "config.toml"
    path.write_text(config)
    loaded = load(path, {})
    prepared = prepare(loaded.database, loaded.keys, home, environ={})
    secrets: dict[str, str] = {}
    async with administration(prepared) as admin:
        for draft in keys:
            secrets[draft.name] = (await admin.keys.create(draft)).secret
        for draft in budgets:
            await admin.budgets.set(draft)
    found: list[InProcess] = []
    lane, clock = FakeLane(), Clock()
    async with AsyncExitStack() as stack:
        redis = None
        if redis_url is not None:
            redis = Redis(redis_url, prefix=loaded.redis.prefix, timeout_s=loaded.redis.timeout_s)
            stack.push_async_callback(redis.aclose)

        def build(parts: Parts, _: Handler) -> tuple[Handler, Admit]:
            memory = MemoryLimiter(clock_us=lambda: int(clock() * 1e6))
            limiter: Any = memory
            if redis is not None:
                limiter = RedisLimiter(
                    redis, Script, memory, process="test", clock_us=lambda: int(clock() * 1e6)
                )
            parts = replace(parts, limiter=limiter, health=Health(loaded.health, clock=clock))
            own = Keys(parts.keyring, time.time)
            policies = with_third_party(
                request_path(parts, own), load_policies(parts.config.policies, home)
            )
            handler = chain(policies, Lanes({"native": lane}))
            explainer = Explain(handler, loaded, Visits(), parts.health, lambda _: None)
            found.append(
                InProcess(home, secrets, lane, clock, redis, parts, policies, handler, explainer)
            )
            return handler, own.admit

        setting = process.Setting(
            config=loaded,
            config_path=path,
            prepared=prepared,
            build_path=build,
            redis_url=redis_url,
        )
        await stack.enter_async_context(process.application(setting, Visits()))
        yield found[0]
        if isinstance(found[0].parts.limiter, RedisLimiter):
            await found[0].parts.limiter.aclose()
