"""Maps of a finished run over HTTP: pictures, values and blank counts."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image

from service.core.cams.maps import Blank
from service.core.checkpoints import decode
from service.core.images import from_png
from service.core.models import StagedNetwork
from service.core.preprocessing import to_network_input
from tests.single_precision import allowed_errors, assert_within_errors

METHODS = ["conventional", "proposed"]
MAP_SIDE = 24


@pytest.fixture
def run(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}"


def picture(response: httpx.Response, kind: str = "PNG") -> Image.Image:
    assert response.status_code == 200, response.text
    image = Image.open(io.BytesIO(response.content))
    assert image.format == kind
    image.load()
    return image


@pytest.mark.parametrize("method", METHODS)
def test_every_class_has_a_heatmap_by_both_methods(
    http: httpx.Client, run: str, method: str
) -> None:
    pictures = set()
    for label in range(10):
        response = http.get(f"{run}/epochs/3/cam", params={"method": method, "class": label})
        assert response.headers["content-type"] == "image/png"
        assert picture(response).size == (224, 224)
        assert float(response.headers["x-cam-peak"]) >= 0
        assert response.headers["x-cam-blank"] in list(Blank)
        pictures.add(response.content)
    # Maps differ between classes, but blank ones may be equal.
    assert len(pictures) > 5


@pytest.mark.parametrize("method", METHODS)
def test_values_equal_captum(http: httpx.Client, run: str, method: str) -> None:
    network, _ = decode(http.get(f"{run}/epochs/2/checkpoint").content)
    image = http.get("/images/test:3", params={"dataset": _dataset(http, run)}).content
    inputs = to_network_input(from_png(image).unsqueeze(0))
    responses = [
        http.get(
            f"{run}/epochs/2/cam.json",
            params={"method": method, "class": label, "image": "test:3", "style": "signed"},
        ).json()
        for label in range(10)
    ]
    ours = np.array([[response["values"] for response in responses]])
    double = _captum_maps(network, inputs.double(), method)
    single = _captum_maps(network, inputs, method)
    assert_within_errors(ours, double, allowed_errors(double, single))
    scores = network(inputs).softmax(1)[0]
    for response in responses:
        for label in range(10):
            assert response["scores"][str(label)] == pytest.approx(scores[label].item(), abs=1e-5)


def _captum_maps(network: StagedNetwork, inputs: torch.Tensor, method: str) -> np.ndarray:
    """Captum's maps of the ten classes before ReLU, (1, 10, H, W), in the inputs' precision."""
    network = network.to(inputs.dtype).requires_grad_()
    score = (lambda x: network(x).softmax(1)) if method == "conventional" else network
    grad_cam = LayerGradCam(score, network.conv2)
    maps = [
        grad_cam.attribute(inputs, target=label, relu_attributions=False) for label in range(10)
    ]
    return torch.cat(maps, dim=1).detach().double().numpy()


def test_json_npy_and_headers_agree(http: httpx.Client, run: str) -> None:
    query = {"method": "proposed", "class": 4, "image": "test:5"}
    values = http.get(f"{run}/epochs/1/cam.json", params=query).json()
    array = np.load(io.BytesIO(http.get(f"{run}/epochs/1/cam.npy", params=query).content))
    headers = http.get(f"{run}/epochs/1/cam", params=query).headers
    assert array.dtype == np.float32
    assert array.shape == (MAP_SIDE, MAP_SIDE)
    assert array.min() >= 0
    np.testing.assert_allclose(np.array(values["values"]), array, rtol=1e-6)
    assert values["peak"] == pytest.approx(float(array.max()))
    assert float(headers["x-cam-peak"]) == pytest.approx(values["peak"])
    assert headers["x-cam-blank"] == values["blank"]
    signed = http.get(f"{run}/epochs/1/cam.npy", params=query | {"style": "signed"}).content
    assert values["minimum"] == pytest.approx(float(np.load(io.BytesIO(signed)).min()))


def test_defaults_are_the_first_probe_its_label_and_the_last_convolution(
    http: httpx.Client, run: str
) -> None:
    default_response = http.get(f"{run}/epochs/3/cam")
    body = http.get(f"{run}/epochs/3/cam.json").json()
    assert (body["method"], body["layer"]) == ("proposed", "conv2")
    assert body["class_index"] == body["label"] == 0
    explicit_response = http.get(
        f"{run}/epochs/3/cam",
        params={
            "method": "proposed", "image": body["image"], "class": 0, "layer": "conv2",
            "style": "overlay", "scale": "map", "colormap": "viridis", "size": "224",
            "opacity": "0.85",
        },
    )  # fmt: skip
    assert default_response.headers["etag"] == explicit_response.headers["etag"]
    assert default_response.content == explicit_response.content


@pytest.mark.parametrize(
    ("style", "mode"), [("overlay", "RGB"), ("heatmap", "P"), ("gray", "L"), ("signed", "P")]
)
@pytest.mark.parametrize("size", [16, 100, 1024])
def test_styles_and_sizes(http: httpx.Client, run: str, style: str, mode: str, size: int) -> None:
    response = http.get(f"{run}/epochs/3/cam", params={"style": style, "size": size})
    image = picture(response)
    assert (image.mode, image.size) == (mode, (size, size))


@pytest.mark.parametrize(("layer", "side"), [("conv1", 26), ("conv2", 24), ("pool", 12)])
def test_each_layer_has_its_own_map(http: httpx.Client, run: str, layer: str, side: int) -> None:
    for method in METHODS:
        params = {"layer": layer, "method": method}
        values = http.get(f"{run}/epochs/3/cam.json", params=params).json()["values"]
        assert np.array(values).shape == (side, side)
        picture(http.get(f"{run}/epochs/3/cam", params=params))


def test_map_is_revalidated_by_its_etag(http: httpx.Client, run: str) -> None:
    first_response = http.get(f"{run}/epochs/3/cam")
    assert first_response.headers["cache-control"] == "private, no-cache"
    etag = first_response.headers["etag"]
    assert etag.startswith('"')
    for validator in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        revalidated = http.get(f"{run}/epochs/3/cam", headers={"if-none-match": validator})
        assert revalidated.status_code == 304
        assert revalidated.content == b""
        assert revalidated.headers["etag"] == etag
    assert http.get(f"{run}/epochs/3/cam", headers={"if-none-match": '"no"'}).status_code == 200
    etags = {
        http.get(f"{run}/epochs/{epoch}/cam", params=params).headers["etag"]
        for epoch in (2, 3)
        for params in (
            {},
            {"class": 1},
            {"style": "gray"},
            {"size": 64},
            {"layer": "pool"},
            {"opacity": 0.5},
        )
    }
    assert len(etags) == 12
    faint = http.get(f"{run}/epochs/3/cam", params={"style": "gray", "opacity": 0.5})
    assert faint.headers["etag"] in etags  # opacity only affects overlays


def test_shared_scale_is_never_brighter_than_the_scale_of_the_map(
    http: httpx.Client, run: str
) -> None:
    image = next(
        i for i in _probes(http, run) if _blank_cause(http, run, "proposed", i, 2) == "none"
    )
    query = {"style": "gray", "image": image}
    map_scale = http.get(f"{run}/epochs/2/cam", params=query)
    for scale in ("strip", "run"):
        shared_scale = http.get(f"{run}/epochs/2/cam", params=query | {"scale": scale})
        levels = [
            np.asarray(picture(response)).astype(int) for response in (shared_scale, map_scale)
        ]
        # Pixels lie between the map's positions, so none may have exactly the peak value.
        assert levels[1].max() > 240
        assert levels[0].max() <= levels[1].max()


def test_simultaneous_identical_requests_return_identical_bytes(
    http: httpx.Client, run: str
) -> None:
    def request_map(_: int) -> bytes:
        return http.get(f"{run}/epochs/1/cam?image=test:11&class=3").content

    with ThreadPoolExecutor(20) as threads:
        assert len(set(threads.map(request_map, range(100)))) == 1


def test_strip_has_one_cell_per_epoch(http: httpx.Client, run: str) -> None:
    two_epochs = picture(http.get(f"{run}/strip", params={"epochs": "2:3", "size": 300}))
    four_epochs = picture(http.get(f"{run}/strip", params={"size": 300}))
    assert four_epochs.width - two_epochs.width == 2 * 302
    for kind in ("webp", "gif"):
        params = {"epochs": "0:3", "class": 2, "method": "proposed", "scale": "strip"}
        animation = picture(http.get(f"{run}/strip.{kind}", params=params), kind.upper())
        assert animation.n_frames == 4


def test_strip_npz_contains_unscaled_maps(http: httpx.Client, run: str) -> None:
    response = http.get(f"{run}/strip.npz", params={"class": 2, "epochs": "1:3:2"})
    arrays = np.load(io.BytesIO(response.content), allow_pickle=False)
    assert arrays["epochs"].tolist() == [1, 3]
    assert arrays["maps"].shape == (2, MAP_SIDE, MAP_SIDE)
    single_map = http.get(f"{run}/epochs/3/cam.npy", params={"class": 2}).content
    np.testing.assert_array_equal(arrays["maps"][1], np.load(io.BytesIO(single_map)))
    np.testing.assert_array_equal(np.maximum(arrays["signed"], 0), arrays["maps"])


@pytest.mark.parametrize("method", METHODS)
def test_sheet_has_one_row_per_probe_and_one_column_per_epoch(
    http: httpx.Client, run: str, method: str
) -> None:
    response = http.get(f"{run}/sheet", params={"method": method, "size": 200})
    image = picture(response)
    assert image.height > 10 * 202
    assert image.width > 4 * 202
    wider = picture(http.get(f"{run}/sheet", params={"epochs": "0:", "size": 256}))
    narrower = picture(http.get(f"{run}/sheet", params={"size": 256}))
    assert wider.width - narrower.width == 258
    revalidated = http.get(
        f"{run}/sheet",
        params={"method": method, "size": 200},
        headers={"if-none-match": response.headers["etag"]},
    )
    assert revalidated.status_code == 304


@pytest.mark.parametrize(("method", "scale"), [("proposed", "strip"), ("layer-cam", "map")])
@pytest.mark.parametrize("picture_kind", ["sheet", "strip", "strip.gif"])
def test_pictures_over_epochs_of_the_papers_methods_have_one_scale_per_row_by_default(
    http: httpx.Client, run: str, picture_kind: str, method: str, scale: str
) -> None:
    params = {"method": method, "style": "gray"}
    plain = http.get(f"{run}/{picture_kind}", params=params)
    scaled = http.get(f"{run}/{picture_kind}", params=params | {"scale": scale})
    assert plain.headers["etag"] == scaled.headers["etag"]
    other_scale = {"scale": "map" if scale == "strip" else "strip"}
    rescaled = http.get(f"{run}/{picture_kind}", params=params | other_scale)
    assert rescaled.content != plain.content


def test_blanks_are_counted_by_threshold_method_and_cause(http: httpx.Client, run: str) -> None:
    table = http.get(f"{run}/blanks").json()
    assert table["epsilon"] == 1e-7
    assert [row["epoch"] for row in table["per_epoch"]] == [1, 2, 3]
    for method in METHODS:
        count = table["methods"][method]
        assert count["total"] == 30
        assert sum(count["by_cause"].values()) == count["blank"]
        assert sum(row["methods"][method]["blank"] for row in table["per_epoch"]) == count["blank"]
        # Compared with the single maps.
        causes = [_blank_cause(http, run, method, image, 3) for image in _probes(http, run)]
        assert len(causes) == 10
        last = table["per_epoch"][-1]["methods"][method]
        assert last["blank"] == sum(cause != "none" for cause in causes)
    complete_table = http.get(f"{run}/blanks", params={"epsilon": 1, "epochs": "0:"}).json()
    assert complete_table["methods"]["conventional"]["blank"] == 40
    blank_counts = [
        http.get(f"{run}/blanks", params={"epsilon": e}).json()["methods"]["conventional"]["blank"]
        for e in (0, 1e-7, 1e-3, 1)
    ]
    assert blank_counts == sorted(blank_counts)


def test_blanks_are_revalidated_by_their_etag(http: httpx.Client, run: str) -> None:
    def request_blanks(etag: str | None = None, **params: Any) -> httpx.Response:
        headers = {"if-none-match": etag} if etag else {}
        return http.get(f"{run}/blanks", params=params, headers=headers)

    first_response = request_blanks()
    assert request_blanks(first_response.headers["etag"]).status_code == 304
    assert request_blanks().content == first_response.content
    other_queries: list[dict[str, Any]] = [{"epsilon": 1}, {"epochs": "0:"}, {"method": "proposed"}]
    for params in other_queries:
        other_response = request_blanks(first_response.headers["etag"], **params)
        assert other_response.status_code == 200
        assert other_response.headers["etag"] != first_response.headers["etag"]
        assert other_response.json() != first_response.json()


def test_input_image_is_a_png_of_its_pixels(http: httpx.Client, run: str) -> None:
    response = http.get("/images/test:3", params={"dataset": "digits"})
    image = picture(response)
    assert (image.mode, image.size) == ("L", (28, 28))
    etag = {"if-none-match": response.headers["etag"]}
    revalidated = http.get("/images/test:3", params={"dataset": "digits"}, headers=etag)
    assert revalidated.status_code == 304


def test_probes_are_the_first_test_image_of_each_class(http: httpx.Client, run: str) -> None:
    probes = http.get(f"{run}/probes").json()["items"]
    assert [probe["label"] for probe in probes] == list(range(10))
    if _dataset(http, run) == "mnist":
        assert [p["image"] for p in probes[:3]] == ["test:3", "test:2", "test:1"]


def test_probes_png_contains_all_probes(http: httpx.Client, service, run: str) -> None:
    run_id = service.post_run(
        dataset="digits", epochs=1, samples_per_epoch=50, probes={"per_class": 4}, tags=["grid"]
    )
    service.wait(run_id)
    for path in (run, f"/runs/{run_id}"):
        response = http.get(f"{path}/probes.png")
        grid = np.asarray(picture(response))
        dataset, references = _dataset(http, path), _probes(http, path)
        for i, reference in enumerate(references):
            pixels = np.asarray(
                picture(http.get(f"/images/{reference}", params={"dataset": dataset}))
            )
            y, x = 28 * (i // 32), 28 * (i % 32)
            assert np.array_equal(grid[y : y + 28, x : x + 28], pixels)
        assert grid.shape == (28 * -(-len(references) // 32), 28 * min(32, len(references)))
        etag = {"if-none-match": response.headers["etag"]}
        assert http.get(f"{path}/probes.png", headers=etag).status_code == 304
    assert http.delete(f"/runs/{run_id}").status_code == 204
    assert http.get(f"/runs/{run_id}/probes.png").status_code == 404


def _blank_cause(http: httpx.Client, run: str, method: str, image: str, epoch: int) -> str:
    params = {"method": method, "image": image}
    return str(http.get(f"{run}/epochs/{epoch}/cam", params=params).headers["x-cam-blank"])


def _dataset(http: httpx.Client, run: str) -> str:
    return str(http.get(run).json()["spec"]["dataset"])


def _probes(http: httpx.Client, run: str) -> list[str]:
    return [probe["image"] for probe in http.get(f"{run}/probes").json()["items"]]


@pytest.mark.parametrize("file_format", ["webp", "gif"])
def test_animation_shows_methods_side_by_side_at_the_requested_size(
    http: httpx.Client, run: str, file_format: str
) -> None:
    def animation(**params: Any) -> Image.Image:
        answer = http.get(f"{run}/strip.{file_format}", params={"epochs": "0:3", **params})
        return picture(answer, file_format.upper())

    both = animation(size=256)
    single = animation(size=256, method="proposed")
    assert both.n_frames == single.n_frames == 4
    assert both.width - single.width == 256 + 12
    assert animation(size=256, curve=False).height < both.height
    three = ["proposed", "layer-cam/centered", "integrated-gradients"]  # of two layers
    assert animation(size=256, method=three).width == both.width + 256 + 12
    plain = http.get(f"{run}/strip.{file_format}")
    spelled = http.get(
        f"{run}/strip.{file_format}",
        params={"method": METHODS, "size": 224, "curve": True, "epochs": "0:"},
    )
    assert plain.headers["etag"] == spelled.headers["etag"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("size=15", "size"), ("size=513", "size"), ("curve=perhaps", "curve"),
        ("method=gradcam", "method"), ("&".join(["method=proposed"] * 5), "method"),
    ],
)  # fmt: skip
def test_animation_parameters_have_bounds(
    http: httpx.Client, run: str, query: str, field: str
) -> None:
    answer = http.get(f"{run}/strip.gif?{query}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
