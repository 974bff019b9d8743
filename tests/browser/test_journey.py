"""A key's life, as its operator sees it: made, used, looked at, limited, revoked."""

from __future__ import annotations

import asyncio
import json
import re

import httpx
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import NewKey, Visit, settled
from tests.gateway_process import GatewayProcess


async def make_key(page: Page, name: str, **fields: str) -> str:
    """The secret, as the dialog shows it once. It leaves that dialog open."""
    await page.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog", name="New key")
    await expect(dialog.get_by_label("Name")).to_be_focused()
    await dialog.get_by_label("Name").fill(name)
    for label, value in fields.items():
        await dialog.get_by_label(label.replace("_", " ")).fill(value)
    await dialog.get_by_role("button", name="Create key").click()
    secret = await page.locator("#new-secret").text_content()
    assert secret
    assert secret.startswith("sk-")
    return secret


async def call(gateway: GatewayProcess, secret: str, text: str = "Hi") -> httpx.Response:
    # A bound, which a hard budget asks for where the price is not known to be nothing.
    question = {"messages": [{"role": "user", "content": text}], "max_tokens": 50}
    body = {"model": "echo", **question}
    async with httpx.AsyncClient() as client:
        return await client.post(
            f"{gateway.base_url}/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {secret}"},
        )


async def refusal(gateway: GatewayProcess, secret: str) -> str:
    """What an ended key is told. A change holds in every process within a second."""
    async with asyncio.timeout(5):
        while (answer := await call(gateway, secret)).status_code == 200:
            pass
    assert answer.status_code == 401
    return str(answer.json()["error"]["message"])


async def test_from_a_new_key_to_its_end(
    visit: Visit, gateway: GatewayProcess, new_key: NewKey
) -> None:
    # The row of a call is written a moment after its end: the trace may be asked for too early.
    async with visit("keys", expected=(401, 404)) as page:
        secret = await make_key(page, "journey", Team="travel", Monthly_budget="3")
        await page.get_by_role("button", name="Try it in the playground").click()

        # A call from the playground, with its trace beside the answer.
        await settled(page)
        await expect(page.get_by_label("Virtual key")).to_have_value(secret)
        await page.get_by_label("Model").fill("echo")
        await page.get_by_label("Message", exact=True).fill("over the hills and far away")
        await page.get_by_role("button", name="Send").click()
        answer = page.get_by_role("region", name="Answer", exact=True).last
        await expect(answer).to_contain_text("over the hills and far away")
        await expect(page.get_by_role("region", name="What happened")).to_contain_text("Status 200")
        await expect(page.get_by_role("region", name="Attempt 1: echo/echo")).to_be_visible()

        # And one by HTTP, which arrives while the calls are looked at.
        await page.get_by_role("link", name="Calls").click()
        await page.get_by_label("Team").fill("travel")
        await page.get_by_label("Team").press("Enter")
        await page.get_by_role("button", name="Live").click()
        await expect(page.locator(".pulse.on")).to_be_visible()
        await settled(page)
        other = await call(gateway, await new_key("other"))
        answered = await call(gateway, secret)
        assert answered.status_code == 200, answered.text
        row = page.locator(f"[data-id='{answered.headers['x-sluice-call-id']}']")
        await expect(row).to_contain_text("journey")
        await expect(row).to_contain_text("travel")
        await expect(page.locator("tbody tr")).to_have_count(2)  # and not the other team's
        assert other.headers["x-sluice-call-id"] not in await page.content()
        await row.get_by_role("button", name="echo").click()
        panel = page.get_by_role("dialog", name="Call")
        await expect(panel).to_contain_text("Attempt 1 at echo/echo")
        await expect(panel.get_by_role("img", name=re.compile("Whole call"))).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(panel).to_have_count(0)

        # Its budget, and its end.
        await page.get_by_role("link", name="Keys & teams").click()
        await page.get_by_role("searchbox", name="Search keys").fill("journey")
        mine = page.get_by_role("row").filter(has_text="journey")
        bar = mine.get_by_role("img", name=re.compile(r"\$0\.00 of \$3\.00 spent.*\$3\.00 left"))
        await expect(bar).to_be_visible()
        await mine.get_by_role("button", name="Revoke").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(mine).to_contain_text("revoked")
        refused = await refusal(gateway, secret)
        await page.get_by_role("link", name="Playground").click()
        await page.get_by_label("Message", exact=True).fill("still there?")
        await page.get_by_role("button", name="Send").click()
        await expect(answer.get_by_role("alert")).to_have_text(refused)


