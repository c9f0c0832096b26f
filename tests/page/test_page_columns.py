"""The columns of the reel: which epochs they show, and their numbers."""

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.conftest import EPOCHS
from tests.page.reel import REEL, epoch_is_shown, eventually, open_run

HEADER_HEIGHT, LABEL_WIDTH = 22, 116

COLUMN_PIXELS = """
({ selector, x, width }) => {
  const canvas = document.querySelector(selector);
  if (!canvas?.width) return [];
  return [...canvas.getContext("2d").getImageData(x, 22, width, canvas.height - 22).data];
}
"""

NUMBER_EXTENTS = """
() => {
  const canvas = document.querySelector(".reel-canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, 20);
  const left = canvas.getBoundingClientRect().left;
  const span = document.querySelector(".reel-epoch span").getBoundingClientRect();
  const extents = [];
  for (let x = 0; x < canvas.width; x++) {
    let isInked = false;
    for (let y = 0; y < 20; y++) isInked ||= data[4 * (y * canvas.width + x) + 3] > 0;
    if (!isInked) continue;
    if (extents.length && x - extents.at(-1)[1] < 5) extents.at(-1)[1] = x + 1;
    else extents.push([x, x + 1]);
  }
  return { painted: extents, selected: [span.left - left, span.right - left] };
}
"""
"""Left and right ends of the numbers on the canvas, and of the selected epoch's above it."""


def column_pixels(page: Page, selector: str, x: int, width: int) -> np.ndarray:
    """Pixels of a canvas below its header, from `x` on; empty before it is painted."""
    argument = {"selector": selector, "x": x, "width": width}
    return np.array(page.evaluate(COLUMN_PIXELS, argument))


def test_selected_epoch_has_a_column_among_sampled_ones(page: Page, run_id: int) -> None:
    cell, epoch = 32, 8
    open_run(page, run_id, f"?step=1&cell={cell}&epoch={epoch}")
    every_epoch = column_pixels(page, REEL, LABEL_WIDTH + epoch * cell, cell)
    open_run(page, run_id, f"?step=5&cell={cell}&epoch={epoch}")
    expect(page.locator(".reel-epoch")).to_have_text(str(epoch))
    # Columns 0, 5, 10, 12: the nearest one shows the epoch in place of its own.
    eventually(
        page, lambda: np.array_equal(column_pixels(page, ".reel-column", 0, cell), every_epoch)
    )
    box = page.locator(".reel-cursor").bounding_box()
    reel = page.locator(".reel").bounding_box()
    assert box is not None
    assert reel is not None
    assert box["x"] - reel["x"] - LABEL_WIDTH == pytest.approx(2 * cell, abs=2)
    page.mouse.move(box["x"] + cell / 2, box["y"] + HEADER_HEIGHT + cell / 2)
    expect(page.get_by_role("tooltip")).to_contain_text(f"epoch {epoch}")
    page.mouse.down()
    page.mouse.up()
    epoch_is_shown(page, epoch)
    # The first and the last epoch keep their columns.
    for end_epoch, column in ((1, 1), (11, 2)):
        page.locator(".scrubber input").fill(str(end_epoch))
        expect(page.locator(".reel-epoch")).to_have_text(str(end_epoch))
        expect(page.locator(".reel-cursor")).to_have_css(
            "transform", f"matrix(1, 0, 0, 1, {column * cell}, 0)"
        )
    page.locator(".scrubber input").fill("10")
    expect(page.locator(".reel-column")).to_have_count(0)


class TestPhone:
    @pytest.fixture
    def context_options(self) -> dict[str, Any]:
        return {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

    def test_every_epoch_has_a_column_early_in_a_training(
        self, page: Page, finished_run: dict[str, Any]
    ) -> None:
        """Later epochs leave no existing one out."""

        def extend(route: Route) -> None:
            route.fulfill(json=finished_run | {"epochs_total": 100})

        page.route(re.compile(rf"(?<!/app)/runs/{finished_run['id']}$"), extend)
        open_run(page, finished_run["id"])
        expect(page.locator(".reel-head")).to_contain_text("Showing all 4 epochs")

    def test_selected_number_covers_the_one_below(self, page: Page, run_id: int) -> None:
        for query in ("", "?step=1&cell=24"):
            open_run(page, run_id, query)
            for epoch in (EPOCHS, 0, 1, 7, EPOCHS - 1):
                page.locator(".scrubber input").fill(str(epoch))
                expect(page.locator(".reel-epoch")).to_have_text(str(epoch))
                extents = page.evaluate(NUMBER_EXTENTS)
                left, right = extents["selected"]
                for start, end in extents["painted"]:
                    is_beside = end <= left + 1 or start >= right - 1
                    is_covered = left - 1 <= start and end <= right + 1
                    assert is_beside or is_covered, (query, epoch, extents)
