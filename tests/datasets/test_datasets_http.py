"""Datasets over HTTP: reports, images, uploads, deletion, and refusals that leave nothing."""

import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from service.core.spec import RunSpec
from service.flows import image_folders
from service.flows.datasets import resolve_dataset
from service.flows.runs import create_run
from tests.datasets.conftest import encode, picture, write_folder
from tests.datasets.test_datasets_archive import ATTACKS, FILES, make_zip
from tests.uploads.conftest import Application

ZIP = {"content-type": "application/zip"}
SMALL_RUN = {
    "architecture": {"channels": [4, 4], "hidden_units": 8},
    "input": {
        "resize": {"mode": "shorter", "size": 20},
        "crop": {"size": 16},
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    },
    "epochs": 1,
}


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("datasets")
    write_folder(folder / "data" / "folders" / "colors")
    application = Application(folder / "state", data_dir=folder / "data", min_free_bytes=0)
    yield application
    application.close()


@pytest.fixture(scope="module")
def data_dir(application: Application) -> Path:
    return application.settings.data_dir


def upload(application: Application, name: str, data: bytes) -> httpx.Response:
    return application.request(
        "POST", "/datasets", params={"name": name}, content=data, headers=ZIP
    )


def finished_job(application: Application, response: httpx.Response) -> dict:
    assert response.status_code == 202, response.text
    deadline = time.monotonic() + 30
    while True:
        job = application.request("GET", response.headers["location"]).json()
        if job["status"] not in ("queued", "running"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.02)


def folder_names(data_dir: Path) -> list[str]:
    """All entries, hidden ones included."""
    return sorted(path.name for path in (data_dir / "folders").iterdir())


def test_list_has_built_in_datasets_and_folders(application):
    items = application.request("GET", "/datasets").json()["items"]
    assert [item["name"] for item in items][:3] == ["mnist", "mnist-planted", "digits"]
    assert items[-1]["name"] == "folder:colors"
    assert items[2]["image_shape"] == [1, 28, 28]


def test_report_of_a_folder_has_counts_statistics_and_defaults(application, data_dir):
    report = application.request("GET", "/datasets/folder:colors").json()
    assert report["status"] == "ready"
    assert report["classes"] == [
        {"name": name, "train": 4, "test": 2} for name in ("amber", "blue", "coral")
    ]
    assert (report["image_shape"], report["imbalance"], report["duplicates"]) == ([3, 30, 40], 1, 0)
    files = sorted((data_dir / "folders" / "colors" / "train").rglob("*.png"))
    levels = np.stack([np.asarray(Image.open(file)) for file in files]) / 255
    assert np.allclose(report["mean"], levels.mean((0, 1, 2)), atol=1e-4)
    assert np.allclose(report["std"], levels.std((0, 1, 2)), atol=1e-4)
    assert report["default_input"]["resize"]["size"] == [30, 40]
    assert report["skipped"] == []


def test_report_of_a_built_in_dataset_counts_its_classes(application):
    report = application.request("GET", "/datasets/digits").json()
    assert sum(count["train"] for count in report["classes"]) == 1500
    assert report["default_input"]["baseline"] == "black"
    missing = application.request("GET", "/datasets/cifar10").json()
    assert (missing["status"], missing["classes"]) == ("missing", [])


def test_report_can_be_a_job(application):
    headers = {"prefer": "respond-async"}
    response = application.request("GET", "/datasets/folder:colors", headers=headers)
    job = finished_job(application, response)
    result = application.request("GET", job["result"]["href"])
    assert result.json() == application.request("GET", "/datasets/folder:colors").json()


@pytest.mark.parametrize("path", ["", "/images", "/images/test:0"])
@pytest.mark.parametrize("name", ["folder:none", "imagenet", "folder:..", "folder:.hidden"])
def test_unknown_dataset_is_404(application, name, path):
    response = application.request("GET", f"/datasets/{name}{path}")
    assert (response.status_code, response.json()["type"]) == (404, "dataset-not-found")


def test_images_are_listed_by_class_in_pages(application):
    address = "/datasets/folder:colors/images"
    query = {"split": "train", "class": "blue", "limit": 3}
    first = application.request("GET", address, params=query).json()
    assert [item["image"] for item in first["items"]] == ["train:4", "train:5", "train:6"]
    assert first["items"][0] == {"image": "train:4", "label": 1, "width": 40, "height": 30}
    second = application.request("GET", address, params=query | {"cursor": first["next"]}).json()
    assert [item["image"] for item in second["items"]] == ["train:7"]
    assert second["next"] is None
    by_index = application.request("GET", address, params=query | {"class": "1"}).json()
    assert by_index == first
    unknown = application.request("GET", address, params={"class": "green"})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "class")


