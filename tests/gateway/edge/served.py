"""The HTTP edge on a real server in the test's own loop, around a path that the test writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import aiohttp
from starlette.types import ASGIApp

from gateway.app import build_app
from gateway.config import Calls, Config
from gateway.config import Server as Settings
from gateway.edge.chat import ChatCompletions
from gateway.edge.explain import Explain
from gateway.edge.pages import Live, MetricsPage, Models, Ready
from gateway.edge.visits import Visits
from gateway.errors import InvalidKey, SluiceError
from gateway.exchange import Call, Events, Handler, Reply, Stream
from gateway.health import Health
from gateway.keys import VirtualKey
from gateway.metrics import Metrics
from gateway.server import Server, listen
from tests.builders import KEY

ADMIN = "sk-sluice-admin-1"
HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


class Edge:
    """`async with Edge(path) as edge:` serves at `edge.url`. Settings are those of `[server]`.

    With `serve` the server runs as in production, until it is signalled; else it is only started,
    which ends faster.
    """

    def __init__(
        self, path: Handler, *, calls: Calls | None = None, serve: bool = False, **settings: Any
    ) -> None:
        self.visits = Visits()
        self.refusals: list[SluiceError] = []
        self.healthy = True
        self.metrics = Metrics((), lambda: len(self.visits))
        self.settings = Settings(**settings)
        self._config = Config(server=self.settings, calls=calls or Calls())
        self.health = Health(self._config.health)
        self._path = path
        self._serve = serve
        self._serving: asyncio.Task[None] | None = None

    def app(self) -> ASGIApp:
        async def check() -> bool:
            return self.healthy

        async def is_admin(secret: str) -> bool:
            return secret == ADMIN

        return build_app(
            chat=ChatCompletions(self._path, self._config, self.visits, self.refusals.append),
            explain=Explain(
                self._path, self._config, self.visits, self.health, self.refusals.append
            ),
            models=Models(_NoModels()),  # type: ignore[arg-type]
            live=Live(),
            ready=Ready(self.visits, {"database": check}),
            metrics=MetricsPage(self.metrics, self.settings, is_admin),
        )

    async def __aenter__(self) -> Edge:
        listener = listen("127.0.0.1", 0)
        self.host, self.port = listener.getsockname()
        self.url = f"http://{self.host}:{self.port}"
        self.server = Server(self.app(), self.settings, self.visits)
        if self._serve:
            self._serving = asyncio.create_task(self.server.serve([listener]))
            await until(lambda: self.server.started)
        else:
            self.server.config.load()
            self.server.lifespan = self.server.config.lifespan_class(self.server.config)
            await self.server.startup(sockets=[listener])
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()
        if self._serving:
            self._serving.cancel()
        for server in self.server.servers:
            server.close()
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        if self.server.server_state.tasks:
            await asyncio.wait(self.server.server_state.tasks, timeout=5)

    async def served(self) -> None:
        """Wait until the server has ended by itself."""
        assert self._serving is not None
        async with asyncio.timeout(5):
            await self._serving

    @asynccontextmanager
    async def post(
        self, body: Any = None, *, path: str = "/v1/chat/completions", **headers: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A call; `body` is JSON, or bytes as they are. Header names with `_` for `-`."""
        data = body if isinstance(body, bytes) else json.dumps({**HELLO, **(body or {})}).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.post(self.url + path, data=data, headers=named) as answer:
            yield answer

    async def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, self.url + path, headers=named) as answer:
            return answer, await answer.read()

    async def raw(
        self, body: Any = None, *, read_ahead_bytes: int = 2**16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A call on a connection of one's own."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=read_ahead_bytes)
        data = json.dumps({**HELLO, **(body or {})}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n"
        writer.write(head.encode() + b"\r\n" + data)
        await writer.drain()
        return reader, writer


class _NoModels:
    """A generation without models."""

    @property
    def current(self) -> _NoModels:
        return self

    @property
    def directory(self) -> _NoModels:
        return self

    async def admit(self, secret: str | None) -> VirtualKey:
        if secret != "sk-good":
            raise InvalidKey("x")
        return KEY

    async def list(self, key: VirtualKey) -> tuple[()]:
        return ()


class Feed:
    """A stream's source that a test feeds, and a path that answers with it.

    `entered` is set when the path is called; the stream is returned once something was fed.
    """

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.closed = asyncio.Event()
        self.closings = 0
        self.cancelled: asyncio.CancelledError | None = None
        self.calls: list[Call] = []
        self._items: asyncio.Queue[Events | BaseException | None] = asyncio.Queue()

    def put(self, *items: Events | BaseException) -> None:
        """More events, or an error, to come."""
        for item in items:
            self._items.put_nowait(item)

    def end(self) -> None:
        self._items.put_nowait(None)

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        self.entered.set()
        try:
            first = await self._items.get()
        except asyncio.CancelledError as error:
            self.cancelled = error
            raise
        if isinstance(first, BaseException):
            raise first
        return Stream(self._source(first), self._close)

    async def _source(self, item: Events | BaseException | None) -> AsyncIterator[Events]:
        while item is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            item = await self._items.get()

    async def _close(self) -> None:
        self.closings += 1
        self.closed.set()


class Lines:
    """What a client of an event stream sees: comments apart from data, as they come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.comments = 0

    async def next(self) -> Any:
        """The next event's data, or `[DONE]`; None at the end. Comments are counted."""
        while block := await self._answer.content.readuntil(b"\n\n"):
            if block.startswith(b":"):
                self.comments += 1
                continue
            text = block.removeprefix(b"data: ").strip()
            return "[DONE]" if text == b"[DONE]" else json.loads(text)
        return None

    async def comment(self) -> None:
        """Wait for a comment; anything else is a failure."""
        block = await self._answer.content.readuntil(b"\n\n")
        assert block.startswith(b":"), block
        self.comments += 1

    async def rest(self) -> list[Any]:
        """All data up to the end."""
        found = []
        while (item := await self.next()) is not None:
            found.append(item)
        return found


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def left(edge: Edge) -> None:
    """Wait until no call is being served."""
    await until(lambda: not len(edge.visits))
