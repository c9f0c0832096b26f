"""Uploads are stored once and can be used wherever an image can."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from service.flows.transfer.exporting import export_run
from service.store import uploaded_images
from tests.uploads.conftest import Application
from tests.uploads.pictures import RGB, png, slope

SPEC = {
    "dataset": "digits",
    "epochs": 2,
    "samples_per_epoch": 100,
    "architecture": {"channels": [4, 6], "hidden_units": 12},
}


@pytest.fixture(scope="module")
def probe_upload(application: Application) -> str:
    """An upload that is a probe of run 1, in addition to one image of each class."""
    reference = str(application.upload(png(slope())).json()["reference"])
    response = application.request("POST", "/runs", json=SPEC | {"probes": {"images": [reference]}})
    assert response.status_code == 201, response.text
    assert response.json()["id"] == 1
    return reference


@pytest.fixture(scope="module")
def other_upload(application: Application, probe_upload: str) -> str:
    return str(application.upload(png(slope().T)).json()["reference"])


def get(application: Application, path: str, **params: Any) -> Any:
    response = application.request("GET", path, params=params or None)
    assert response.status_code == 200, response.text
    return response


def test_response_has_the_location_and_the_conversion(application: Application) -> None:
    response = application.upload(png(np.full((56, 28, 3), 7), 8, RGB))
    body = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/images/{body['reference']}?dataset=digits"
    assert {key: body[key] for key in ("dataset", "width", "height", "label")} == {
        "dataset": "digits",
        "width": 28,
        "height": 28,
        "label": None,
    }
    assert body["conversion"] == {
        "format": "png",
        "width": 28,
        "height": 56,
        "bits": 8,
        "oriented": None,
        "composited_on": None,
        "converted_from": "RGB",
        "inverted": False,
        "resized_to": [14, 28],
        "resized_by": "bilinear, antialiased",
        "padded_with": 0,
        "cropped_to": None,
    }


def test_ids_have_128_random_bits(application: Application) -> None:
    references = {
        application.upload(png(np.full((28, 28), n))).json()["reference"] for n in range(5)
    }
    assert len(references) == 5
    assert all(len(reference) == len("upload:") + 22 for reference in references)


def test_original_file_is_neither_stored_nor_returned(application: Application) -> None:
    data = png(slope() // 3) + b"the payload"
    response = application.upload(data)
    image = get(application, response.headers["location"])
    assert image.headers["content-type"] == "image/png"
    assert b"the payload" not in image.content
    with application.services.store.read_session() as session:
        for table in ("images", "uploads"):
            for row in session.execute(text(f"SELECT * FROM {table}")):
                assert not any(b"the payload" in v for v in row if isinstance(v, bytes))


def test_same_file_is_the_same_upload(application: Application) -> None:
    data = png(slope() // 2)
    first_response, second_response = (
        application.upload(data).json(),
        application.upload(data).json(),
    )
    assert first_response == second_response
    assert application.upload(data, "mnist").json()["reference"] != first_response["reference"]
    inverted = application.request(
        "POST", "/images", params={"dataset": "digits", "invert": "true"}, files={"file": data}
    ).json()
    assert inverted["reference"] != first_response["reference"]
    assert inverted["conversion"]["inverted"]


def test_twenty_simultaneous_uploads_of_one_file_are_one_upload(application: Application) -> None:
    data = png(slope() // 5)
    request = ("POST", "/images", {"params": {"dataset": "digits"}, "files": {"file": data}})
    responses = application.request_concurrently([request] * 20)
    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["reference"] for response in responses}) == 1


def test_upload_is_not_found_in_another_dataset(
    application: Application, probe_upload: str
) -> None:
    response = application.request("GET", f"/images/{probe_upload}", params={"dataset": "mnist"})
    assert response.status_code == 404
    missing_response = application.request(
        "GET", "/images/upload:nothing", params={"dataset": "digits"}
    )
    assert missing_response.status_code == 404


def test_upload_can_be_a_probe(application: Application, probe_upload: str) -> None:
    items = get(application, "/runs/1/probes").json()["items"]
    assert items[-1] == {"image": probe_upload, "label": None}
    assert len(items) == 11


def test_run_with_a_missing_upload_is_422(application: Application, probe_upload: str) -> None:
    for dataset, reference in [("digits", "upload:nothing"), ("mnist", probe_upload)]:
        spec = {"dataset": dataset, "probes": {"images": [reference]}}
        response = application.request("POST", "/runs", json=spec)
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"].endswith("probes.images")


@pytest.mark.parametrize("fixture_name", ["probe_upload", "other_upload"])
def test_map_of_an_upload_is_of_the_predicted_class(
    application: Application, fixture_name: str, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue(fixture_name)
    for epoch in range(3):
        body = get(application, f"/runs/1/epochs/{epoch}/cam.json", image=image).json()
        best = int(np.argmax(list(body["scores"].values())))
        assert (body["class_index"], body["label"]) == (best, None)
        default_map = get(application, f"/runs/1/epochs/{epoch}/cam", image=image)
        class_map = get(
            application, f"/runs/1/epochs/{epoch}/cam", image=image, **{"class": str(best)}
        )
        assert default_map.content == class_map.content


@pytest.mark.parametrize("fixture_name", ["probe_upload", "other_upload"])
@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/runs/1/epochs/1/cam.npy", {}),
        ("/runs/1/strip", {}),
        ("/runs/1/strip.webp", {}),
        ("/runs/1/strip.gif", {}),
        ("/runs/1/strip.npz", {}),
        ("/runs/1/atlas", {"rows": "classes"}),
        ("/runs/1/scores", {}),
    ],
)
def test_upload_can_be_used_as_an_image(
    application: Application,
    fixture_name: str,
    path: str,
    params: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    assert get(application, path, image=request.getfixturevalue(fixture_name), **params).content


@pytest.mark.parametrize(
    "path",
    [
        "/runs/1/sheet",
        "/runs/1/atlas",
        "/runs/1/blanks",
        "/runs/1/report.html",
        "/runs/1/blanks.csv",
    ],
)
def test_pages_of_probes_support_unlabeled_uploads(
    application: Application, probe_upload: str, path: str
) -> None:
    assert get(application, path).content


def test_evaluation_uses_labeled_probes_only(application: Application, probe_upload: str) -> None:
    assert get(application, "/runs/1/epochs/1/evaluation").json()


def test_export_contains_uploads_among_the_probes(
    application: Application, probe_upload: str, tmp_path: Any
) -> None:
    export_run(application.services.store, 1, tmp_path / "run.camreel")
    with zipfile.ZipFile(tmp_path / "run.camreel") as file:
        body = json.loads(file.read("manifest.json"))["images"]
        (upload,) = (item for item in body if item["reference"] == probe_upload)
        assert upload["upload"]["choices"]["format"] == "png"
        stored_png = get(application, f"/images/{probe_upload}", dataset="digits").content
        assert file.read(upload["png"]["name"]) == stored_png


@pytest.fixture
def application_with_old_uploads(
    new_application: Callable[..., Application],
) -> tuple[Application, list[str]]:
    """Three uploads unused for a month: a probe, one in the spec of a queued run, and another."""
    app = new_application()
    references = [app.upload(png(slope() // n)).json()["reference"] for n in (1, 2, 3)]
    spec = SPEC | {"probes": {"per_class": 0, "images": references[:1]}}
    assert app.request("POST", "/runs", json=spec).status_code == 201
    queued_spec = SPEC | {"probes": {"per_class": 0, "images": references[1:2]}}
    assert app.request("POST", "/runs", json=queued_spec).status_code == 201
    with app.services.store.write_session() as session:
        session.execute(text("DELETE FROM probes WHERE run_id = 2"))
        session.execute(text("UPDATE runs SET status = 'queued' WHERE id = 2"))
        cutoff = datetime.now(UTC) - timedelta(days=31)
        session.execute(text("UPDATE uploads SET used_at = :cutoff"), {"cutoff": cutoff})
    return app, references


def are_stored(application: Application, references: list[str]) -> list[bool]:
    with application.services.store.read_session() as session:
        rows = set(session.scalars(text("SELECT reference FROM images")))
    return [reference in rows for reference in references]


def test_unused_uploads_are_removed_after_a_month_except_probes(
    application_with_old_uploads: tuple[Application, list[str]],
) -> None:
    app, names = application_with_old_uploads
    app.upload(png(slope() // 7))
    assert are_stored(app, names) == [True, True, False]


def test_reading_an_upload_counts_as_use(
    application_with_old_uploads: tuple[Application, list[str]],
) -> None:
    app, names = application_with_old_uploads
    assert app.request("GET", f"/images/{names[2]}?dataset=digits").status_code == 200
    app.services.pipeline.recorder.flush()
    app.upload(png(slope() // 7))
    assert are_stored(app, names) == [True, True, True]


def test_upload_to_a_full_store_is_507(new_application: Callable[..., Application]) -> None:
    app = new_application(quota_bytes=1)
    assert app.upload(png(slope())).status_code == 507


def test_delete_unused_returns_the_number_of_uploads(
    new_application: Callable[..., Application],
) -> None:
    app = new_application()
    app.upload(png(slope()))
    with app.services.store.write_session() as session:
        assert uploaded_images.delete_unused(session, timedelta(days=1)) == 0
        assert uploaded_images.delete_unused(session, timedelta(0)) == 1


def test_unused_uploads_are_removed_in_batches(
    new_application: Callable[..., Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = new_application()
    for number in range(3):
        app.upload(png(slope() // (number + 2)))
    monkeypatch.setattr(uploaded_images, "DELETE_BATCH", 2)
    counts = []
    for _ in range(3):
        with app.services.store.write_session() as session:
            counts.append(uploaded_images.delete_unused(session, timedelta(0)))
    assert counts == [2, 1, 0]


def test_stored_png_is_returned_unchanged(application: Application, probe_upload: str) -> None:
    digests = {
        hashlib.sha256(
            get(application, f"/images/{probe_upload}", dataset="digits").content
        ).hexdigest()
        for _ in range(2)
    }
    assert len(digests) == 1
