"""The page and the API documentation below the path of a reverse proxy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.reel import TIMEOUT_MS, reel_is_drawn
from tests.proxies import reverse_proxy

JUPYTER = "/user/x/proxy/8000"


@contextmanager
def tab(browser: Browser, address: str) -> Iterator[Page]:
    """A tab that fails on errors, warnings, failed requests and requests outside of the address."""
    problems: list[str] = []
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.on("console", lambda m: m.type in ("error", "warning") and problems.append(m.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda r: r.status >= 400 and problems.append(f"{r.status} {r.url}"))
    page.on(
        "request",
        lambda r: r.url.startswith((address + "/", "data:", "blob:")) or problems.append(r.url),
    )
    yield page
    context.close()
    assert problems == []


def check_page_and_docs(browser: Browser, address: str) -> None:
    with tab(browser, address) as page:
        page.goto(f"{address}/")
        expect(page).to_have_url(f"{address}/app")
        page.get_by_role("link", name="New run").first.click()
        expect(page).to_have_url(f"{address}/app/new")
        expect(page.get_by_label("Kernel size")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Kernel size")).to_be_visible()
        page.get_by_role("link", name="API").click()
        expect(page).to_have_url(f"{address}/docs")
        expect(page.get_by_text("Watch a convolutional network learn")).to_be_visible()
        page.locator("#operations-health-read_health_healthz_get button").first.click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".request-url")).to_contain_text(f"{address}/healthz")
        expect(page.locator(".live-responses-table")).to_contain_text('"status": "ok"')


def test_below_a_path_unknown_to_the_service(
    browser: Browser, http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    with reverse_proxy(str(http.base_url), JUPYTER, strip_prefix=True) as address:
        check_page_and_docs(browser, address)
        with tab(browser, address) as page:
            page.goto(f"{address}/app/runs/{finished_run['id']}")
            reel_is_drawn(page)


@pytest.mark.parametrize("strip_prefix", [True, pytest.param(False, marks=pytest.mark.torture)])
def test_below_a_root_path_stripped_or_not(
    browser: Browser, new_service: Callable[..., Any], strip_prefix: bool
) -> None:
    service = new_service(CAMREEL_ROOT_PATH="/camreel")
    address = str(service.http.base_url)
    with reverse_proxy(address, "/camreel", strip_prefix=strip_prefix) as proxy_address:
        check_page_and_docs(browser, proxy_address)
