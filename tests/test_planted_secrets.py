"""Do secrets, prompts and answers stay where they belong?

One gateway with all lanes serves calls that go well and calls that go wrong, each with words in it
that stand nowhere else. Then everything that it has written or said is searched for them: its
output with the log at its loudest, metrics, database with its journal, cache, what a collector of
OpenTelemetry's got, the administration's view, and the errors that callers were given.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from tests.fakes import anthropic, openai
from tests.fakes.collector import Collector
from tests.fakes.upstream import Answer, Request, Step, Upstream, json_answer, sse_answer
from tests.gateway_process import ROOT, GatewayProcess, table
from tests.redis_server import redis_server

# A third-party policy that turns the log of every library up.
LOUD = """
import logging

class Loud:
    def __init__(self):
        logging.getLogger().setLevel(logging.DEBUG)

    async def __call__(self, call, call_next):
        return await call_next(call)
"""
KEPT_SECRET = ("first-keys", "pepper", "encryption-key", "config.toml")
LANES = {"native": "native/m", "library": "library/claude-x", "echo": "echo/echo"}
OUTCOMES = ("200", "400", "401", "429", "500", "cut")


@dataclass
class Plants:
    """Words that stand nowhere else, by what they are."""

    words: dict[str, str] = field(default_factory=dict)

    def __call__(self, what: str, prefix: str = "") -> str:
        """A new word."""
        word = self.words[f"{what} {len(self.words)}"] = f"{prefix}planted{uuid.uuid4().hex}"
        return word

    def among(self, *kinds: str) -> dict[str, str]:
        return {what: word for what, word in self.words.items() if what.startswith(kinds)}


def forms(word: str) -> Iterable[bytes]:
    """How a word may be written down."""
    plain = word.encode()
    yield plain
    yield plain.hex().encode()
    yield base64.b64encode(plain).rstrip(b"=")[:-2]


def found(plants: Mapping[str, str], places: Mapping[str, bytes]) -> set[str]:
    return {
        f"{what} in {place}"
        for what, word in plants.items()
        for place, text in places.items()
        if any(form in text for form in forms(word))
    }


@dataclass
class Scene:
    """A gateway that has served, and what is known of it."""

    gateway: GatewayProcess
    plants: Plants
    collector: Collector
    upstream: Upstream
    redis_url: str | None
    lanes: Sequence[str]
    said: dict[str, bytes] = field(default_factory=dict)  # to callers

    def written(self) -> dict[str, bytes]:
        """Every file that is not meant to hold a secret."""
        files = (path for path in self.gateway.home.rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.gateway.home)): path.read_bytes()
            for path in files
            if path.name not in KEPT_SECRET and path.suffix not in (".py", ".pyc")
        }

    def exported(self) -> dict[str, bytes]:
        return {f"collector {at}": body for at, body in self.collector.bodies}

    def in_redis(self) -> dict[str, bytes]:
        if self.redis_url is None:
            return {}
        with redis.Redis.from_url(self.redis_url) as server:
            held = b""
            for key in server.scan_iter():
                kind = server.type(key)
                value: Any = {
                    b"string": server.get,
                    b"hash": server.hgetall,
                    b"zset": lambda name: server.zrange(name, 0, -1),
                }[kind](key)
                held += key + b" " + (value if isinstance(value, bytes) else repr(value).encode())
        return {"redis": held}


def provider_script(plants: Plants) -> Any:
    """Both providers at one address. The prompt says what is to come."""

    def script(request: Request) -> Answer:
        body = request.json
        text = json.dumps(body)
        ours = request.path.endswith("/chat/completions")
        outcome = next(o for o in OUTCOMES if f"outcome={o}." in text)
        reply = plants("reply")
        if outcome == "cut":
            begun = openai.chunks(reply) if ours else [anthropic.start(), *_text(reply)]
            return sse_answer([*begun, Step.CUT])
        if outcome != "200":
            key = request.headers.get("authorization") or request.headers.get("x-api-key")
            words = f"Bad key {key} at {request.path} in {plants('complaint ' + outcome)}: {text}"
            wrong = openai.error(words, "invalid_request_error", outcome)
            return json_answer(wrong if ours else anthropic.error("x", words), int(outcome))
        if not body.get("stream"):
            return json_answer(openai.completion(reply) if ours else anthropic.message(reply))
        if ours:
            return sse_answer([*openai.chunks(reply), *openai.end()])
        return sse_answer([anthropic.start(), *_text(reply), *anthropic.end()])

    return script


def _text(reply: str) -> list[bytes]:
    return anthropic.text(0, reply)


def configuration(
    lanes: Sequence[str], upstream: Upstream, collector: Collector, plants: Plants, **cache: Any
) -> str:
    def provider(name: str, **more: Any) -> str:
        address = f"{upstream.url}/{plants('address ' + name)}"
        return table(
            f"providers.{name}",
            base_url=address,
            api_key=f"env:{name.upper()}_KEY",
            headers={"x-operator": f"env:{name.upper()}_HEADER"},
            forward_headers=["x-forwarded-by-caller"],
            **more,
        )

    return "\n".join(
        [
            table("server", drain_s=5.0),
            table("telemetry", otlp_endpoint=collector.url),
            table("cache", **cache),
            table("redis", url="env:REDIS_URL?"),
            table("retry", max_attempts=2, base_s=0.001),
            table("health", consecutive_failures=1000, min_attempts=1000),
            provider("native", kind="openai_compatible", models=["m"]),
            provider("library", kind="anthropic", models=["claude-x"])
            if "library" in lanes
            else "",
            table("providers.echo", kind="echo", models=["echo"]),
            *(table(f"models.{n}", targets=[LANES[n]], cache_ttl_s=60.0) for n in lanes),
            "[[policies]]",
            'use = "loud:Loud"',
            'after = "Keys"',
        ]
    )


async def serve_all(scene: Scene) -> None:
    """Calls of every lane and outcome, streamed and not, and requests that are no calls."""
    calls = [
        (lane, outcome, stream)
        for lane in scene.lanes
        for outcome in (OUTCOMES if lane != "echo" else ("200",))
        for stream in (False, True)
        if stream or outcome != "cut"
    ]
    plants, gateway = scene.plants, scene.gateway
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:

        async def ask(name: str, body: Any, **headers: str) -> None:
            given = {"authorization": f"Bearer {gateway.key}", **headers}
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = await client.post(
                f"/v1/chat/completions?token={plants('secret query')}",
                content=content,
                headers=given,
            )
            head = "".join(f"{k}: {v}\n" for k, v in answer.headers.items()).encode()
            scene.said[f"answer to {name}"] = head + answer.content

        for lane, outcome, stream in calls:
            name = f"{lane} {outcome} {stream}"
            text = plants("reply, echoed" if lane == "echo" else f"prompt, text of {name}")
            body = {
                "model": lane,
                "stream": stream,
                "user": plants(f"prompt, user of {name}"),
                "messages": [
                    {"role": "system", "content": plants(f"prompt, system of {name}")},
                    {"role": "user", "content": f"outcome={outcome}. {text}"},
                ],
            }
            headers = {
                "x-forwarded-by-caller": plants("secret header, forwarded"),
                "x-custom": plants("secret header"),
                "cookie": plants("secret cookie"),
                "user-agent": plants("secret agent"),
                "idempotency-key": plants("id"),  # a name, as the call's own id is one
            }
            await ask(name, body, **headers)
            await ask(f"{name} again", body, **headers)
        await ask("no JSON", b'{"model": "' + plants("prompt, broken").encode())
        wrong = {"model": "native", "messages": [{"role": plants("prompt, role")}]}
        await ask("wrong JSON", {**wrong, plants("prompt, name"): 1})
        await ask("no model", {"model": "no-such", "messages": [], "x": plants("prompt, x")})
        for header in ("x-api-key", "api-key", "authorization"):
            await ask("wrong key", {}, **{"authorization": "", header: plants("secret wrong key")})
        await ask("basic", {}, authorization=f"Basic {plants('secret basic')}")
        admin = {"authorization": f"Bearer {gateway.admin_key}"}
        for path in ("calls", "keys", "providers", "targets", "config", "status", "audit"):
            seen = await client.get(f"/admin/v1/{path}", headers=admin)
            scene.said[f"/admin/v1/{path}"] = seen.content
        for accept in ("text/plain", "application/openmetrics-text"):
            seen = await client.get("/metrics", headers={"accept": accept})
            assert b"sluice_calls_total" in seen.content
            scene.said[f"/metrics as {accept}"] = seen.content
        listed = (await client.get("/admin/v1/calls?limit=100", headers=admin)).json()
        for row in listed["data"][:40]:
            one = await client.get(f"/admin/v1/calls/{row['call_id']}", headers=admin)
            scene.said[f"call {row['call_id']}"] = one.content


@asynccontextmanager
async def scene(
    home: Path, redis_url: str | None, lanes: Sequence[str], **cache: Any
) -> AsyncIterator[Scene]:
    plants = Plants()
    (home / "loud.py").write_text(LOUD)
    with Collector() as collector:
        async with Upstream(provider_script(plants)) as upstream:
            environ = {"REDIS_URL": redis_url or "", "OTEL_BSP_SCHEDULE_DELAY": "100"}
            for name in ("native", "library"):
                for what in ("KEY", "HEADER"):
                    environ[f"{name.upper()}_{what}"] = plants(f"secret {what} of {name}", "sk-")
            config = configuration(lanes, upstream, collector, plants, **cache)
            async with GatewayProcess(home, config, env=environ) as gateway:
                made = Scene(gateway, plants, collector, upstream, redis_url, lanes)
                plants.words["secret virtual key"] = gateway.key
                plants.words["secret admin key"] = gateway.admin_key
                await serve_all(made)
                made.said |= made.written()  # with the database's journal
                yield made
            made.said |= made.written() | made.exported() | made.in_redis()


def check(made: Scene, *, replies_in: str = "") -> None:
    """No secret anywhere; prompts and answers with their callers, answers where they are kept."""
    plants, places = made.plants, made.said
    assert b" DEBUG " in places["log"]
    assert len(plants.among("reply")) >= 8
    assert len(plants.among("complaint")) >= 8
    assert sorted(found(plants.among("secret"), places)) == []
    # An address that the file holds as text is the administrator's to see.
    told = {place: text for place, text in places.items() if not place.startswith("/admin/")}
    assert sorted(found(plants.among("address"), told)) == []
    ours = {place: text for place, text in places.items() if not place.startswith("answer to")}
    assert {"log", "output", "redis", "data/sluice.db"} - {"redis"} <= set(ours)
    assert sorted(found(plants.among("prompt", "complaint"), ours)) == []
    kept = found(plants.among("reply"), ours)
    assert {where for where in kept if not replies_in or replies_in not in where} == set()
    if replies_in:
        assert kept, "the search finds nothing at all"


async def test_nothing_is_found_where_the_cache_is_sealed(tmp_path: Path) -> None:
    async with scene(tmp_path, None, tuple(LANES), store="disk", encrypt=True) as made:
        pass
    assert any("cache" in place for place in made.said)
    check(made)


async def test_answers_are_found_in_an_open_cache_only(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "gateway").mkdir()
    with redis_server(tmp_path / "redis") as server:
        async with scene(
            tmp_path / "gateway", server.url, ("native", "echo"), store="redis"
        ) as made:
            pass
        check(made, replies_in="in redis")


def test_an_address_that_holds_a_secret_is_refused_without_it(tmp_path: Path) -> None:
    for address in ("http://user:PLANTED@h/v1", "https://h/v1?sig=PLANTED", "http://h/v1#PLANTED"):
        (tmp_path / "config.toml").write_text(
            table("providers.p", kind="openai_compatible", base_url=address)
            + table("telemetry", otlp_endpoint="ftp://PLANTED")
        )
        for command in (["check"], ["serve", "--port", "0"]):
            done = subprocess.run(
                [sys.executable, "-m", "gateway", *command, "--config", "config.toml"],
                cwd=tmp_path,
                env={"PYTHONPATH": str(ROOT)},
                capture_output=True,
            )
            assert done.returncode != 0
            assert b"PLANTED" not in done.stdout + done.stderr
