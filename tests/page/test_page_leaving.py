"""A page that is left before it has settled, as by two quick presses of the back button."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

# In the task that made the part: before its first frame, and before effects that wait for one.
VISIT = """
([address, part]) => new Promise((left) => {
  new MutationObserver((_, observer) => {
    if (!document.querySelector(part)) return;
    observer.disconnect();
    history.replaceState(null, "", "/app/new");
    dispatchEvent(new PopStateEvent("popstate"));
    left();
  }).observe(document.getElementById("page"), { childList: true, subtree: true });
  history.pushState(null, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
})
"""
KEEP_STREAMS = """
window.streams = [];
window.EventSource = class extends EventSource {
  constructor(address) {
    super(address);
    window.streams.push(this);
  }
};
"""
PLACES = pytest.mark.parametrize("place", ["/app/runs/{0}", "/app/compare?runs={0},{1}"])


def visit(page: Page, address: str, part: str) -> None:
    """Opens the form, from there the address, and is back as soon as that shows the part."""
    page.goto("/app/new")
    form = page.get_by_label("Kernel size")
    expect(form).to_be_visible()
    page.evaluate(VISIT, [address, part])
    expect(form).to_be_visible()


@PLACES
def test_a_reel_that_is_gone_before_its_first_frame_paints_nothing(
    page: Page, watched: dict[str, Any], finished: dict[str, Any], place: str
) -> None:
    """Whatever it throws fails the test."""
    visit(page, place.format(watched["id"], finished["id"]), ".reel-canvas")
    page.wait_for_timeout(200)
    expect(page.locator(".reel-canvas")).to_have_count(0)


@PLACES
def test_a_page_that_is_left_at_once_follows_no_run(
    page: Page, service: Any, finished: dict[str, Any], place: str
) -> None:
    """A browser has six connections to a service: streams that nobody reads would use them up."""
    run_id = service.post_run(dataset="digits", epochs=100, name="left")
    page.add_init_script(KEEP_STREAMS)
    try:
        with page.expect_response(re.compile(rf"/runs/{run_id}/epochs")):
            visit(page, place.format(run_id, finished["id"]), "main:not(:has(form))")
        page.wait_for_timeout(500)
        assert (
            page.evaluate("streams.filter((one) => one.readyState !== EventSource.CLOSED).length")
            == 0
        )
    finally:
        service.http.post(f"/runs/{run_id}/cancel")
