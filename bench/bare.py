"""The floor: what does a pass-through cost that checks one header and forwards bytes?

Starlette on uvicorn, aiohttp towards the upstream; it parses nothing, counts nothing and keeps
nothing. Sluice's native lane is compared with it.

    BENCH_UPSTREAM=http://127.0.0.1:9000/v1 BENCH_KEY=… python -m bench.bare PORT
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

URL = os.environ["BENCH_UPSTREAM"] + "/chat/completions"
BEARER = "Bearer " + os.environ["BENCH_KEY"]
UPSTREAM_HEADERS = {"authorization": "Bearer upstream", "content-type": "application/json"}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        app.state.session = session
        yield


async def relayed(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with upstream:
        async for data in upstream.content.iter_any():
            yield data


async def chat(request: Request) -> Response:
    if request.headers.get("authorization") != BEARER:
        return PlainTextResponse("no", 401)
    session: aiohttp.ClientSession = request.app.state.session
    body = await request.body()
    upstream = await session.post(URL, data=body, headers=UPSTREAM_HEADERS)
    if upstream.content_type == "text/event-stream":
        return StreamingResponse(relayed(upstream), upstream.status, media_type="text/event-stream")
    async with upstream:
        return Response(await upstream.read(), upstream.status, media_type="application/json")


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )
