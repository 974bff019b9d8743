"""Providers, their stored credentials, prices and the configuration, as an operator has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import Upstream, json_answer
from tests.gateway.edge.admin.operator import CONFIG, Gateway, running

SECRET = "sk-stored-secret-0123456789"
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "fake-model",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
FIGURES = {"input_cost_per_token": 1e-3, "output_cost_per_token": 2e-3}


async def provider(gateway: Gateway, name: str) -> Any:
    return next(p for p in (await gateway.get("/providers"))["data"] if p["name"] == name)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """What was changed is followed within a moment."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the gateway polls its database
            await asyncio.sleep(0.05)


async def until_state(gateway: Gateway, name: str, state: str) -> None:
    async def reached() -> bool:
        found: str = (await provider(gateway, name))["state"]
        return found == state

    await until(reached)


async def add(gateway: Gateway, status: int = 201, **changes: Any) -> Any:
    body = {"provider": "openai", "name": "default", "secret": SECRET, **changes}
    return await gateway.post("/credentials", body, status=status)


async def test_a_provider_that_is_off_is_switched_on_by_a_stored_credential(
    gateway: Gateway,
) -> None:
    off = await provider(gateway, "openai")
    assert (off["state"], off["missing"]) == ("off", ["environment variable A_KEY_THAT_IS_NOT_SET"])
    made = await add(gateway)
    assert made["hint"] == "…6789"
    await until_state(gateway, "openai", "on")
    by_source = {
        (c["name"], c["source"]): c for c in (await provider(gateway, "openai"))["credentials"]
    }
    assert by_source["default", "config"]["in_use"] is False
    assert by_source["default", "database"]["in_use"] is True
    assert by_source["default", "database"]["id"] == made["id"]
    await gateway.delete(f"/credentials/{made['id']}")
    await until_state(gateway, "openai", "off")


async def test_no_answer_shows_a_stored_secret(gateway: Gateway) -> None:
    made = await add(gateway)
    shown = [
        made,
        await gateway.get("/credentials"),
        await gateway.get("/providers"),
        await gateway.get("/config"),
        await gateway.get("/audit"),
        await gateway.post(f"/credentials/{made['id']}/rotate", {"secret": SECRET + "x"}),
    ]
    assert SECRET not in repr(shown)


async def test_a_credential_that_cannot_be_is_refused(gateway: Gateway) -> None:
    await add(gateway)
    await add(gateway, status=409)
    for changes, param in [
        ({"provider": "nobody"}, "provider"),
        ({"name": "other", "secret": ""}, "secret"),
        ({"name": "other", "secret": "gr\u00fc\u00df"}, "secret"),
        ({"rotate": True}, "rotate"),
        ({"colour": "red"}, "colour"),
    ]:
        error = (await add(gateway, status=400, **changes))["error"]
        assert error["param"] == param
    await gateway.post("/credentials/cred_0/rotate", {"secret": SECRET}, status=404)
    await gateway.delete("/credentials/cred_0", status=404)


async def test_credentials_are_audited(gateway: Gateway) -> None:
    made = await add(gateway)
    await gateway.post(f"/credentials/{made['id']}/rotate", {"secret": "sk-next-secret-987654"})
    await gateway.delete(f"/credentials/{made['id']}")
    rows = (await gateway.get("/audit", object=made["id"]))["data"]
    assert [row["action"] for row in rows] == [
        "credential.delete",
        "credential.rotate",
        "credential.create",
    ]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(json_answer(ANSWER)) as upstream:
        yield upstream


async def test_the_next_call_is_made_with_the_credential_that_was_rotated_in(
    tmp_path: Path, upstream: Upstream
) -> None:
    fake = (
        f'\n[providers.fake]\nkind = "openai_compatible"\nbase_url = "{upstream.url}/v1"\n'
        'api_key = "sk-of-the-file"\nmodels = ["fake-model"]\n'
    )
    async with running(tmp_path, CONFIG + fake) as gateway:
        key = await gateway.post("/keys", {"name": "caller"}, status=201)

        async def is_shown(secret: str) -> bool:
            answer = await gateway.chat(key["secret"], model="fake/fake-model")
            assert answer.status_code == 200, answer.text
            return upstream.requests[-1].headers.get("authorization") == f"Bearer {secret}"

        assert await is_shown("sk-of-the-file")
        made = await add(gateway, provider="fake", secret="sk-first")
        await until(partial(is_shown, "sk-first"))
        await gateway.post(f"/credentials/{made['id']}/rotate", {"secret": "sk-second"})
        await until(partial(is_shown, "sk-second"))


