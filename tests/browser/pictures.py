"""`python -m tests.browser.pictures`: the pictures in docs/, of a ledger that was made up.

Starts a gateway of its own in a directory that is removed afterwards. `--into` names another
directory for the pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from playwright.async_api import Browser, Page

from tests.browser.chromium import chromium, find_chromium, opened
from tests.browser.conftest import settled, sign_in
from tests.browser.seeding import seed
from tests.gateway_process import ROOT, GatewayProcess, table

ADMIN_KEY = "sk-sluice-admin-of-the-pictures"
LARGEST_BYTES = 200_000
_HOST = "api.example.com"


def _models(provider: str, models: list[str]) -> str:
    address = f"https://{provider}.{_HOST}/v1"
    kind = "openai_compatible"
    return table(f"providers.{provider}", kind=kind, base_url=address, api_key="x", models=models)


CONFIG = (
    table("server", drain_s=1.0)
    + table("cache", store="memory", encrypt=False)
    + table("providers.echo", kind="echo", models=["echo", "echo-slow"])
    + _models("openai", ["gpt-4.1", "gpt-4.1-mini", "o3"])
    + _models("anthropic", ["claude-sonnet-4-5", "claude-opus-4-1"])
    + _models("gemini", ["gemini-2.5-flash"])
    + table("models.smart", targets=["anthropic/claude-sonnet-4-5", "openai/gpt-4.1"])
    + table("models.fast", targets=["openai/gpt-4.1-mini", "gemini/gemini-2.5-flash"])
    + table("models.code", targets=["anthropic/claude-opus-4-1", "openai/gpt-4.1"])
    + table("models.summary", targets=["gemini/gemini-2.5-flash"])
    + table("models.reason", targets=["openai/o3"])
)
TEXT = (
    "Rivers meander because a bend, once begun, feeds itself: the water is faster on the outer"
    " bank and carries it off, and slower on the inner one, where it leaves sand. So a small"
    " curve becomes a large one, until the river cuts through its neck and begins anew."
)


@dataclass(frozen=True)
class Picture:
    """One picture: which page, in which colours, and what is done there before."""

    name: str
    path: str
    size: tuple[int, int] = (1280, 860)
    options: dict[str, Any] = field(default_factory=dict)


DARK: dict[str, Any] = {"color_scheme": "dark"}
PHONE: dict[str, Any] = {"device_scale_factor": 2, "is_mobile": True, "has_touch": True}
PICTURES = (
    Picture("overview", "overview?period=30d", (1280, 1010)),
    Picture("overview-dark", "overview?period=30d&by=team", (1280, 1010), DARK),
    Picture("keys", "keys", (1280, 800)),
    Picture("call", "calls?status=200", (1280, 900), DARK),
    Picture("playground", "playground", (1280, 860)),
    Picture("phone", "overview", (390, 780), PHONE),
)


async def prepare(page: Page, name: str, gateway: GatewayProcess) -> None:
    """What is to be seen is more than the page as it opens."""
    if name in ("overview", "phone"):
        chart = page.locator("figure").first.get_by_role("img")
        box = await chart.bounding_box()
        if name == "overview" and box:
            await page.mouse.move(box["x"] + box["width"] * 0.62, box["y"] + 130)
    elif name == "call":
        both = page.get_by_role("row").filter(has_text="2 attempts")
        while not await both.count():
            await page.get_by_role("button", name="Show older calls").click()
            await settled(page)
        await both.first.locator(".link-button").click()
        await page.get_by_role("region", name="What happened").wait_for()
    elif name == "playground":
        await page.get_by_label("Virtual key").fill(await _new_key(gateway))
        await page.get_by_label("Model").fill("echo/echo")
        await page.get_by_label("Message", exact=True).fill(TEXT)
        await page.get_by_role("button", name="Send").click()
        await page.get_by_role("region", name="What happened").wait_for()
        await page.evaluate("document.activeElement.blur()")
    await page.evaluate("document.fonts.ready")


async def _new_key(gateway: GatewayProcess) -> str:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=admin) as client:
        body = {"name": "anna-laptop", "team": "data-platform", "settings": {"rpm": 60}}
        made = await client.post("/admin/v1/keys", json=body)
        return str(made.json()["secret"])


async def draw(browser: Browser, gateway: GatewayProcess, picture: Picture, into: Path) -> None:
    width, height = picture.size
    options = {"viewport": {"width": width, "height": height}, **picture.options}
    async with opened(browser, gateway.url, base_url=gateway.url, **options) as (page, watch):
        watch.expected |= {404}
        await page.goto(f"/dashboard/{picture.path}")
        await sign_in(page, ADMIN_KEY)
        await prepare(page, picture.name, gateway)
        await page.wait_for_timeout(400)  # what fades in has come
        path = into / f"{picture.name}.png"
        await page.screenshot(path=path)
        assert watch.problems == []
    size = path.stat().st_size
    print(f"{path.name}  {size:,} bytes")
    assert size < LARGEST_BYTES, f"{path.name} is larger than {LARGEST_BYTES:,} bytes"


async def main(into: Path) -> None:
    path = find_chromium()
    if path is None:
        sys.exit("There is no Chromium on the PATH; SLUICE_CHROMIUM can name one.")
    with TemporaryDirectory() as home:
        await seed(Path(home), int(time.time() * 1000), days=61)
        env = {"SLUICE_ADMIN_KEY": ADMIN_KEY}
        async with GatewayProcess(Path(home), CONFIG, env=env) as gateway, chromium(path) as shown:
            for picture in PICTURES:
                await draw(shown, gateway, picture, into)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "pictures")
    directory: Path = parser.parse_args().into
    directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(directory))
