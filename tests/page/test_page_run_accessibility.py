"""The page of a run with a keyboard, in both themes, on a phone, in Japanese, and for axe."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.page.conftest import EPOCHS
from tests.page.reel import (
    REEL,
    canvas_bytes,
    changed_canvas,
    epoch_is_shown,
    eventually,
    open_run,
    reel_is_drawn,
    select_box,
)


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
    expect(select_box(page, "Scale")).to_have_value("run")
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
@pytest.mark.parametrize(
    "path",
    [
        "run",
        "/app/new",
        pytest.param("/app", marks=pytest.mark.torture),
        pytest.param("/app/compare?runs={ids}", marks=pytest.mark.torture),
    ],
)
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