async def test_a_key_is_changed_and_rotated(visit: Visit, gateway: GatewayProcess) -> None:
    async with visit("keys") as page:
        old = await make_key(page, "turning", Calls_a_minute="100")
        await page.get_by_role("button", name="Done").click()
        mine = page.get_by_role("row").filter(has_text="turning")
        await expect(mine).to_contain_text("100 a minute")
        await mine.get_by_role("button", name="turning").click()
        dialog = page.get_by_role("dialog", name="turning")
        await dialog.get_by_label("Calls a minute").fill("7")
        await dialog.get_by_label("Models").fill("echo, gpt-*")
        await dialog.get_by_role("button", name="Save").click()
        await expect(mine).to_contain_text("7 a minute")
        await expect(mine).to_contain_text("gpt-*")
        await mine.get_by_role("button", name="Rotate").click()
        await page.get_by_label("The old key ends").select_option("At once")
        await page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        new = await page.locator("#new-secret").text_content()
        assert new
        await page.get_by_role("button", name="Done").click()
        assert await refusal(gateway, old)
        assert (await call(gateway, new)).status_code == 200


async def test_a_faulty_form_says_what_is_wrong_and_keeps_what_was_typed(visit: Visit) -> None:
    async with visit("keys", expected=(400,)) as page:
        await page.get_by_role("button", name="New key").click()
        dialog = page.get_by_role("dialog", name="New key")
        await dialog.get_by_label("Name").fill("taggy")
        await dialog.get_by_label("Tags").fill("x" * 65)
        await dialog.get_by_role("button", name="Create key").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("64 characters")
        await expect(dialog.get_by_label("Name")).to_have_value("taggy")


async def test_an_answer_can_be_stopped(visit: Visit, new_key: NewKey) -> None:
    secret = await new_key("hasty")
    async with visit("playground", expected=(404,)) as page:
        await page.get_by_label("Virtual key").fill(secret)
        await page.get_by_label("Model").fill("echo/echo-slow")
        await page.get_by_label("Message", exact=True).fill("one two three " * 200)
        await page.get_by_role("button", name="Send").click()
        answer = page.get_by_role("region", name="Answer", exact=True).last
        await expect(answer).to_contain_text("one")
        await page.get_by_role("button", name="Stop").click()
        await expect(answer).to_contain_text("Stopped.")
        await expect(page.locator(".beside-answer")).to_contain_text("499")


async def test_a_stream_that_breaks_keeps_what_came_and_says_why(visit: Visit) -> None:
    async def broken(route: Route) -> None:
        """As the gateway sends one: an event, a heartbeat, and an error in place of the end."""
        chunk = {"choices": [{"delta": {"content": "so far"}}]}
        error = {"error": {"message": "The provider hung up.", "code": "upstream_error"}}
        events = f"data: {json.dumps(chunk)}\n\n: \n\ndata: {json.dumps(error)}\n\n"
        await route.fulfill(content_type="text/event-stream", body=events)

    async with visit("playground", expected=(401,)) as page:
        await page.route("**/v1/chat/completions", broken)
        await page.get_by_label("Virtual key").fill("sk-of-nobody")
        await page.get_by_label("Model").fill("echo")
        await page.get_by_label("Message", exact=True).fill("on and on")
        await page.get_by_role("button", name="Send").click()
        answer = page.get_by_role("region", name="Answer", exact=True).last
        await expect(answer).to_contain_text("so far")
        await expect(answer.get_by_role("alert")).to_have_text("The provider hung up.")


async def test_a_call_is_explained_without_being_made(visit: Visit, new_key: NewKey) -> None:
    secret = await new_key("curious", models=["echo"])
    async with visit("playground") as page:
        await page.get_by_label("Virtual key").fill(secret)
        await page.get_by_label("Model").fill("echo")
        await page.get_by_label("Message", exact=True).fill("what if")
        await page.get_by_role("button", name="Explain").click()
        told = page.get_by_role("region", name="Explanation")
        await expect(told).to_contain_text("It would be sent to echo/echo")
        await page.get_by_label("Model").fill("smart")
        await page.get_by_role("button", name="Explain").click()
        await expect(told.locator(".note.bad")).to_contain_text("smart")
