"""Limits of several processes: their state is in Redis, and each decision is one script there.

A script reads Redis's own clock, checks every limit of a call and takes from all or from none.
A call's concurrency slot is a member of a sorted set whose score is the end of its lease. The
process renews the leases of its running calls; those of a process that was killed run out.

While Redis is not to be had, each process limits for itself, from empty buckets: several may let
so many times the limit pass. A slot that was taken in Redis is kept through that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

from gateway.limits.demand import Answer, Demand, Limiter, Verdict, judge

LEASE_S = 5.0
_RENEWALS_PER_LEASE = 3

# KEYS: the buckets of the rates, then the sets of running calls.
# ARGV: "take" or "peek", now in µs or "", the number of rates, slot, lease in µs; then for each
# rate its cost and window, for each set its limit.
# Numbers are written with %.0f: Lua's own text of a double keeps 14 digits only.
_TAKE = """
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local rates, admitted, found, argument = tonumber(ARGV[3]), 1, {}, 6
for i, key in ipairs(KEYS) do
  if i <= rates then
    found[i] = tonumber(redis.call('GET', key) or 0)
    local after = math.max(found[i], now) + tonumber(ARGV[argument])
    if after - now > tonumber(ARGV[argument + 1]) then admitted = 0 end
    argument = argument + 2
  else
    found[i] = redis.call('ZCOUNT', key, string.format('(%.0f', now), '+inf')
    if found[i] >= tonumber(ARGV[argument]) then admitted = 0 end
    argument = argument + 1
  end
end
if admitted == 1 and ARGV[1] == 'take' then
  local lease = tonumber(ARGV[5])
  argument = 6
  for i, key in ipairs(KEYS) do
    if i <= rates then
      local after = math.max(found[i], now) + tonumber(ARGV[argument])
      local keep = math.ceil((after - now) / 1000) + 1
      redis.call('SET', key, string.format('%.0f', after), 'PX', string.format('%.0f', keep))
      argument = argument + 2
    else
      redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
      redis.call('ZADD', key, string.format('%.0f', now + lease), ARGV[4])
      redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(lease / 1000)))
    end
  end
end
return {admitted, now, unpack(found)}
"""

# ARGV: now in µs or "", lease in µs; then for each of KEYS what to do and with what: "cost" adds
# to a bucket, "free" gives a slot back, "renew" leases it for longer.
_AMEND = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local lease = tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
  local action, value = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  if action == 'free' then
    redis.call('ZREM', key, value)
  elseif action == 'renew' then
    redis.call('ZADD', key, string.format('%.0f', now + lease), value)
    redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(lease / 1000)))
  else
    local after = math.max(tonumber(redis.call('GET', key) or 0), now) + tonumber(value)
    if after <= now then
      redis.call('DEL', key)
    else
      local keep = math.ceil((after - now) / 1000) + 1
      redis.call('SET', key, string.format('%.0f', after), 'PX', string.format('%.0f', keep))
    end
  end
end
return 1
"""

Arguments = Sequence[str | bytes | int]


class Scripts(Protocol):
    """What is used of the Redis client: None is a Redis that is not to be had."""

    def key(self, *parts: str) -> str: ...

    def post(
        self, script: Any, keys: Sequence[str], arguments: Arguments
    ) -> asyncio.Future[Any]: ...


