"""The page of a run: selecting an epoch, a method and an image, exports, links and comparison."""

import csv
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, Route, expect

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


def test_page_shows_all_of_a_run(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    expect(page.get_by_role("heading", name="watched")).to_be_visible()
    expect(page.locator(".status").first).to_have_text("succeeded")
    expect(page.locator(".reel-label")).to_have_count(20)  # ten probes by two methods
    expect(page.locator(".previews canvas")).to_have_count(4)
    expect(page.locator(".scores tr")).to_have_count(10)
    expect(page.locator(".curve")).to_have_count(5)
    expect(page.locator(".constant")).to_have_text("Learning rate 1 at every epoch")
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


def test_playing_stops_at_the_last_epoch(page: Page, run_id: int) -> None:
    open_run(page, run_id, "?epoch=3")
    select_box(page, "Speed").select_option("40")
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".scrubber input")).to_have_value(str(EPOCHS))
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_recommended_method_with_another_target(page: Page, run_id: int) -> None:
    open_run(page, run_id)
    select_box(page, "Method A").select_option("layer-integrated-gradients")
    select_box(page, "Target").select_option("margin")
    reel_is_drawn(page)
    title = page.locator(".previews figcaption b").first
    name = "Integrated gradients at the layer, margin"
    expect(title).to_have_text(name)
    expect(page.locator(".curve", has_text="Share of blank")).to_contain_text(name)
    page.get_by_text("Export").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    select_box(page, "Style").select_option("signed")
    expect(select_box(page, "Colormap")).to_be_disabled()
    expect(page.get_by_text("Colormap: fixed for signed maps")).to_be_visible()


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
        assert animation.width > 2 * 224  # both methods
    select_box(page, "Map size").select_option("112")
    page.get_by_label("Accuracy below the maps").uncheck()
    small_animation = Image.open(download_file(page, "Animation (GIF)", tmp_path))
    assert small_animation.width < animation.width / 1.5
    assert small_animation.height < animation.height - 112
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