def test_original_image_has_the_pixels_of_its_file(application, data_dir):
    response = application.request("GET", "/datasets/folder:colors/images/test:3")
    file = data_dir / "folders" / "colors" / "test" / "blue" / "001.png"
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(response.content))), np.asarray(Image.open(file))
    )
    small = application.request("GET", "/datasets/folder:colors/images/test:3?size=20")
    assert Image.open(io.BytesIO(small.content)).size == (20, 15)
    etag = {"if-none-match": response.headers["etag"]}
    again = application.request("GET", "/datasets/folder:colors/images/test:3", headers=etag)
    assert again.status_code == 304


def test_image_beyond_the_split_is_404(application):
    response = application.request("GET", "/datasets/folder:colors/images/test:6")
    assert response.status_code == 404
    assert "images 0 to 5" in response.json()["detail"]


def test_run_on_a_folder_and_the_pixels_that_it_sees(application, data_dir):
    body = {"dataset": "folder:colors"} | SMALL_RUN
    created = application.request("POST", "/runs", json=body)
    assert created.status_code == 201, created.text
    run_id = created.json()["id"]
    assert created.json()["spec"]["dataset_info"]["train_size"] == 12
    probes = application.request("GET", f"/runs/{run_id}/probes").json()["items"]
    assert [probe["image"] for probe in probes] == ["test:0", "test:2", "test:4"]
    for reference, file in (("test:2", "test/blue/000.png"), ("train:1", "train/amber/001.png")):
        response = application.request("GET", f"/runs/{run_id}/images/{reference}")
        resized = Image.open(data_dir / "folders" / "colors" / file).resize(
            (26, 20), Image.Resampling.BILINEAR
        )
        expected = np.asarray(resized.crop((5, 2, 21, 18)))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(response.content))), expected)
    for image in ("test:2", "train:1"):
        cam = application.request("GET", f"/runs/{run_id}/epochs/1/cam", params={"image": image})
        assert cam.status_code == 200, cam.text


def test_upload_for_a_run_is_resized_and_cropped_as_its_images(application):
    body = {"dataset": "folder:colors"} | SMALL_RUN
    run_id = application.request("POST", "/runs", json=body).json()["id"]
    photo = picture((90, 200, 30), 5, (60, 50))
    response = application.request(
        "POST", "/images", params={"run_id": run_id}, files={"file": encode(photo)}
    )
    assert response.status_code == 201, response.text
    conversion = response.json()["conversion"]
    assert (conversion["resized_to"], conversion["cropped_to"]) == ([24, 20], [16, 16])
    reference = response.json()["reference"]
    image = application.request("GET", response.headers["location"])
    expected = photo.resize((24, 20), Image.Resampling.BILINEAR).crop((4, 2, 20, 18))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image.content))), np.asarray(expected))
    query = {"image": reference}
    cam = application.request("GET", f"/runs/{run_id}/epochs/1/cam", params=query)
    assert cam.status_code == 200, cam.text
    # It belongs to runs of the same images and input alone.
    other = application.request("GET", f"/images/{reference}", params={"dataset": "digits"})
    assert other.status_code == 404


def test_errors_of_a_folders_run_name_field_and_bounds(application):
    body = {"dataset": "folder:colors", "samples_per_epoch": 13, "probes": {"images": ["test:6"]}}
    response = application.request("POST", "/runs", json=body)
    assert response.status_code == 422
    errors = {error["field"]: error for error in response.json()["errors"]}
    assert set(errors) == {"samples_per_epoch", "probes.images.0"}
    assert errors["samples_per_epoch"]["context"]["maximum"] == 12
    assert errors["probes.images.0"]["type"] == "image_index"
    unknown = application.request("POST", "/runs", json={"dataset": "folder:none"})
    assert unknown.json()["errors"][0]["field"] == "dataset"
    assert "folder:colors" in unknown.json()["errors"][0]["allowed"]["enum"]


