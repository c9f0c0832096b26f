"""Actions and expectations that several page tests share."""

import re
import time
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

REEL = ".reel-canvas"
PREVIEW = ".previews canvas"
TIMEOUT_MS = 15_000  # long enough for a busy machine; expectations return as soon as they hold


def open_run(page: Page, run_id: int, query: str = "") -> None:
    """Opens the page of a run and waits until its reel is drawn."""
    page.goto(f"/app/runs/{run_id}{query}")
    reel_is_drawn(page)


def reel_is_drawn(page: Page) -> None:
    """Waits until no maps are loading and the first cell of the canvas has pixels."""
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
    """Expects the scrubber to show the epoch."""
    expect(page.locator(".scrubber output")).to_have_text(re.compile(rf"^\D*{epoch}\b(?!,)"))


def canvas_bytes(page: Page, selector: str) -> str:
    """The canvas's pixels as a data URL."""
    return str(page.locator(selector).first.evaluate("canvas => canvas.toDataURL()"))


def changed_canvas(page: Page, selector: str, *earlier: str) -> str:
    """Waits until the canvas differs from all earlier pictures, and returns its data URL."""
    eventually(page, lambda: canvas_bytes(page, selector) not in earlier)
    return canvas_bytes(page, selector)


def eventually(page: Page, condition: Callable[[], bool]) -> None:
    """Polls a condition that a later frame or response fulfills."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def select_box(page: Page, label: str) -> Locator:
    """The select element with this label."""
    return page.get_by_role("combobox", name=label, exact=True)
