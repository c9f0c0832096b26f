"""The page of a run: its reel, its scrubber, and everything that shows the selected epoch."""

import csv
import io
import re
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.page.conftest import EPOCHS
from tests.page.reel import (
    canvas_bytes,
    changed_canvas,
    epoch_is_shown,
    eventually,
    open_run,
    reel_is_drawn,
    select_box,
)

REEL = ".reel-canvas"
PREVIEW = ".previews canvas"
SIDE = 224  # pixels of a preview at a pixel ratio of 1


def preview_pixels(page: Page) -> np.ndarray:
    """RGB values of the first preview, (SIDE, SIDE, 3)."""
    data = page.locator(PREVIEW).first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    return np.array(data).reshape(SIDE, SIDE, 4)[..., :3]


@pytest.fixture
def run_id(page_run: dict[str, Any]) -> int:
    return int(page_run["id"])


def test_page_shows_all_of_a_run(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    expect(page.get_by_role("heading", name="watched")).to_be_visible()
    expect(page.locator(".status").first).to_have_text("succeeded")
    expect(page.locator(".reel-label")).to_have_count(20)  # ten probes by two methods
    expect(page.locator(".previews canvas")).to_have_count(4)
    expect(page.locator(".scores tr")).to_have_count(10)
    expect(page.locator(".curve")).to_have_count(5)
    epoch_is_shown(page, EPOCHS)


def test_scrubber_changes_maps_scores_and_curves(
    page: Page, run_id: int, http: httpx.Client
) -> None:
    open_run(page, run_id)
    pictures: set[str] = set()
    for epoch in (0, 5, EPOCHS):
        page.locator(".scrubber input").fill(str(epoch))
        epoch_is_shown(page, epoch)
        answer = http.get(f"/runs/{run_id}/epochs/{epoch}/cam.json").json()
        predicted = max(answer["scores"], key=answer["scores"].get)
        figure = page.locator(".scores tr", has=page.locator(".best")).locator("th")
        expect(figure).to_contain_text(predicted)
        accuracy = http.get(f"/runs/{run_id}/epochs/{epoch}").json()["test_accuracy"]
        legend = page.locator(".curve", has_text="Accuracy").first.locator(".u-legend")
        expect(legend).to_contain_text(f"{accuracy * 100:.1f}%")
        pictures.add(changed_canvas(page, PREVIEW, *pictures))


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


def test_playing_stops_at_the_last_epoch(page: Page, run_id: int) -> None:
    open_run(page, run_id, "?epoch=3")
    select_box(page, "Speed").select_option("40")
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".scrubber input")).to_have_value(str(EPOCHS))
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_page_draws_maps_like_the_service(page: Page, run_id: int, http: httpx.Client) -> None:
    """The pictures differ only because the page draws maps with 8-bit levels."""
    open_run(page, run_id)
    for query in (
        {"method": "proposed"},
        {"method": "layer-cam", "style": "heatmap"},
        {"method": "hires-cam", "style": "signed"},
        {"method": "layer-cam", "scale": "strip", "style": "heatmap"},
    ):
        style, scale = query.get("style", "overlay"), query.get("scale", "map")
        address = f"?a={query['method']}&show=a&style={style}&scale={scale}&epoch=7&image=test:1"
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
        assert difference.mean() < 1.5, query
        assert np.quantile(difference, 0.99) <= 8, query


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
        ("Scale", "strip"),
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


