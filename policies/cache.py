"""Cache: answered already, or being answered right now?

Off unless the alias, the key or the call turns it on. An answer that is kept is given again, in
the form that is asked for; a call that is under way is joined; else this one goes out, for all
who will ask the same before it is over.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from gateway.cache.caching import Caching, saved_by
from gateway.cache.convert import exploded
from gateway.cache.entry import Entry, assembled_from, stream_of
from gateway.cache.facts import Cached, Saved, Status
from gateway.cache.terms import Terms, terms_of
from gateway.exchange import Call, Completion, Ending, Handler, Reply, planned
from gateway.flight import MOST_BOARDED, Flight, NotShared


class Cache:
    """Answers from what is kept, or shares one call to the rest of the path. None: off."""

    def __init__(self, caching: Caching | None) -> None:
        self._caching = caching

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        caching = self._caching
        if caching is None:
            return await call_next(call)
        terms = terms_of(call, caching.aliases, caching.settings)
        if terms is None:
            return await call_next(call)
        if not terms.read and not terms.store:
            caching.note(call, Cached("bypass"))
            return await call_next(call)
        key = caching.keys.digest(call, terms.namespace)
        if terms.read:
            entry = await caching.find(call, key, terms)
            if entry is not None:
                return _hit(caching, call, key, entry)
        if call.dry_run:
            joined = terms.read and caching.flights.find(key) is not None
            caching.note(call, Cached("coalesced" if joined else _not_found(terms), key))
            return planned(call) if joined else await call_next(call)
        return await _fly(caching, terms, key, call, call_next)


def _hit(caching: Caching, call: Call, key: bytes, entry: Entry) -> Reply:
    caching.note(call, Cached("hit", key))
    caching.note(call, Saved(entry.tokens, entry.cost_nano_usd))
    return entry.reply(stream=call.stream)


def _not_found(terms: Terms) -> Status:
    return "miss" if terms.read else "bypass"


async def _fly(caching: Caching, terms: Terms, key: bytes, call: Call, call_next: Handler) -> Reply:
    """Join a flight or start one; again, where a flight's outcome is not for its listeners."""

    def landed(flight: Flight) -> None:
        if terms.store:
            caching.landed(flight, key, terms.ttl_s)

    boarded = 0
    while True:
        joinable = terms.read and boarded < MOST_BOARDED
        flight = caching.flights.find(key) if joinable else None
        boarded += 1
        if flight is None:
            caching.note(call, Cached(_not_found(terms), key))
            most = caching.settings.max_entry_bytes
            flight = caching.flights.start(key, call, call_next, landed, most)
        else:
            caching.note(call, Cached("coalesced", key))
        flight.join()
        try:
            return await _listen(caching, flight, call)
        except NotShared:
            caching.take_back(call)
            entry = await caching.find(call, key, terms) if terms.read else None
            if entry is not None:  # another one was quicker
                return _hit(caching, call, key, entry)


async def _listen(caching: Caching, flight: Flight, call: Call) -> Reply:
    starter = flight.call is call
    if not call.stream:
        answer = await flight.completed(call)
        _note_saved(caching, flight, call)
        if isinstance(answer, list):
            return assembled_from(answer)
        return answer if starter else replace(answer, data=orjson.loads(answer.encode()))
    heard = await flight.streamed(call)
    if isinstance(heard, Completion):
        _note_saved(caching, flight, call)
        return stream_of(exploded(heard.data, heard.usage))

    async def closed(_: Ending) -> None:
        _note_saved(caching, flight, call)

    heard.on_close(closed)
    return heard


def _note_saved(caching: Caching, flight: Flight, call: Call) -> None:
    saved = None if flight.call is call else saved_by(flight)
    if saved:
        caching.note(call, saved)
