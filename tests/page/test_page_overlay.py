"""Overlays on the page: the image shows where the map is weak, and a slider sets the opacity."""

import re

import numpy as np
from playwright.sync_api import Page, expect

from tests.page.reel import PREVIEW, canvas_bytes, changed_canvas, eventually, open_run

BORDER = 8  # pixels of 224: the first position of conv2 is centered on pixel 2 of the image's 28


def pixels(page: Page, index: int) -> np.ndarray:
    """RGB values of a preview, (224, 224, 3); the last one is the input image."""
    data = (
        page.locator(PREVIEW)
        .nth(index)
        .evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    )
    return np.array(data).reshape(224, 224, 4)[..., :3]


def test_opacity_follows_the_map_and_the_slider(page: Page, run_id: int) -> None:
    open_run(page, run_id, "?a=layer-cam&show=a&image=test:1&epoch=7")
    page.wait_for_load_state("networkidle")
    overlay, image = pixels(page, 0), pixels(page, -1)
    assert np.array_equal(overlay[:BORDER], image[:BORDER])
    assert (overlay != image).any()

    slider = page.get_by_role("slider", name="Opacity")
    expect(slider).to_have_value("0.85")
    pictures = [canvas_bytes(page, PREVIEW)]
    slider.fill("0.4")
    pictures.append(changed_canvas(page, PREVIEW, *pictures))
    fainter = np.abs(pixels(page, 0) - image).sum()
    assert 0 < fainter < np.abs(overlay - image).sum()
    expect(page).to_have_url(re.compile(r"opacity=0\.4\b"))
    page.reload()
    eventually(page, lambda: canvas_bytes(page, PREVIEW) == pictures[1])
    expect(slider).to_have_value("0.4")
    slider.fill("0")
    changed_canvas(page, PREVIEW, *pictures)
    assert np.array_equal(pixels(page, 0), image)
    page.get_by_text("Export").click()
    sheet = page.get_by_role("link", name="Sheet of all probes").get_attribute("href") or ""
    assert "opacity=0&" in f"{sheet}&"