def test_recommended_method_with_another_target(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    select_box(page, "Method A").select_option("layer-integrated-gradients")
    select_box(page, "Target").select_option("margin")
    reel_is_drawn(page)
    title = page.locator(".previews figcaption b").first
    expect(title).to_have_text("layer-integrated-gradients/margin")


def test_rows_can_be_the_classes_of_one_image(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    page.locator(".reel-label").nth(4).click()
    select_box(page, "Rows").select_option("classes")
    expect(page.get_by_text("all classes of")).to_be_visible()
    expect(page.locator(".reel-label")).to_have_count(20)
    expect(page.locator(".reel-label").first).to_contain_text("class 0")


@pytest.fixture
def digit_on_white(http: httpx.Client, page_run: dict[str, Any], tmp_path: Path) -> Path:
    """A PNG of a digit as a person would draw it: large, and black on white."""
    dataset = page_run["spec"]["dataset"]
    digit = http.get("/images/test:3", params={"dataset": dataset}).content
    with Image.open(io.BytesIO(digit)) as picture:
        ImageOps.invert(picture.convert("L")).resize((112, 112)).save(tmp_path / "digit.png")
    return tmp_path / "digit.png"


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    (tmp_path / "text.png").write_text("not an image")
    return tmp_path / "text.png"


def open_upload_form(page: Page) -> Locator:
    """Opens the upload form and returns its file input."""
    page.get_by_text("Use your own image").click()
    return page.get_by_label("PNG or JPEG")


def test_upload_shows_maps_of_all_classes(
    page: Page, run_id: int, http: httpx.Client, digit_on_white: Path, text_file: Path
) -> None:
    open_run(page, run_id)
    file = open_upload_form(page)
    file.set_input_files(text_file)
    expect(page.get_by_role("alert")).to_contain_text("415")
    page.get_by_label("invert colors").check()
    file.set_input_files(digit_on_white)
    expect(select_box(page, "Rows")).to_have_value("classes")
    expect(page.get_by_role("heading", name="all classes of your image")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"image=upload:"))
    reference = parse_qs(urlsplit(page.url).query)["image"][0]
    answer = http.get(
        f"/runs/{run_id}/epochs/{EPOCHS}/cam.json", params={"image": reference}
    ).json()
    selected = page.locator(".reel-label[aria-pressed=true]")
    expect(selected).to_have_attribute("title", re.compile(f"class {answer['class_name']},"))
    expect(page.locator(".scores .best")).to_have_count(1)
    expect(page.locator(".scores")).to_contain_text(f"Predicted {answer['class_name']}")
    reel_is_drawn(page)
    select_box(page, "Rows").select_option("probes")
    expect(page.locator(".previews figcaption").last).to_have_text(re.compile("Input test:"))


def test_second_upload_cancels_the_first(
    page: Page, run_id: int, digit_on_white: Path, text_file: Path
) -> None:
    open_run(page, run_id)
    delayed: list[Route] = []
    page.route("**/images?*", lambda route: route.continue_() if delayed else delayed.append(route))
    file = open_upload_form(page)
    file.set_input_files(text_file)
    expect(page.get_by_text("Uploading…")).to_be_visible()
    file.set_input_files(digit_on_white)
    expect(select_box(page, "Rows")).to_have_value("classes")
    delayed[0].continue_()
    page.wait_for_timeout(500)  # long enough for the refusal to be shown
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_text("Uploading…")).to_have_count(0)


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
    page.mouse.move(x, box["y"] + 22 + 32 * row + 16)
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


