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
        expect(page.get_by_text("1 selected.")).to_be_in_viewport(ratio=1)
        neighbor.get_by_role("checkbox").check()
        expect(compare).to_be_in_viewport(ratio=1)
        assert box(row)["y"] == top
        bar = box(page.locator(".comparison-prompt"))
        assert row is first or box(row)["y"] + box(row)["height"] <= bar["y"]
        page.get_by_role("button", name="Clear").click()
        expect(compare).to_have_count(0)
    for index in range(7):
        rows.nth(index).get_by_role("checkbox").check()
    # More than a comparison can have: they can still be deleted together.
    expect(page.get_by_text("A comparison has 2 to 6 runs")).to_be_visible()
    expect(compare).to_have_count(0)
    expect(page.get_by_role("button", name="Delete 7 runs")).to_be_visible()


LONG_NAME = (
    "A name that holds every setting of the experiment, one after another, " * 2 + "to the end"
)


@pytest.fixture
def long_named_id(service: Any) -> int:
    """A finished run of one epoch with a long name and a long tag."""
    small = {"dataset": "digits", "samples_per_epoch": 60, "epochs": 1}
    run_id = int(service.post_run(**small, name=LONG_NAME[:200], tags=["t" * 50]))
    service.wait(run_id)
    return run_id


def test_long_names_and_tags_fit_a_phone(page: Page, long_named_id: int) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in (f"/app/runs/{long_named_id}", "/app", f"/app/compare?runs={long_named_id}"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        for frame in page.locator(".table-frame").all():
            assert frame.evaluate("e => e.scrollWidth <= e.clientWidth"), path
        for tag in page.locator(".tag", has_text="ttt").all():
            assert box(tag)["x"] + box(tag)["width"] <= 390
    page.goto(f"/app/runs/{long_named_id}")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_attribute("title", LONG_NAME[:200])
    cut = box(heading)["height"]
    heading.focus()
    assert box(heading)["height"] > cut * 1.4
    heading.blur()
    assert box(heading)["height"] == cut


def test_charts_of_one_epoch_have_whole_ticks_and_state_a_constant(
    page: Page, long_named_id: int
) -> None:
    page.add_init_script(
        """
        window.drawnTexts = [];
        const draw = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
          if (this.canvas.closest(".curve")) window.drawnTexts.push(text);
          return draw.call(this, text, ...rest);
        };
        """
    )
    page.goto(f"/app/runs/{long_named_id}")
    expect(page.locator(".curve canvas")).to_have_count(5)
    expect(page.locator(".constant")).to_have_text("Learning rate 1 at every epoch")
    accuracy = page.locator(".curve").nth(1)
    expect(accuracy.locator("figcaption")).to_contain_text("axis from")
    ticks = page.evaluate("window.drawnTexts")
    assert {"0", "1"} <= set(ticks)
    assert not {"0.2", "0.4", "0.5", "0.6", "0.8"} & set(ticks)
    expect(page.locator(".reel-head")).to_contain_text("Showing all 2 epochs")


def test_wide_window_is_used(page: Page, page_run: dict[str, Any]) -> None:
    page.set_viewport_size({"width": 1920, "height": 1000})
    for path in (f"/app/runs/{page_run['id']}", "/app"):
        page.goto(path)
        assert box(page.locator("main"))["width"] > 1850
    page.goto(f"/app/runs/{page_run['id']}")
    expect(page.locator(".curve", has_text="Accuracy").first).to_contain_text(
        "Training accuracy is the mean over an epoch while the weights change and dropout is active"
    )
