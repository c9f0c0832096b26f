"""Pages of runs in which something is missing: labels, probes, all epochs but one."""

import numpy as np
import pytest
import torch

from service.core.images import to_png
from service.core.spec import RunSpec
from service.store import schema, uploaded_images
from service.store.images import StoredImage
from service.store.uploaded_images import Upload
from tests.keeping.conftest import SPEC, StateFolder, train

UPLOAD = "upload:own"
STYLES = ["overlay", "heatmap", "gray", "signed"]
SCALES = ["map", "strip", "run"]
PAGES = ["strip", "strip.webp", "strip.gif", "strip.npz", "sheet", "atlas", "atlas.json",
         "atlas.bin", "blanks", "blanks.csv", "scores", "report.html", "epochs.csv", "probes.png",
         "epochs/1/cam", "epochs/1/cam.json", "epochs/1/cam.npy",
         "epochs/1/evaluation"]  # fmt: skip
NEED_PROBES = {"strip", "strip.webp", "strip.gif", "strip.npz", "sheet", "scores", "probes.png",
               "epochs/1/cam", "epochs/1/cam.json", "epochs/1/cam.npy",
               "epochs/1/evaluation"}  # fmt: skip


def spec_with(**fields: object) -> RunSpec:
    return RunSpec.model_validate(SPEC.model_dump() | {"epochs": 2} | fields)


def upload(state_folder: StateFolder) -> None:
    pixels = (torch.arange(784) % 256).to(torch.uint8).reshape(1, 28, 28)
    with state_folder.open_store() as store:
        schema.ensure(store)
        with store.write_session() as session:
            image = StoredImage("digits", UPLOAD, None, to_png(pixels))
            uploaded_images.get_or_create(session, "0" * 64, Upload(image, {}))


def run_with(folder, probes: dict[str, object], **fields: object) -> StateFolder:
    state_folder = StateFolder(folder, "sql")
    upload(state_folder)
    train(state_folder, spec_with(probes=probes, **fields))
    return state_folder


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """A client of a run whose only probe has no label."""
    state_folder = run_with(tmp_path_factory.mktemp("upload"), {"per_class": 0, "images": [UPLOAD]})
    with state_folder.client() as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_run_without_labels_is_answered(unlabelled, page: str) -> None:
    answer = unlabelled.get(f"/runs/1/{page}")
    if page == "epochs/1/evaluation":  # judges maps for the images' own labels
        assert (answer.status_code, "labeled" in answer.json()["detail"]) == (404, True)
    else:
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_and_style_of_a_run_without_labels(unlabelled, scale, style) -> None:
    query = {"scale": scale, "style": style}
    for page in ("sheet", "strip", "epochs/1/cam"):
        answer = unlabelled.get(f"/runs/1/{page}", params=query)
        assert answer.status_code == 200, answer.text


def test_the_runs_scale_is_that_of_the_predicted_classes_maps(unlabelled) -> None:
    strip, run = (
        unlabelled.get("/runs/1/epochs/1/cam", params={"style": "signed", "scale": scale}).content
        for scale in ("strip", "run")
    )
    assert strip == run


def test_no_map_without_a_label_is_counted(unlabelled) -> None:
    counts = unlabelled.get("/runs/1/blanks").json()["methods"]
    assert {count["total"] for count in counts.values()} == {0}
    report = unlabelled.get("/runs/1/report.html").text
    assert "<td>0 / 0</td>" in report


def test_the_share_of_blank_maps_is_of_those_counted(tmp_path) -> None:
    state_folder = run_with(tmp_path, {"per_class": 1, "images": [UPLOAD]})
    with state_folder.client() as client:
        report = client.get("/runs/1/report.html").text
    assert "/ 10</td>" in report
    assert "/ 11</td>" not in report


@pytest.fixture(scope="module")
def no_probes(tmp_path_factory):
    state_folder = run_with(tmp_path_factory.mktemp("none"), {"per_class": 1, "images": []})
    state_folder.execute("DELETE FROM probes")
    with state_folder.client() as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_a_run_without_probes_are_404_where_they_need_one(no_probes, page) -> None:
    answer = no_probes.get(f"/runs/1/{page}")
    if page in NEED_PROBES:
        assert answer.status_code == 404, answer.text
    elif page.startswith("atlas"):
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "rows")
    else:
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("scale", SCALES)
def test_an_image_of_a_run_without_probes_has_every_scale(no_probes, scale: str) -> None:
    query = {"image": "test:3", "scale": scale}
    for page in ("strip", "epochs/1/cam"):
        assert no_probes.get(f"/runs/1/{page}", params=query).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_run_that_only_has_epoch_0(one_epoch, page: str) -> None:
    answer = one_epoch.get(f"/runs/1/{page.replace('epochs/1', 'epochs/0')}", params=zeroth(page))
    assert answer.status_code == 200, answer.text


def zeroth(page: str) -> dict[str, str]:
    ranged = not page.startswith(("epochs", "probes"))
    return {"epochs": "0:"} if ranged else {}


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    state_folder = run_with(
        tmp_path_factory.mktemp("one"), {"per_class": 1, "images": []}, epochs=1
    )
    for table in ("heatmaps", "predictions", "checkpoints", "epochs"):
        state_folder.execute(f"DELETE FROM {table} WHERE epoch > 0")
    state_folder.execute("UPDATE runs SET epochs_done = 0")
    with state_folder.client() as client:
        yield client


@pytest.fixture(scope="module")
def none_sound(tmp_path_factory):
    state_folder = run_with(tmp_path_factory.mktemp("bad"), {"per_class": 1, "images": []})
    state_folder.execute("UPDATE checkpoints SET quarantined = 'missing'")
    with state_folder.client() as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_a_run_whose_epochs_are_all_quarantined_are_410(none_sound, page: str) -> None:
    answer = none_sound.get(f"/runs/1/{page}")
    expected = 200 if page in ("epochs.csv", "probes.png") else 410
    assert answer.status_code == expected, answer.text


def test_a_class_is_predicted_for_each_epoch_of_an_upload(unlabelled) -> None:
    scores = np.array(unlabelled.get("/runs/1/scores").json()["probabilities"])
    told = [unlabelled.get(f"/runs/1/epochs/{e}/cam.json").json()["class_index"] for e in (0, 1, 2)]
    assert told == scores.argmax(1).tolist()
