"""The pages: what do they show, on which screens, and when something is wrong?"""

from __future__ import annotations

import asyncio
import re

import httpx
from playwright.async_api import Route, expect

from tests.browser.conftest import Visit, settled, sign_in
from tests.gateway_process import GatewayProcess

PAGES = (
    "overview",
    "calls",
    "keys",
    "keys?tab=teams",
    "keys?tab=budgets",
    "providers",
    "providers?tab=credentials",
    "providers?tab=prices",
    "cache",
    "playground",
    "audit",
    "status",
)
PHONE = {"viewport": {"width": 360, "height": 740}}
TOO_WIDE = "document.documentElement.scrollWidth > window.innerWidth"


async def test_every_page_fits_a_phone(visit: Visit) -> None:
    async with visit(**PHONE) as page:
        for path in PAGES:
            await page.goto(f"/dashboard/{path}")
            await settled(page)
            assert not await page.evaluate(TOO_WIDE), path


async def test_a_phone_has_a_menu(visit: Visit) -> None:
    async with visit(**PHONE) as page:
        link = page.get_by_role("link", name="Status")
        await expect(link).to_be_hidden()
        await page.get_by_role("button", name="Menu").click()
        await link.click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Status")
        await expect(link).to_be_hidden()


async def test_a_call_s_panel_fits_a_phone(visit: Visit) -> None:
    async with visit("calls", **PHONE) as page:
        await page.locator("tbody .link-button").first.click()
        panel = page.get_by_role("dialog", name="Call")
        await expect(panel.get_by_role("region", name="What happened")).to_be_visible()
        assert not await page.evaluate(TOO_WIDE)
        wide = "(panel) => panel.scrollWidth > panel.clientWidth"
        assert not await panel.evaluate(wide)


async def test_it_is_dark_where_the_system_is_and_where_that_is_chosen(visit: Visit) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    async with visit(color_scheme="light") as page:
        light = await page.evaluate(colour)
        button = page.get_by_role("button", name="System colours")
        await button.click()
        await page.get_by_role("button", name="Light", exact=True).click()
        await expect(page.get_by_role("button", name="Dark", exact=True)).to_be_visible()
        dark = await page.evaluate(colour)
        assert dark != light
        await page.reload()
        await settled(page)
        assert await page.evaluate(colour) == dark
    async with visit(color_scheme="dark") as page:
        assert await page.evaluate(colour) == dark


async def test_a_link_shows_the_same_view(visit: Visit) -> None:
    async with visit() as page:
        await page.get_by_role("button", name="30 days").click()
        await page.get_by_role("button", name="Team", exact=True).click()
        await page.get_by_role("button", name="Tokens", exact=True).click()
        await settled(page)
        link, seen = (
            page.url,
            await page.locator("figure").first.get_by_role("img").get_attribute("aria-label"),
        )
        assert link.endswith("?period=30d&by=team&show=tokens")
        await page.goto("about:blank")
        await page.goto(link)
        await settled(page)
        again = page.locator("figure").first.get_by_role("img")
        assert await again.get_attribute("aria-label") == seen
        await page.get_by_role("link", name="research").first.click()
        await expect(page.get_by_role("button", name="Remove the filter team")).to_be_visible()
        await page.go_back()
        await expect(page.get_by_role("button", name="Remove the filter team")).to_have_count(0)


async def test_a_chart_is_read_by_keyboard_and_as_a_table(visit: Visit) -> None:
    async with visit() as page:
        figure = page.locator("figure").first
        chart = figure.get_by_role("img")
        assert re.match(r"Spend by model, .+\$\d", await chart.get_attribute("aria-label") or "")
        await expect(chart.locator(".mark").first).to_be_visible()  # drawn when it has its size
        await chart.focus()
        await page.keyboard.press("End")
        tip = figure.get_by_role("status")
        await expect(tip).to_be_visible()
        last = await tip.text_content()
        await page.keyboard.press("ArrowLeft")
        await expect(tip).not_to_have_text(last or "")
        await figure.get_by_role("button", name="Table").click()
        await expect(figure.get_by_role("row")).to_have_count(8)  # seven days and their heads


async def test_a_failure_is_told_and_tried_again(visit: Visit) -> None:
    async def fail(route: Route) -> None:
        error = {"error": {"message": "The database cannot be used at the moment.", "code": "x"}}
        await route.fulfill(status=503, json=error)

    async with visit("status", expected=(503,)) as page:
        await page.route("**/admin/v1/overview?*", fail)
        await page.get_by_role("link", name="Overview").click()
        await expect(page.get_by_role("alert")).to_contain_text("cannot be used at the moment")
        await page.unroute("**/admin/v1/overview?*")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.get_by_role("region", name="Spend by model")).to_be_visible()


