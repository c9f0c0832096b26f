"""Findings over HTTP: sentences by language, exchange tests, pictures, and invalid requests."""

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from service.core.insight.exchange import ExchangeGap
from service.core.insight.operators import OPERATORS


@pytest.fixture
def run(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}"


@pytest.fixture
def has_objects(finished_run: dict[str, Any]) -> bool:
    """Whether the images of the run have surroundings: the embedded digits fill theirs."""
    return bool(finished_run["spec"]["dataset"] == "mnist")


def test_findings_say_what_was_and_what_was_not_examined(
    http: httpx.Client, run: str, has_objects: bool
) -> None:
    response = http.get(f"{run}/findings").raise_for_status()
    body = response.json()
    assert (body["status"], body["next"]) == ("succeeded", None)
    reasons = [gap["reason"] for gap in body["unavailable"] if gap["kind"] == "shortcut"]
    assert reasons == ([] if has_objects else [ExchangeGap.NO_PLAUSIBLE_OBJECT])
    shortcuts = [item for item in body["items"] if item["kind"].startswith("shortcut-surround")]
    assert shortcuts == []  # the run is clean


def test_language_follows_accept_language(http: httpx.Client, run: str) -> None:
    for header, language in (("ja,en;q=0.5", "ja"), ("fr", "en"), ("", "en")):
        response = http.get(f"{run}/findings", headers={"Accept-Language": header})
        assert response.headers["content-language"] == language
        assert "Accept-Language" in response.headers["vary"]


def test_exchange_test_was_recorded_with_the_last_epoch(
    http: httpx.Client, run: str, has_objects: bool
) -> None:
    body = http.get(f"{run}/exchange").raise_for_status().json()
    assert body["epoch"] == 3
    if not has_objects:
        assert body["gap"] == ExchangeGap.NO_PLAUSIBLE_OBJECT
        return
    assert body["gap"] is None
    names = [result["operator"] for result in body["results"]]
    assert names == [name for name, operator in OPERATORS.items() if not operator.is_color]
    assert all(len(result["shares"]) == 10 for result in body["results"])


def test_pictures_of_classes_are_png(http: httpx.Client, run: str, has_objects: bool) -> None:
    response = http.get(f"{run}/class-means", params={"epochs": "0,3", "class_index": [1, 7]})
    assert response.headers["content-type"] == "image/png"
    Image.open(io.BytesIO(response.content)).verify()
    response = http.get(
        f"{run}/class-means",
        params={"epochs": "0,3", "class_index": [1, 7]},
        headers={"If-None-Match": response.headers["etag"]},
    )
    assert response.status_code == 304
    exchange_map = http.get(f"{run}/exchange-map")
    if has_objects:
        Image.open(io.BytesIO(exchange_map.content)).verify()
    else:
        assert exchange_map.status_code == 422


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/999999/findings", 404),
        ("/runs/999999/exchange", 404),
        ("/runs/999999/class-means", 404),
        ("{run}/exchange?epoch=4", 404),
        ("{run}/exchange?epoch=-1", 422),
        ("{run}/exchange-map?epoch=x", 422),
        ("{run}/class-means?epochs=5:1", 422),
        ("{run}/class-means?class_index=10", 422),
        ("{run}/class-means?classes=1", 422),
    ],
)
def test_invalid_requests_are_refused(http: httpx.Client, run: str, path: str, status: int) -> None:
    response = http.get(path.format(run=run))
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
