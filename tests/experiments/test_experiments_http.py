"""Experiments over HTTP, trained by real workers: progress, comparison, matrix, deletion."""

import base64
import csv
import io
import json
import time
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import RUN_TIMEOUT_SECONDS, Service
from tests.experiments.conftest import GRID, RATE, TINY
from tests.http.test_http_refusals import expect_problem

KERNEL = "architecture.kernel_size"


@pytest.fixture(scope="module")
def experiment(service: Service) -> dict[str, Any]:
    """A finished experiment of eight tiny runs."""
    response = service.http.post("/experiments", json=TINY)
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/experiments/{response.json()['id']}"
    return wait(service.http, response.json()["id"])


def wait(http: httpx.Client, experiment_id: int) -> dict[str, Any]:
    deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
    while True:
        document: dict[str, Any] = http.get(f"/experiments/{experiment_id}").json()
        if document["runs"]["queued"] + document["runs"]["running"] == 0:
            return document
        assert time.monotonic() < deadline, document["runs"]
        time.sleep(0.1)


def test_experiment_lists_its_runs_with_settings_and_measures(
    http: httpx.Client, experiment: dict[str, Any]
) -> None:
    assert (experiment["runs"]["total"], experiment["runs"]["succeeded"]) == (8, 8)
    assert (experiment["epochs_done"], experiment["epochs_total"]) == (8, 8)
    assert experiment["fields"] == [RATE, KERNEL]
    path = f"/experiments/{experiment['id']}"
    first = http.get(path, params={"limit": 5}).json()
    second = http.get(path, params={"limit": 5, "cursor": first["next"]}).json()
    items = first["items"] + second["items"]
    assert (len(first["items"]), second["next"]) == (5, None)
    assert [item["position"] for item in items] == list(range(8))
    assert items[3]["parameters"] == {RATE: 1.0, KERNEL: 3}
    for item in items:
        epoch = http.get(f"/runs/{item['run_id']}/epochs/1").json()
        assert item["measures"]["test_accuracy"] == epoch["test_accuracy"]
        assert item["measures"]["worst_class_accuracy"] == min(epoch["per_class_accuracy"])
        assert 0 <= item["measures"]["blank_share_proposed"] <= 1
    assert [m["name"] for m in experiment["measures"]] == list(items[0]["measures"])
    assert experiment["id"] in [e["id"] for e in http.get("/experiments").json()["items"]]


def test_runs_name_their_experiment(http: httpx.Client, experiment: dict[str, Any]) -> None:
    page = http.get("/runs", params={"experiment": experiment["id"]}).json()
    assert {run["experiment_id"] for run in page["items"]} == {experiment["id"]}
    assert len(page["items"]) == 8
    assert http.get("/runs/1").json()["experiment_id"] is None


def test_blank_shares_are_those_of_the_table_of_blank_maps(
    http: httpx.Client, experiment: dict[str, Any]
) -> None:
    item = experiment["items"][0]
    blanks = http.get(f"/runs/{item['run_id']}/blanks", params={"epochs": "1"}).json()
    for method, count in blanks["methods"].items():
        assert item["measures"][f"blank_share_{method}"] == count["blank"] / count["total"]


def test_comparison_has_the_means_of_the_listed_runs(
    http: httpx.Client, experiment: dict[str, Any]
) -> None:
    path = f"/experiments/{experiment['id']}/comparison"
    comparison = http.get(path).json()
    assert (comparison["column"], comparison["runs_compared"]) == (1, 8)
    (rate,) = [
        m for m in comparison["marginals"] if (m["field"], m["measure"]) == (RATE, "test_loss")
    ]
    losses = [
        [i["measures"]["test_loss"] for i in experiment["items"] if i["parameters"][RATE] == value]
        for value in (0.1, 1.0)
    ]
    assert [mean["mean"] for mean in rate["means"]] == pytest.approx([sum(x) / 4 for x in losses])
    (difference,) = rate["differences"]
    assert difference["is_noise"] == (abs(difference["difference"]) <= difference["band"])
    assert rate["noise_source"] == "seeds"
    best = next(b for b in comparison["best"] if b["measure"] == "test_loss")
    assert set(best["run_ids"]) <= {item["run_id"] for item in experiment["items"]}
    images = http.get(path, params={"align": "images"}).json()
    assert images["column"] == 60


