"""The atlas: hundreds of maps from one request, as 8-bit levels and a layout with their bounds."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.core.render.atlas import dequantize
from tests.http.test_http_refusals import expect_problem

JSON = {"accept": "application/json"}


class Atlas:
    """An atlas as read by a client; cells are indexed by (method, row, epoch)."""

    def __init__(self, http: httpx.Client, run: str, **query: Any) -> None:
        self.picture = http.get(f"{run}/atlas", params=query)
        assert self.picture.status_code == 200, self.picture.text
        assert self.picture.headers["content-type"] == "image/png"
        self.layout = http.get(f"{run}/atlas", params=query, headers=JSON).json()
        image = Image.open(io.BytesIO(self.picture.content))
        assert image.mode == "L"
        width, height = (self.layout["cell"][side] for side in ("width", "height"))
        self.shape = tuple(len(self.layout[name]) for name in ("methods", "rows", "epochs"))
        m, r, e = self.shape
        assert image.size == (e * width, m * r * height)
        pixels = np.asarray(image).reshape(m, r, height, e, width)
        self.levels = pixels.transpose(0, 1, 3, 2, 4)
        for name in ("minimum", "peak", "blank"):
            assert len(self.layout[name]) == m * r * e

    def value_of(self, name: str, method: int, row: int, epoch: int) -> Any:
        return self.layout[name][np.ravel_multi_index((method, row, epoch), self.shape)]

    def values(self, *cell: int) -> np.ndarray:
        return dequantize(
            self.levels[cell], self.value_of("minimum", *cell), self.value_of("peak", *cell)
        )


def expect_single_maps(http: httpx.Client, run: str, atlas: Atlas) -> None:
    layout = atlas.layout
    for cell in np.ndindex(*atlas.shape):
        m, r, e = cell
        method, row, epoch = layout["methods"][m], layout["rows"][r], layout["epochs"][e]
        name, _, target = method.partition("/")
        params = {"method": name, "image": row["image"], "class": row["class_index"]}
        # The layer `input` cannot be requested by name.
        params |= {"style": "signed"}
        params |= {"layer": layout["layer"]} if layout["layer"] != "input" else {}
        params |= {"target": target} if target else {}
        body = http.get(f"{run}/epochs/{epoch}/cam.json", params=params).json()
        exact = np.array(body["values"], np.float32)
        # In another batch, float32 sums are computed in another order.
        assert atlas.value_of("minimum", *cell) == pytest.approx(
            body["minimum"], rel=1e-4, abs=1e-9
        )
        assert atlas.value_of("peak", *cell) == pytest.approx(body["peak"], rel=1e-4, abs=1e-9)
        assert atlas.value_of("blank", *cell) == body["blank"]
        assert (row["class_name"], row["label"]) == (body["class_name"], body["label"])
        span = max(body["peak"], -body["minimum"])
        assert np.abs(atlas.values(*cell) - exact).max() <= 0.5 * span / 127 * 1.02 + 1e-9


@pytest.fixture
def run(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}"


def test_default_atlas_has_all_probes_paper_methods_and_epochs(
    http: httpx.Client, run: str
) -> None:
    atlas = Atlas(http, run)
    layout = atlas.layout
    assert atlas.shape == (2, 10, 4)
    assert layout["run_id"] == int(run.split("/")[-1])
    assert layout["methods"] == ["conventional", "proposed"]
    assert (layout["layer"], layout["epochs"]) == ("conv2", [0, 1, 2, 3])
    assert layout["cell"] == {"width": 24, "height": 24}
    assert layout["image"] == {"width": 28, "height": 28}
    # Two 3 x 3 convolutions without padding remove two pixels at each border.
    assert layout["placement"] == {"first": 2, "step": 1}
    assert layout["default_epsilon"] == 1e-7
    probes = http.get(f"{run}/probes").json()["items"]
    assert [row["image"] for row in layout["rows"]] == [probe["image"] for probe in probes]
    assert [row["class_index"] for row in layout["rows"]] == list(range(10))
    small_atlas = Atlas(http, run, epochs="0:3:3", image=probes[4]["image"])
    np.testing.assert_array_equal(small_atlas.levels[:, 0], atlas.levels[:, 4, ::3])
    expect_single_maps(http, run, small_atlas)


def test_number_of_blank_cells_equals_the_blank_counts(http: httpx.Client, run: str) -> None:
    atlas = Atlas(http, run, epochs="1:")
    for epsilon in (0, 1e-7, 1e-3, 1):
        blank_counts = http.get(f"{run}/blanks", params={"epsilon": epsilon}).json()["methods"]
        peaks = np.array(atlas.layout["peak"]).reshape(atlas.shape)
        blank = (peaks <= epsilon).sum((1, 2)).tolist()
        assert blank == [blank_counts[method]["blank"] for method in atlas.layout["methods"]]


@pytest.mark.parametrize(
    ("query", "shape", "layer"),
    [
        ({"method": ["layer-cam/centered", "hires-cam"], "epochs": "1,3"}, (2, 10, 2), "conv2"),
        ({"layer": "pool", "epochs": "2"}, (2, 10, 1), "pool"),
        ({"rows": "classes", "epochs": "3"}, (2, 10, 1), "conv2"),
        ({"rows": "classes", "image": "test:11", "epochs": "0:3:3"}, (2, 10, 2), "conv2"),
        ({"rows": "classes", "method": "x-grad-cam", "epochs": "1"}, (1, 10, 1), "conv2"),
        ({"class": "4", "epochs": "2:3"}, (2, 10, 2), "conv2"),
        ({"image": "test:12", "class": "1"}, (2, 1, 4), "conv2"),
        ({"method": "integrated-gradients", "image": "test:3", "epochs": "3"}, (1, 1, 1), "input"),
        ({"method": "proposed", "layer": "conv1,pool", "epochs": "3"}, (1, 10, 1), "conv1,pool"),
    ],
    ids=str,
)  # fmt: skip
def test_maps_that_were_not_recorded_equal_single_maps(
    http: httpx.Client, run: str, query: dict[str, Any], shape: tuple[int, ...], layer: str
) -> None:
    atlas = Atlas(http, run, **query)
    assert (atlas.shape, atlas.layout["layer"]) == (shape, layer)
    if query.get("rows") == "classes":
        assert [row["class_index"] for row in atlas.layout["rows"]] == list(range(10))
        assert len({row["image"] for row in atlas.layout["rows"]}) == 1
    if "class" in query:
        assert {row["class_index"] for row in atlas.layout["rows"]} == {int(query["class"])}
    expect_single_maps(http, run, atlas)


def test_repeated_method_has_one_row(http: httpx.Client, run: str) -> None:
    atlas = Atlas(http, run, method=["proposed", "proposed/unit"], epochs="1")
    assert atlas.layout["methods"] == ["proposed"]


@pytest.mark.parametrize("rows", ["probes", "classes"])
def test_class_that_others_are_contrasted_with_has_no_rows(
    http: httpx.Client, run: str, rows: str
) -> None:
    query = {"rows": rows, "epochs": "1"}
    every_row = http.get(f"{run}/atlas.json", params=query).json()["rows"]
    for methods in (["hires-cam/contrast:3"], ["hires-cam", "hires-cam/contrast:3"]):
        atlas = Atlas(http, run, method=methods, **query)
        assert atlas.layout["rows"] == [row for row in every_row if row["class_index"] != 3]
    blanks = {"method": ["hires-cam", "hires-cam/contrast:3"], "epochs": "1"}
    counts = http.get(f"{run}/blanks", params=blanks).json()["methods"]
    assert [count["total"] for count in counts.values()] == [10, 9]
    sheet = {"method": "hires-cam", "target": "contrast", "contrast_class": 3, "scale": "run"}
    assert http.get(f"{run}/sheet", params=sheet | {"epochs": "1"}).status_code == 200


@pytest.mark.parametrize(
    "query",
    [{}, {"method": "layer-cam", "epochs": "1,3"}, {"rows": "classes", "epochs": "2"}],
    ids=str,
)
def test_levels_are_available_as_bytes_with_and_without_gzip(
    http: httpx.Client, run: str, query: dict[str, Any]
) -> None:
    atlas = Atlas(http, run, **query)
    plain, compressed = (
        http.get(f"{run}/atlas.bin", params=query, headers={"accept-encoding": coding})
        for coding in ("identity", "gzip")
    )
    for response in (plain, compressed):
        levels = np.frombuffer(response.content, np.uint8).reshape(atlas.levels.shape)
        np.testing.assert_array_equal(levels, atlas.levels)
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert int(compressed.headers["content-length"]) < len(plain.content)
    # Otherwise a cache could return compressed bytes to a client that cannot read them.
    assert plain.headers["etag"] != compressed.headers["etag"]
    for response, coding in ((plain, "identity"), (compressed, "gzip")):
        headers = {"if-none-match": response.headers["etag"], "accept-encoding": coding}
        assert http.get(f"{run}/atlas.bin", params=query, headers=headers).status_code == 304


@pytest.mark.parametrize("refusal", ["gzip;q=0", "br", "", "identity", "*;q=0"])
def test_levels_are_not_compressed_for_clients_without_gzip(
    http: httpx.Client, run: str, refusal: str
) -> None:
    response = http.get(f"{run}/atlas.bin", headers={"accept-encoding": refusal})
    assert response.status_code == 200
    assert "content-encoding" not in response.headers


def test_atlas_has_two_representations_with_separate_etags(http: httpx.Client, run: str) -> None:
    etags = {}
    for accept, media_type in {
        "*/*": "image/png",
        "": "image/png",
        "image/avif,image/webp,*/*;q=0.8": "image/png",
        "application/json": "application/json",
        "application/json, */*;q=0.1": "application/json",
        "image/png;q=0.2, application/*": "application/json",
        "text/html": "image/png",
    }.items():
        response = http.get(f"{run}/atlas", headers={"accept": accept})
        assert response.headers["content-type"] == media_type, accept
        assert response.headers["vary"] == "Accept"
        assert response.headers["cache-control"] == "private, no-cache"
        etags.setdefault(media_type, set()).add(response.headers["etag"])
        revalidated = http.get(
            f"{run}/atlas",
            headers={"accept": accept, "if-none-match": response.headers["etag"]},
        )
        assert (revalidated.status_code, revalidated.content) == (304, b"")
        assert revalidated.headers["vary"] == "Accept"
    (png,), (json,) = etags["image/png"], etags["application/json"]
    assert png != json
    json_response = http.get(
        f"{run}/atlas", headers={"accept": "application/json", "if-none-match": png}
    )
    assert json_response.status_code == 200
    json_url_response = http.get(f"{run}/atlas.json", headers={"accept": "*/*"})
    assert json_url_response.headers["etag"] == json
    assert json_url_response.json() == http.get(f"{run}/atlas", headers=JSON).json()
    not_modified = http.get(f"{run}/atlas.json", headers={"if-none-match": json})
    assert (not_modified.status_code, not_modified.content) == (304, b"")
    other_etags = {
        http.get(f"{run}/atlas", params=params).headers["etag"]
        for params in ({"epochs": "1:"}, {"rows": "classes"}, {"method": "proposed"}, {"class": 1})
    }
    assert len(other_etags | {png}) == 5


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("metod=proposed", "metod"),
        ("method=gradcam", "method"),
        ("method=proposed&method=integrated-gradients", "method"),
        ("&".join(["method=proposed"] * 5), "method"),
        ("rows=epochs", "rows"),
        ("rows=classes&class=3", "class"),
        ("class=ten", "class"),
        ("image=cat.png", "image"),
        ("layer=hidden", "layer"),
        ("epochs=1:2:0", "epochs"),
    ],
)
def test_invalid_queries_are_refused_by_name(
    http: httpx.Client, run: str, query: str, field: str
) -> None:
    body = expect_problem(http.get(f"{run}/atlas?{query}"), 422)
    assert [error["field"] for error in body["errors"]] == [field]


def test_atlas_of_missing_resources_is_404(http: httpx.Client, run: str) -> None:
    for path in ("/runs/999999/atlas", f"{run}/atlas?epochs=7", f"{run}/atlas?image=test:99999"):
        expect_problem(http.get(path), 404)
