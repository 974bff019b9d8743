"""Signing in: who gets in, and how does a session end?"""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser.conftest import NewKey, Visit, settled, sign_in


async def test_a_wrong_key_is_refused_and_the_right_one_opens(visit: Visit, admin_key: str) -> None:
    async with visit("keys", signed_in=False, expected=(401,)) as page:
        await page.get_by_label("Admin key").fill("sk-sluice-admin-of-somebody")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("not the admin key")
        await expect(page.get_by_role("navigation", name="Pages")).to_have_count(0)
        await sign_in(page, admin_key)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Keys & teams")


async def test_a_virtual_key_opens_nothing(visit: Visit, new_key: NewKey) -> None:
    made = await new_key("no-admin")
    async with visit(signed_in=False, expected=(403,)) as page:
        await page.get_by_label("Admin key").fill(made)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("virtual key opens models only")


async def test_the_keyboard_is_enough(visit: Visit, admin_key: str) -> None:
    async with visit(signed_in=False) as page:
        await expect(page.get_by_label("Admin key")).to_be_focused()
        await page.keyboard.type(admin_key)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        await settled(page)
        for _ in range(12):  # the page has the focus; what leads to others stands before it
            await page.keyboard.press("Shift+Tab")
            if await page.evaluate("document.activeElement.textContent") == "Cache":
                break
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(outline) == "solid"
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Cache")


async def test_signing_out_ends_it(visit: Visit) -> None:
    async with visit() as page:
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Admin key")).to_be_focused()
        assert await page.context.cookies() == []
        await page.reload()
        await expect(page.get_by_label("Admin key")).to_be_visible()


async def test_who_signs_out_leaves_no_virtual_key_behind(visit: Visit, admin_key: str) -> None:
    async with visit("playground", expected=(401,)) as page:
        await page.get_by_label("Virtual key").fill("sk-sluice-of-somebody-who-left")
        await page.get_by_label("Model").focus()
        await page.get_by_role("button", name="Sign out").click()
        await sign_in(page, admin_key)
        await expect(page.get_by_label("Virtual key")).to_have_value("")
        assert "of-somebody" not in await page.evaluate("JSON.stringify(sessionStorage)")


async def test_a_session_that_ends_in_a_dialog_leaves_the_form_free(visit: Visit) -> None:
    async with visit("keys", expected=(401,)) as page:
        await page.get_by_role("button", name="New key").click()
        await page.get_by_label("Name", exact=True).fill("too late")
        await page.context.clear_cookies()
        await page.get_by_role("button", name="Create key").click()
        await expect(page.get_by_label("Admin key")).to_be_focused()
        await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_an_ended_session_asks_again_and_goes_on_where_it_was(
    visit: Visit, admin_key: str
) -> None:
    async with visit("audit", expected=(401,)) as page:
        await page.context.clear_cookies()
        await page.get_by_role("link", name="Cache").click()
        await expect(page.get_by_label("Admin key")).to_be_focused()
        await sign_in(page, admin_key)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Cache")


async def test_the_cookie_is_no_script_s_and_the_key_is_kept_nowhere(
    visit: Visit, admin_key: str
) -> None:
    async with visit() as page:
        (cookie,) = await page.context.cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        assert admin_key not in await page.evaluate(kept)
