"""The reel and the previews on the page of a run: layout, zoom, pixels and values of the maps."""

import io
import re
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect

from tests.page.conftest import EPOCHS
from tests.page.reel import (
    PREVIEW,
    REEL,
    canvas_bytes,
    changed_canvas,
    epoch_is_shown,
    eventually,
    open_run,
    reel_is_drawn,
    select_box,
)

SIDE = 224  # pixels of a preview at a pixel ratio of 1


def preview_pixels(page: Page) -> np.ndarray:
    """RGB values of the first preview, (SIDE, SIDE, 3)."""
    data = page.locator(PREVIEW).first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    return np.array(data).reshape(SIDE, SIDE, 4)[..., :3]


def test_selected_column_and_row_stay_visible(page: Page, run_id: int) -> None:
    page.set_viewport_size({"width": 1200, "height": 620})
    reference = page.request.get(f"/runs/{run_id}/probes").json()["items"][-1]["image"]
    open_run(page, run_id, f"?step=1&cell=96&image={reference}")
    reel = page.locator(".reel")
    header_height, label_width = 22, 116

    def is_cell_visible() -> bool:
        box, cell = reel.bounding_box(), page.locator(".reel-cell").bounding_box()
        assert box is not None
        assert cell is not None
        return (
            cell["x"] >= box["x"] + label_width - 3
            and cell["x"] + cell["width"] <= box["x"] + box["width"] + 3
            and cell["y"] >= box["y"] + header_height - 3
            and cell["y"] + cell["height"] <= box["y"] + box["height"] + 3
        )

    def expect_epoch(epoch: int) -> None:
        expect(page.locator(".reel-epoch")).to_have_text(str(epoch))
        eventually(page, is_cell_visible)

    expect_epoch(EPOCHS)
    assert reel.evaluate("e => e.scrollLeft > 0 && e.scrollTop > 0")
    page.keyboard.press("Home")
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    expect_epoch(0)
    reel.evaluate("e => e.scrollTo(9999, 9999)")
    eventually(page, lambda: not is_cell_visible())
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect_epoch(1)


def test_page_draws_maps_like_the_service(page: Page, run_id: int, http: httpx.Client) -> None:
    """The pictures differ only because the page draws maps with 8-bit levels."""
    open_run(page, run_id)
    for query in (
        {"method": "proposed"},
        {"method": "layer-cam", "opacity": "0.4"},
        {"method": "layer-cam", "style": "heatmap"},
        {"method": "hires-cam", "style": "signed"},
        {"method": "layer-cam", "scale": "strip", "style": "heatmap"},
    ):
        style, scale = query.get("style", "overlay"), query.get("scale", "map")
        address = f"?a={query['method']}&show=a&style={style}&scale={scale}&epoch=7&image=test:1"
        address += f"&opacity={query.get('opacity', 0.85)}"
        open_run(page, run_id, address)
        expect(page.locator(".map-summary").first).not_to_have_text("Loading…")
        page.wait_for_load_state("networkidle")
        page_pixels = preview_pixels(page).astype(float)
        answer = http.get(
            f"/runs/{run_id}/epochs/7/cam",
            params=query
            | {"image": "test:1", "size": SIDE}
            | ({} if style == "signed" else {"colormap": "viridis"}),
        )
        service_pixels = np.asarray(
            Image.open(io.BytesIO(answer.content)).convert("RGB"), dtype=float
        )
        if answer.headers["x-cam-blank"] != "none":
            continue
        difference = np.abs(page_pixels - service_pixels)
        assert difference.mean() < 0.5, query
        assert difference.max() <= 8, query


def test_style_scale_and_colormap_change_without_requests(page: Page, run_id: int) -> None:
    open_run(page, run_id, "?epoch=8")
    page.wait_for_load_state("networkidle")
    requests: list[str] = []

    def record_api_request(request: Request) -> None:
        # Not the icon, which Chromium requests again whenever the URL changes.
        if request.resource_type == "fetch":
            requests.append(request.url)

    page.on("request", record_api_request)
    pictures = {canvas_bytes(page, REEL)}
    for name, value in (
        ("Style", "heatmap"),
        ("Colormap", "cividis"),
        ("Scale", "map"),
        ("Scale", "run"),
        ("Style", "signed"),
    ):
        select_box(page, name).select_option(value)
        pictures.add(changed_canvas(page, REEL, *pictures))
    assert requests == []
    select_box(page, "Method B").select_option("layer-cam")
    reel_is_drawn(page)
    assert any("/atlas" in url for url in requests)
    changed_canvas(page, REEL, *pictures)


