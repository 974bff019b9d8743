"""What callers, models and operators wrote stays text, wherever the dashboard shows it."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.chromium import opened
from tests.browser.conftest import Visit, settled
from tests.gateway_process import GatewayProcess

MARKUP = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'


@pytest.fixture(scope="module")
def hostile(gateway: GatewayProcess) -> str:
    """A key that is named, tagged and used with markup."""
    admin = {"authorization": "Bearer sk-sluice-admin-of-the-tests"}
    with httpx.Client(base_url=gateway.url, headers=admin) as client:
        body = {"name": MARKUP, "team": MARKUP, "tags": ["<b>bold</b>"], "models": ["*", "<i>*"]}
        made = client.post("/admin/v1/keys", json=body).json()
        budget = {"scope": "tag", "scope_value": MARKUP, "limit_nano_usd": 10**9}
        client.put("/admin/v1/budgets", json=budget)
        caller = {"authorization": f"Bearer {made['secret']}"}
        for model in ("echo", MARKUP):
            question = {"model": model, "messages": [{"role": "user", "content": MARKUP}]}
            client.post("/v1/chat/completions", json=question, headers=caller)
    return str(made["secret"])


async def require_text(page: Page) -> None:
    await expect(page.locator("main")).to_contain_text("<img src=x onerror=")
    assert await page.evaluate("window.owned") is None
    assert await page.locator("main img").count() == 0


async def test_names_stay_text(visit: Visit, hostile: str) -> None:
    async with visit("overview?by=key") as page:
        await require_text(page)
        for path in ("overview?by=team", "calls", "keys", "keys?tab=teams", "keys?tab=budgets"):
            await page.goto(f"/dashboard/{path}")
            await settled(page)
            await require_text(page)


async def test_names_stay_text_in_the_audit(visit: Visit, hostile: str) -> None:
    async with visit("audit?action=key.create") as page:
        for change in await page.locator("details").all():
            await change.locator("summary").click()
        await require_text(page)


async def test_a_reply_and_an_error_stay_text(visit: Visit, hostile: str) -> None:
    async with visit("playground", expected=(404,)) as page:
        await page.get_by_label("Virtual key").fill(hostile)
        await page.get_by_label("Model").fill("echo")
        await page.get_by_label("Message", exact=True).fill(MARKUP)
        await page.get_by_role("button", name="Send").click()
        answer = page.get_by_role("region", name="Answer", exact=True).last
        await expect(answer).to_contain_text(MARKUP)
        await expect(page.get_by_role("region", name="What happened")).to_be_visible()
        await require_text(page)
        await page.get_by_label("Model").fill(MARKUP)
        await page.get_by_role("button", name="Send").click()
        await expect(answer.get_by_role("alert")).to_contain_text("<img src=x onerror=")
        await require_text(page)


async def test_an_address_stays_text(visit: Visit) -> None:
    async with visit(f"overview?model={MARKUP}&by=team") as page:
        await settled(page)
        await require_text(page)


async def test_the_policy_would_stop_it_anyway(browser: Browser, gateway: GatewayProcess) -> None:
    """If markup ever came in, nothing of it would run: the second lock."""
    async with opened(browser, gateway.url) as (page, watch):
        await page.goto(f"{gateway.url}/dashboard")
        ran = await page.evaluate(
            """async (markup) => {
              const told = new Promise((done) =>
                document.addEventListener("securitypolicyviolation", done, { once: true }));
              const place = document.createElement("div");
              place.innerHTML = markup;
              document.body.append(place);
              await Promise.race([told, new Promise((done) => setTimeout(done, 2000))]);
              return window.owned ?? null;
            }""",
            MARKUP,
        )
        assert ran is None
        assert any(problem.startswith("error: CSP: script-src") for problem in watch.problems)
