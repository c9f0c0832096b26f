"""The charts of a run's page."""

import httpx
import pytest
from playwright.sync_api import Page

from tests.page.reel import open_run


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_test_and_training_curves_have_the_colors_of_the_report(
    page: Page, run_id: int, http: httpx.Client, theme: str
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]

    def colors(legend: str, labels: tuple[str, str], sample: str, name: str) -> list[str]:
        entries = [page.locator(legend, has_text=label).first for label in labels]
        script = "(element, name) => getComputedStyle(element)[name]"
        return [str(entry.locator(sample).evaluate(script, name)) for entry in entries]

    open_run(page, run_id)
    labels = ("test", "training")
    on_page = colors(".curve .u-series", labels, ".u-marker", "borderTopColor")
    page.set_content(http.get(f"/runs/{run_id}/report.html").text)
    labels = ("test images", "training images")
    assert on_page == colors(".chart .legend li", labels, "g", "color")
    assert len(set(on_page)) == 2
