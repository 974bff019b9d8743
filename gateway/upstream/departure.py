"""Departure: did an attempt's request get as far as a connection to its provider?

What ends an attempt before that (the client leaves, a time limit, a refused connection) costs
nothing; after that nobody but the provider knows what was done. aiohttp tells the difference only
through tracing, which costs each request more than the question is worth: its connector is where
every request passes.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.connector import Connection


class Departure:
    """One attempt's request: `connected` once it has a connection to go out on."""

    __slots__ = ("connected",)

    def __init__(self) -> None:
        self.connected = False
        _CURRENT.set(self)


_CURRENT: ContextVar[Departure | None] = ContextVar("departure", default=None)


class Connector(aiohttp.TCPConnector):
    """A pool of connections that notes the departure of the current task's request."""

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        connection = await super().connect(*args, **kwargs)
        departure = _CURRENT.get()
        if departure is not None:
            departure.connected = True
        return connection
