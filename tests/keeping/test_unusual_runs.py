"""Pages of runs without labels, without probes, or with one epoch only."""

import numpy as np
import pytest
import torch

from service.core.images import to_png
from service.core.spec import RunSpec
from service.store import schema, uploaded_images
from service.store.images import StoredImage
from service.store.uploaded_images import Upload
from tests.keeping.conftest import MAINLY_SQL, SPEC, StateFolder, train


@pytest.fixture(params=MAINLY_SQL)
def blob_type(request) -> str:
    return request.param


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
def unlabeled_client(tmp_path_factory):
    """A client of a run whose only probe has no label."""
    state_folder = run_with(tmp_path_factory.mktemp("upload"), {"per_class": 0, "images": [UPLOAD]})
    with state_folder.client() as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_run_without_labels_is_200(unlabeled_client, page: str) -> None:
    response = unlabeled_client.get(f"/runs/1/{page}")
    if page == "epochs/1/evaluation":  # measures maps of the images' labels
        assert (response.status_code, "labeled" in response.json()["detail"]) == (404, True)
    else:
        assert response.status_code == 200, response.text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_and_style_of_a_run_without_labels_is_200(
    unlabeled_client, scale, style
) -> None:
    query = {"scale": scale, "style": style}
    for page in ("sheet", "strip", "epochs/1/cam"):
        response = unlabeled_client.get(f"/runs/1/{page}", params=query)
        assert response.status_code == 200, response.text


def test_run_scale_of_unlabeled_images_uses_predicted_classes(unlabeled_client) -> None:
    strip, run = (
        unlabeled_client.get(
            "/runs/1/epochs/1/cam", params={"style": "signed", "scale": scale}
        ).content
        for scale in ("strip", "run")
    )
    assert strip == run


def test_maps_without_labels_are_not_counted(unlabeled_client) -> None:
    counts = unlabeled_client.get("/runs/1/blanks").json()["methods"]
    assert {count["total"] for count in counts.values()} == {0}
    report = unlabeled_client.get("/runs/1/report.html").text
    assert "<td>0 / 0</td>" in report


def test_share_of_blank_maps_refers_to_labeled_images(tmp_path) -> None:
    state_folder = run_with(tmp_path, {"per_class": 1, "images": [UPLOAD]})
    with state_folder.client() as client:
        report = client.get("/runs/1/report.html").text
    assert "/ 10</td>" in report
    assert "/ 11</td>" not in report


@pytest.fixture(scope="module")
def client_without_probes(tmp_path_factory):
    state_folder = run_with(tmp_path_factory.mktemp("none"), {"per_class": 1, "images": []})
    state_folder.execute("DELETE FROM probes")
    with state_folder.client() as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
def test_pages_that_need_probes_are_404_without_probes(client_without_probes, page) -> None:
    response = client_without_probes.get(f"/runs/1/{page}")
    if page in NEED_PROBES:
        assert response.status_code == 404, response.text
    elif page.startswith("atlas"):
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "rows")
    else:
        assert response.status_code == 200, response.text


@pytest.mark.parametrize("scale", SCALES)
def test_images_of_a_run_without_probes_have_every_scale(client_without_probes, scale: str) -> None:
    query = {"image": "test:3", "scale": scale}
    for page in ("strip", "epochs/1/cam"):
        assert client_without_probes.get(f"/runs/1/{page}", params=query).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_run_with_only_epoch_0_is_200(one_epoch_client, page: str) -> None:
    response = one_epoch_client.get(
        f"/runs/1/{page.replace('epochs/1', 'epochs/0')}", params=epoch_parameters(page)
    )
    assert response.status_code == 200, response.text


def epoch_parameters(page: str) -> dict[str, str]:
    has_range = not page.startswith(("epochs", "probes"))
    return {"epochs": "0:"} if has_range else {}


@pytest.fixture(scope="module")
def one_epoch_client(tmp_path_factory):
    state_folder = run_with(
        tmp_path_factory.mktemp("one"), {"per_class": 1, "images": []}, epochs=1
    )
    for table in ("heatmaps", "predictions", "checkpoints", "epochs"):
        state_folder.execute(f"DELETE FROM {table} WHERE epoch > 0")
    state_folder.execute("UPDATE runs SET epochs_done = 0")
    with state_folder.client() as client:
        yield client


@pytest.fixture(scope="module")
def quarantined_client(tmp_path_factory):
    state_folder = run_with(tmp_path_factory.mktemp("bad"), {"per_class": 1, "images": []})
    state_folder.execute("UPDATE checkpoints SET quarantined = 'missing'")
    with state_folder.client() as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_a_run_with_all_epochs_quarantined_are_410(quarantined_client, page: str) -> None:
    response = quarantined_client.get(f"/runs/1/{page}")
    expected = 200 if page in ("epochs.csv", "probes.png") else 410
    assert response.status_code == expected, response.text


def test_upload_is_explained_for_the_predicted_class_of_each_epoch(unlabeled_client) -> None:
    scores = np.array(unlabeled_client.get("/runs/1/scores").json()["probabilities"])
    class_indices = [
        unlabeled_client.get(f"/runs/1/epochs/{e}/cam.json").json()["class_index"]
        for e in (0, 1, 2)
    ]
    assert class_indices == scores.argmax(1).tolist()