def test_link_restores_the_view(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    select_box(page, "Style").select_option("heatmap")
    select_box(page, "Scale").select_option("run")
    select_box(page, "Colormap").select_option("magma")
    select_box(page, "Method A").select_option("hires-cam")
    select_box(page, "Target").select_option("centered")
    page.locator(".scrubber input").fill("6")
    page.locator(".reel-label").nth(7).click()
    reel_is_drawn(page)
    expect(page).to_have_url(re.compile("image=.*"))
    page.wait_for_load_state("networkidle")
    address, picture = page.url, canvas_bytes(page, PREVIEW)
    page.goto("about:blank")
    page.goto(address)
    reel_is_drawn(page)
    epoch_is_shown(page, 6)
    eventually(page, lambda: canvas_bytes(page, PREVIEW) == picture)
    expect(select_box(page, "Colormap")).to_have_value("magma")


def test_keyboard_shortcuts_and_focus_order(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    press = page.keyboard.press
    press("Home")
    epoch_is_shown(page, 0)
    press("ArrowRight")
    press("ArrowRight")
    epoch_is_shown(page, 2)
    press("Shift+ArrowRight")
    epoch_is_shown(page, EPOCHS)
    press("ArrowLeft")
    epoch_is_shown(page, EPOCHS - 1)
    press("ArrowDown")
    expect(page.locator(".reel-label[aria-pressed=true]")).to_have_attribute(
        "title", re.compile("class 1")
    )
    press("f")
    expect(select_box(page, "Show")).to_have_value("a")
    press("f")
    expect(select_box(page, "Show")).to_have_value("b")
    press("b")
    press("s")
    expect(select_box(page, "Style")).to_have_value("heatmap")
    press("g")
    expect(select_box(page, "Scale")).to_have_value("strip")
    press("c")
    expect(select_box(page, "Colormap")).to_have_value("cividis")
    press("r")
    expect(select_box(page, "Rows")).to_have_value("classes")
    press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("checkbox", name="Enable single-key shortcuts").uncheck()
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    press("s")
    press("ArrowLeft")
    expect(page.locator(".scrubber input")).to_have_value(str(EPOCHS - 2))
    expect(select_box(page, "Style")).to_have_value("heatmap")
    select_box(page, "Speed").select_option("2")
    page.locator(".reel").focus()
    press("Home")
    press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    # Tab reaches every control from the top of the page.
    page.goto(page.url)
    reel_is_drawn(page)
    focused = set()
    for _ in range(70):
        press("Tab")
        focused.add(
            page.evaluate("document.activeElement.className || document.activeElement.tagName")
        )
    assert {"skip", "brand", "reel", "reel-label", "play", "SELECT", "INPUT"} <= focused


def test_canvases_use_the_colors_of_the_theme(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    page.wait_for_load_state("networkidle")
    for canvas in (REEL, ".curve canvas"):
        light = canvas_bytes(page, canvas)
        page.keyboard.press("d")
        changed_canvas(page, canvas, light)
        page.keyboard.press("d")
        eventually(page, lambda canvas=canvas, light=light: canvas_bytes(page, canvas) == light)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/app", "/app/new", "run", "/app/compare?runs={ids}"])
def test_axe_reports_no_violations(
    page: Page, run_id: int, finished_run: dict[str, Any], path: str, theme: str
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    if path == "run":
        open_run(page, run_id)
        for summary in page.locator("summary").all():
            summary.click()
    else:
        page.goto(path.format(ids=f"{run_id},{finished_run['id']}"))
        page.wait_for_load_state("networkidle")
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    results = Axe().run(page, options=options)
    assert results.violations_count == 0, results.generate_report()


def download_file(page: Page, name: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("link", name=name).first.click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def read_csv(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text())))


def test_every_export_opens(page: Page, run_id: int, tmp_path: Path) -> None:
    open_run(page, run_id, "?epoch=5")
    page.get_by_text("Export").click()
    sheet = Image.open(download_file(page, "Sheet of all probes", tmp_path))
    assert sheet.format == "PNG"
    assert sheet.width > 48 * EPOCHS
    strip = Image.open(download_file(page, "Strip of the selected image", tmp_path))
    assert strip.width > strip.height
    for name in ("Animation (WebP)", "Animation (GIF)"):
        animation = Image.open(download_file(page, name, tmp_path))
        assert getattr(animation, "n_frames", 1) == EPOCHS + 1
    with np.load(download_file(page, "Map values (NPZ)", tmp_path)) as arrays:
        assert arrays["maps"].shape == (EPOCHS + 1, 24, 24)
        assert arrays["epochs"].tolist() == list(range(EPOCHS + 1))
    metrics = read_csv(download_file(page, "Metrics (CSV)", tmp_path))
    assert [int(row["epoch"]) for row in metrics] == list(range(EPOCHS + 1))
    assert 0 < float(metrics[-1]["test_accuracy"]) <= 1
    blanks = read_csv(download_file(page, "Blank maps (CSV)", tmp_path))
    assert len(blanks) == 2 * EPOCHS
    report = download_file(page, "Report", tmp_path)
    report_tab = page.context.new_page()
    report_tab.goto(report.as_uri())
    expect(report_tab.get_by_role("heading", name="watched")).to_be_visible()
    report_tab.close()


def test_link_is_copied(page: Page, run_id: int) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_run(page, run_id, "?epoch=4")
    page.get_by_text("Export").click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert "epoch=4" in page.evaluate("navigator.clipboard.readText()")


def test_comparison_of_two_runs(page: Page, run_id: int, finished_run: dict[str, Any]) -> None:
    page.goto(f"/app/runs/{run_id}")
    page.get_by_role("link", name="Compare").click()
    select_box(page, "Add a run…").select_option(str(finished_run["id"]))
    reel_is_drawn(page)
    expect(page.locator(".reel-label")).to_have_count(2)
    differences = page.locator(".differences tbody th")
    assert set(differences.all_inner_texts()) == {
        *("architecture.channels", "architecture.hidden_units"),
        *("epochs", "samples_per_epoch", "seed"),
    }
    page.locator(".scrubber input").fill("2")
    epoch_is_shown(page, 2)
    picture = canvas_bytes(page, REEL)
    select_box(page, "Scale").select_option("run")
    changed_canvas(page, REEL, picture)
    select_box(page, "Align by").select_option("images")
    expect(page.locator(".scrubber output")).to_contain_text("1,000 images seen")
    page.go_back()
    expect(page.get_by_text("Select two to six runs")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="watched")).to_be_visible()


def test_errors_are_reported(page: Page, run_id: int) -> None:
    page.goto("/app/runs/999999")
    expect(page.get_by_role("alert")).to_contain_text("404")
    page.goto("/app/nowhere")
    expect(page.get_by_role("heading", name="Page not found")).to_be_visible()
    page.goto(f"/app/runs/{run_id}?a=no-such-method")
    expect(page.get_by_role("alert").first).to_contain_text("no such method")


class TestPhone:
    @pytest.fixture
    def context_options(self) -> dict[str, Any]:
        return {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

    def test_layout_fits_the_width(self, page: Page, run_id: int) -> None:
        for path in ("/app", "/app/new", f"/app/runs/{run_id}"):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, path
        page.locator(".scrubber input").fill("3")
        epoch_is_shown(page, 3)


class TestJapanese:
    @pytest.fixture
    def context_options(self) -> dict[str, Any]:
        return {"locale": "ja-JP"}

    def test_language_of_the_browser_and_of_the_switch(self, page: Page, run_id: int) -> None:
        page.goto(f"/app/runs/{run_id}")
        expect(page.get_by_text("クラスのスコア")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "ja"
        page.get_by_label("Language").select_option("en")
        expect(page.get_by_text("Class scores")).to_be_visible()
        page.reload()
        expect(page.get_by_text("Class scores")).to_be_visible()
