"""A running gateway's cache: is it encrypted where it lies, cleared everywhere, and counted?"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.fakes import openai
from tests.fakes.upstream import Answer, Request, Upstream, json_answer
from tests.gateway_process import ROOT, GatewayProcess, fake_provider, table
from tests.redis_server import redis_server

ANSWER = "what-the-provider-said"
WITHIN_S = 5.0


def answer(_: Request) -> Answer:
    return json_answer(openai.completion(ANSWER))


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(answer) as upstream:
        yield upstream


def config(upstream: Upstream, *more: str, **cache: Any) -> str:
    return "\n".join(
        [
            table("server", drain_s=5.0),
            fake_provider(upstream, "a", models=["m"]),
            table("models.faq", targets=["a/m"], cache_ttl_s=60.0),
            table("models.other", targets=["a/m"], cache_ttl_s=60.0),
            table("cache", **cache),
            *more,
        ]
    )


def sluice(gateway: GatewayProcess, *arguments: str) -> Any:
    """What a command prints as JSON, run beside the gateway."""
    command = [sys.executable, "-m", "gateway", *arguments, "--json", "--config", "config.toml"]
    ran = subprocess.run(
        command,
        cwd=gateway.home,
        env={"PYTHONPATH": str(ROOT), "FAKE_API_KEY": "x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


async def run(gateway: GatewayProcess, *arguments: str) -> Any:
    return await asyncio.to_thread(sluice, gateway, *arguments)


async def ask(
    gateway: GatewayProcess, key: str | None = None, model: str = "faq", **headers: str
) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    given = {"authorization": f"Bearer {key or gateway.key}", **headers}
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=given) as http:
        return await http.post("/chat/completions", json=body, timeout=30)


async def status(gateway: GatewayProcess, key: str | None = None, model: str = "faq") -> str:
    found = await ask(gateway, key, model)
    assert found.json()["choices"][0]["message"]["content"] == ANSWER
    return str(found.headers["x-sluice-cache"])


async def until(found: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not found():  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.05)


def query(home: Path, file: str, text: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home / "data" / file, isolation_level=None)) as db:
        return db.execute(text, parameters).fetchall()


def bytes_in(home: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (home / "data").iterdir())


async def test_what_lies_on_disk_is_encrypted_and_read_after_a_restart(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    gateway = await start_gateway(config(upstream, store="disk", encrypt=True))
    headers = {"idempotency-key": "order-1"}
    assert (await ask(gateway, **headers)).headers["x-sluice-cache"] == "miss"
    await until(lambda: query(gateway.home, "cache.db", "SELECT 1 FROM entries"))
    assert gateway.stop() == 0
    assert ANSWER.encode() not in bytes_in(gateway.home)
    gateway.start()
    assert await status(gateway) == "hit"
    assert (await ask(gateway, **headers)).headers["x-sluice-idempotent-replay"] == "true"
    assert len(upstream.requests) == 1


async def test_what_was_changed_or_moved_is_a_miss_and_counted(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    gateway = await start_gateway(config(upstream, store="disk", encrypt=True))
    assert [await status(gateway, model=m) for m in ("faq", "other")] == ["miss", "miss"]
    assert gateway.stop() == 0
    first, second = query(gateway.home, "cache.db", "SELECT key, entry FROM entries")
    swap = "UPDATE entries SET entry = ? WHERE key = ?"
    query(gateway.home, "cache.db", swap, second[1], first[0])
    query(gateway.home, "cache.db", swap, first[1][:-1] + b"\x00", second[0])
    gateway.start()
    assert [await status(gateway, model=m) for m in ("faq", "other")] == ["miss", "miss"]
    assert gateway.stop() == 0
    (row,) = await run(gateway, "cache", "stats")
    assert (row["misses"], row["unreadable"], row["additions"]) == (4, 2, 4)


async def test_a_deleted_team_leaves_nothing_to_read(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    gateway = await start_gateway(config(upstream, store="disk", encrypt=True))
    made = await run(gateway, "keys", "create", "one", "--team", "red")
    assert await status(gateway, made["key"]) == "miss"
    assert await status(gateway, made["key"]) == "hit"
    deleted = await run(gateway, "teams", "delete", "red", "--revoke-keys")
    assert deleted["revoked"] == [made["id"]]
    assert query(gateway.home, "sluice.db", "SELECT * FROM data_keys") == []
    again = await run(gateway, "keys", "create", "two", "--team", "red")
    assert await status(gateway, again["key"]) == "miss"
    assert (await ask(gateway, made["key"])).status_code == 401


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_clear_holds_in_all_processes_and_only_in_its_scope(
    start_gateway: StartGateway, upstream: Upstream, tmp_path: Path, workers: int
) -> None:
    with redis_server(tmp_path) as server:
        text = config(
            upstream,
            table("redis", url=server.url),
            store="redis",
            encrypt=workers == 2,
        )
        gateway = await start_gateway(text, arguments=["--workers", str(workers)])
        made = await run(gateway, "keys", "create", "one", "--team", "red")
        keys = (None, made["key"])
        for key in keys:
            for model in ("faq", "other"):
                await status(gateway, key, model)
        await asyncio.gather(*(status(gateway, key) for key in keys for _ in range(8)))
        cleared = await run(gateway, "cache", "clear", "--team", "red", "--alias", "faq")
        assert cleared["deleted"] == {"redis": 1}
        await asyncio.sleep(1.0)
        seen = {(key, m): await status(gateway, key, m) for key in keys for m in ("faq", "other")}
        assert seen == {
            (None, "faq"): "hit",
            (None, "other"): "hit",
            (made["key"], "faq"): "miss",
            (made["key"], "other"): "hit",
        }
        assert (await run(gateway, "cache", "clear"))["deleted"] == {"redis": 4}
        await asyncio.sleep(1.0)
        assert await status(gateway) == "miss"
        assert gateway.stop() == 0
    rows = await run(gateway, "cache", "stats", "--by", "team", "--by", "model")
    found = {(row["team"], row["model"]): row["misses"] for row in rows}
    assert found == {("", "faq"): 2, ("", "other"): 1, ("red", "faq"): 2, ("red", "other"): 1}
    assert sum(row["hits"] for row in rows) == 16 + 3
