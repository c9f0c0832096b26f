"""Unfinished runs in many tabs, which share one event connection per browser."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.page.reel import eventually
from tests.page.training import SMALL, endless_run

CONNECTIONS = 6  # that a browser has to one origin by HTTP/1.1
FETCH = "async (path) => (await fetch(path, { cache: 'no-store' })).status"
WITHOUT_LOCKS = "delete Navigator.prototype.locks;"
SET_HIDDEN = """
(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def open_streams(http: httpx.Client) -> int:
    """Number of event connections that the service has open."""
    text = http.get("/metrics").text
    return int(float(text.partition("\ncamreel_event_streams ")[2].partition("\n")[0]))


def open_tabs(context: BrowserContext, address: str, count: int) -> list[Page]:
    tabs = [context.new_page() for _ in range(count)]
    for tab in tabs:
        tab.goto(address)
    return tabs


def last_epoch(tab: Page) -> int:
    return int(tab.locator(".scrubber input").get_attribute("max") or 0)


def epochs_arrive(tabs: list[Page]) -> None:
    """Waits until each tab shows new epochs."""
    for tab, previous in [(tab, last_epoch(tab)) for tab in tabs]:
        eventually(tab, lambda tab=tab, previous=previous: last_epoch(tab) > previous + 1)


@pytest.fixture
def training_id(service: Any) -> Iterator[int]:
    """A run that trains until the test ends."""
    with endless_run(service, "in many tabs") as run_id:
        yield run_id


@pytest.fixture
def queued_ids(service: Any, http: httpx.Client, training_id: int) -> Iterator[list[int]]:
    """Six runs that wait for the worker."""
    run_ids = [service.post_run(**SMALL, epochs=2, name=f"waits {n}") for n in range(6)]
    yield run_ids
    for run_id in run_ids:
        assert http.post(f"/runs/{run_id}/cancel").status_code in (202, 409)  # a test cancels one


def expect_one_stream(tab: Page, http: httpx.Client) -> None:
    """Waits until one stream stays open; tabs that open or close may cause a reconnection."""

    def is_stable() -> bool:
        for _ in range(5):
            if open_streams(http) != 1:
                return False
            tab.wait_for_timeout(100)
        return True

    eventually(tab, is_stable)


def test_comparison_of_six_runs_has_one_connection(
    page: Page, http: httpx.Client, queued_ids: list[int]
) -> None:
    page.goto(f"/app/compare?runs={','.join(map(str, queued_ids))}")
    expect(page.get_by_text("queued")).to_have_count(6)
    expect_one_stream(page, http)
    assert page.evaluate(FETCH, "/runs?limit=1") == 200
    # Its events are those of all six.
    http.post(f"/runs/{queued_ids[3]}/cancel").raise_for_status()
    expect(page.get_by_text("cancelled")).to_have_count(1)
    expect_one_stream(page, http)


def test_list_of_runs_has_one_connection(
    page: Page, http: httpx.Client, queued_ids: list[int]
) -> None:
    page.goto("/app?search=waits")
    expect(page.locator(".status", has_text="queued")).to_have_count(6)
    expect_one_stream(page, http)


@pytest.mark.torture
def test_shared_connection_outlives_the_leading_tab(
    context: BrowserContext, http: httpx.Client, training_id: int
) -> None:
    tabs = open_tabs(context, f"/app/runs/{training_id}", CONNECTIONS + 1)
    expect_one_stream(tabs[-1], http)
    assert tabs[-1].evaluate(FETCH, f"/runs/{training_id}") == 200
    epochs_arrive(tabs)
    # The first tab leads. A page accepts no gap in the sequence of epochs.
    for leader in (tabs[0], tabs[1]):
        leader.close()
        tabs.remove(leader)
        epochs_arrive(tabs)
        expect_one_stream(tabs[-1], http)
    for tab in tabs:
        tab.close()
    eventually(context.new_page(), lambda: open_streams(http) == 0)


def test_tabs_of_different_runs_share_a_connection(
    context: BrowserContext, http: httpx.Client, training_id: int, queued_ids: list[int]
) -> None:
    tabs = [*open_tabs(context, f"/app/runs/{training_id}", 1)]
    for run_id in queued_ids[:3]:
        tabs += open_tabs(context, f"/app/runs/{run_id}", 1)
    expect_one_stream(tabs[0], http)
    epochs_arrive(tabs[:1])
    http.post(f"/runs/{queued_ids[2]}/cancel").raise_for_status()
    expect(tabs[3].locator(".status").first).to_have_text("cancelled")
    expect(tabs[1].locator(".status").first).to_have_text("queued")
    expect_one_stream(tabs[0], http)


def test_frozen_leading_tab_hands_over_and_catches_up(
    context: BrowserContext, http: httpx.Client, training_id: int
) -> None:
    leader, follower = open_tabs(context, f"/app/runs/{training_id}", 2)
    expect_one_stream(follower, http)
    devtools = context.new_cdp_session(leader)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    epochs_arrive([follower])
    expect_one_stream(follower, http)
    devtools.send("Page.setWebLifecycleState", {"state": "active"})
    epochs_arrive([leader, follower])
    expect_one_stream(follower, http)


@pytest.mark.torture
def test_unresponsive_leading_tab_is_replaced(
    context: BrowserContext, http: httpx.Client, training_id: int
) -> None:
    leader = context.new_page()
    # It holds the lock but sends nothing, like the tab of a suspended process.
    leader.goto("/app/new")
    leader.evaluate("void navigator.locks.request('camreel-events ', () => new Promise(() => {}))")
    (tab,) = open_tabs(context, f"/app/runs/{training_id}", 1)
    epochs_arrive([tab])
    expect_one_stream(tab, http)


def test_refused_stream_is_requested_again_for_all_tabs(
    context: BrowserContext, http: httpx.Client, training_id: int
) -> None:
    tabs = open_tabs(context, f"/app/runs/{training_id}", 2)
    expect_one_stream(tabs[0], http)
    refused_urls: list[str] = []

    def answer(route: Route) -> None:
        if refused_urls:
            return route.continue_()
        refused_urls.append(route.request.url)
        return route.fulfill(status=502, json={"status": 502, "title": "Refused"})

    context.route(re.compile(r"/events\?"), answer)
    tabs[0].reload()  # the other tab becomes the leader
    expect(tabs[0].locator(".status").first).to_have_text("running")
    eventually(tabs[0], lambda: bool(refused_urls))
    epochs_arrive(tabs)
    expect_one_stream(tabs[0], http)


@pytest.mark.torture
def test_without_locks_a_tab_has_one_stream_while_it_is_visible(
    context: BrowserContext, http: httpx.Client, training_id: int, queued_ids: list[int]
) -> None:
    """Over plain HTTP from another machine, browsers have no locks."""
    context.add_init_script(WITHOUT_LOCKS)
    address = f"/app/compare?runs={','.join(map(str, queued_ids))}"
    tabs = open_tabs(context, address, 1) + open_tabs(context, f"/app/runs/{training_id}", 1)
    eventually(tabs[1], lambda: open_streams(http) == 2)
    epochs_arrive(tabs[1:])
    tabs[1].evaluate(SET_HIDDEN, True)
    eventually(tabs[1], lambda: open_streams(http) == 1)
    hidden_at = last_epoch(tabs[1])
    tabs[1].wait_for_timeout(500)
    tabs[1].evaluate(SET_HIDDEN, False)
    eventually(tabs[1], lambda: open_streams(http) == 2)
    eventually(tabs[1], lambda: last_epoch(tabs[1]) > hidden_at + 1)
