"""Maps that are infinite or not a number: a blank cause of its own on every page, never a 500."""

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
from tests.keeping.conftest import EPOCHS, StateFolder

BAD = 2
HARMS: dict[str, Callable[[dict[str, torch.Tensor]], None]] = {
    "nan": lambda tensors: first_weight(tensors).fill_(math.nan),
    "inf": lambda tensors: first_weight(tensors).fill_(math.inf),
    "overflow": lambda tensors: [tensor.mul_(1e30) for tensor in tensors.values()],
}
TAKEN = [name for name in METHODS if name != "cam"]  # needs a head that the run does not have
PAGES = ["strip", "strip.webp", "strip.gif", "strip.npz", "sheet", "atlas", "atlas.json",
         "atlas.bin", "blanks", "blanks.csv", "scores", "report.html", "report.html?language=ja",
         "epochs.csv", "epochs", "probes", "", "epochs/2", "epochs/2/checkpoint",
         "epochs/2/evaluation"]  # fmt: skip


def first_weight(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of the first convolution, which every activation and score depends on."""
    name = min(name for name, tensor in tensors.items() if tensor.dim() == 4)
    return tensors[name].view(-1)[:1]


def harm(state_folder: StateFolder, name: str) -> None:
    """Weights that are not finite in a checkpoint that is whole, with nothing recorded of it."""
    data = state_folder.bytes_of(BAD)
    tensors = load(data)
    HARMS[name](tensors)
    bad = save(tensors, {METADATA_KEY: read_header(data).to_json()})
    state_folder.replace_checkpoint(BAD, bad)
    state_folder.execute(
        f"UPDATE checkpoints SET sha256 = :a, bytes = :b WHERE epoch = {BAD}",
        a=checkpoints.digest(bad),
        b=len(bad),
    )
    for table in ("heatmaps", "predictions"):
        state_folder.execute(f"DELETE FROM {table} WHERE epoch = {BAD}")


@pytest.fixture(scope="module", params=HARMS)
def state_folder(request, trained, tmp_path_factory) -> StateFolder:
    folder = tmp_path_factory.mktemp(request.param) / "state"
    shutil.copytree(trained["sql"].folder, folder)
    state_folder = StateFolder(folder, "sql")
    harm(state_folder, request.param)
    return state_folder


@pytest.fixture(scope="module")
def client(state_folder):
    with state_folder.client() as client:
        yield client


@pytest.mark.parametrize("method", TAKEN)
def test_every_method_says_that_its_map_is_not_finite(client, method: str) -> None:
    few = {"samples": 2} if "samples" in METHODS[method].parameters.model_fields else {}
    query = {"method": method, "class": "1"} | few
    cam = client.get(f"/runs/1/epochs/{BAD}/cam", params=query)
    assert cam.status_code == 200, cam.text
    assert cam.headers["x-cam-blank"] == "not-finite"
    assert "x-cam-peak" not in cam.headers
    told = client.get(f"/runs/1/epochs/{BAD}/cam.json", params=query).json()
    assert (told["blank"], told["peak"], told["minimum"]) == ("not-finite", None, None)
    assert any(value is None for row in told["values"] for value in row)
    npy = client.get(f"/runs/1/epochs/{BAD}/cam.npy", params=query | {"style": "signed"}).content
    values = np.load(io.BytesIO(npy))
    assert not np.isfinite(values).all()
    assert [[value is None for value in row] for row in signed(client, query)] == (
        ~np.isfinite(values)
    ).tolist()


def signed(client, query: dict[str, object]) -> list[list[float | None]]:
    answer = client.get(f"/runs/1/epochs/{BAD}/cam.json", params=query | {"style": "signed"})
    return answer.json()["values"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_answered(client, page: str) -> None:
    answer = client.get(f"/runs/1/{page}".rstrip("/"))
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("application/json"):
        assert "NaN" not in answer.text
        assert "Infinity" not in answer.text


@pytest.mark.parametrize("style", ["overlay", "heatmap", "gray", "signed"])
@pytest.mark.parametrize("scale", ["map", "strip", "run"])
def test_it_is_hatched_in_every_style_and_shares_no_scale(
    client, state_folder, style, scale
) -> None:
    query = {"style": style, "scale": scale, "size": 64}
    overlay = client.get(f"/runs/1/epochs/{BAD}/cam", params={"size": 64}).content
    assert pixels(client.get(f"/runs/1/epochs/{BAD}/cam", params=query)).tolist() == (
        np.asarray(Image.open(io.BytesIO(overlay)).convert("RGB")).tolist()
    )
    for page in ("sheet", "strip", "strip.gif"):
        assert client.get(f"/runs/1/{page}", params=query).status_code == 200
    # The scale is that of the finite maps: the best of them still reaches the top of the colors.
    if (style, scale) == ("gray", "strip"):
        finite = [epoch for epoch in range(EPOCHS + 1) if epoch != BAD]
        shown = [pixels(client.get(f"/runs/1/epochs/{e}/cam", params=query)).max() for e in finite]
        assert max(shown) > 200


def pixels(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def test_it_is_counted_by_its_cause(client) -> None:
    table = client.get("/runs/1/blanks?epochs=0:").json()
    for epoch in table["per_epoch"]:
        for count in epoch["methods"].values():
            assert count["by_cause"]["not-finite"] == (10 if epoch["epoch"] == BAD else 0)
    for epsilon in (0, 1):
        again = client.get("/runs/1/blanks", params={"epsilon": epsilon, "epochs": BAD}).json()
        assert again["methods"]["proposed"]["by_cause"]["not-finite"] == 10
    head, *lines = client.get("/runs/1/blanks.csv?epochs=0:").text.splitlines()
    assert head.endswith(",not_finite")
    assert [line for line in lines if line.startswith(f"{BAD},")] == [
        f"{BAD},conventional,10,10,0,0,0,10", f"{BAD},proposed,10,10,0,0,0,10",
    ]  # fmt: skip


def test_its_report_counts_it_in_both_languages(client) -> None:
    english, japanese = (client.get(f"/runs/1/report.html?language={x}").text for x in ("en", "ja"))
    assert "not finite 10" in english
    assert "非有限 10" in japanese


def test_its_atlas_has_no_numbers_and_no_levels(client) -> None:
    layout = client.get("/runs/1/atlas.json?epochs=0:").json()
    levels = client.get("/runs/1/atlas.bin?epochs=0:").content
    size = layout["cell"]["width"] * layout["cell"]["height"]
    for i, cause in enumerate(layout["blank"]):
        is_bad = layout["epochs"][i % len(layout["epochs"])] == BAD
        assert (cause == "not-finite") == is_bad
        assert (layout["minimum"][i] is None, layout["peak"][i] is None) == (is_bad, is_bad)
        if is_bad:
            assert set(levels[i * size : (i + 1) * size]) == {0}


def test_scores_that_are_not_finite_are_null(client) -> None:
    for answer in (client.get("/runs/1/scores"), client.get("/runs/1/scores?image=test:30")):
        scores = answer.json()
        assert scores["probabilities"][BAD] == [None] * 10
        assert None not in scores["probabilities"][0]
    told = client.get(f"/runs/1/epochs/{BAD}/cam.json").json()
    assert set(told["scores"].values()) == {None}


def test_what_it_is_worth_is_null_and_other_epochs_are_judged(client) -> None:
    measures = [measure["name"] for measure in client.get("/measures").json()["items"]]
    query = {"measure": measures, "method": ["proposed", "lime?samples=10"]}
    for epoch, known in ((BAD, False), (1, True)):
        answer = client.get(f"/runs/1/epochs/{epoch}/evaluation", params=query)
        assert answer.status_code == 200, answer.text
        for score in answer.json()["scores"]:
            assert (score["value"]["mean"] is not None) == known, score


def test_an_atlas_of_what_an_older_version_recorded_as_infinite(state_folder, tmp_path) -> None:
    shutil.copytree(state_folder.folder, tmp_path / "state")
    older = StateFolder(tmp_path / "state", "sql")
    older.execute("UPDATE heatmaps SET peak = 9e999, blank = 'none' WHERE epoch = 1")
    with older.client() as client:
        layout = client.get("/runs/1/atlas.json?epochs=1").json()
        assert set(layout["blank"]) == {"not-finite"}
        count = client.get("/runs/1/blanks?epochs=1").json()["methods"]["proposed"]
        assert count["by_cause"]["not-finite"] == count["total"]


def test_a_run_with_such_maps_is_exported_and_imported(client, state_folder, tmp_path) -> None:
    before = client.get("/runs/1/blanks?epochs=0:").json()
    with state_folder.open_store() as store:
        export_run(store, 1, tmp_path / "run.camreel")
    other = StateFolder(tmp_path / "other", "sql")
    other.folder.mkdir()
    with open_store(other.database) as store:
        schema.ensure(store)
        import_run(store, tmp_path / "run.camreel")
    with other.client() as copy:
        assert copy.get("/runs/1/blanks?epochs=0:").json() == before
        assert copy.get("/runs/1/scores").json() == client.get("/runs/1/scores").json()


@pytest.mark.parametrize("name", HARMS)
def test_they_are_kept_by_postgresql(postgres_url, tmp_path, trained, name) -> None:
    with trained["sql"].open_store() as store:
        export_run(store, 1, tmp_path / "run.camreel")
    with open_store(postgres_url) as store:
        schema.ensure(store)
        import_run(store, tmp_path / "run.camreel")
    state_folder = PostgresPlace(tmp_path, "sql", postgres_url)
    harm(state_folder, name)
    with state_folder.client() as client:
        count = client.get(f"/runs/1/blanks?epochs={BAD}").json()["methods"]["proposed"]
        assert count["by_cause"]["not-finite"] == 10
        assert client.get("/runs/1/sheet?scale=run&style=signed").status_code == 200
        assert client.get("/runs/1/atlas.json").json()["blank"].count("not-finite") == 20


class PostgresPlace(StateFolder):
    """The same run in a database on a server."""

    def __init__(self, folder, blob_type: str, url: str) -> None:
        super().__init__(folder, blob_type)
        object.__setattr__(self, "server", url)

    @property
    def database(self) -> str:
        return self.server
