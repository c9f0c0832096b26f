"""Experiments in the page: the form, progress, results and matrix; and the table of runs."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.experiments.conftest import TINY
from tests.page.reel import TIMEOUT_MS

ENDED_TIMEOUT_MS = 120_000


@pytest.fixture(scope="module")
def experiment_id(service: Any) -> int:
    """A finished experiment of eight tiny runs."""
    experiment = service.http.post("/experiments", json=TINY).json()
    for run in service.http.get(f"/experiments/{experiment['id']}").json()["items"]:
        service.wait(run["run_id"])
    return int(experiment["id"])


def test_experiment_from_the_form_runs_and_shows_its_results(page: Page, service: Any) -> None:
    page.goto("/app/experiments/new")
    page.get_by_label("Name", exact=True).fill("from the page")
    page.get_by_label("Dataset").select_option("digits")
    page.get_by_label("Epochs", exact=True).fill("1")
    page.get_by_label("Samples per epoch").fill("60")
    page.get_by_label("Channels").fill("2, 3")
    page.get_by_label("Add a field").select_option("architecture.dropout")
    page.locator("[id='fields.architecture.dropout']").fill("0, 2")
    # What the service would refuse is shown before anything is started.
    error = page.locator("[id='fields.architecture.dropout-error']")
    expect(error).to_contain_text("less than 1")
    page.locator("[id='fields.architecture.dropout']").fill("0, 0.5")
    expect(page.get_by_text("2 settings × 2 seeds = 4 runs.")).to_be_visible()
    page.get_by_role("button", name="Start experiment").click()
    expect(page).to_have_url(re.compile(r"/app/experiments/\d+"))
    expect(page.get_by_role("heading", name="from the page")).to_be_visible()
    expect(page.get_by_text("4 succeeded")).to_be_visible(timeout=ENDED_TIMEOUT_MS)
    expect(page.get_by_role("heading", name="Best setting by Test accuracy")).to_be_visible()
    expect(page.locator(".matrix canvas, .matrix .no-map").first).to_be_visible()
    number = int(page.url.split("/")[-1])
    plan = service.http.get(f"/experiments/{number}").json()["plan"]
    assert plan["fields"]["architecture.dropout"]["values"] == [0, 0.5]
    assert plan["seeds"] == [0, 1]
    assert plan["base"]["samples_per_epoch"] == 60


def test_page_of_an_experiment_has_its_means_matrix_and_runs(
    page: Page, service: Any, experiment_id: int
) -> None:
    page.goto(f"/app/experiments/{experiment_id}")
    expect(
        page.get_by_role("region", name="Marginal means: optimizer.learning_rate")
    ).to_be_visible()
    expect(page.locator(".matrix tbody tr")).to_have_count(2)
    expect(page.locator(".matrix tbody td")).to_have_count(4)
    page.get_by_label("Rows").select_option("architecture.kernel_size")
    expect(page.locator(".matrix tbody th").first).to_contain_text("1")
    rows = page.locator(".runs-of-experiment tbody tr")
    expect(rows).to_have_count(8)
    page.locator(".runs-of-experiment").get_by_role("button", name="Test loss").click()
    items = service.http.get(f"/experiments/{experiment_id}").json()["items"]
    worst = max(items, key=lambda item: item["measures"]["test_loss"])
    expect(rows.first).to_contain_text(f"#{worst['run_id']}")
    page.get_by_role("link", name="Compare in the list of runs").click()
    expect(page.locator(".runs tbody tr")).to_have_count(8)


def test_runs_are_sorted_filtered_and_grouped(page: Page, experiment_id: int) -> None:
    page.goto(f"/app?experiment={experiment_id}")
    rows = page.locator(".runs tbody tr")
    expect(rows).to_have_count(8)
    page.locator(".setting-filter select").select_option("optimizer.learning_rate")
    page.get_by_label("Value", exact=True).fill("0.1")
    expect(rows).to_have_count(4)
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name=re.compile("Kernel size")).check()
    page.get_by_role("button", name="Kernel size").click()
    expect(rows.first.locator(".column-architecture-kernel_size")).to_have_text("3")
    page.get_by_role("button", name="Kernel size").click()
    expect(rows.first.locator(".column-architecture-kernel_size")).to_have_text("1")
    page.reload()  # the address has the order and the filter, the browser the columns
    expect(rows.first.locator(".column-architecture-kernel_size")).to_have_text("1")
    expect(rows).to_have_count(4)
    page.get_by_label("Group by experiment").check()
    expect(page.locator(".runs .group")).to_contain_text(f"Experiment {experiment_id}")
    page.evaluate("localStorage.clear()")


def test_run_is_renamed_tagged_and_annotated(page: Page, service: Any) -> None:
    number = service.post_run(dataset="digits", epochs=0, name="misnamed")
    service.wait(number)
    page.goto("/app?search=misnamed")
    page.get_by_role("button", name="Edit misnamed").click()
    editor = page.get_by_role("dialog")
    editor.get_by_label("Name").fill("well named")
    editor.get_by_label("Tags").fill("no!")
    editor.get_by_label("Notes").fill("a note")
    editor.get_by_role("button", name="Save").click()
    expect(editor.get_by_role("alert")).to_be_visible()
    editor.get_by_label("Tags").fill("good, better")
    editor.get_by_role("button", name="Save").click()
    expect(editor).to_have_count(0)
    run = service.run(number)
    assert (run["name"], run["tags"], run["notes"]) == ("well named", ["good", "better"], "a note")


def test_selected_runs_are_cancelled_and_deleted_together(page: Page, service: Any) -> None:
    numbers = [
        service.post_run(dataset="digits", epochs=500, name=f"together {i}") for i in range(3)
    ]
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/app?search=together")
    expect(page.locator(".runs tbody tr")).to_have_count(3)
    page.get_by_label("Select all shown runs").check()
    page.get_by_role("button", name="Cancel 3 runs").click()
    for number in numbers:
        service.wait(number)
    page.get_by_role("button", name="Delete 3 runs").click(timeout=TIMEOUT_MS)
    expect(page.get_by_text("No matching runs.")).to_be_visible(timeout=TIMEOUT_MS)
    assert service.http.get(f"/runs/{numbers[0]}").status_code == 404


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_reports_no_violations(page: Page, experiment_id: int, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    for path in (f"/app/experiments/{experiment_id}", "/app/experiments/new", "/app/experiments"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        results = Axe().run(page, options=options)
        assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("width", [390, 1400, 1920])
def test_pages_fit_the_window(page: Page, experiment_id: int, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for path in ("/app/experiments", f"/app/experiments/{experiment_id}", "/app/experiments/new"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_texts_are_japanese(page: Page, experiment_id: int) -> None:
    page.goto(f"/app/experiments/{experiment_id}")
    page.get_by_label("Language").select_option("ja")
    expect(page.get_by_role("heading", name="周辺平均")).to_be_visible()
    expect(page.get_by_role("heading", name="マトリックス")).to_be_visible()
    page.evaluate("localStorage.clear()")
