"""Class scores over HTTP."""

from typing import Any

import httpx
import pytest

from tests.http.test_http_refusals import expect_problem


@pytest.mark.parametrize("image", [None, "test:11"])
def test_scores_equal_those_of_single_maps(
    http: httpx.Client, finished_run: dict[str, Any], image: str | None
) -> None:
    run = f"/runs/{finished_run['id']}"
    query = {"image": image} if image else {}
    scores = http.get(f"{run}/scores", params=query).json()
    assert scores["epochs"] == [0, 1, 2, 3]
    assert scores["classes"] == [str(digit) for digit in range(10)]
    for epoch, probabilities in zip(scores["epochs"], scores["probabilities"], strict=True):
        cam = http.get(f"{run}/epochs/{epoch}/cam.json", params={"image": scores["image"]}).json()
        assert probabilities == pytest.approx(list(cam["scores"].values()), abs=1e-5)
        assert (scores["image"], scores["label"]) == (cam["image"], cam["label"])
    selected = http.get(f"{run}/scores", params=query | {"epochs": "1:3:2"}).json()
    assert selected["probabilities"] == scores["probabilities"][1::2]


def test_invalid_queries_of_scores_are_refused(
    http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    run = f"/runs/{finished_run['id']}"
    for query, field in (("class=1", "class"), ("image=cat.png", "image"), ("epochs=x", "epochs")):
        body = expect_problem(http.get(f"{run}/scores?{query}"), 422)
        assert [error["field"] for error in body["errors"]] == [field]
    expect_problem(http.get(f"{run}/scores?epochs=9"), 404)
    expect_problem(http.get("/runs/99999/scores"), 404)
