"""The atlas: hundreds of maps from one request, as levels and as the layout that scales them."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.core.render.atlas import dequantize
from tests.http.test_http_refusals import problem

JSON = {"accept": "application/json"}


class Page:
    """An atlas as a client has it, with cells (method, row, epoch) cut out of the picture."""

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

    def told(self, name: str, method: int, row: int, epoch: int) -> Any:
        return self.layout[name][np.ravel_multi_index((method, row, epoch), self.shape)]

    def values(self, *cell: int) -> np.ndarray:
        return dequantize(self.levels[cell], self.told("minimum", *cell), self.told("peak", *cell))


def check_against_the_maps(http: httpx.Client, run: str, page: Page) -> None:
    layout = page.layout
    for cell in np.ndindex(*page.shape):
        m, r, e = cell
        method, row, epoch = layout["methods"][m], layout["rows"][r], layout["epochs"][e]
        name, _, target = method.partition("/")
        params = {"method": name, "image": row["image"], "class": row["class_index"]}
        # The image itself is no layer that is asked for by name.
        params |= {"style": "signed"}
        params |= {"layer": layout["layer"]} if layout["layer"] != "input" else {}
        params |= {"target": target} if target else {}
        body = http.get(f"{run}/epochs/{epoch}/cam.json", params=params).json()
        exact = np.array(body["values"], np.float32)
        # In other company a map's sums are taken in another order.
        assert page.told("minimum", *cell) == pytest.approx(body["minimum"], rel=1e-4, abs=1e-9)
        assert page.told("peak", *cell) == pytest.approx(body["peak"], rel=1e-4, abs=1e-9)
        assert page.told("blank", *cell) == body["blank"]
        assert (row["class_name"], row["label"]) == (body["class_name"], body["label"])
        span = max(body["peak"], -body["minimum"])
        assert np.abs(page.values(*cell) - exact).max() <= 0.5 * span / 127 * 1.02 + 1e-9


@pytest.fixture
def run(finished_run: dict[str, Any]) -> str:
    return f"/runs/{finished_run['id']}"


def test_the_default_is_every_probe_by_the_papers_methods_at_every_epoch(
    http: httpx.Client, run: str
) -> None:
    page = Page(http, run)
    layout = page.layout
    assert page.shape == (2, 10, 4)
    assert layout["run_id"] == int(run.split("/")[-1])
    assert layout["methods"] == ["conventional", "proposed"]
    assert (layout["layer"], layout["epochs"]) == ("conv2", [0, 1, 2, 3])
    assert layout["cell"] == {"width": 24, "height": 24}
    assert layout["image"] == {"width": 28, "height": 28}
    # Two convolutions of 3 x 3 lose two pixels at each border.
    assert layout["placement"] == {"first": 2, "step": 1}
    assert layout["default_epsilon"] == 1e-7
    probes = http.get(f"{run}/probes").json()["items"]
    assert [row["image"] for row in layout["rows"]] == [probe["image"] for probe in probes]
    assert [row["class_index"] for row in layout["rows"]] == list(range(10))
    few = Page(http, run, epochs="0:3:3", image=probes[4]["image"])
    np.testing.assert_array_equal(few.levels[:, 0], page.levels[:, 4, ::3])
    check_against_the_maps(http, run, few)


def test_blank_cells_are_those_that_are_counted(http: httpx.Client, run: str) -> None:
    page = Page(http, run, epochs="1:")
    for epsilon in (0, 1e-7, 1e-3, 1):
        blank_counts = http.get(f"{run}/blanks", params={"epsilon": epsilon}).json()["methods"]
        peaks = np.array(page.layout["peak"]).reshape(page.shape)
        blank = (peaks <= epsilon).sum((1, 2)).tolist()
        assert blank == [blank_counts[method]["blank"] for method in page.layout["methods"]]


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
def test_what_was_not_recorded_is_computed_and_is_the_single_maps(
    http: httpx.Client, run: str, query: dict[str, Any], shape: tuple[int, ...], layer: str
) -> None:
    page = Page(http, run, **query)
    assert (page.shape, page.layout["layer"]) == (shape, layer)
    if query.get("rows") == "classes":
        assert [row["class_index"] for row in page.layout["rows"]] == list(range(10))
        assert len({row["image"] for row in page.layout["rows"]}) == 1
    if "class" in query:
        assert {row["class_index"] for row in page.layout["rows"]} == {int(query["class"])}
    check_against_the_maps(http, run, page)


def test_an_explanation_asked_for_twice_has_one_row(http: httpx.Client, run: str) -> None:
    page = Page(http, run, method=["proposed", "proposed/unit"], epochs="1")
    assert page.layout["methods"] == ["proposed"]


@pytest.mark.parametrize(
    "query",
    [{}, {"method": "layer-cam", "epochs": "1,3"}, {"rows": "classes", "epochs": "2"}],
    ids=str,
)
def test_levels_come_as_bytes_too_compressed_or_not(
    http: httpx.Client, run: str, query: dict[str, Any]
) -> None:
    page = Page(http, run, **query)
    plain, packed = (
        http.get(f"{run}/atlas.bin", params=query, headers={"accept-encoding": coding})
        for coding in ("identity", "gzip")
    )
    for answer in (plain, packed):
        levels = np.frombuffer(answer.content, np.uint8).reshape(page.levels.shape)
        np.testing.assert_array_equal(levels, page.levels)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content)
    # A cache that mixed them up would give compressed bytes to who cannot read them.
    assert plain.headers["etag"] != packed.headers["etag"]
    for answer, coding in ((plain, "identity"), (packed, "gzip")):
        headers = {"if-none-match": answer.headers["etag"], "accept-encoding": coding}
        assert http.get(f"{run}/atlas.bin", params=query, headers=headers).status_code == 304


@pytest.mark.parametrize("refusal", ["gzip;q=0", "br", "", "identity", "*;q=0"])
def test_levels_are_plain_for_those_who_take_no_gzip(
    http: httpx.Client, run: str, refusal: str
) -> None:
    answer = http.get(f"{run}/atlas.bin", headers={"accept-encoding": refusal})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


def test_one_url_has_two_representations_each_with_its_etag(http: httpx.Client, run: str) -> None:
    kinds = {}
    for accept, item_type in {
        "*/*": "image/png",
        "": "image/png",
        "image/avif,image/webp,*/*;q=0.8": "image/png",
        "application/json": "application/json",
        "application/json, */*;q=0.1": "application/json",
        "image/png;q=0.2, application/*": "application/json",
        "text/html": "image/png",
    }.items():
        answer = http.get(f"{run}/atlas", headers={"accept": accept})
        assert answer.headers["content-type"] == item_type, accept
        assert answer.headers["vary"] == "Accept"
        assert answer.headers["cache-control"] == "private, no-cache"
        kinds.setdefault(item_type, set()).add(answer.headers["etag"])
        again = http.get(
            f"{run}/atlas",
            headers={"accept": accept, "if-none-match": answer.headers["etag"]},
        )
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["vary"] == "Accept"
    (png,), (json,) = kinds["image/png"], kinds["application/json"]
    assert png != json
    crossed = http.get(f"{run}/atlas", headers={"accept": "application/json", "if-none-match": png})
    assert crossed.status_code == 200
    alone_response = http.get(f"{run}/atlas.json", headers={"accept": "*/*"})
    assert alone_response.headers["etag"] == json
    assert alone_response.json() == http.get(f"{run}/atlas", headers=JSON).json()
    kept = http.get(f"{run}/atlas.json", headers={"if-none-match": json})
    assert (kept.status_code, kept.content) == (304, b"")
    others = {
        http.get(f"{run}/atlas", params=params).headers["etag"]
        for params in ({"epochs": "1:"}, {"rows": "classes"}, {"method": "proposed"}, {"class": 1})
    }
    assert len(others | {png}) == 5


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
def test_bad_queries_are_refused_by_name(
    http: httpx.Client, run: str, query: str, field: str
) -> None:
    body = problem(http.get(f"{run}/atlas?{query}"), 422)
    assert [error["field"] for error in body["errors"]] == [field]


def test_what_is_not_there_is_404(http: httpx.Client, run: str) -> None:
    for path in ("/runs/999999/atlas", f"{run}/atlas?epochs=7", f"{run}/atlas?image=test:99999"):
        problem(http.get(path), 404)
