"""Methods, targets, layers and parameters over HTTP, and invalid combinations."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.core.cams.maps import class_maps
from service.core.cams.method import AttributionLevel
from service.core.cams.methods import METHODS
from service.core.cams.targets import TARGETS
from service.core.checkpoints import decode
from service.core.images import from_png
from service.core.preprocessing import to_network_input

FAST_PARAMETERS = {"samples": "3", "steps": "2"}
AVAILABLE = [
    name for name in METHODS if name != "cam"
]  # requires another head than that of Table 1


@pytest.fixture
def cam(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}/epochs/3/cam"


def fast_parameters(name: str) -> dict[str, str]:
    fields = METHODS[name].parameters.model_fields
    return {key: value for key, value in FAST_PARAMETERS.items() if key in fields}


def values(http: httpx.Client, cam: str, **params: Any) -> np.ndarray:
    response = http.get(f"{cam}.npy", params={**params, "style": "signed"})
    assert response.status_code == 200, response.text
    return np.load(io.BytesIO(response.content))


@pytest.mark.parametrize("name", AVAILABLE)
def test_every_method_is_rendered_with_a_stable_etag(
    http: httpx.Client, cam: str, name: str
) -> None:
    params = {"method": name, **fast_parameters(name), "class": "3", "style": "signed"}
    first_response = http.get(cam, params=params)
    assert first_response.status_code == 200, first_response.text
    with Image.open(io.BytesIO(first_response.content)) as picture:
        assert picture.size == (224, 224)
    assert first_response.headers["etag"] == http.get(cam, params=params).headers["etag"]
    side = (
        28
        if METHODS[name].attribution_level is AttributionLevel.INPUT
        else 26
        if name == "refine-cam"
        else 24
    )
    assert values(http, cam, method=name, **fast_parameters(name)).shape == (side, side)


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "contrast"])
def test_map_of_every_target_equals_the_core(http: httpx.Client, cam: str, target: str) -> None:
    network, _ = decode(http.get(cam.replace("/cam", "/checkpoint")).content)
    dataset = http.get(cam.split("/epochs")[0]).json()["spec"]["dataset"]
    png = http.get("/images/test:3", params={"dataset": dataset}).content
    pixels = to_network_input(from_png(png).unsqueeze(0))
    expected = class_maps(network, pixels, "conv1", [f"hires-cam/{target}"], [5])
    signed = values(
        http, cam, method="hires-cam", target=target, layer="conv1", image="test:3", **{"class": 5}
    )
    peak = np.abs(signed).max()
    assert np.allclose(
        signed, expected.class_map(f"hires-cam/{target}", 0, 5).signed, atol=1e-4 * peak
    )


def test_contrast_is_the_difference_of_the_units_maps(http: httpx.Client, cam: str) -> None:
    params = {"method": "hires-cam", "class": 5}
    difference = values(http, cam, **params, target="contrast", contrast_class=3)
    parts = [values(http, cam, method="hires-cam", **{"class": c}) for c in (5, 3)]
    assert np.allclose(difference, parts[0] - parts[1], atol=1e-4 * np.abs(difference).max())


def test_several_layers_can_be_combined(http: httpx.Client, cam: str) -> None:
    assert values(http, cam, method="layer-cam", layer="conv1,conv2").shape == (26, 26)


def test_equal_requests_have_equal_etags_and_others_differ(http: httpx.Client, cam: str) -> None:
    def etag(**params: Any) -> str:
        return http.get(cam, params=params).headers["etag"]

    default_etag = etag(method="smooth-grad-cam++", samples=8)  # 8 is the default
    assert (
        default_etag
        == etag(method="smooth-grad-cam++", target="unit")
        == etag(method="smooth-grad-cam++")
    )
    other_etags = [
        etag(method="smooth-grad-cam++", **parameters)
        for parameters in ({"samples": 4}, {"seed": 1}, {"noise": 0.2}, {"target": "centered"})
    ]
    assert len({default_etag, *other_etags}) == 5


@pytest.mark.parametrize("page", ["strip", "strip.webp", "sheet"])
def test_pages_of_many_maps_accept_any_method(
    http: httpx.Client, finished_run: dict[str, Any], page: str
) -> None:
    for method in ("layer-cam", "smooth-grad", "refine-cam"):
        query = {"method": method, "scale": "run", "epochs": "1:", **fast_parameters(method)}
        response = http.get(f"/runs/{finished_run['id']}/{page}", params=query)
        assert response.status_code == 200, response.text


def test_blanks_are_counted_for_any_method_and_recorded(
    http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    path = f"/runs/{finished_run['id']}/blanks"
    params = {"method": ["proposed", "hires-cam/centered"], "epsilon": 1e-7}
    first_response = http.get(path, params=params).json()
    assert list(first_response["methods"]) == ["proposed", "hires-cam/centered"]
    assert {count["total"] for count in first_response["methods"].values()} == {30}
    assert first_response == http.get(path, params=params).json()
    assert first_response["methods"]["proposed"] == http.get(path).json()["methods"]["proposed"]
    complete_table = http.get(path, params={**params, "epsilon": 1}).json()["methods"]
    assert complete_table["hires-cam/centered"]["blank"] == 30


@pytest.mark.parametrize(
    ("query", "field", "text"),
    [
        ("method=cam", "method", "global average pooling"),
        ("method=eigen-cam&target=unit", "target", "class-agnostic"),
        ("method=conventional&target=unit", "target", "only for softmax"),
        ("method=grad-cam&target=sotfmax", "target", "softmax"),
        ("method=grad-cam&target=contrast", "contrast_class", "needs a class"),
        ("method=grad-cam&target=contrast&contrast_class=10", "contrast_class", "one of 0"),
        (
            "method=grad-cam&target=contrast&contrast_class=7&class=7",
            "contrast_class",
            "the class itself",
        ),
        ("method=grad-cam&contrast_class=3", "contrast_class", "target=contrast"),
        ("method=grad-cam&samples=3", "samples", "it takes none"),
        ("method=smooth-grad&samples=0", "samples", "1"),
        ("method=smooth-grad&samples=513", "samples", "512"),
        ("method=smooth-grad&noise=nan", "noise", "number"),
        ("method=occlusion&window=3&stride=5", "stride", "must not be greater than the window"),
        ("method=smooth-grad&layer=conv1", "layer", "takes no layer"),
        ("method=grad-cam&layer=input", "layer", "explains a layer"),
        ("method=grad-cam&layer=conv1,hidden", "layer", "conv1, conv2, pool"),
        ("method=grad-cam&layer=conv1,conv1", "layer", "each once"),
        ("method=refine-cam&layer=conv1", "layer", "at least two"),
    ],
)
def test_invalid_combinations_are_refused_with_the_reason(
    http: httpx.Client, cam: str, query: str, field: str, text: str
) -> None:
    response = http.get(f"{cam}?{query}")
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert text in error["message"]
    assert "Value error" not in error["message"]  # pydantic's, not ours


def test_catalog_describes_every_method(http: httpx.Client) -> None:
    items = {item["name"]: item for item in http.get("/methods").json()["items"]}
    assert list(items) == list(METHODS)
    smooth = items["smooth-grad-cam++"]
    assert smooth["targets"][0] == "unit"
    assert smooth["cost"] == "samples"
    assert smooth["parameters"]["properties"]["samples"]["maximum"] == 512
    assert items["eigen-cam"]["targets"] == []
    recommended = [name for name, item in items.items() if item["recommended"]]
    assert recommended == ["layer-integrated-gradients"]
    targets = [item["name"] for item in http.get("/targets").json()["items"]]
    assert targets == list(TARGETS)
