"""One gateway with a small ledger, and one Chromium, for all tests of this process."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, StorageState, expect

from tests.browser.chromium import PATIENCE_MS, chromium, find_chromium, opened
from tests.browser.seeding import seed
from tests.gateway_process import ECHO, GatewayProcess, table

ADMIN_KEY = "sk-sluice-admin-of-the-tests"
CONFIG = (
    table("server", drain_s=1.0, dashboard=True)
    + table("cache", store="memory")
    + ECHO
    + table(
        "providers.openai",
        kind="openai",
        api_key="env:OPENAI_API_KEY",
        models=["gpt-4.1", "gpt-4.1-mini", "o3"],
    )
    + table("models.smart", targets=["openai/gpt-4.1"])
)

Visit = Callable[..., AbstractAsyncContextManager[Page]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all: Chromium is started once."""
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = find_chromium()
    if path is None:
        reason = "no Chromium on the PATH; SLUICE_CHROMIUM can name one"
        if os.environ.get("SLUICE_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=PATIENCE_MS)
    async with chromium(path) as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    home = tmp_path_factory.mktemp("gateway")
    await seed(home, int(time.time() * 1000), days=8, calls_a_day=120)
    admin = {"SLUICE_ADMIN_KEY": ADMIN_KEY}
    async with GatewayProcess(home, CONFIG, env={"OPENAI_API_KEY": "sk-x", **admin}) as gateway:
        yield gateway


@pytest.fixture
def admin_key() -> str:
    return ADMIN_KEY


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session(browser: Browser, gateway: GatewayProcess) -> StorageState:
    """What a browser keeps of a session: it is signed in to once."""
    async with opened(browser, gateway.url) as (page, _):
        await page.goto(f"{gateway.url}/dashboard/playground")
        await sign_in(page, ADMIN_KEY)
        return await page.context.storage_state()


class NewKey(Protocol):
    async def __call__(self, name: str, **given: Any) -> str: ...


@pytest.fixture
def new_key(gateway: GatewayProcess, admin_key: str) -> NewKey:
    """`await new_key("anna", team="research")`: its secret."""

    async def make(name: str, **given: Any) -> str:
        admin = {"authorization": f"Bearer {admin_key}"}
        async with httpx.AsyncClient(base_url=gateway.url, headers=admin) as client:
            made = await client.post("/admin/v1/keys", json={"name": name, **given})
            return str(made.json()["secret"])

    return make


@pytest.fixture
def visit(browser: Browser, gateway: GatewayProcess, session: StorageState) -> Visit:
    """`async with visit("calls") as page`: signed in, watched, and nothing may go wrong in it.

    `expected` are the error statuses that are asked for; `signed_in=False` stays at the form.
    """

    @asynccontextmanager
    async def visiting(
        path: str = "overview",
        *,
        signed_in: bool = True,
        expected: tuple[int, ...] = (),
        **options: Any,
    ) -> AsyncIterator[Page]:
        known = {"base_url": gateway.url, "storage_state": session if signed_in else None}
        async with opened(browser, gateway.url, **known, **options) as (page, watch):
            watch.expected |= set(expected)
            await page.goto(f"/dashboard/{path}")
            if signed_in:
                await settled(page)
            yield page
            assert watch.problems == []

    return visiting


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_label("Admin key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".frame")).to_be_attached()
    await settled(page)


async def settled(page: Page) -> None:
    """All that the page shows is there."""
    await expect(page.locator("main h1")).to_be_visible()
    await expect(page.locator("[aria-busy=true]")).to_have_count(0)
    await expect(page.locator(".stale")).to_have_count(0)
