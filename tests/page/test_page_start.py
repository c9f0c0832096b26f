"""The list of runs, the form for a new run, and a run that trains."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.reel import epoch_is_shown, reel_is_drawn


@pytest.mark.torture
def test_welcome_starts_the_papers_experiment(
    context: Any, new_service: Callable[..., Any]
) -> None:
    service = new_service()
    page = context.new_page()
    page.goto(f"{service.http.base_url}/app")
    expect(page.get_by_text("saves a checkpoint of every epoch")).to_be_visible()
    page.get_by_role("button", name="Start the paper's experiment").dblclick()
    expect(page).to_have_url(re.compile(r"/app/runs/\d+"))
    expect(page.get_by_role("heading", name="The paper's experiment")).to_be_visible()
    (run,) = service.http.get("/runs").json()["items"]
    assert run["spec"]["architecture"]["hidden_activation"] == "sigmoid"
    assert run["epochs_total"] == 100
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".status").first).to_have_text("cancelled", timeout=60_000)
    page.close()


def test_run_from_the_form_shows_epochs_as_they_finish(page: Page, service: Any) -> None:
    page.goto("/app/new")
    for label, value in (
        ("Name", "from the form"),
        ("Tags", "form, page"),
        ("Epochs", "8"),
        ("Samples per epoch", "600"),
        ("Learning rate", "0.5"),
    ):
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Dataset").select_option("digits")
    page.get_by_label("Hidden activation").select_option("relu")
    expect(page.get_by_label("Channels")).to_have_value("32, 64")
    page.get_by_role("button", name="Start run").click()
    expect(page).to_have_url(re.compile(r"/app/runs/\d+"))
    number = int(page.url.split("/")[-1].split("?")[0])
    # Columns appear, and the cursor follows the latest epoch,
    scrubber = page.locator(".scrubber input")
    expect(scrubber).to_have_attribute("max", re.compile("[2-8]"), timeout=60_000)
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "true")
    reel_is_drawn(page)
    # until the user moves it.
    page.keyboard.press("Home")
    expect(scrubber).to_have_attribute("max", "8", timeout=60_000)
    epoch_is_shown(page, 0)
    expect(page.locator(".status").first).to_have_text("succeeded", timeout=30_000)
    spec = service.run(number)["spec"]
    assert spec["optimizer"] == {"name": "adadelta", "learning_rate": 0.5, "rho": 0.9}
    assert spec["architecture"]["hidden_activation"] == "relu"
    assert spec["samples_per_epoch"] == 600
    assert spec["tags"] == ["form", "page"]


def test_form_has_the_parameters_of_the_selected_architecture(page: Page, service: Any) -> None:
    page.goto("/app/new")
    page.get_by_label("Dataset").select_option("digits")
    page.get_by_label("Architecture").select_option("lenet5")
    expect(page.get_by_label("Kernel size")).to_have_count(0)
    page.get_by_label("Pooling").select_option("max")
    page.get_by_label("Epochs", exact=True).fill("1")
    page.get_by_label("Samples per epoch").fill("50")
    page.get_by_role("button", name="Start run").click()
    expect(page.locator(".status").first).to_have_text("succeeded", timeout=60_000)
    number = int(page.url.split("/")[-1].split("?")[0])
    assert service.run(number)["spec"]["architecture"] == {
        "name": "lenet5", "pooling": "max", "hidden_activation": "tanh",
    }  # fmt: skip
    reel_is_drawn(page)
    cam = service.http.get(f"/runs/{number}/epochs/1/cam.json").json()
    assert cam["layer"] == "c3"


def test_form_sets_schedule_augmentation_and_kept_states(page: Page, service: Any) -> None:
    page.goto("/app/new")
    page.get_by_label("Dataset").select_option("digits")
    page.get_by_label("Schedule", exact=True).select_option("cosine")
    for label, value in (
        ("Epochs", "3"),
        ("Samples per epoch", "50"),
        ("Warmup epochs", "3"),
        ("Label smoothing", "0.1"),
        ("Keep states", "each"),
        ("Crop padding", "2"),
    ):
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Start run").click()
    expect(page.locator("[id='schedule.warmup_epochs-error']")).to_have_text(
        "The schedule spans 3 epochs. Enter fewer epochs of warm-up."
    )
    expect(page.locator("[id='keep_states-error']")).to_contain_text("last, all or every:<n>")
    page.get_by_label("Warmup epochs").fill("1")
    page.get_by_label("Keep states").fill("every:2")
    page.get_by_role("button", name="Start run").click()
    expect(page).to_have_url(re.compile(r"/app/runs/\d+"))
    number = int(page.url.split("/")[-1].split("?")[0])
    spec = service.wait(number)["spec"]
    assert spec["schedule"] == {
        "name": "cosine", "warmup_epochs": 1, "span_epochs": 3, "final_factor": 0.0,
    }  # fmt: skip
    assert (spec["label_smoothing"], spec["keep_states"]) == (0.1, "every:2")
    assert spec["augmentation"]["crop_padding"] == 2
    epochs = service.http.get(f"/runs/{number}/epochs").json()["items"]
    assert [epoch["learning_rate"] for epoch in epochs] == [0.5, 0.5, 1.0, 0.5]


def test_run_without_epochs_shows_the_untrained_network(page: Page, service: Any) -> None:
    number = service.post_run(dataset="digits", epochs=0, name="untrained")
    assert service.wait(number)["status"] == "succeeded"
    page.goto(f"/app/runs/{number}")
    reel_is_drawn(page)
    epoch_is_shown(page, 0)
    expect(page.locator(".status").first).to_have_text("succeeded")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.goto("/app")
    expect(page.locator(".runs tbody tr", has_text="untrained")).to_be_visible()
    report = service.http.get(f"/runs/{number}/report.html", timeout=60)
    assert report.status_code == 200
    assert service.http.get(f"/runs/{number}/epochs/0/cam.json").json()["epoch"] == 0


def test_form_marks_invalid_fields(page: Page) -> None:
    page.goto("/app/new")
    page.get_by_label("Epochs", exact=True).fill("-1")
    page.get_by_label("Kernel size").fill("4")
    page.get_by_label("Batch size").fill("many")
    page.get_by_role("button", name="Start run").click()
    for label in ("Epochs", "Kernel size", "Batch size"):
        expect(page.get_by_label(label, exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#epochs-error")).to_contain_text("whole number from 0 to 10,000")
    expect(page.get_by_role("alert")).to_contain_text("Correct these 3 fields")
    page.get_by_label("Epochs", exact=True).fill("5")
    expect(page.get_by_label("Epochs", exact=True)).not_to_have_attribute("aria-invalid", "true")


def test_duplicate_fills_the_form(page: Page, page_run: dict[str, Any]) -> None:
    page.goto(f"/app/runs/{page_run['id']}")
    page.get_by_role("link", name="Duplicate").click()
    expect(page.get_by_label("Epochs", exact=True)).to_have_value(str(page_run["epochs_total"]))
    expect(page.get_by_label("Random seed")).to_have_value("1")


def test_runs_are_filtered_and_selected_for_comparison(
    page: Page, page_run: dict[str, Any], finished_run: dict[str, Any]
) -> None:
    page.goto("/app")
    row = page.locator(".runs tbody tr", has_text="watched")
    expect(row.locator(".sparkline")).to_be_visible()
    expect(row.locator(".blank-share")).to_have_count(2)
    page.get_by_label("Search by name").fill("watch")
    expect(page.locator(".runs tbody tr")).to_have_count(1)
    page.get_by_label("Search by name").fill("")
    expect(page.locator(".runs tbody tr", has_text="shared")).to_be_visible()
    row.get_by_role("button", name="paper").click()
    expect(page).to_have_url(re.compile("tag=paper"))
    expect(page.locator(".runs tbody tr", has_text="shared")).to_have_count(0)
    page.get_by_role("button", name=re.compile("filter on the tag paper")).click()
    page.get_by_label("Select watched").check()
    expect(page.get_by_text("1 selected.")).to_be_visible()
    page.get_by_label("Select shared").check()
    page.get_by_role("link", name="Compare").click()
    expect(page).to_have_url(re.compile(r"compare\?runs=\d+,\d+"))
    page.go_back()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()


def test_failed_run_shows_its_error(page: Page, service: Any) -> None:
    number = service.post_run(
        dataset="digits", epochs=3, samples_per_epoch=200, name="wild",
        optimizer={"name": "sgd", "learning_rate": 100.0, "momentum": 0.9},
        architecture={"hidden_activation": "relu"},
    )  # fmt: skip
    run = service.wait(number)
    if run["status"] != "failed":
        pytest.skip("this machine's arithmetic did not diverge")
    page.goto(f"/app/runs/{number}")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("diverged")
    expect(alert).to_contain_text("Suggested learning rate: 0.1, the optimizer's default")
    expect(alert).to_contain_text("Resume is not offered")
    steps = alert.get_by_role("figure")
    expect(steps).to_have_count(2)
    response = service.http.get(f"/runs/{number}/divergence").json()["steps"]
    expect(steps.nth(0)).to_contain_text(f"Loss by step, epoch {response['epoch']}")
    expect(steps.nth(1)).to_contain_text(f"Gradient norm by step, epoch {response['epoch']}")
    last_step = response["first_step"] + len(response["losses"]) - 1
    expect(steps.nth(0).locator(".u-legend")).to_contain_text(str(last_step))
    expect(alert.locator(".curve canvas")).to_have_count(2)
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    alert.get_by_role("link", name="Duplicate with this learning rate").click()
    expect(page.get_by_label("Learning rate", exact=True)).to_have_value("0.1")
    expect(page.get_by_label("Momentum", exact=True)).to_have_value("0.9")


def test_service_that_does_not_respond_is_reported(
    context: Any, new_service: Callable[..., Any]
) -> None:
    service = new_service()
    page = context.new_page()
    page.goto(f"{service.http.base_url}/app")
    expect(page.get_by_text("saves a checkpoint of every epoch")).to_be_visible()
    service.stop()
    expect(page.get_by_role("alert")).to_contain_text("not responding", timeout=20_000)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.close()
