"""Insights, confusion matrices and events of probes over HTTP."""

import csv
import io
from typing import Any

import httpx
import pytest

from tests.http.test_http_refusals import expect_problem


@pytest.fixture
def run(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}"


def test_insights_have_an_entry_and_a_value_per_epoch(http: httpx.Client, run: str) -> None:
    insights = http.get(f"{run}/insights").raise_for_status().json()
    assert insights["epochs"] == [0, 1, 2, 3]
    for measure in insights["measures"]:
        assert measure["formula"]
        assert measure["source"]
        assert len(measure["values"]) == 4
        lower, upper = measure["range"]
        for value in filter(None, measure["values"]):
            assert value >= lower - 1e-6, measure["name"]
            assert upper is None or value <= upper + 1e-6, measure["name"]
    assert {image["label"] for image in insights["hardest"]} <= set(range(10))


def test_csv_equals_the_json(http: httpx.Client, run: str) -> None:
    response = http.get(f"{run}/insights.csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    table = list(csv.DictReader(io.StringIO(response.text, newline=""), strict=True))
    for measure in http.get(f"{run}/insights").json()["measures"]:
        column = [float(row[measure["name"]]) if row[measure["name"]] else None for row in table]
        assert column == measure["values"]


def test_confusion_matrix_equals_the_accuracies_and_lists_images(
    http: httpx.Client, run: str
) -> None:
    epoch = http.get(f"{run}/epochs/3").json()
    confusion = http.get(f"{run}/epochs/3/confusion").raise_for_status().json()
    for label, row in enumerate(confusion["matrix"]):
        accuracy = epoch["per_class_accuracy"][label]
        assert row[label] / sum(row) == pytest.approx(accuracy)
    largest = confusion["cells"][0]
    query = {"label": largest["label"], "predicted": largest["predicted"]}
    assert http.get(f"{run}/epochs/3/confusion", params=query).json()["cells"] == [largest]
    # A listed image is predicted as the column of its cell.
    image = largest["images"][0]
    scores = http.get(f"{run}/scores", params={"image": image, "epochs": "3"}).json()
    assert scores["label"] == largest["label"]
    predicted = max(range(10), key=lambda c: scores["probabilities"][0][c])
    assert predicted == largest["predicted"]


def test_probe_events_are_listed(http: httpx.Client, run: str) -> None:
    probes = http.get(f"{run}/probe-events").raise_for_status().json()["probes"]
    assert [probe["label"] for probe in probes] == list(range(10))
    assert any(event["type"] == "first-correct" for p in probes for event in p["events"])


def test_unknown_runs_epochs_and_classes_are_refused(http: httpx.Client, run: str) -> None:
    for path in ("insights", "insights.csv", "probe-events", "epochs/1/confusion"):
        expect_problem(http.get(f"/runs/99999/{path}"), 404)
    expect_problem(http.get(f"{run}/epochs/9/confusion"), 404)
    for query in ("label=10", "predicted=-1", "label=x"):
        expect_problem(http.get(f"{run}/epochs/1/confusion?{query}"), 422)
