"""Findings beside the reel, and what the page of a recorded run offers."""

import re

import httpx
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from camreel.program import export_program
from playwright.sync_api import Page, expect

from tests.page.reel import open_run
from tests.recorded.conftest import INPUT_SHAPE, Recorder, new_network, png


@pytest.mark.parametrize(
    ("language", "title", "evidence"), [("en", "Findings", "Evidence"), ("ja", "所見", "根拠")]
)
@pytest.mark.parametrize("width", [390, 1400])
def test_findings_of_a_run_are_listed_with_their_evidence(
    page: Page,
    http: httpx.Client,
    run_id: int,
    language: str,
    title: str,
    evidence: str,
    width: int,
) -> None:
    headers = {"Accept-Language": language}
    items = http.get(f"/runs/{run_id}/findings", headers=headers).raise_for_status().json()["items"]
    assert items  # of 12 epochs of 500 images: dropout lowers the training accuracy
    page.set_viewport_size({"width": width, "height": 900})
    open_run(page, run_id)
    if language == "ja":
        page.get_by_role("combobox", name=re.compile("Language|言語")).select_option("ja")
    panel = page.get_by_role("region", name=title)
    expect(panel.locator(".finding")).to_have_count(len(items))
    for item in items:
        expect(panel).to_contain_text(item["sentence"])
    panel.get_by_text(evidence, exact=True).first.click()
    expect(panel.get_by_role("listitem").first).to_contain_text("n = ")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    violations = Axe().run(page, context=".findings").response["violations"]
    assert [violation["id"] for violation in violations] == []


def test_recorded_run_offers_no_resume_and_no_empty_chart(page: Page, http: httpx.Client) -> None:
    export = export_program(new_network(), torch.rand(2, *INPUT_SHAPE))
    recorder = Recorder(http, export)
    assert recorder.start(name="recorded elsewhere", epochs=1).status_code == 201
    recorder.call("PUT", "probes/0?label=1", content=png(0))
    for epoch in range(2):
        response = recorder.record(epoch, new_network(epoch), metrics={"test_accuracy": 0.5})
        assert response.status_code == 201
    recorder.call("POST", "finish")
    open_run(page, recorder.run_id)
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    curves = page.locator(".curves")
    expect(curves).to_contain_text("Accuracy")
    expect(curves).not_to_contain_text("Learning rate")
    expect(curves).not_to_contain_text("Test accuracy by class")
