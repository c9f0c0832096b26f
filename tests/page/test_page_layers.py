"""The layer of each side: its menu, its place in the link, and the maps that it selects."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from tests.page.reel import (
    REEL,
    canvas_bytes,
    changed_canvas,
    eventually,
    open_run,
    reel_is_drawn,
    select_box,
)

MANY_LAYERS = [f"block{index // 10}.{index % 10}" for index in range(182)]


@pytest.fixture
def layers(http: httpx.Client, run_id: int) -> list[str]:
    """The layers of the run, the default last."""
    network = http.get(f"/runs/{run_id}/network").json()
    names = [layer["name"] for layer in network["layers"]]
    assert len(names) > 1
    return sorted(names, key=lambda name: name == network["default_layer"])


def record_atlases(page: Page) -> list[tuple[str, str | None]]:
    """Method and layer of each request for the levels of an atlas, from now on."""
    requests: list[tuple[str, str | None]] = []

    def record(request: Request) -> None:
        address = urlsplit(request.url)
        if address.path.endswith("/atlas.bin"):
            query = parse_qs(address.query)
            requests.append((query["method"][0], query.get("layer", [None])[0]))

    page.on("request", record)
    return requests


def test_each_side_has_a_layer_of_its_own(page: Page, run_id: int, layers: list[str]) -> None:
    requests = record_atlases(page)
    open_run(page, run_id)
    expect(select_box(page, "Layer A")).to_have_value(layers[-1])
    assert [layer for _, layer in requests] == [None, None]
    before = canvas_bytes(page, REEL)
    select_box(page, "Layer B").select_option(layers[0])
    changed_canvas(page, REEL, before)
    reel_is_drawn(page)
    assert set(requests[2:]) == {("proposed", layers[0])}
    titles = page.locator(".previews figcaption b")
    expect(titles.nth(0)).to_have_text("conventional: after softmax")
    expect(titles.nth(1)).to_have_text(f"proposed: before softmax, {layers[0]}")
    # The link restores it; back at the default, it names no layer.
    eventually(page, lambda: f"layer_b={layers[0]}" in page.url and "layer_a" not in page.url)
    page.reload()
    reel_is_drawn(page)
    expect(select_box(page, "Layer B")).to_have_value(layers[0])
    select_box(page, "Layer B").select_option(layers[-1])
    eventually(page, lambda: "layer_b" not in page.url)


def test_method_of_the_input_takes_no_layer(page: Page, run_id: int, layers: list[str]) -> None:
    requests = record_atlases(page)
    open_run(page, run_id, f"?b=occlusion&layer_a={layers[0]}&layer_b={layers[0]}")
    expect(select_box(page, "Layer B")).to_be_disabled()
    expect(select_box(page, "Layer A")).to_have_value(layers[0])
    reel_is_drawn(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert requests[-1][0] == "occlusion" or ("occlusion", None) in requests
    # The layer is used again by a method that takes one.
    select_box(page, "Method B").select_option("layer-cam")
    expect(select_box(page, "Layer B")).to_be_enabled()
    eventually(page, lambda: ("layer-cam", layers[0]) in requests)


def test_unknown_layer_of_a_link_is_reported(page: Page, run_id: int, layers: list[str]) -> None:
    open_run(page, run_id, "?layer_a=layer9.1")
    expect(page.locator(".ignored")).to_contain_text("Layer A: “layer9.1”")
    expect(select_box(page, "Layer A")).to_have_value(layers[-1])
    reel_is_drawn(page)


@pytest.mark.parametrize("width", [1400, 360])
def test_many_layers_are_searched(page: Page, run_id: int, layers: list[str], width: int) -> None:
    names = [*MANY_LAYERS, *layers]
    grid = {"channels": 8, "height": 7, "width": 7}
    network: dict[str, Any] = {
        "layers": [{"name": name, "grid": grid} for name in names],
        "default_layer": layers[-1],
    }
    page.set_viewport_size({"width": width, "height": 780})
    page.route(f"**/runs/{run_id}/network", lambda route: route.fulfill(json=network))
    requests = record_atlases(page)
    open_run(page, run_id)
    menu = page.get_by_role("button", name=re.compile("^Layer A"))
    expect(menu).to_have_text(f"{layers[-1]} (default)")
    menu.click()
    dialog = page.get_by_role("dialog", name="Layer A")
    expect(dialog.get_by_role("option")).to_have_count(len(names))
    expect(dialog.get_by_role("option", selected=True)).to_be_in_viewport()
    box = dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["y"] >= 0
    assert box["x"] + box["width"] <= width
    assert box["y"] + box["height"] <= 780
    dialog.get_by_role("combobox").fill(f"BLOCK {layers[0][:3]}")
    expect(dialog.get_by_role("option")).to_have_count(0)
    expect(dialog.get_by_role("status")).to_have_text("No matches.")
    dialog.get_by_role("combobox").fill(layers[0])
    expect(dialog.get_by_role("option").first).to_have_text(f"{layers[0]} 8 × 7 × 7")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(menu).to_have_text(layers[0])
    eventually(page, lambda: ("conventional", layers[0]) in requests)
    reel_is_drawn(page)


def test_comparison_shows_one_layer_of_all_runs(
    page: Page, run_id: int, finished_run: dict[str, Any], layers: list[str]
) -> None:
    requests = record_atlases(page)
    page.goto(f"/app/compare?runs={run_id},{finished_run['id']}&layer_a={layers[0]}")
    reel_is_drawn(page)
    expect(select_box(page, "Layer")).to_have_value(layers[0])
    assert {layer for _, layer in requests} == {layers[0]}
    select_box(page, "Layer").select_option(layers[-1])
    eventually(page, lambda: requests[-1][1] is None)
    reel_is_drawn(page)
