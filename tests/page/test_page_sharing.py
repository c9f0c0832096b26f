"""Unfinished runs in many tabs: the browser holds one event connection for all of them."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.page.reel import eventually
from tests.page.test_page_following import SMALL

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
    """Event connections that the service has open now, of whomever."""
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
    """Each tab shows epochs that it did not show before."""
    for tab, before in [(tab, last_epoch(tab)) for tab in tabs]:
        eventually(tab, lambda tab=tab, before=before: last_epoch(tab) > before + 1)


@pytest.fixture
def training(service: Any, http: httpx.Client) -> Iterator[int]:
    """A run that trains for as long as the test; no stream of another test is open."""
    run_id = service.post_run(**SMALL, epochs=10_000, name="in many tabs")
    service.wait(run_id, lambda run: run["epochs_done"] >= 1)
    yield run_id
    http.post(f"/runs/{run_id}/cancel").raise_for_status()
    service.wait(run_id)


@pytest.fixture
def queued(service: Any, http: httpx.Client, training: int) -> Iterator[list[int]]:
    """Six runs that wait for the one that trains."""
    run_ids = [service.post_run(**SMALL, epochs=2, name=f"waits {n}") for n in range(6)]
    yield run_ids
    for run_id in run_ids:
        assert http.post(f"/runs/{run_id}/cancel").status_code in (202, 409)  # a test cancels one


def one_stream_is_open(tab: Page, http: httpx.Client) -> None:
    """One, and it stays one: tabs that come and go may have it opened anew until then."""

    def settled() -> bool:
        for _ in range(5):
            if open_streams(http) != 1:
                return False
            tab.wait_for_timeout(100)
        return True

    eventually(tab, settled)


def test_six_queued_runs_are_compared_by_one_connection(
    page: Page, http: httpx.Client, queued: list[int]
) -> None:
    page.goto(f"/app/compare?runs={','.join(map(str, queued))}")
    expect(page.get_by_text("queued")).to_have_count(6)
    one_stream_is_open(page, http)
    assert page.evaluate(FETCH, "/runs?limit=1") == 200
    # Each is told of by that connection.
    http.post(f"/runs/{queued[3]}/cancel").raise_for_status()
    expect(page.get_by_text("cancelled")).to_have_count(1)
    one_stream_is_open(page, http)


def test_the_list_of_runs_follows_all_of_them_by_one_connection(
    page: Page, http: httpx.Client, queued: list[int]
) -> None:
    page.goto("/app?search=waits")
    expect(page.locator(".status", has_text="queued")).to_have_count(6)
    one_stream_is_open(page, http)


def test_tabs_of_one_run_share_a_connection_that_outlives_the_leading_tab(
    context: BrowserContext, http: httpx.Client, training: int
) -> None:
    tabs = open_tabs(context, f"/app/runs/{training}", CONNECTIONS + 1)
    one_stream_is_open(tabs[-1], http)
    assert tabs[-1].evaluate(FETCH, f"/runs/{training}") == 200
    epochs_arrive(tabs)
    # The first tab leads; a gap would end the sequence of epochs that a page takes.
    for leader in (tabs[0], tabs[1]):
        leader.close()
        tabs.remove(leader)
        epochs_arrive(tabs)
        one_stream_is_open(tabs[-1], http)
    for tab in tabs:
        tab.close()
    eventually(context.new_page(), lambda: open_streams(http) == 0)


def test_tabs_of_different_runs_share_a_connection(
    context: BrowserContext, http: httpx.Client, training: int, queued: list[int]
) -> None:
    tabs = [*open_tabs(context, f"/app/runs/{training}", 1)]
    for run_id in queued[:3]:
        tabs += open_tabs(context, f"/app/runs/{run_id}", 1)
    one_stream_is_open(tabs[0], http)
    epochs_arrive(tabs[:1])
    http.post(f"/runs/{queued[2]}/cancel").raise_for_status()
    expect(tabs[3].locator(".status").first).to_have_text("cancelled")
    expect(tabs[1].locator(".status").first).to_have_text("queued")
    one_stream_is_open(tabs[0], http)


def test_a_frozen_leading_tab_hands_over_and_catches_up(
    context: BrowserContext, http: httpx.Client, training: int
) -> None:
    leader, other = open_tabs(context, f"/app/runs/{training}", 2)
    one_stream_is_open(other, http)
    devtools = context.new_cdp_session(leader)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    epochs_arrive([other])
    one_stream_is_open(other, http)
    devtools.send("Page.setWebLifecycleState", {"state": "active"})
    epochs_arrive([leader, other])
    one_stream_is_open(other, http)


def test_a_leading_tab_that_does_not_answer_is_replaced(
    context: BrowserContext, http: httpx.Client, training: int
) -> None:
    leader = context.new_page()
    # It holds the lock and says nothing, as the tab of a suspended process.
    leader.goto("/app/new")
    leader.evaluate("void navigator.locks.request('camreel-events ', () => new Promise(() => {}))")
    (tab,) = open_tabs(context, f"/app/runs/{training}", 1)
    epochs_arrive([tab])
    one_stream_is_open(tab, http)


def test_a_refused_stream_is_asked_for_again_for_all_tabs(
    context: BrowserContext, http: httpx.Client, training: int
) -> None:
    tabs = open_tabs(context, f"/app/runs/{training}", 2)
    one_stream_is_open(tabs[0], http)
    refused: list[str] = []

    def answer(route: Route) -> None:
        if refused:
            return route.continue_()
        refused.append(route.request.url)
        return route.fulfill(status=502, json={"status": 502, "title": "Refused"})

    context.route(re.compile(r"/events\?"), answer)
    tabs[0].reload()  # the other one leads from here on
    expect(tabs[0].locator(".status").first).to_have_text("running")
    eventually(tabs[0], lambda: bool(refused))
    epochs_arrive(tabs)
    one_stream_is_open(tabs[0], http)


def test_without_locks_a_tab_has_one_stream_while_it_is_visible(
    context: BrowserContext, http: httpx.Client, training: int, queued: list[int]
) -> None:
    """As by plain HTTP from another machine: browsers have no locks there."""
    context.add_init_script(WITHOUT_LOCKS)
    address = f"/app/compare?runs={','.join(map(str, queued))}"
    tabs = open_tabs(context, address, 1) + open_tabs(context, f"/app/runs/{training}", 1)
    eventually(tabs[1], lambda: open_streams(http) == 2)
    epochs_arrive(tabs[1:])
    tabs[1].evaluate(SET_HIDDEN, True)
    eventually(tabs[1], lambda: open_streams(http) == 1)
    hidden_at = last_epoch(tabs[1])
    tabs[1].wait_for_timeout(500)
    tabs[1].evaluate(SET_HIDDEN, False)
    eventually(tabs[1], lambda: open_streams(http) == 2)
    eventually(tabs[1], lambda: last_epoch(tabs[1]) > hidden_at + 1)