async def test_a_price_holds_for_the_calls_after_it(gateway: Gateway) -> None:
    key = await gateway.post("/keys", {"name": "caller"}, status=201)

    async def cost() -> str | None:
        answer = await gateway.chat(key["secret"])
        return answer.headers.get("x-sluice-cost-usd")

    free = await cost()
    made = await gateway.post("/prices", {"model": "echo/echo", "figures": FIGURES}, status=201)
    assert made["in_force"] is True

    async def changed() -> bool:
        return await cost() != free

    await until(changed)
    (listed,) = (await gateway.get("/prices"))["data"]
    assert listed == made
    await gateway.delete(f"/prices/{made['id']}", status=404)


async def test_a_price_ahead_can_be_taken_back(gateway: Gateway) -> None:
    later = 4_000_000_000_000
    body = {"model": "echo/echo", "figures": FIGURES, "effective_from_ms": later}
    made = await gateway.post("/prices", body, status=201)
    assert made["in_force"] is False
    await gateway.post("/prices", body, status=409)
    await gateway.delete(f"/prices/{made['id']}")
    assert (await gateway.get("/prices"))["data"] == []


async def test_a_price_that_cannot_be_is_refused(gateway: Gateway) -> None:
    for model, figures, param in [
        ("nobody/m", FIGURES, "model"),
        ("echo/echo", {"colour": 0.1}, "figures"),
        ("echo/echo", {}, "figures"),
        ("echo/echo", {"input_cost_per_token": 2}, "figures.input_cost_per_token"),
    ]:
        found, _ = await gateway.refused("POST", "/prices", {"model": model, "figures": figures})
        assert found == param


async def test_a_new_secret_is_tried_though_the_one_before_was_refused(tmp_path: Path) -> None:
    refused = json_answer({"error": {"message": "no", "code": "invalid_api_key"}}, status=401)
    async with Upstream(refused) as upstream:
        there = f'\n[providers.there]\nkind = "openai_compatible"\nbase_url = "{upstream.url}/v1"\n'
        async with running(tmp_path, CONFIG + there) as gateway:
            key = await gateway.post("/keys", {"name": "a"}, status=201)
            made = await add(gateway, provider="there")

            async def benched() -> bool:
                await gateway.chat(key["secret"], model="there/m")
                return bool((await gateway.get("/targets"))["credentials"])

            await until(benched)
            await gateway.post(f"/credentials/{made['id']}/rotate", {"secret": "sk-the-right-one"})

            async def forgotten() -> bool:
                return not (await gateway.get("/targets"))["credentials"]

            await until(forgotten)


async def test_the_configuration_is_shown_without_secrets(tmp_path: Path) -> None:
    secret = '\n[providers.hidden]\nkind = "openai"\napi_key = "sk-in-the-file"\n'
    headers = 'headers = { "x-token" = "very-secret", "x-name" = "env:NAME?" }\n'
    telemetry = '[telemetry]\notlp_endpoint = "http://collector.test/otlp?token=hidden-too"\n'
    async with running(tmp_path, CONFIG + secret + headers + telemetry) as gateway:
        shown = await gateway.get("/config")
    assert "hidden-too" not in repr(shown)
    assert "sk-in-the-file" not in repr(shown)
    assert "very-secret" not in repr(shown)
    providers = shown["config"]["providers"]
    assert providers["openai"]["api_key"] == "env:A_KEY_THAT_IS_NOT_SET"
    assert providers["hidden"]["headers"]["x-name"] == "env:NAME?"
    assert "server" in shown["restart_tables"]


async def test_the_file_is_read_anew_on_request(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG + '\n[models.swift]\ntargets = ["echo/echo"]\n')
    reloaded = await gateway.post("/config/reload")
    assert reloaded == {"changed": ["models"], "needs_restart": []}
    assert "swift" in (await gateway.get("/config"))["config"]["models"]
    path.write_text("[server]\nprot = 1\n")
    error = (await gateway.post("/config/reload", status=400))["error"]
    assert "did you mean port" in error["message"]
    assert "swift" in (await gateway.get("/config"))["config"]["models"]
    (row,) = [r for r in (await gateway.get("/audit"))["data"] if r["action"] == "config.reload"]
    assert row["after"] == {"changed": ["models"]}
