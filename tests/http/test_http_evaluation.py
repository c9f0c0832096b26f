"""Evaluation of maps over HTTP: the catalog of measures, a run's scores, and invalid requests."""

from typing import Any

import httpx
import pytest

from service.core.checkpoints import decode
from service.core.images import from_png
from service.core.measures.evaluation import evaluate
from service.core.measures.explainer import Explainer
from service.core.measures.measures import DEFAULT_MEASURES, MEASURES


@pytest.fixture
def run(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}"


def test_measures_are_listed_with_source_range_and_direction(http: httpx.Client) -> None:
    items = http.get("/measures").raise_for_status().json()["items"]
    assert [item["name"] for item in items] == list(MEASURES)
    for item in items:
        assert item["better"] in ("higher", "lower")
        assert item["year"] >= 2018
        low, high = item["range"]
        assert high is None or low < high


def test_probes_are_evaluated_by_default(http: httpx.Client, run: str) -> None:
    table = http.get(f"{run}/epochs/3/evaluation", params={"measure": "complexity"}).json()
    assert table["images"] == [p["image"] for p in http.get(f"{run}/probes").json()["items"]]
    assert [score["count"] for score in table["scores"]] == [len(table["images"])] * 2


def test_paper_methods_and_default_measures_are_evaluated_by_default(
    http: httpx.Client, run: str
) -> None:
    response = http.get(f"{run}/epochs/3/evaluation", params={"images": 2})
    assert response.status_code == 200, response.text
    table = response.json()
    assert (table["images"], table["epoch"], table["seed"]) == (["test:0", "test:1"], 3, 0)
    assert [(score["method"], score["measure"]) for score in table["scores"]] == [
        (method, measure) for method in ("conventional", "proposed") for measure in DEFAULT_MEASURES
    ]
    for score in table["scores"]:
        low, high = MEASURES[score["measure"]].range
        assert score["count"] == 2
        assert score["layer"] == "conv2"
        for item in (score["value"], score["random"]):
            assert high is not None
            assert low <= item["mean"] <= high
            assert item["standard_error"] >= 0
        difference = score["value"]["mean"] - score["random"]["mean"]
        assert score["difference"]["mean"] == pytest.approx(difference, abs=1e-9)


def test_scores_equal_those_of_the_core(http: httpx.Client, run: str) -> None:
    params = {
        "method": ["layer-cam/centered", "random?seed=5"],
        "measure": ["pointing-game", "untrained-spearman", "road"],
        "images": 2,
        "layer": "pool",
        "seed": 4,
    }
    table = http.get(f"{run}/epochs/2/evaluation", params=params).raise_for_status().json()
    assert table["images"] == ["test:0", "test:1"]
    networks = [decode(http.get(f"{run}/epochs/{epoch}/checkpoint").content)[0] for epoch in (2, 0)]
    dataset = {"dataset": http.get(run).json()["spec"]["dataset"]}
    pixels = [from_png(http.get(f"/images/{i}", params=dataset).content) for i in table["images"]]
    labels = [
        http.get(f"{run}/epochs/2/cam.json", params={"image": image}).json()["label"]
        for image in table["images"]
    ]
    methods = [Explainer(text, "pool") for text in params["method"]]
    expected = evaluate(networks[0], pixels, labels, methods, params["measure"], 4, networks[1])
    for ours, score in zip(table["scores"], expected, strict=True):
        assert ours["method"] == score.method
        assert ours["measure"] == score.measure.name
        assert ours["value"]["mean"] == pytest.approx(score.value.mean, abs=1e-4)
        assert ours["random"]["mean"] == pytest.approx(score.random.mean, abs=1e-4)
        error = score.difference.standard_error
        assert ours["difference"]["standard_error"] == pytest.approx(error, abs=1e-4)


def test_one_image_has_no_standard_error(http: httpx.Client, run: str) -> None:
    params = {"images": 1, "measure": "complexity", "method": "proposed"}
    (score,) = http.get(f"{run}/epochs/1/evaluation", params=params).json()["scores"]
    assert score["count"] == 1
    assert score["value"]["standard_error"] is None


@pytest.mark.parametrize(
    ("query", "field", "text"),
    [
        ("images=0", "images", "1 to 1000"),
        ("images=1001", "images", "1 to 1000"),
        ("images=few", "images", "1 to 1000"),
        ("seed=-1", "seed", "from 0 to"),
        ("&".join(f"method=random?seed={i}" for i in range(11)), "method", "1 to 10 values"),
        ("measure=beauty", "measure", "one of deletion"),
        ("method=no-cam", "method", "one of conventional"),
        ("method=layer-cam?samples=3", "samples", "no such parameter"),
        ("method=grad-cam/contrast:77", "contrast_class", "0 to 9"),
        ("layer=conv9", "layer", "conv1"),
        ("epsilon=1", "epsilon", "not a known field"),
    ],
)
def test_invalid_parameters_are_refused_by_name(
    http: httpx.Client, run: str, query: str, field: str, text: str
) -> None:
    response = http.get(f"{run}/epochs/1/evaluation?{query}")
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["errors"][0]["field"] == field
    assert text in problem["detail"]


def test_evaluation_of_a_missing_run_or_epoch_is_404(http: httpx.Client, run: str) -> None:
    assert http.get("/runs/999999/epochs/1/evaluation").status_code == 404
    assert http.get(f"{run}/epochs/99/evaluation").status_code == 404