def test_uploaded_folder_is_trained_on_and_deleted(application, data_dir):
    job = finished_job(application, upload(application, "hues", make_zip(FILES)))
    assert job["status"] == "succeeded", job
    report = application.request("GET", job["result"]["href"]).json()
    assert report["name"] == "folder:hues"
    assert [count["train"] for count in report["classes"]] == [2, 2, 2]
    assert report["duplicates"] == 6  # the archive has the same images in both splits
    body = {"dataset": "folder:hues"} | SMALL_RUN
    run = application.request("POST", "/runs", json=body).json()
    assert application.request("GET", f"/runs/{run['id']}").json()["status"] == "succeeded"
    assert upload(application, "hues", make_zip(FILES)).status_code == 409
    assert application.request("DELETE", "/datasets/folder:hues").status_code == 204
    assert folder_names(data_dir) == ["colors"]
    assert not (data_dir / "cache" / "hues").exists()
    # The run is explained without its folder; images that are not recorded are gone.
    assert application.request("GET", f"/runs/{run['id']}/epochs/1/cam").status_code == 200
    gone = application.request("GET", f"/runs/{run['id']}/images/train:0")
    assert gone.status_code == 404, gone.text


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "bomb that lies"])
def test_unsafe_archive_is_422_and_leaves_nothing(application, data_dir, name):
    data, _ = ATTACKS[name]
    response = upload(application, "attack", data)
    assert (response.status_code, response.json()["type"]) == (422, "archive-refused")
    assert str(data_dir) not in response.text
    assert folder_names(data_dir) == ["colors"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"train/a/1.png": b"", "train/b/1.png": b"not a PNG"}, "fewer than two classes"),
        ({"a.txt": b"text"}, "fewer than two classes"),
        ({f"train/{c}/1.png": encode(picture((9, 9, 9), 1)) for c in "ab"}, "no test images"),
    ],
    ids=["damaged", "no images", "no test images"],
)
def test_archive_without_images_to_train_on_fails_and_leaves_nothing(
    application, data_dir, files, reason
):
    job = finished_job(application, upload(application, "useless", make_zip(files)))
    assert job["status"] == "failed"
    assert (job["error"]["type"], job["error"]["status"]) == ("archive-refused", 422)
    assert reason in job["error"]["detail"]
    assert folder_names(data_dir) == ["colors"]
    assert not (data_dir / "cache" / "useless").exists()


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_ADDED_PIXELS", 12 * 40 * 30 - 1, "pixels in total"),
        ("MAX_ADDED_FAILURES", 0, "cannot be decoded"),
    ],
)
def test_archive_that_takes_too_long_to_decode_fails_and_leaves_nothing(
    application, data_dir, monkeypatch, limit, value, reason
):
    monkeypatch.setattr(image_folders, limit, value)
    data = make_zip(FILES | {"train/blue/damaged.png": b"damaged"})
    job = finished_job(application, upload(application, "slow", data))
    assert (job["status"], job["error"]["type"]) == ("failed", "archive-refused")
    assert reason in job["error"]["detail"]
    assert folder_names(data_dir) == ["colors"]


def test_archive_whose_directory_lies_fails_its_job(application, data_dir):
    job = finished_job(application, upload(application, "lying", ATTACKS["bomb that lies"][0]))
    assert job["error"]["type"] == "archive-refused"
    assert folder_names(data_dir) == ["colors"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-a", "x" * 41, "a\0b", "ä"])
def test_invalid_name_is_422(application, data_dir, name):
    response = upload(application, name, make_zip(FILES))
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "name"
    assert folder_names(data_dir) == ["colors"]


def test_other_media_types_are_415(application):
    for media_type in ("image/png", "application/json", "multipart/form-data; boundary=x", ""):
        response = application.request(
            "POST", "/datasets?name=a", content=b"x", headers={"content-type": media_type}
        )
        assert response.status_code == 415


def test_built_in_dataset_cannot_be_deleted(application):
    assert application.request("DELETE", "/datasets/mnist").status_code == 409
    assert application.request("DELETE", "/datasets/folder:none").status_code == 404


def test_folder_that_a_queued_run_needs_cannot_be_deleted(application, data_dir):
    services = application.services
    shutil.copytree(data_dir / "folders" / "colors", data_dir / "folders" / "needed")
    spec = RunSpec.model_validate({"dataset": "folder:needed"} | SMALL_RUN)
    spec = resolve_dataset(services.workspace, spec)
    run, _ = create_run(services.store, services.executor, spec, dispatcher="elsewhere")
    response = application.request("DELETE", "/datasets/folder:needed")
    assert response.status_code == 409
    assert str(run.id) in response.json()["detail"]
    assert application.request("POST", f"/runs/{run.id}/cancel").status_code == 202
    assert application.request("DELETE", "/datasets/folder:needed").status_code == 204


def test_body_larger_than_the_limit_is_413(tmp_path):
    application = Application(tmp_path, max_dataset_bytes=2**20, min_free_bytes=0)
    try:
        response = upload(application, "large", bytes(2**20 + 1))
        assert response.status_code == 413
        assert not (tmp_path / "datasets" / "folders" / "large").exists()
    finally:
        application.close()


def test_upload_is_507_where_the_disk_has_no_space(tmp_path):
    application = Application(tmp_path, min_free_bytes=2**60)
    try:
        assert upload(application, "large", make_zip(FILES)).status_code == 507
    finally:
        application.close()
