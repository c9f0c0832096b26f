"""The page and the API's documentation below a path of a proxy, in Chromium."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, expect

from tests.page.reel import PATIENCE, reel_is_drawn
from tests.proxies import reverse_proxy

JUPYTER = "/user/x/proxy/8000"


@contextmanager
def tab(browser: Browser, address: str) -> Iterator[Page]:
    """A tab that must stay below the address, with every answer good and no complaint."""
    complaints: list[str] = []
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", lambda r: r.status >= 400 and complaints.append(f"{r.status} {r.url}"))
    page.on(
        "request",
        lambda r: r.url.startswith((address + "/", "data:", "blob:")) or complaints.append(r.url),
    )
    yield page
    context.close()
    assert complaints == []


def shows_page_and_docs(browser: Browser, address: str) -> None:
    with tab(browser, address) as page:
        page.goto(f"{address}/")
        expect(page).to_have_url(f"{address}/app")
        page.get_by_role("link", name="New run").first.click()
        expect(page).to_have_url(f"{address}/app/new")
        expect(page.get_by_label("Kernel size")).to_be_visible()
        page.reload()  # a deep link, by its own document
        expect(page.get_by_label("Kernel size")).to_be_visible()
        page.get_by_role("link", name="API").click()
        expect(page).to_have_url(f"{address}/docs")
        expect(page.get_by_text("Watch a convolutional network learn")).to_be_visible()
        page.locator("#operations-health-read_health_healthz_get button").first.click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".request-url")).to_contain_text(f"{address}/healthz")
        expect(page.locator(".live-responses-table")).to_contain_text('"status": "ok"')


def test_below_a_path_that_the_service_does_not_know(
    browser: Browser, http: httpx.Client, finished: dict[str, Any]
) -> None:
    with reverse_proxy(str(http.base_url), JUPYTER, strips=True) as address:
        shows_page_and_docs(browser, address)
        with tab(browser, address) as page:
            page.goto(f"{address}/app/runs/{finished['id']}")
            reel_is_drawn(page)


def test_below_a_root_path_stripped_or_not(
    browser: Browser, new_service: Callable[..., Any]
) -> None:
    service = new_service(CAMREEL_ROOT_PATH="/camreel")
    for strips in (True, False):
        with reverse_proxy(str(service.http.base_url), "/camreel", strips=strips) as address:
            shows_page_and_docs(browser, address)
