"""The whole application in this process, and an operator whose every answer is checked.

    async with running(tmp_path) as gateway:
        key = await gateway.post("/keys", {"name": "laptop"}, status=201)

Each answer of the admin API is held against its schema in the OpenAPI document, which the gateway
itself serves.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import orjson
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from starlette.applications import Starlette

from gateway.assembly import Setting, application
from gateway.configfile import load
from gateway.edge.admin.routes import BASE
from gateway.edge.visits import Visits
from gateway.exchange import Handler, chain
from gateway.generation import Admit
from gateway.parts import Parts
from gateway.store.database import Prepared, administration, prepare
from gateway.store.keyring import POLL_S
from policies import request_path
from policies.keys import Keys

ADMIN = "sk-sluice-admin-of-the-tests"
URL = "http://gateway.test"
CONFIG = """
[database]
url = "sqlite:state/sluice.db"
[keys]
pepper = "file:state/pepper"
[server]
log = "off"
[providers.echo]
kind = "echo"
models = ["echo"]
[providers.openai]
kind = "openai"
api_key = "env:A_KEY_THAT_IS_NOT_SET"
credentials = { lab = "env:LAB_KEY_THAT_IS_NOT_SET?" }
[providers.broken]
kind = "openai_compatible"
base_url = "http://127.0.0.1:1"
models = ["gone"]
[retry]
base_s = 0
[models.fast]
targets = ["echo/echo"]
"""


class Gateway:
    """A running application. `client` is admitted as nobody; `get` and the like as the operator."""

    def __init__(self, app: Starlette, prepared: Prepared, visits: Visits) -> None:
        self.app = app
        self.prepared = prepared
        self.visits = visits
        self.client = self.client_from("192.0.2.1")
        self._document: Any = None

    def client_from(self, address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url=URL)

    async def get(self, path: str, /, expect: int = 200, **query: Any) -> Any:
        return await self.ask("GET", path, None, expect, params=query)

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        return await self.ask("POST", path, body, status)

    async def put(self, path: str, body: Any, status: int = 200) -> Any:
        return await self.ask("PUT", path, body, status)

    async def patch(self, path: str, body: Any, status: int = 200) -> Any:
        return await self.ask("PATCH", path, body, status)

    async def delete(self, path: str, status: int = 200) -> Any:
        return await self.ask("DELETE", path, None, status)

    async def ask(self, method: str, path: str, body: Any, status: int, **more: Any) -> Any:
        """The answer's JSON, from the operator's own request."""
        headers = {"authorization": f"Bearer {ADMIN}"}
        content = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        answer = await self.client.request(
            method, BASE + path, content=content, headers=headers, **more
        )
        assert answer.status_code == status, answer.text
        return await self.checked(method, path, answer)

    async def refused(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The error of a request that is refused with 400: its parameter and message."""
        error = (await self.ask(method, path, body, 400, **more))["error"]
        return error["param"], error["message"]

    async def checked(self, method: str, path: str, answer: httpx.Response) -> Any:
        """The answer's JSON, which is what the document says."""
        data = answer.json()
        document = await self.document()
        described = operation_of(document, method, BASE + path.partition("?")[0])
        assert described is not None, f"{method} {path} is not in the document"
        told = described["responses"].get(
            str(answer.status_code), described["responses"]["default"]
        )
        validate(document, told["content"]["application/json"]["schema"], data)
        return data

    async def document(self) -> Any:
        if self._document is None:
            self._document = (await self.client.get(f"{BASE}/openapi.json")).json()
        return self._document

    async def settled(self) -> None:
        """Wait until what has ended stands in the ledger."""
        assert (await self.client.get("/health/ready")).status_code == 200

    async def refreshed(self) -> None:
        """Wait until the process has read its keys anew."""
        await asyncio.sleep(1.2 * POLL_S)

    async def chat(self, secret: str, **body: Any) -> httpx.Response:
        """A call with a virtual key."""
        whole = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}], **body}
        headers = {"authorization": f"Bearer {secret}"}
        return await self.client.post("/v1/chat/completions", json=whole, headers=headers)


def operation_of(document: Any, method: str, path: str) -> Any:
    """What the document says about a request; of several paths the one with fewest variables."""
    fitting = [
        (template.count("{"), place)
        for template, place in document["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^?]+", template), path)
    ]
    for _, place in sorted(fitting, key=lambda pair: pair[0]):
        if method.lower() in place:
            return place[method.lower()]
    return None


def validate(document: Any, schema: Mapping[str, Any], data: Any) -> None:
    """Raises `jsonschema.ValidationError`. References are the document's own."""
    _validator(orjson.dumps(document["components"]), orjson.dumps(schema)).validate(data)


@lru_cache(maxsize=256)
def _validator(components: bytes, schema: bytes) -> Draft202012Validator:
    whole = {"components": orjson.loads(components), **orjson.loads(schema)}
    registry = Registry().with_resource("", Resource(contents=whole, specification=DRAFT202012))
    return Draft202012Validator(whole, registry=registry)


@asynccontextmanager
async def running(home: Path, config: str = CONFIG) -> AsyncIterator[Gateway]:
    """A gateway of one's own, whose operator has `ADMIN`."""
    path = home / "config.toml"
    path.write_text(config)
    read = load(path, {})
    prepared = prepare(read.database, read.keys, home)
    async with administration(prepared) as admin:
        await admin.admin_key.first_keys(ADMIN)
    setting = Setting(config=read, config_path=path, prepared=prepared, build_path=_build_path)
    visits = Visits()
    async with application(setting, visits) as app:
        assert isinstance(app, Starlette)
        gateway = Gateway(app, prepared, visits)
        async with gateway.client:
            yield gateway


def _build_path(parts: Parts, lanes: Handler) -> tuple[Handler, Admit]:
    keys = Keys(parts.keyring, time.time)
    return chain(request_path(parts, keys), lanes), keys.admit
