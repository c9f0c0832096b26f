"""Runs on color images that are not square: their pixels, their classes, and their dataset."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.conftest import Service
from tests.datasets.conftest import write_folder
from tests.page.reel import eventually, open_run, select_box

HEIGHT, WIDTH = 24, 48

INPUT = {
    "channels": "rgb",
    "resize": {"mode": "exact", "size": [HEIGHT, WIDTH]},
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}


@pytest.fixture(scope="module")
def folder_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the image folder `colors`."""
    data_dir = tmp_path_factory.mktemp("data")
    write_folder(data_dir / "folders" / "colors")
    state_dir = tmp_path_factory.mktemp("state")
    service = Service(state_dir, {"CAMREEL_DATA_DIR": str(data_dir)})
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def http(folder_service: Service) -> httpx.Client:
    return folder_service.http


@pytest.fixture(scope="module")
def color_run(folder_service: Service) -> int:
    """The id of a run on color images of 48 x 24 pixels that has not trained."""
    number = folder_service.post_run(
        dataset="folder:colors",
        architecture={"name": "resnet20"},
        epochs=0,
        input=INPUT,
        probes={"per_class": 1},
    )
    assert folder_service.wait(number)["status"] == "succeeded"
    return number


def pixels_of(data: bytes) -> Any:
    """The levels (H, W, 3) of a PNG."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_images_are_those_that_the_network_sees(
    page: Page, http: httpx.Client, color_run: int
) -> None:
    open_run(page, color_run, "?cell=48")
    image = page.locator(".previews figure", has=page.get_by_text("Input")).locator("canvas")
    box = image.bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.05)
    reference = page.locator(".previews code").inner_text()
    data_url = str(image.evaluate("canvas => canvas.toDataURL()"))
    shown = pixels_of(base64.b64decode(data_url.partition(",")[2]))
    seen = pixels_of(http.get(f"/runs/{color_run}/images/{reference}").content)
    assert seen.shape == (HEIGHT, WIDTH, 3)
    rows = (np.arange(HEIGHT) + 0.5) * shown.shape[0] / HEIGHT
    columns = (np.arange(WIDTH) + 0.5) * shown.shape[1] / WIDTH
    sampled = shown[rows.astype(int)][:, columns.astype(int)]
    # Pixels are enlarged by 4 2/3, so that some centers lie between two columns.
    assert np.median(np.abs(sampled - seen)) == 0
    # In square cells, the image has margins above and below.
    middle = page.evaluate(
        """() => {
          const context = document.querySelector(".reel-canvas").getContext("2d");
          const alpha = (y) => context.getImageData(130, y, 1, 1).data[3];
          return [alpha(24), alpha(46), alpha(68)];
        }"""
    )
    assert middle == [0, 255, 0]
    expect(page.locator(".reel-label", has_text="amber")).not_to_have_count(0)


def test_form_shows_the_classes_of_an_image_folder(page: Page, color_run: int) -> None:
    page.goto("/app/new")
    select_box(page, "Dataset").select_option("folder:colors")
    card = page.get_by_role("region", name="colors")
    expect(card).to_contain_text("12 training images, 6 test images, 3 classes")
    expect(card).to_contain_text("40 × 30 pixels, color")
    expect(card.get_by_role("listitem")).to_have_count(3)
    expect(card.get_by_role("listitem").first).to_contain_text("amber")
    expect(card.get_by_role("listitem").first).to_contain_text("4 + 2")
    sizes = card.locator("img").evaluate_all(
        "async (images) => { for (const image of images) await image.decode();"
        " return images.map((image) => [image.naturalWidth, image.naturalHeight]); }"
    )
    assert sizes == [[40, 30]] * 3
    sources = card.locator("img").evaluate_all("images => images.map(({ src }) => src)")
    assert len(set(sources)) == 3


def test_duplicate_keeps_the_input_until_the_dataset_changes(page: Page, color_run: int) -> None:
    specs: list[Any] = []

    def refuse(route: Route) -> None:
        if route.request.method == "POST":
            specs.append(route.request.post_data_json)
            route.fulfill(status=422, json={"title": "Refused", "status": 422})
        else:
            route.continue_()

    page.route("**/runs", refuse)
    page.goto(f"/app/new?from={color_run}")
    note = page.get_by_text("resized and normalized as in the run")
    expect(note).to_be_visible()
    submit = page.get_by_role("button", name="Start run")
    submit.click()
    eventually(page, lambda: len(specs) == 1)
    assert specs[0]["input"]["resize"]["size"] == [HEIGHT, WIDTH]
    assert specs[0]["input"]["mean"] == INPUT["mean"]
    select_box(page, "Dataset").select_option("digits")
    expect(note).to_have_count(0)
    expect(page.get_by_role("region", name="UCI handwritten digits")).to_contain_text("28 × 28")
    submit.click()
    eventually(page, lambda: len(specs) == 2)
    assert "input" not in specs[1]


def test_settings_list_the_layers_of_the_network(
    page: Page, http: httpx.Client, color_run: int
) -> None:
    layers = http.get(f"/runs/{color_run}/network").json()["layers"]
    open_run(page, color_run)
    page.locator("details.settings summary").click()
    expect(page.get_by_text("Dataset: colors")).to_be_visible()
    rows = page.get_by_role("region", name="Layers of the network").locator("tbody tr")
    expect(rows).to_have_count(len(layers))
    grid = layers[0]["grid"]
    text = f"{grid['channels']} × {grid['height']} × {grid['width']}"
    expect(rows.first).to_have_text(layers[0]["name"] + text)