def test_matrix_has_a_row_per_value_and_a_column_per_epoch(
    http: httpx.Client, experiment: dict[str, Any]
) -> None:
    path = f"/experiments/{experiment['id']}/matrix"
    matrix = http.get(f"{path}.json", params={"field": KERNEL, "class_index": 3}).json()
    assert [row["value"] for row in matrix["rows"]] == [1, 3]
    assert matrix["columns"] == [0, 1]
    cells = [cell for row in matrix["rows"] for cell in row["cells"]]
    assert all((cell["maps"], len(cell["run_epochs"])) == (4, 4) for cell in cells)
    side = matrix["side"]
    levels = [base64.b64decode(cell["levels"]) for cell in cells if cell["levels"]]
    assert levels
    assert all(len(values) == side * side for values in levels)
    assert len(base64.b64decode(matrix["image"])) == 3 * side * side
    picture = http.get(path, params={"field": KERNEL, "class_index": 3})
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).width > 2 * 84
    etag = {"If-None-Match": picture.headers["etag"]}
    again = http.get(path, params={"field": KERNEL, "class_index": 3}, headers=etag)
    assert again.status_code == 304


def test_cell_of_one_run_is_the_map_that_the_run_shows(
    service: Service, experiment: dict[str, Any]
) -> None:
    """The mean of one map is the map, scaled to its own peak; it is largest at the same place."""
    http = service.http
    plan = TINY | {"fields": {RATE: {"values": [1.0]}}, "seeds": [5]}
    single = wait(http, http.post("/experiments", json=plan).json()["id"])
    run_id = single["items"][0]["run_id"]
    compared_maps = 0
    for class_index in range(10):
        matrix = http.get(
            f"/experiments/{single['id']}/matrix.json",
            params={"class_index": class_index, "method": "proposed"},
        ).json()
        probe = http.get(f"/runs/{run_id}/probes").json()["items"][class_index]
        params = {"image": probe["image"], "method": "proposed", "style": "gray", "size": 56}
        response = http.get(f"/runs/{run_id}/epochs/1/cam", params=params)
        cell = matrix["rows"][0]["cells"][1]
        assert cell["blank"] == (response.headers["x-cam-blank"] != "none")
        if cell["levels"] is None:
            continue
        gray = Image.open(io.BytesIO(response.content)).convert("L")
        document = http.get(
            f"/runs/{run_id}/epochs/1/cam.json", params={k: params[k] for k in ("image", "method")}
        ).json()
        if document["minimum"] > 0:
            continue  # equation 3 subtracts it, the mean does not
        differences = [
            abs(a - b)
            for a, b in zip(gray.tobytes(), base64.b64decode(cell["levels"]), strict=True)
        ]
        assert max(differences) <= 3  # levels are 8-bit twice
        compared_maps += 1
    assert compared_maps > 0


def test_report_and_csv(http: httpx.Client, experiment: dict[str, Any]) -> None:
    path = f"/experiments/{experiment['id']}"
    report = http.get(f"{path}/report.md")
    assert report.headers["content-type"].startswith("text/markdown")
    assert "has the best mean `test_accuracy`" in report.text
    assert f"| {RATE} |" in report.text
    rows = list(csv.DictReader(io.StringIO(http.get(f"{path}/runs.csv").text)))
    assert [row["run"] for row in rows] == [str(i["run_id"]) for i in experiment["items"]]
    assert rows[3][RATE] == "1.0"
    assert float(rows[3]["test_loss"]) == experiment["items"][3]["measures"]["test_loss"]


def test_dry_run_starts_nothing_and_estimates_from_measured_epochs(
    http: httpx.Client, experiment: dict[str, Any]
) -> None:
    answer = http.post("/experiments", json=TINY | {"dry_run": True})
    assert answer.status_code == 200
    document = answer.json()
    assert (document["runs_total"], document["settings_total"]) == (8, 4)
    assert document["items"][3]["spec"]["optimizer"]["learning_rate"] == 1.0
    assert document["estimate"]["run_seconds"] > 0
    assert set(document["estimate"]["basis_run_ids"]) & {i["run_id"] for i in experiment["items"]}
    unknown = TINY | {"base": {"dataset": "cifar10"}, "fields": {}, "dry_run": True}
    assert http.post("/experiments", json=unknown).json()["estimate"] is None


