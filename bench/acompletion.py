"""The floor of the library lane: what does `litellm.acompletion` in a Starlette route cost?

It parses the body, calls litellm for one attempt with the caller's fields, and writes litellm's
answer out. No keys, no ledger, no error map.

    BENCH_UPSTREAM=http://127.0.0.1:9000/v1 BENCH_KEY=… python -m bench.acompletion PORT
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

# Before the import: litellm looks at these once, and would otherwise ask the network.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True",
    LITELLM_MODE="PRODUCTION",
)

import litellm
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

litellm.disable_hf_tokenizer_download = True
litellm.suppress_debug_info = True

UPSTREAM = os.environ["BENCH_UPSTREAM"]
BEARER = "Bearer " + os.environ["BENCH_KEY"]


async def events(chunks: Any) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield f"data: {chunk.model_dump_json(exclude_none=True)}\n\n"
    yield "data: [DONE]\n\n"


async def chat(request: Request) -> Response:
    if request.headers.get("authorization") != BEARER:
        return PlainTextResponse("no", 401)
    body = orjson.loads(await request.body())
    body["model"] = "openai/" + body["model"]
    reply = await litellm.acompletion(**body, api_base=UPSTREAM, api_key="upstream", max_retries=0)
    if body.get("stream"):
        return StreamingResponse(events(reply), media_type="text/event-stream")
    return Response(reply.model_dump_json(exclude_none=True), media_type="application/json")


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])

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
