"""How strong maps are: bars below the cells of the reel, the row's peaks as a curve, the scale."""

import re
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import Page, expect

from service.core.render.strength import FILL, STRONGEST_PEAK, WEAKEST_PEAK
from tests.page.conftest import EPOCHS
from tests.page.reel import REEL, open_run, reel_is_drawn, select_box

LABEL_WIDTH, HEADER_HEIGHT = 116, 22
CELL, LINE = 48, 52  # pixels of a column, and of a line with its bar


def read_atlas(http: httpx.Client, run_id: int, method: str) -> dict[str, Any]:
    """The layout of the probes' maps; its lists as arrays (row, epoch)."""
    params = {"method": method}
    headers = {"accept": "application/json"}
    layout: dict[str, Any] = http.get(
        f"/runs/{run_id}/atlas", params=params, headers=headers
    ).json()
    shape = len(layout["rows"]), len(layout["epochs"])
    return layout | {key: np.array(layout[key]).reshape(shape) for key in ("peak", "blank")}


def test_bars_below_the_cells_show_the_peaks(page: Page, run_id: int, http: httpx.Client) -> None:
    open_run(page, run_id, f"?show=b&step=1&cell={CELL}&epoch=0")
    page.wait_for_load_state("networkidle")
    atlas = read_atlas(http, run_id, "proposed")
    is_visible = atlas["blank"] == "none"
    assert is_visible.any()
    assert not is_visible.all()
    decades = np.log(np.where(is_visible, atlas["peak"], 1) / WEAKEST_PEAK)
    shares = np.where(is_visible, decades / np.log(STRONGEST_PEAK / WEAKEST_PEAK), 0)
    side = CELL - 1  # cells have a gap
    for row in range(5):
        pixels = page.locator(REEL).evaluate(
            "(canvas, y) => [...canvas.getContext('2d').getImageData(0, y, canvas.width, 1).data]",
            HEADER_HEIGHT + row * LINE + CELL + 1,
        )
        is_filled = (np.array(pixels).reshape(-1, 4)[:, :3] == FILL).all(axis=1)
        for epoch in range(EPOCHS + 1):
            left = LABEL_WIDTH + epoch * CELL
            bar = is_filled[left : left + side]
            assert bar.sum() == round(shares[row, epoch] * side), (row, epoch)
            assert not bar[bar.sum() :].any()


def test_peaks_of_the_selected_row_are_a_curve(page: Page, run_id: int, http: httpx.Client) -> None:
    open_run(page, run_id)
    chart = page.locator(".curve", has_text="Peak of the maps of")
    atlases = {method: read_atlas(http, run_id, method) for method in ("conventional", "proposed")}
    is_blank = atlases["conventional"]["blank"] != "none"
    row, epoch = (int(index) for index in np.argwhere(is_blank[:, 1:] & ~is_blank[:, :-1])[0])
    label = page.locator(".reel-label").nth(2 * row)
    label.click()
    expect(chart).to_contain_text(atlases["proposed"]["rows"][row]["image"])
    for selected in (epoch, epoch + 1):  # not blank, then blank
        page.locator(".scrubber input").fill(str(selected))
        for method, atlas in atlases.items():
            entry = chart.locator(".u-series", has_text=method).locator(".u-value")
            cause = atlas["blank"][row, selected]
            if cause == "none":
                expect(entry).to_have_text(re.compile(r"^\d"))
                assert float(entry.inner_text()) == np.float64(
                    f"{atlas['peak'][row, selected]:.3g}"
                )
            else:
                expect(entry).to_have_text(f"blank: {cause.replace('-', ' ')}")
    select_box(page, "Show").select_option("b")
    expect(chart.locator(".u-series", has_text="conventional")).to_have_count(0)


def test_maps_open_with_one_scale_per_row(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    expect(select_box(page, "Scale")).to_have_value("strip")
    select_box(page, "Scale").select_option("map")
    reel_is_drawn(page)
    expect(page).to_have_url(re.compile(r"scale=map"))
    page.reload()
    expect(select_box(page, "Scale")).to_have_value("map")
