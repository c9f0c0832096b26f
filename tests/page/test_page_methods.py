"""The two methods of a run page: each side has its own maps, error and parameters."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from playwright.sync_api import Page, Request, Route, expect

from service.core.cams.methods import METHODS
from tests.page.reel import (
    REEL,
    canvas_bytes,
    changed_canvas,
    eventually,
    open_run,
    reel_is_drawn,
    select_box,
)

OTHER_LAYERS = (
    "smooth-grad",
    "lime",
    "refine-cam",
    "full-grad",
    "guided-backpropagation",
    "integrated-gradients",
    "occlusion",
)
"""Methods whose maps lie on other positions than those of the paper's methods."""

PAPER_TITLES = {
    "conventional": "conventional: after softmax",
    "proposed": "proposed: before softmax",
}

HEADER_HEIGHT, LABEL_WIDTH = 22, 116

LINE_ALPHA = """
({ y }) => {
  const canvas = document.querySelector(".reel-canvas");
  const { data } = canvas.getContext("2d").getImageData(120, y, 20, 1);
  return [...data].filter((_, index) => index % 4 === 3);
}
"""


def nothing_is_loading(page: Page) -> None:
    """Expects no part of the page to wait."""
    reel_is_drawn(page)
    expect(page.get_by_text("Loading")).to_have_count(0)


def title_of(spec: str) -> str:
    """The title of a method in captions, with its target and parameters."""
    path, _, query = spec.partition("?")
    method, _, target = path.partition("/")
    title = PAPER_TITLES.get(method) or METHODS[method].title
    parts = [title, target.replace(":", ", class "), query.replace("&", ", ")]
    return ", ".join(filter(None, parts))


def summary(page: Page, method: str) -> Any:
    """The text below the preview of that method."""
    figure = page.locator(".previews figure", has=page.get_by_text(title_of(method), exact=True))
    return figure.locator(".map-summary")


def test_method_of_any_layer_stands_beside_the_default(page: Page, run_id: int) -> None:
    methods: list[list[str]] = []

    def record_atlas(request: Request) -> None:
        address = urlsplit(request.url)
        if address.path.endswith("/atlas.bin"):
            methods.append(parse_qs(address.query)["method"])

    page.on("request", record_atlas)
    open_run(page, run_id)
    for method in OTHER_LAYERS:
        select_box(page, "Method B").select_option(method)
        expect(summary(page, method)).to_have_text(re.compile("peak|blank"))
        expect(summary(page, "conventional")).to_have_text(re.compile("peak|blank"))
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator(".reel-label")).to_have_count(20)
    # One atlas for each side; that of method A is not requested again.
    assert {len(names) for names in methods} == {1}
    assert methods.count(["conventional"]) == 1
    # The same method on both sides shows the same maps twice.
    select_box(page, "Method B").select_option("conventional")
    nothing_is_loading(page)
    expect(page.locator(".previews .map-summary", has_text="Loading")).to_have_count(0)
    titles = page.locator(".previews figcaption b")
    expect(titles.nth(0)).to_have_text(title_of("conventional"))
    expect(titles.nth(1)).to_have_text(title_of("conventional"))


def test_side_that_fails_leaves_the_other_alone(page: Page, run_id: int) -> None:
    refused_urls: list[str] = []

    def refuse_twice(route: Route) -> None:
        if "layer-cam" in route.request.url and len(refused_urls) < 2:
            refused_urls.append(route.request.url)
            problem = {"status": 422, "title": "Refused", "detail": "No maps today."}
            return route.fulfill(status=422, json=problem)
        return route.continue_()

    page.route("**/atlas.*", refuse_twice)
    open_run(page, run_id, "?b=layer-cam")
    alert = page.locator(".reel-failure")
    expect(alert).to_contain_text("B · LayerCAM")
    expect(alert).to_contain_text("422 · No maps today.")
    nothing_is_loading(page)
    expect(summary(page, "conventional")).to_have_text(re.compile("peak|blank"))
    expect(summary(page, "layer-cam")).to_have_text("no maps: No maps today.")
    # The lines of method B say so, below those of method A.
    expect(page.locator(".reel-notes li")).to_have_text(["no maps"] * 10)
    line_tops = page.locator(".reel-notes li").evaluate_all("lines => lines.map(l => l.offsetTop)")
    assert sum(page.evaluate(LINE_ALPHA, {"y": line_tops[0] + 5})) == 0
    middle_of_a = line_tops[0] - (line_tops[1] - line_tops[0]) // 4
    assert min(page.evaluate(LINE_ALPHA, {"y": middle_of_a})) == 255
    expect(page.locator(".curve", has_text="Share of blank")).to_contain_text("conventional")
    alert.get_by_role("button", name="Try again").click()
    expect(summary(page, "layer-cam")).to_have_text(re.compile("peak|blank"))
    expect(alert).to_have_count(0)
    nothing_is_loading(page)


