"""Chromium on a running service. A page that logs an error or leaves the service fails its test."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from benchmarks.chromium import MISSING, chromium, executable
from tests.page.reel import TIMEOUT_MS

EPOCHS = 12

EXPECTED = (
    "status of 404",  # Chromium logs every refused request; the page reports it itself
    "status of 415",
    "status of 422",
    "willReadFrequently",  # these tests read canvases that the page only draws
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if executable() is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=TIMEOUT_MS)
    with chromium() as launched:
        yield launched


@pytest.fixture
def context_options() -> dict[str, Any]:
    """Options of a browser context; a test file or class overrides them."""
    return {}


@pytest.fixture
def context(
    browser: Browser, http: httpx.Client, context_options: dict[str, Any]
) -> Iterator[BrowserContext]:
    options: dict[str, Any] = {
        "base_url": str(http.base_url),
        "viewport": {"width": 1400, "height": 1000},
        "locale": "en-GB",
        "accept_downloads": True,
    }
    context = browser.new_context(**(options | context_options))
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, http: httpx.Client) -> Iterator[Page]:
    """A tab. Errors, warnings and requests to another origin fail the test."""
    problems: list[str] = []
    origin = str(http.base_url).rstrip("/")

    def check_origin(request: Request) -> None:
        if not request.url.startswith((origin + "/", "data:", "blob:" + origin)):
            problems.append(f"requested {request.url}")

    page = context.new_page()
    page.on("console", lambda m: m.type in ("error", "warning") and problems.append(m.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", check_origin)
    yield page
    assert [text for text in problems if not any(part in text for part in EXPECTED)] == []


@pytest.fixture
def run_id(page_run: dict[str, Any]) -> int:
    return int(page_run["id"])