def test_rows_can_be_the_classes_of_one_image(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    page.locator(".reel-label").nth(4).click()
    select_box(page, "Rows").select_option("classes")
    expect(page.get_by_text("all classes of")).to_be_visible()
    expect(page.locator(".reel-label")).to_have_count(20)
    expect(page.locator(".reel-label").first).to_contain_text("class 0")


def test_blank_cells_are_hatched_and_name_the_cause(
    page: Page, run_id: int, http: httpx.Client
) -> None:
    layout = http.get(f"/runs/{run_id}/atlas", headers={"accept": "application/json"}).json()
    epochs, rows = len(layout["epochs"]), len(layout["rows"])
    blanks = [i for i, cause in enumerate(layout["blank"]) if cause != "none"]
    if not blanks:
        pytest.skip("no map of this run is blank")
    method, remainder = divmod(blanks[0], rows * epochs)
    row, epoch = divmod(remainder, epochs)
    cause = layout["blank"][blanks[0]]
    reference = layout["rows"][row]["image"]
    open_run(page, run_id, f"?show={'ab'[method]}&epoch={epoch}&image={reference}&step=1&cell=32")
    expect(page.locator(".map-summary").first).to_have_text(f"blank: {cause.replace('-', ' ')}")
    box = page.locator(REEL).bounding_box()
    assert box is not None
    scroll_left = page.locator(".reel").evaluate("e => e.scrollLeft")
    x = box["x"] + 116 + 32 * epoch - scroll_left + 16
    page.mouse.move(x, box["y"] + 22 + 36 * row + 16)
    expect(page.get_by_role("tooltip")).to_contain_text(f"blank: {cause.replace('-', ' ')}")
    # Gray stripes over a dimmed gray image contain no color.
    pixels = preview_pixels(page).reshape(-1, 3)
    assert (pixels[:, 0] == pixels[:, 2]).all()
    assert (pixels[:, 0] == 150).mean() > 0.05


def test_pointer_reads_values_in_map_coordinates(
    page: Page, run_id: int, http: httpx.Client
) -> None:
    open_run(page, run_id, "?show=a&a=layer-cam&epoch=9&image=test:3")
    answer = http.get(
        f"/runs/{run_id}/epochs/9/cam.json", params={"method": "layer-cam", "image": "test:3"}
    ).json()
    values = np.array(answer["values"])
    i, j = np.unravel_index(values.argmax(), values.shape)
    box = page.locator(PREVIEW).first.bounding_box()
    assert box is not None
    # Position (i, j) of conv2 is centered on pixel 2 + i of the image's 28.
    position = [(2 + int(k) + 0.5) / 28 for k in (i, j)]
    page.mouse.move(box["x"] + position[1] * box["width"], box["y"] + position[0] * box["height"])
    text = page.locator(".previews .map-summary").first
    expect(text).to_contain_text(f"row {i}, column {j}")
    value = float(text.inner_text().split(":")[1])
    assert value == pytest.approx(values.max(), rel=0.02)


def test_zoom_names_the_step_and_shows_all_epochs(page: Page, run_id: int) -> None:
    open_run(page, run_id, "?step=5&cell=32")
    expect(page.locator(".reel-head")).to_contain_text(f"every 5th epoch (4 of {EPOCHS + 1})")
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    expect(page.locator(".reel-head")).to_contain_text(f"Showing all {EPOCHS + 1} epochs")
    page.get_by_role("button", name="Fit").click()
    expect(page).not_to_have_url(re.compile("step="))


def extend_run(database: Path, run_id: int, last: int) -> None:
    """Copies the only epoch of a run up to epoch `last`, in place of long training."""
    with sqlite3.connect(database) as connection:
        for table in ("epochs", "checkpoints", "heatmaps", "predictions"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            other_columns = ", ".join(name for name in columns if name not in ("id", "epoch"))
            connection.execute(
                "WITH RECURSIVE more(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM more WHERE n < ?) "
                f"INSERT INTO {table} (epoch, {other_columns}) "
                f"SELECT n, {other_columns} FROM {table}, more WHERE run_id = ? AND epoch = 1",
                (last, run_id),
            )
        connection.execute(
            "UPDATE runs SET epochs_done = ?, epochs_total = ? WHERE id = ?", (last, last, run_id)
        )


def test_long_run_is_sampled(page: Page, service: Any) -> None:
    run_id = service.post_run(dataset="digits", epochs=1, samples_per_epoch=20, tags=["long"])
    service.wait(run_id)
    extend_run(service.state_dir / "camreel.db", run_id, 450)
    open_run(page, run_id)  # draws the first column, far from the selected epoch
    head = page.locator(".reel-head")
    expect(head).to_contain_text(re.compile(r"every 20th epoch \(\d\d of 451\)"))
    page.get_by_role("button", name="Zoom out").click()
    expect(head).to_contain_text("every 20th epoch")  # the fitted layout is the limit
    page.get_by_role("button", name="Zoom in").click()
    expect(head).to_contain_text("every 10th epoch (46 of 451)")
    page.locator(".scrubber input").fill("100")
    reel_is_drawn(page)
    epoch_is_shown(page, 100)
    assert service.http.delete(f"/runs/{run_id}").status_code == 204
