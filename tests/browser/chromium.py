"""A real Chromium: where is it, how is it started, and what must never happen in it?"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 10_000
_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""


def find_chromium() -> str | None:
    """`SLUICE_CHROMIUM`, or the first one on the PATH."""
    if named := os.environ.get("SLUICE_CHROMIUM"):
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@asynccontextmanager
async def chromium(path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Watch:
    """What went wrong on a page. Answers that a test asks for are `expected` by their status."""

    home: str
    expected: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        refused = "Failed to load resource" in message.text
        if refused and any(f"status of {status}" in message.text for status in self.expected):
            return
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text} {message.location.get('url')}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.home}/", "data:", "blob:")):
            self.problems.append(f"asked elsewhere: {request.url}")


@asynccontextmanager
async def opened(browser: Browser, home: str, **options: Any) -> AsyncIterator[tuple[Page, Watch]]:
    """A page of its own, that is watched. The caller asserts that nothing went wrong."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(_TELL_VIOLATIONS)
    page = await context.new_page()
    watch = Watch(home)
    watch.follow(page)
    try:
        yield page, watch
    finally:
        await context.close()
