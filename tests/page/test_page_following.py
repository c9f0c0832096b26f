"""A run that changes while its page is open: resumed, disconnected for a while, or deleted."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.page.reel import reel_is_drawn
from tests.page.training import SMALL, endless_run


@pytest.fixture
def tab(context: BrowserContext) -> Iterator[Page]:
    """A tab whose console is not checked, since these tests refuse its requests."""
    tab = context.new_page()
    yield tab
    tab.close()


@pytest.fixture
def training(service: Any) -> Iterator[int]:
    """A run that trains until the test ends."""
    with endless_run(service, "training") as run_id:
        yield run_id


def refuse(tab: Page, run_id: int, times: int, status: int) -> list[str]:
    """Refuses the run's stream `times` times, and the run from its second request on.

    Returns the names of the refused resources, a list that grows.
    """
    counts: Counter[str] = Counter()
    resources: list[str] = []

    def answer(route: Route) -> None:
        resource = urlsplit(route.request.url).path.rsplit("/", 1)[-1]
        counts[resource] += 1
        first = 1 if resource == "events" else 2
        if not first <= counts[resource] < first + times:
            return route.continue_()
        resources.append(resource)
        return route.fulfill(
            status=status, json={"status": status, "title": "Refused", "detail": "None is left."}
        )

    tab.route(re.compile(rf"(?<!/app)/runs/{run_id}$|/events\?runs={run_id}(&.*)?$"), answer)
    return resources


def test_ended_run_is_resumed(page: Page, service: Any) -> None:
    run_id = service.post_run(**SMALL, epochs=2, name="resumed")
    service.wait(run_id)
    page.goto(f"/app/runs/{run_id}")
    reel_is_drawn(page)
    last_epoch = page.get_by_label("until epoch")
    expect(last_epoch).to_have_value("12")
    last_epoch.fill("5")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".scrubber input")).to_have_attribute("max", "5", timeout=60_000)
    expect(page.locator(".status").first).to_have_text("succeeded", timeout=30_000)
    assert service.run(run_id)["epochs_total"] == 5
    # The proposal follows the last epoch; what is wrong with another value is said at the field.
    expect(page.get_by_label("until epoch")).to_have_value("15")
    page.get_by_label("until epoch").fill("10001")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("alert")).to_have_text("Enter a whole number from 1 to 10,000.")


def test_run_is_followed_again_after_a_lost_connection(tab: Page, training: int) -> None:
    refused_resources = refuse(tab, training, times=1, status=502)
    tab.goto(f"/app/runs/{training}")
    expect(tab.get_by_text("Connection lost")).to_be_visible()
    expect(tab.get_by_text("Connection lost")).to_have_count(0, timeout=30_000)
    assert refused_resources == ["events", str(training)]
    last = int(tab.locator(".scrubber input").get_attribute("max") or 0)
    tab.wait_for_function("last => document.querySelector('.scrubber input').max > last", arg=last)


def test_run_deleted_meanwhile_is_reported(tab: Page, training: int) -> None:
    refuse(tab, training, times=1_000, status=404)
    tab.goto(f"/app/runs/{training}")
    expect(tab.get_by_text("Connection lost")).to_be_visible()
    expect(tab.get_by_role("alert")).to_contain_text("404 · None is left.", timeout=30_000)
    expect(tab.locator(".reel-canvas")).to_have_count(0)
