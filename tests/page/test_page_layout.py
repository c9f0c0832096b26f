"""Where things are on the page: nothing appears off screen, moves what is read, or overflows."""

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

LIST_ROWS = 30


def box(locator: Locator) -> dict[str, float]:
    bounds = locator.bounding_box()
    assert bounds is not None
    return dict(bounds)


@pytest.fixture
def long_list(page: Page, page_run: dict[str, Any]) -> None:
    """The list of runs, with many copies of a finished run."""
    items = [page_run | {"id": 1000 + i, "name": f"copy {i}"} for i in range(LIST_ROWS)]

    def answer(route: Any) -> None:
        route.fulfill(json={"items": items, "next": None})

    page.route("**/runs?*", answer)


@pytest.mark.parametrize("width", [390, 1400])
def test_comparison_bar_is_visible_and_moves_and_hides_no_row(
    page: Page, long_list: None, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto("/app")
    rows = page.locator(".runs tbody tr")
    expect(rows).to_have_count(LIST_ROWS)
    first, last = rows.first, rows.last
    compare = page.get_by_role("link", name="Compare", exact=True)
    for row, neighbor, scroll in (
        (first, rows.nth(1), "window.scrollTo(0, 0)"),
        (last, rows.nth(LIST_ROWS - 2), "window.scrollTo(0, document.body.scrollHeight)"),
    ):
        page.evaluate(scroll)
        top = box(row)["y"]
        row.get_by_role("checkbox").check()
        expect(page.get_by_text("Select another run")).to_be_in_viewport(ratio=1)
        neighbor.get_by_role("checkbox").check()
        expect(compare).to_be_in_viewport(ratio=1)
        assert box(row)["y"] == top
        bar = box(page.locator(".comparison-prompt"))
        assert row is first or box(row)["y"] + box(row)["height"] <= bar["y"]
        page.get_by_role("button", name="Clear").click()
        expect(compare).to_have_count(0)
    for index in range(6):
        rows.nth(index).get_by_role("checkbox").check()
    expect(page.get_by_text("as many as a comparison can have")).to_be_visible()
    expect(rows.nth(6).get_by_role("checkbox")).to_be_disabled()