def test_maps_are_shown_until_those_of_another_method_replace_them(page: Page, run_id: int) -> None:
    held: list[Route] = []
    page.route(
        re.compile("atlas.*hires-cam"),
        lambda route: held.append(route) if is_held else route.continue_(),
    )
    is_held = True
    open_run(page, run_id, "?show=a&step=1&cell=32")
    page.wait_for_load_state("networkidle")
    previous = canvas_bytes(page, REEL)
    assert np.mean(page.evaluate(LINE_ALPHA, {"y": HEADER_HEIGHT + 8})) == 255
    select_box(page, "Method A").select_option("hires-cam")
    previous_title = title_of("conventional")
    replacing = page.get_by_text(f"Loading the maps of {title_of('hires-cam')}. Until then, those")
    expect(replacing).to_contain_text(f"those of {previous_title} are shown faded.")
    section = page.locator(".reel-section")
    expect(section).to_have_attribute("aria-busy", "true")
    faded = changed_canvas(page, REEL, previous)
    alpha = page.evaluate(LINE_ALPHA, {"y": HEADER_HEIGHT + 8})
    assert 0 < min(alpha) <= max(alpha) < 128
    expect(page.locator(".previews canvas.faded")).to_have_count(2)
    expect(summary(page, "hires-cam")).to_have_text("Loading…")
    is_held = False
    for route in held:
        route.continue_()
    nothing_is_loading(page)
    changed_canvas(page, REEL, previous, faded)
    eventually(page, lambda: min(page.evaluate(LINE_ALPHA, {"y": HEADER_HEIGHT + 8})) == 255)
    expect(page.locator(".previews canvas.faded")).to_have_count(0)


def test_menu_describes_methods_and_targets(page: Page, run_id: int) -> None:
    open_run(page, run_id, "?b=layer-cam")
    methods, targets = select_box(page, "Method B"), select_box(page, "Target")
    methods.click()
    option = methods.get_by_role("option", name="LIME")
    expect(option).to_be_visible()
    expect(option).to_contain_text("A linear model that predicts the score")
    expect(option).to_contain_text("Cost: a forward pass for each channel, patch or sample.")
    expect(option).to_contain_text("Targets: unit, softmax, output,")
    agnostic = methods.get_by_role("option", name="Eigen-CAM", exact=True)
    expect(agnostic).to_contain_text("No target")
    methods.get_by_role("option", name="HiResCAM").click()
    expect(summary(page, "hires-cam")).to_have_text(re.compile("peak|blank"))
    targets.click()
    margin = targets.get_by_role("option", name="margin")
    expect(margin).to_contain_text("The unit minus the strongest other one.")
    page.keyboard.press("Escape")
    page.get_by_text("Method details and parameters").click()
    card = page.get_by_role("region", name="Method B: HiResCAM")
    expect(card).to_contain_text("sum_k G^k A^k")
    expect(card).to_contain_text("Target: unit = x_c.")
    page.get_by_label("Language").select_option("ja")
    expect(page.locator(".method-cards section").last).to_contain_text("位置ごとの勾配と活性の積")


def test_parameters_are_set_on_the_page_and_in_the_link(page: Page, run_id: int) -> None:
    # Its maps of all epochs take long, and are not waited for.
    page.goto(f"/app/runs/{run_id}?show=b&b=ss-cam&epoch=2")
    page.get_by_text("Method details and parameters").click()
    card = page.get_by_role("region", name="Method B")
    samples = card.get_by_label("Samples")
    expect(samples).to_have_value("8")
    samples.fill("0")
    samples.press("Enter")
    expect(samples).to_have_attribute("aria-invalid", "true")
    expect(card).to_contain_text("Enter a whole number from 1 to 512.")
    samples.fill("2")
    samples.press("Enter")
    expect(samples).not_to_have_attribute("aria-invalid", "true")
    card.get_by_label("Noise").fill("0.5")
    card.get_by_label("Noise").press("Tab")
    expect(summary(page, "ss-cam?noise=0.5&samples=2")).to_have_text(re.compile("peak|blank"))
    # The service names the method in its own notation; the curve is its.
    blank_shares = page.locator(".curve", has_text="Share of blank")
    expect(blank_shares).to_contain_text(title_of("ss-cam?noise=0.5"))
    expect(page).to_have_url(re.compile("b=ss-cam%3Fnoise%3D0.5%26samples%3D2"))
    page.reload()
    expect(summary(page, "ss-cam?noise=0.5&samples=2")).to_have_text(re.compile("peak|blank"))
    page.get_by_text("Method details and parameters").click()
    expect(samples).to_have_value("2")
    card.get_by_role("button", name="Reset the parameters").click()
    expect(samples).to_have_value("8")
    expect(page).to_have_url(re.compile("b=ss-cam(&|$)"))


def test_class_is_contrasted_with_another(page: Page, run_id: int) -> None:
    open_run(page, run_id, "?b=hires-cam&image=test:3")
    select_box(page, "Target").select_option("contrast")
    select_box(page, "Contrast with").select_option("7")
    expect(page).to_have_url(re.compile("b=hires-cam/contrast:7"))
    nothing_is_loading(page)
    expect(summary(page, "hires-cam/contrast:7")).to_have_text(re.compile("peak|blank"))
    # All classes are contrasted with this one, but not itself.
    note = page.locator(".reel-notes li")
    expect(note).to_have_count(1)
    expect(note).to_contain_text("the class that the others are contrasted with")
    page.get_by_text("Export").click()
    downloads = page.locator(".downloads section").nth(1)
    sheet = downloads.get_by_role("link", name="Sheet").get_attribute("href") or ""
    assert page.request.get(sheet).status == 200
    assert parse_qs(urlsplit(sheet).query)["contrast_class"] == ["7"]
    page.locator(".reel-label", has_text="class 7").last.click()
    expect(downloads.get_by_role("link")).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.reload()
    expect(select_box(page, "Contrast with")).to_have_value("7")
