"""What tests ask of the page in words of its own."""

from playwright.sync_api import Locator, Page, expect


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


def epoch_shown(page: Page) -> int:
    text = page.locator(".scrubber output").inner_text()
    return int("".join(c for c in text.split("/")[0] if c.isdigit()))


def canvas_bytes(page: Page, selector: str) -> str:
    """A canvas's picture, to tell whether it changed."""
    return str(page.locator(selector).first.evaluate("canvas => canvas.toDataURL()"))


def choice(page: Page, label: str) -> Locator:
    """The list to choose from that has this label."""
    return page.get_by_role("combobox", name=label, exact=True)
