"""Maps with infinity or NaN: blank with cause not-finite on every page, never 500."""

import io
import math
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from service.core import checkpoints
from service.core.cams.methods import METHODS
from service.core.checkpoints import METADATA_KEY, read_header
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.store import schema
from service.store.store import open_store
from tests.keeping.conftest import EPOCHS, MAINLY_SQL, StateFolder


@pytest.fixture(params=MAINLY_SQL)
def blob_type(request) -> str:
    return request.param


BAD_EPOCH = 2
WEIGHT_CHANGES: dict[str, Callable[[dict[str, torch.Tensor]], None]] = {
    "nan": lambda tensors: first_weight(tensors).fill_(math.nan),
    "inf": lambda tensors: first_weight(tensors).fill_(math.inf),
    "overflow": lambda tensors: [tensor.mul_(1e30) for tensor in tensors.values()],
}
RUN_METHODS = [
    name for name in METHODS if name != "cam"
]  # requires a head that the run does not have
PAGES = ["strip", "strip.webp", "strip.gif", "strip.npz", "sheet", "atlas", "atlas.json",
         "atlas.bin", "blanks", "blanks.csv", "scores", "report.html", "report.html?language=ja",
         "epochs.csv", "epochs", "probes", "", "epochs/2", "epochs/2/checkpoint",
         "epochs/2/evaluation"]  # fmt: skip


