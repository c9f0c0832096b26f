"""What tests ask of the page in words of its own."""

import re
import time
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

PATIENCE = 15_000  # ms: as long as a busy machine needs; what is there already is not waited for


def open_run(page: Page, run_id: int, query: str = "") -> None:
    """The run's page, its reel drawn."""
    page.goto(f"/app/runs/{run_id}{query}")
    reel_is_drawn(page)


def reel_is_drawn(page: Page) -> None:
    """Every shown cell has its pixels: no line of the canvas is empty between the columns' ends."""
    expect(page.locator(".reel-section, .compare")).to_have_attribute("aria-busy", "false")
    page.wait_for_function(
        """() => {
          const canvas = document.querySelector(".reel-canvas");
          if (!canvas || !canvas.width) return false;
          const context = canvas.getContext("2d");
          const { data } = context.getImageData(130, 40, 4, 4);
          return data.some((value) => value > 0);
        }"""
    )


def epoch_is_shown(page: Page, epoch: int) -> None:
    """The scrubber says so."""
    expect(page.locator(".scrubber output")).to_have_text(re.compile(rf"^\D*{epoch}\b(?!,)"))


def canvas_bytes(page: Page, selector: str) -> str:
    """A canvas's picture, to tell whether it changed."""
    return str(page.locator(selector).first.evaluate("canvas => canvas.toDataURL()"))


def changed_canvas(page: Page, selector: str, *before: str) -> str:
    """A canvas's picture as soon as it is none of those."""
    eventually(page, lambda: canvas_bytes(page, selector) not in before)
    return canvas_bytes(page, selector)


def eventually(page: Page, holds: Callable[[], bool]) -> None:
    """Waits for it, of what only a later frame paints, scrolls or fetches."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not holds():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def choice(page: Page, label: str) -> Locator:
    """The list to choose from that has this label."""
    return page.get_by_role("combobox", name=label, exact=True)
