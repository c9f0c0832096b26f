"""What the page of a run says while one waits: queue, phases, seconds per epoch, time left."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.reel import reel_is_drawn
from tests.page.training import SMALL, endless_run

PHASES = {
    "starting": "Starting a worker",
    "loading": "Loading the dataset",
    "training": "Training epoch 0: 100 of 500 images",
    "evaluating": re.compile(r"Evaluating epoch 0 on [\d,]+ test images"),
    "recording": "Recording the maps of epoch 0",
}


@pytest.fixture
def runs(service: Any) -> Iterator[list[int]]:
    """A run that trains, and two that wait for its worker, until the test ends."""
    with endless_run(service, "activity", epochs_done=2) as training:
        queued = [service.post_run(**SMALL, epochs=1, name="activity") for _ in range(2)]
        yield [training, *queued]
        for run_id in reversed(queued):
            service.http.post(f"/runs/{run_id}/cancel")


def test_activity_of_queued_and_running_runs(page: Page, service: Any, runs: list[int]) -> None:
    training, following, last = runs
    activity = page.locator(".activity")
    page.goto(f"/app/runs/{last}")
    expect(activity).to_have_text("Waiting for a free worker: number 2 in the queue")
    expect(page.get_by_text("the untrained network, appear here first")).to_be_visible()
    service.http.post(f"/runs/{following}/cancel").raise_for_status()
    expect(activity).to_have_text("Waiting for a free worker: next in the queue")

    page.goto(f"/app/runs/{training}")
    reel_is_drawn(page)
    expect(activity).to_have_text(
        re.compile(r"(Training|Evaluating|Recording).* epoch \d+.* · .* per epoch · about .* left$")
    )
    # The header counts epochs as they are recorded.
    epoch_count = int(service.run(training)["epochs_done"])
    later_count = re.compile(rf"epoch (?!{epoch_count} of)\d+ of 10000")
    expect(page.locator(".run-head", has_text=later_count)).to_be_visible()

    page.goto("/app")
    for run_id, text in ((last, "next in the queue"), (training, "images")):
        link = page.locator(f"a[href$='/runs/{run_id}']")
        expect(page.locator(".runs tbody tr", has=link).locator(".note")).to_contain_text(text)


def test_each_phase_is_named(page: Page, page_run: dict[str, Any]) -> None:
    phases: list[str] = []

    def answer(route: Route) -> None:
        progress = page_run["progress"] | {"phase": phases[-1], "images_seen": 100}
        run = {"status": "running", "epochs_done": -1, "progress": progress}
        route.fulfill(json=page_run | run)

    path = f"/runs/{page_run['id']}"
    page.route(re.compile(rf"(?<!/app){path}$"), answer)
    page.route("**/events?*", lambda _: None)  # the stream stays silent
    for phase, text in PHASES.items():
        phases.append(phase)
        page.goto(f"/app{path}")
        expect(page.locator(".activity")).to_have_text(text)