class RedisLimiter:
    """Limits in Redis, and in `fallback` while it is away.

    `script` makes the client's kind of script of a text. `clock_us` stands in for Redis's clock.
    """

    def __init__(
        self,
        scripts: Scripts,
        script: Callable[[str], Any],
        fallback: Limiter,
        *,
        process: str,
        clock_us: Callable[[], int] | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        self._scripts = scripts
        self._take, self._amend = script(_TAKE), script(_AMEND)
        self._fallback = fallback
        self._process = process
        self._clock_us = clock_us
        self._lease_s = lease_s
        self._held: dict[str, list[str]] = {}
        self._asked = count()
        self._renewing: asyncio.Task[None] | None = None

    def slots(self) -> int:
        """Concurrency slots of this process, each limit's for itself."""
        return sum(len(keys) for keys in self._held.values())

    async def take(self, demand: Demand) -> Answer:
        slot = self._new_slot(demand)
        asked = self._ask("take", demand, slot)
        try:
            result = await asyncio.shield(asked)
        except asyncio.CancelledError:
            # It is on its way: what it takes is given back when it is known.
            asked.add_done_callback(lambda done: self._abandon(slot, demand, done.result()))
            raise
        if result is None:
            return await self._fallback.take(demand)
        answer = Answer(self._verdict(demand, result), "redis")
        if not result[0]:
            return answer
        return Answer(answer.verdict, "redis", self._granted(slot, demand))

    async def peek(self, demand: Demand) -> Answer:
        result = await asyncio.shield(self._ask("peek", demand, ""))
        if result is None:
            return await self._fallback.peek(demand)
        return Answer(self._verdict(demand, result), "redis")

    async def renew(self) -> None:
        """Lease the slots of all running calls for longer."""
        keys: list[str] = []
        actions: list[str] = []
        for slot, sets in self._held.items():
            for key in sets:
                keys.append(key)
                actions += ("renew", slot)
        if keys:
            await asyncio.shield(self.amend(keys, actions))

    async def aclose(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    def give_back(self, slot: str, demand: Demand, used_tokens: int) -> asyncio.Future[Any] | None:
        """Send off what the end of a call changes; None where that is nothing."""
        keys: list[str] = []
        actions: list[str] = []
        for limit in demand.rates:
            change = limit.cost_us(used_tokens) - limit.cost_us(demand.tokens)
            if change:
                keys.append(self._scripts.key("limit", limit.name))
                actions += ("cost", str(change))
        for key in self._held.pop(slot, ()):
            keys.append(key)
            actions += ("free", slot)
        return self.amend(keys, actions) if keys else None

    def amend(self, keys: Sequence[str], actions: Sequence[str]) -> asyncio.Future[Any]:
        return self._scripts.post(self._amend, keys, (self._now(), self._lease_us(), *actions))

    def _ask(self, what: str, demand: Demand, slot: str) -> asyncio.Future[Any]:
        limits = (*demand.rates, *demand.concurrent)
        keys = [self._scripts.key("limit", limit.name) for limit in limits]
        arguments: list[str | int] = [what, self._now(), len(demand.rates)]
        arguments += [slot, self._lease_us()]
        for limit in demand.rates:
            arguments += (limit.cost_us(demand.tokens), limit.window_us)
        arguments += [limit.amount for limit in demand.concurrent]
        return self._scripts.post(self._take, keys, arguments)

    def _granted(self, slot: str, demand: Demand) -> _Taken:
        if demand.concurrent:
            self._held[slot] = [self._scripts.key("limit", c.name) for c in demand.concurrent]
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew())
        return _Taken(self, slot, demand)

    def _abandon(self, slot: str, demand: Demand, result: Any) -> None:
        if result is not None and result[0]:
            self._granted(slot, demand)
            self.give_back(slot, demand, 0)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / _RENEWALS_PER_LEASE)
            await self.renew()

    def _verdict(self, demand: Demand, result: Sequence[int]) -> Verdict:
        _, now_us, *found = result
        rates = len(demand.rates)
        verdict, _ = judge(demand, now_us, found[:rates], found[rates:])
        return verdict

    def _new_slot(self, demand: Demand) -> str:
        # One for each time of asking: a call that asks again may have left the one before behind.
        return f"{self._process}.{demand.slot}.{next(self._asked)}"

    def _now(self) -> str | int:
        return "" if self._clock_us is None else self._clock_us()

    def _lease_us(self) -> int:
        return int(self._lease_s * 1e6)


class _Taken:
    """What a call has taken from a `RedisLimiter`."""

    __slots__ = ("_demand", "_limiter", "_slot")

    def __init__(self, limiter: RedisLimiter, slot: str, demand: Demand) -> None:
        self._limiter = limiter
        self._slot = slot
        self._demand: Demand | None = demand

    async def end(self, used_tokens: int) -> None:
        demand, self._demand = self._demand, None
        if demand is None:
            return
        changing = self._limiter.give_back(self._slot, demand, used_tokens)
        # A slot has to be free before the caller has its answer; a correction may come later.
        if changing is not None and demand.concurrent:
            await asyncio.shield(changing)
