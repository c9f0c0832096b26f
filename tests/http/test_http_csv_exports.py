"""Summaries in the list of runs, search by name, and tables as CSV."""

import csv
import io
from typing import Any

import httpx
import pytest

from tests.http.test_http_refusals import expect_problem


@pytest.fixture
def run(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}"


def read_table(response: httpx.Response, name: str) -> list[dict[str, str]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert response.text.count("\r\n") == response.text.count("\n")
    return list(csv.DictReader(io.StringIO(response.text, newline=""), strict=True))


def test_summary_of_a_run_is_equal_in_the_list(http: httpx.Client, run: str) -> None:
    summary = http.get(run).json()["summary"]
    epochs = http.get(f"{run}/epochs").json()["items"]
    assert summary["test_accuracy"] == [epoch["test_accuracy"] for epoch in epochs]
    blank_counts = http.get(f"{run}/blanks").json()["methods"]
    assert summary["blank"] == {
        method: {"total": count["total"], "blank": count["blank"]}
        for method, count in blank_counts.items()
    }
    items = http.get("/runs", params={"tag": "shared"}).json()["items"]
    assert [item["summary"] for item in items] == [summary]


def test_runs_are_searched_by_a_part_of_their_name(http: httpx.Client, run: str) -> None:
    def names(**query: str) -> list[str]:
        return [item["name"] for item in http.get("/runs", params=query).json()["items"]]

    for part in ("shared", "SHA", "are"):
        assert names(search=part, tag="shared") == ["shared"]
    assert names(search="shared", status="succeeded") == ["shared"]
    assert names(search="shared", status="failed") == []
    for part in ("%", "_hared", "s%d", "other"):
        assert names(search=part, tag="shared") == []
    for part in ("%00", "x" * 201):
        body = expect_problem(http.get(f"/runs?search={part}"), 422)
        assert [error["field"] for error in body["errors"]] == ["search"]


def test_epochs_csv_equals_the_json(http: httpx.Client, run: str) -> None:
    lines = read_table(http.get(f"{run}/epochs.csv"), f"run-{run.split('/')[-1]}-epochs.csv")
    epochs = http.get(f"{run}/epochs").json()["items"]
    assert len(lines) == len(epochs)
    for line, epoch in zip(lines, epochs, strict=True):
        assert list(line)[:5] == [
            "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"
        ]  # fmt: skip
        for name in ("epoch", "test_loss", "test_accuracy", "learning_rate", "seconds"):
            assert float(line[name]) == epoch[name]
        assert line["train_loss"] == ("" if epoch["epoch"] == 0 else repr(epoch["train_loss"]))
        classes = [float(line[f"accuracy_{label}"]) for label in range(10)]
        assert classes == epoch["per_class_accuracy"]
    expect_problem(http.get("/runs/999999/epochs.csv"), 404)


def test_blanks_csv_equals_the_json(http: httpx.Client, run: str) -> None:
    query = {"epsilon": 1e-3, "epochs": "0:2", "method": ["proposed", "layer-cam"]}
    lines = read_table(
        http.get(f"{run}/blanks.csv", params=query), f"run-{run.split('/')[-1]}-blanks.csv"
    )
    blank_counts = http.get(f"{run}/blanks", params=query).json()["per_epoch"]
    assert [dict(line) for line in lines] == [
        {
            "epoch": str(epoch["epoch"]),
            "method": method,
            "total": str(count["total"]),
            "blank": str(count["blank"]),
            **{cause.replace("-", "_"): str(n) for cause, n in count["by_cause"].items()},
        }
        for epoch in blank_counts
        for method, count in epoch["methods"].items()
    ]
    assert len(lines) == 6
    assert {"saturated", "all_negative", "dead"} <= lines[0].keys()
    expect_problem(http.get(f"{run}/blanks.csv?epsilon=2"), 422)