def test_invalid_requests_name_the_field(http: httpx.Client, experiment: dict[str, Any]) -> None:
    invalid = GRID | {"fields": {RATE: {"values": [-1]}}}
    problem = expect_problem(http.post("/experiments", json=invalid), 422)
    assert problem["errors"][0]["field"] == f"fields.{RATE}"
    problem = expect_problem(http.post("/experiments", json=GRID | {"seeds": []}), 422)
    assert problem["errors"][0]["field"] == "seeds"
    path = f"/experiments/{experiment['id']}"
    for query, field in (
        ("field=batch_size", "field"),
        ("class_index=77", "class_index"),
        ("image=test:99", "image"),
        ("measure=luck", "measure"),
        ("method=lime", "method"),
    ):
        problem = expect_problem(http.get(f"{path}/matrix?{query}"), 422)
        assert problem["errors"][0]["field"] == field
    expect_problem(http.get("/experiments/999999"), 404)


def test_cancel_add_seeds_rename_and_delete(http: httpx.Client) -> None:
    slow = GRID | {"base": {"dataset": "digits", "epochs": 500}, "seeds": [0]}
    key = {"Idempotency-Key": "experiments test"}
    created = http.post("/experiments", json=slow, headers=key).json()
    replayed = http.post("/experiments", json=slow, headers=key)
    assert replayed.json()["id"] == created["id"]
    assert replayed.headers["idempotent-replayed"] == "true"
    path = f"/experiments/{created['id']}"
    assert http.patch(path, json={"notes": "too slow"}).json()["notes"] == "too slow"
    assert http.post(f"{path}/seeds", json={"seeds": [3]}).json()["runs"]["total"] == 8
    assert http.post(f"{path}/cancel").status_code == 202
    assert wait(http, created["id"])["runs"]["cancelled"] == 8
    expect_problem(http.post(f"{path}/retry"), 409)
    assert http.delete(path).status_code == 204
    assert http.get(path).status_code == 404
    assert http.get("/runs", params={"experiment": created["id"]}).json()["items"] == []


def test_labels_of_a_run_change(service: Service) -> None:
    run_id = service.post_run(dataset="digits", epochs=0)
    run = service.http.patch(
        f"/runs/{run_id}", json={"name": "renamed", "tags": ["x", "x"], "notes": "a\nb"}
    ).json()
    assert (run["name"], run["tags"], run["notes"]) == ("renamed", ["x"], "a\nb")
    run = service.wait(run_id)
    assert (run["name"], run["spec"]["name"], run["notes"]) == ("renamed", "renamed", "a\nb")
    problem = expect_problem(
        service.http.patch(f"/runs/{run_id}", json={"tags": ["no spaces"]}), 422
    )
    assert problem["errors"][0]["field"] == "tags.0"


def test_stream_follows_an_experiment_until_its_runs_have_ended(http: httpx.Client) -> None:
    plan = TINY | {"fields": {RATE: {"values": [1.0]}}, "seeds": [0, 1]}
    experiment_id = http.post("/experiments", json=plan).json()["id"]
    with http.stream("GET", "/events", params={"experiments": experiment_id}) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith(("event:", "data:"))]
    assert set(lines[::2]) == {"event: experiment"}
    states = [json.loads(line.removeprefix("data:")) for line in lines[1::2]]
    assert {state["experiment_id"] for state in states} == {experiment_id}
    assert states[-1]["runs"]["succeeded"] == 2
    epochs_done = [state["epochs_done"] for state in states]
    assert epochs_done == sorted(epochs_done)
    stream_text = http.get("/events", params={"experiments": 999999}).text
    assert "event: gone" in stream_text
    problem = expect_problem(http.get("/events", params={"experiments": "x"}), 422)
    assert problem["errors"][0]["field"] == "experiments"
