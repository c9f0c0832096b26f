"""Leaving a page before it has loaded, as by pressing the back button twice."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

# In the task that created the element: before its first frame, and before passive effects.
VISIT = """
([address, selector]) => new Promise((resolve) => {
  new MutationObserver((_, observer) => {
    if (!document.querySelector(selector)) return;
    observer.disconnect();
    history.replaceState(null, "", "/app/new");
    dispatchEvent(new PopStateEvent("popstate"));
    resolve();
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
PATHS = pytest.mark.parametrize("path", ["/app/runs/{0}", "/app/compare?runs={0},{1}"])


def visit(page: Page, address: str, selector: str) -> None:
    """Goes from the form to the address and back as soon as the selector matches."""
    page.goto("/app/new")
    form = page.get_by_label("Kernel size")
    expect(form).to_be_visible()
    page.evaluate(VISIT, [address, selector])
    expect(form).to_be_visible()


@PATHS
def test_reel_left_before_its_first_frame(
    page: Page, page_run: dict[str, Any], finished_run: dict[str, Any], path: str
) -> None:
    visit(page, path.format(page_run["id"], finished_run["id"]), ".reel-canvas")
    page.wait_for_timeout(200)
    expect(page.locator(".reel-canvas")).to_have_count(0)


@PATHS
def test_page_left_at_once_follows_no_run(
    page: Page, service: Any, finished_run: dict[str, Any], path: str
) -> None:
    """Unused streams would occupy the six connections that a browser has per origin."""
    run_id = service.post_run(dataset="digits", epochs=100, name="left")
    page.add_init_script(KEEP_STREAMS)
    try:
        with page.expect_response(re.compile(rf"/runs/{run_id}/epochs")):
            visit(page, path.format(run_id, finished_run["id"]), "main:not(:has(form))")
        page.wait_for_timeout(500)
        assert (
            page.evaluate(
                "streams.filter((stream) => stream.readyState !== EventSource.CLOSED).length"
            )
            == 0
        )
    finally:
        service.http.post(f"/runs/{run_id}/cancel")