def first_weight(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """A view of one weight of the first convolution, on which every score depends."""
    name = min(name for name, tensor in tensors.items() if tensor.dim() == 4)
    return tensors[name].view(-1)[:1]


def corrupt_weights(state_folder: StateFolder, name: str) -> None:
    """Makes weights of a valid checkpoint non-finite and removes the recorded rows of its epoch."""
    data = state_folder.checkpoint_bytes(BAD_EPOCH)
    tensors = load(data)
    WEIGHT_CHANGES[name](tensors)
    bad = save(tensors, {METADATA_KEY: read_header(data).to_json()})
    state_folder.replace_checkpoint(BAD_EPOCH, bad)
    state_folder.execute(
        f"UPDATE checkpoints SET sha256 = :a, bytes = :b WHERE epoch = {BAD_EPOCH}",
        a=checkpoints.digest(bad),
        b=len(bad),
    )
    for table in ("heatmaps", "predictions"):
        state_folder.execute(f"DELETE FROM {table} WHERE epoch = {BAD_EPOCH}")


@pytest.fixture(
    scope="module", params=["nan", "overflow", pytest.param("inf", marks=pytest.mark.torture)]
)
def state_folder(request, trained, tmp_path_factory) -> StateFolder:
    folder = tmp_path_factory.mktemp(request.param) / "state"
    shutil.copytree(trained["sql"].folder, folder)
    state_folder = StateFolder(folder, "sql")
    corrupt_weights(state_folder, request.param)
    return state_folder


@pytest.fixture(scope="module")
def client(state_folder):
    with state_folder.client() as client:
        yield client


@pytest.mark.parametrize("method", RUN_METHODS)
def test_every_method_reports_a_non_finite_map(client, method: str) -> None:
    few_samples = {"samples": 2} if "samples" in METHODS[method].parameters.model_fields else {}
    query = {"method": method, "class": "1"} | few_samples
    cam = client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam", params=query)
    assert cam.status_code == 200, cam.text
    assert cam.headers["x-cam-blank"] == "not-finite"
    assert "x-cam-peak" not in cam.headers
    map_json = client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam.json", params=query).json()
    assert (map_json["blank"], map_json["peak"], map_json["minimum"]) == ("not-finite", None, None)
    assert any(value is None for row in map_json["values"] for value in row)
    npy = client.get(
        f"/runs/1/epochs/{BAD_EPOCH}/cam.npy", params=query | {"style": "signed"}
    ).content
    values = np.load(io.BytesIO(npy))
    assert not np.isfinite(values).all()
    assert [[value is None for value in row] for row in signed(client, query)] == (
        ~np.isfinite(values)
    ).tolist()


def signed(client, query: dict[str, object]) -> list[list[float | None]]:
    response = client.get(
        f"/runs/1/epochs/{BAD_EPOCH}/cam.json", params=query | {"style": "signed"}
    )
    return response.json()["values"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_200(client, page: str) -> None:
    response = client.get(f"/runs/1/{page}".rstrip("/"))
    assert response.status_code == 200, response.text
    if response.headers["content-type"].startswith("application/json"):
        assert "NaN" not in response.text
        assert "Infinity" not in response.text


@pytest.mark.parametrize("style", ["overlay", "heatmap", "gray", "signed"])
@pytest.mark.parametrize("scale", ["map", "strip", "run"])
def test_non_finite_map_is_hatched_and_excluded_from_scales(
    client, state_folder, style, scale
) -> None:
    query = {"style": style, "scale": scale, "size": 64}
    overlay = client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam", params={"size": 64}).content
    assert pixels(client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam", params=query)).tolist() == (
        np.asarray(Image.open(io.BytesIO(overlay)).convert("RGB")).tolist()
    )
    for page in ("sheet", "strip", "strip.gif"):
        assert client.get(f"/runs/1/{page}", params=query).status_code == 200
    # The scale depends on finite maps only, so the largest of them reaches the top of the colors.
    if (style, scale) == ("gray", "strip"):
        finite = [epoch for epoch in range(EPOCHS + 1) if epoch != BAD_EPOCH]
        brightest = [
            pixels(client.get(f"/runs/1/epochs/{e}/cam", params=query)).max() for e in finite
        ]
        assert max(brightest) > 200


def pixels(response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB"))


def test_non_finite_maps_are_counted_by_cause(client) -> None:
    table = client.get("/runs/1/blanks?epochs=0:").json()
    for epoch in table["per_epoch"]:
        for count in epoch["methods"].values():
            assert count["by_cause"]["not-finite"] == (10 if epoch["epoch"] == BAD_EPOCH else 0)
    for epsilon in (0, 1):
        counts = client.get(
            "/runs/1/blanks", params={"epsilon": epsilon, "epochs": BAD_EPOCH}
        ).json()
        assert counts["methods"]["proposed"]["by_cause"]["not-finite"] == 10
    head, *lines = client.get("/runs/1/blanks.csv?epochs=0:").text.splitlines()
    assert head.endswith(",not_finite")
    assert [line for line in lines if line.startswith(f"{BAD_EPOCH},")] == [
        f"{BAD_EPOCH},conventional,10,10,0,0,0,10", f"{BAD_EPOCH},proposed,10,10,0,0,0,10",
    ]  # fmt: skip


def test_report_counts_non_finite_maps_in_both_languages(client) -> None:
    english, japanese = (client.get(f"/runs/1/report.html?language={x}").text for x in ("en", "ja"))
    assert "not finite 10" in english
    assert "非有限 10" in japanese


def test_atlas_of_non_finite_maps_has_no_bounds_and_levels_of_0(client) -> None:
    layout = client.get("/runs/1/atlas.json?epochs=0:").json()
    levels = client.get("/runs/1/atlas.bin?epochs=0:").content
    size = layout["cell"]["width"] * layout["cell"]["height"]
    for i, cause in enumerate(layout["blank"]):
        is_bad = layout["epochs"][i % len(layout["epochs"])] == BAD_EPOCH
        assert (cause == "not-finite") == is_bad
        assert (layout["minimum"][i] is None, layout["peak"][i] is None) == (is_bad, is_bad)
        if is_bad:
            assert set(levels[i * size : (i + 1) * size]) == {0}


def test_non_finite_scores_are_null(client) -> None:
    for response in (client.get("/runs/1/scores"), client.get("/runs/1/scores?image=test:30")):
        scores = response.json()
        assert scores["probabilities"][BAD_EPOCH] == [None] * 10
        assert None not in scores["probabilities"][0]
    map_json = client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam.json").json()
    assert set(map_json["scores"].values()) == {None}


def test_measures_of_non_finite_maps_are_null(client) -> None:
    measures = [measure["name"] for measure in client.get("/measures").json()["items"]]
    query = {"measure": measures, "method": ["proposed", "lime?samples=10"]}
    for epoch, is_finite in ((BAD_EPOCH, False), (1, True)):
        response = client.get(f"/runs/1/epochs/{epoch}/evaluation", params=query)
        assert response.status_code == 200, response.text
        for score in response.json()["scores"]:
            assert (score["value"]["mean"] is not None) == is_finite, score


def test_infinite_peak_recorded_by_an_older_version_is_not_finite(state_folder, tmp_path) -> None:
    shutil.copytree(state_folder.folder, tmp_path / "state")
    older = StateFolder(tmp_path / "state", "sql")
    older.execute("UPDATE heatmaps SET peak = 9e999, blank = 'none' WHERE epoch = 1")
    with older.client() as client:
        layout = client.get("/runs/1/atlas.json?epochs=1").json()
        assert set(layout["blank"]) == {"not-finite"}
        count = client.get("/runs/1/blanks?epochs=1").json()["methods"]["proposed"]
        assert count["by_cause"]["not-finite"] == count["total"]


def test_run_with_non_finite_maps_is_exported_and_imported(client, state_folder, tmp_path) -> None:
    expected = client.get("/runs/1/blanks?epochs=0:").json()
    with state_folder.open_store() as store:
        export_run(store, 1, tmp_path / "run.camreel")
    imported = StateFolder(tmp_path / "other", "sql")
    imported.folder.mkdir()
    with open_store(imported.database) as store:
        schema.ensure(store)
        import_run(store, tmp_path / "run.camreel")
    with imported.client() as imported_client:
        assert imported_client.get("/runs/1/blanks?epochs=0:").json() == expected
        assert imported_client.get("/runs/1/scores").json() == client.get("/runs/1/scores").json()


@pytest.mark.parametrize("name", WEIGHT_CHANGES)
def test_non_finite_maps_are_stored_by_postgresql(postgres_url, tmp_path, trained, name) -> None:
    with trained["sql"].open_store() as store:
        export_run(store, 1, tmp_path / "run.camreel")
    with open_store(postgres_url) as store:
        schema.ensure(store)
        import_run(store, tmp_path / "run.camreel")
    state_folder = PostgresStateFolder(tmp_path, "sql", postgres_url)
    corrupt_weights(state_folder, name)
    with state_folder.client() as client:
        count = client.get(f"/runs/1/blanks?epochs={BAD_EPOCH}").json()["methods"]["proposed"]
        assert count["by_cause"]["not-finite"] == 10
        assert client.get("/runs/1/sheet?scale=run&style=signed").status_code == 200
        assert client.get("/runs/1/atlas.json").json()["blank"].count("not-finite") == 20


class PostgresStateFolder(StateFolder):
    """A state folder with a PostgreSQL database."""

    def __init__(self, folder, blob_type: str, url: str) -> None:
        super().__init__(folder, blob_type)
        object.__setattr__(self, "server", url)

    @property
    def database(self) -> str:
        return self.server
