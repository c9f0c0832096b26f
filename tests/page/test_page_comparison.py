"""Comparisons with runs that have no maps to show."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.reel import changed_canvas, reel_is_drawn, select_box
from tests.page.training import SMALL, endless_run

UNKNOWN = 999_999


@pytest.fixture
def queued_id(service: Any) -> Iterator[int]:
    """A run that waits for the worker."""
    with endless_run(service, "training"):
        run_id = service.post_run(**SMALL, epochs=1, name="waiting")
        yield run_id
        service.http.post(f"/runs/{run_id}/cancel").raise_for_status()


def test_runs_without_maps_leave_the_others_alone(
    page: Page, page_run: dict[str, Any], finished_run: dict[str, Any], queued_id: int
) -> None:
    ids = [page_run["id"], queued_id, UNKNOWN, finished_run["id"]]
    page.goto(f"/app/compare?runs={','.join(map(str, ids))}&scale=run")
    reel_is_drawn(page)
    expect(page.get_by_text("Loading")).to_have_count(0)
    expect(page.locator(".reel-label")).to_have_text(
        ["watched", "waiting", f"#{UNKNOWN}", "shared"]
    )
    absent = page.locator(".absent-run")
    expect(absent).to_have_count(2)
    expect(absent.nth(0)).to_contain_text(f"waiting #{queued_id}")
    expect(absent.nth(0)).to_contain_text("No epochs yet.")
    expect(absent.nth(1).get_by_role("alert")).to_contain_text("404")
    # Their lines name the reason in place of the maps.
    expect(page.locator(".reel-notes li")).to_have_text(
        [re.compile("No epochs yet"), re.compile(str(UNKNOWN))]
    )
    expect(page.locator(".differences thead a")).to_have_text(["watched", "waiting", "shared"])
    select_box(page, "Align by").select_option("images")
    expect(page.locator(".scrubber output")).to_contain_text("images seen")
    reel_is_drawn(page)
    # To remove them keeps the view.
    page.get_by_role("button", name=f"Remove #{UNKNOWN}").last.click()
    expect(page).to_have_url(
        re.compile(rf"runs={page_run['id']},{queued_id},{finished_run['id']}&")
    )
    page.get_by_role("button", name=f"Remove #{queued_id}").click()
    expect(absent).to_have_count(0)
    expect(page.locator(".reel-label")).to_have_count(2)
    expect(select_box(page, "Scale")).to_have_value("run")
    reel_is_drawn(page)


def test_failed_maps_of_a_comparison_are_reported(
    page: Page, page_run: dict[str, Any], finished_run: dict[str, Any]
) -> None:
    ids = f"{page_run['id']},{finished_run['id']}"
    page.goto(f"/app/compare?runs={ids}&a=occlusion?window%3D3%26stride%3D5")
    expect(page.get_by_role("alert")).to_have_text([re.compile("422 · stride: must not be")] * 2)
    expect(page.locator(".reel-notes li")).to_have_text(["no maps"] * 2)
    select_box(page, "Method").select_option("grad-cam")
    reel_is_drawn(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    changed_canvas(page, ".reel-canvas", "")


def test_probes_methods_and_differences_are_lines_of_their_own(
    page: Page, page_run: dict[str, Any], finished_run: dict[str, Any]
) -> None:
    page.goto(f"/app/compare?runs={page_run['id']},{finished_run['id']}")
    reel_is_drawn(page)
    labels = page.locator(".reel-label")
    expect(labels).to_have_count(2)
    page.get_by_label("Differences from the first run").check()
    # Both networks have the same layers, so their maps can be subtracted.
    expect(labels).to_have_text(["watched", "shared", re.compile("shared")])
    page.get_by_label("Two methods").check()
    expect(labels).to_have_count(6)
    expect(page).to_have_url(re.compile("differences=1"))
    page.get_by_label("All probes").check()
    expect(page).to_have_url(re.compile("probes=all"))
    reel_is_drawn(page)
    for chart in ("Training loss", "Training accuracy", "Learning rate"):
        expect(page.locator(".curve", has_text=chart).first).to_be_visible()
    classes = page.locator(".class-accuracies tbody tr")
    expect(classes).to_have_count(10)
    expect(page.locator(".class-accuracies thead th")).to_have_text(
        ["Class", f"#{page_run['id']}", f"#{finished_run['id']}", "Difference"]
    )