async def test_nothing_there_says_what_to_do(visit: Visit) -> None:
    async with visit("overview?since=2001-01-01&until=2001-01-02") as page:
        await expect(page.locator("main")).to_contain_text("No calls in this period")
        await page.goto("/dashboard/calls?model=there-is-none")
        await expect(page.locator("main")).to_contain_text("No such calls")


async def test_calls_go_on_page_by_page(visit: Visit) -> None:
    async with visit("calls") as page:
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(50)
        await page.get_by_role("button", name="Show older calls").click()
        await expect(rows).to_have_count(100)
        ids = await rows.evaluate_all("(rows) => rows.map((row) => row.dataset.id)")
        assert len(set(ids)) == 100
        await page.get_by_label("Result").select_option("Failed")
        await expect(page.locator("tbody .badge.good")).to_have_count(0)
        assert "status=failed" in page.url


async def test_credentials_prices_and_budgets_are_kept(
    visit: Visit, gateway: GatewayProcess, admin_key: str
) -> None:
    async with visit("providers?tab=credentials") as page:
        openai = page.get_by_role("region", name="openai", exact=True)
        await openai.get_by_role("button", name="Credential").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("second")
        await dialog.get_by_label("Secret").fill("sk-planted-secret-9876")
        await dialog.get_by_role("button", name="Keep it").click()
        row = openai.get_by_role("row").filter(has_text="second")
        await expect(row).to_contain_text("database")
        assert "sk-planted-secret" not in await page.content()

        await page.get_by_role("link", name="Prices").click()
        await page.get_by_role("button", name="Price", exact=True).click()
        await dialog.get_by_label("Model").fill("openai/o3")
        await dialog.get_by_label("Prompt, dollars per million", exact=True).fill("2.19")
        await dialog.get_by_label("Completion, dollars per million", exact=True).fill("2.5")
        await dialog.get_by_role("button", name="Set the price").click()
        await expect(page.get_by_role("row").filter(has_text="openai/o3")).to_contain_text("$2.19")

        await page.goto("/dashboard/keys?tab=budgets")
        await page.get_by_role("button", name="New budget").click()
        await dialog.get_by_label("For a").select_option("Model")
        await dialog.get_by_label("Which").fill("smart")
        await dialog.get_by_label("Limit, dollars").fill("0.5")
        await dialog.get_by_role("button", name="Save").click()
        bar = page.get_by_role("row").filter(has_text="smart").get_by_role("img")
        await expect(bar).to_have_attribute("aria-label", re.compile(r"of \$0\.50 spent"))
        await page.goto("/dashboard/audit")
        for action in ("budget.create", "price.create", "credential.create"):
            await expect(page.get_by_role("row").filter(has_text=action).first).to_contain_text(
                "dashboard"
            )
    admin = {"authorization": f"Bearer {admin_key}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=admin) as client:
        prices = (await client.get("/admin/v1/prices")).json()["data"]
    (figures,) = (price["figures"] for price in prices if price["model"] == "openai/o3")
    assert figures == {"input_cost_per_token": 2.19e-06, "output_cost_per_token": 2.5e-06}


async def test_the_other_pages_show_what_there_is(visit: Visit) -> None:
    async with visit("cache?period=30d&by=key") as page:
        await expect(page.locator("main")).to_contain_text("support-bot")
        await page.get_by_role("link", name="Status").click()
        await expect(page.locator("main")).to_contain_text("answers this page")
        await page.get_by_role("link", name="Providers").click()
        await expect(page.locator("main")).to_contain_text("openai/gpt-4.1")


async def test_signing_in_leads_to_the_page_that_was_asked_for(
    visit: Visit, admin_key: str
) -> None:
    async with visit("cache?by=team", signed_in=False) as page:
        await sign_in(page, admin_key)
        assert page.url.endswith("/dashboard/cache?by=team")
        await expect(page.get_by_role("region", name="By team", exact=True)).to_be_visible()


async def test_a_link_in_a_call_s_panel_leads_to_what_it_names(visit: Visit) -> None:
    async with visit("calls") as page:
        await page.locator("tbody .link-button").first.click()
        panel = page.get_by_role("dialog", name="Call")
        await panel.get_by_role("region", name="Caller").get_by_role("link").first.click()
        await expect(page).to_have_url(re.compile(r"/calls\?key=\w+$"))
        await expect(panel).to_have_count(0)


async def test_what_ends_late_does_not_bring_its_page_back(visit: Visit) -> None:
    async with visit("playground") as page:
        await page.get_by_role("link", name="Keys & teams").click()
        await page.get_by_role("button", name="New key").click()
        await page.get_by_label("Name", exact=True).fill("late")
        held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
        await page.route("**/admin/v1/keys", lambda route: held.set_result(route))
        await page.get_by_role("button", name="Create key").click()
        route = await held
        await page.go_back()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Playground")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await route.continue_()
        made = page.get_by_role("dialog", name="late is ready")
        await made.get_by_role("button", name="Done").click()
        await settled(page)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Playground")
