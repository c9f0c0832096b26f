"""An upload is kept once, and is taken wherever an image is."""

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
from tests.uploads.conftest import Asked
from tests.uploads.pictures import RGB, png, slope

SPEC = {
    "dataset": "digits",
    "epochs": 2,
    "samples_per_epoch": 100,
    "architecture": {"channels": [4, 6], "hidden_units": 12},
}


@pytest.fixture(scope="module")
def watched(shared: Asked) -> str:
    """An upload that the shared application's run 1 watches beside one image of each class."""
    reference = str(shared.upload(png(slope())).json()["reference"])
    answer = shared.ask("POST", "/runs", json=SPEC | {"probes": {"images": [reference]}})
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == 1
    return reference


@pytest.fixture(scope="module")
def unwatched(shared: Asked, watched: str) -> str:
    return str(shared.upload(png(slope().T)).json()["reference"])


def get(shared: Asked, path: str, **params: Any) -> Any:
    answer = shared.ask("GET", path, params=params or None)
    assert answer.status_code == 200, answer.text
    return answer


def test_the_answer_says_where_it_is_and_what_was_done(shared: Asked) -> None:
    answer = shared.upload(png(np.full((56, 28, 3), 7), 8, RGB))
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/images/{body['reference']}?dataset=digits"
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
    }


def test_ids_have_128_random_bits(shared: Asked) -> None:
    made = {shared.upload(png(np.full((28, 28), n))).json()["reference"] for n in range(5)}
    assert len(made) == 5
    assert all(len(reference) == len("upload:") + 22 for reference in made)


def test_the_original_is_neither_kept_nor_echoed(shared: Asked) -> None:
    data = png(slope() // 3) + b"the payload"
    answer = shared.upload(data)
    shown = get(shared, answer.headers["location"])
    assert shown.headers["content-type"] == "image/png"
    assert b"the payload" not in shown.content
    with shared.services.store.read_session() as session:
        for table in ("images", "uploads"):
            for row in session.execute(text(f"SELECT * FROM {table}")):
                assert not any(b"the payload" in v for v in row if isinstance(v, bytes))


def test_the_same_file_again_is_the_same_upload(shared: Asked) -> None:
    data = png(slope() // 2)
    first_response, second_response = shared.upload(data).json(), shared.upload(data).json()
    assert first_response == second_response
    assert shared.upload(data, "mnist").json()["reference"] != first_response["reference"]
    inverted = shared.ask(
        "POST", "/images", params={"dataset": "digits", "invert": "true"}, files={"file": data}
    ).json()
    assert inverted["reference"] != first_response["reference"]
    assert inverted["conversion"]["inverted"]


def test_twenty_of_one_file_at_once_are_one_upload(shared: Asked) -> None:
    data = png(slope() // 5)
    request = ("POST", "/images", {"params": {"dataset": "digits"}, "files": {"file": data}})
    answers = shared.ask_at_once([request] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["reference"] for answer in answers}) == 1


def test_an_upload_of_another_dataset_is_not_found(shared: Asked, watched: str) -> None:
    answer = shared.ask("GET", f"/images/{watched}", params={"dataset": "mnist"})
    assert answer.status_code == 404
    missing_response = shared.ask("GET", "/images/upload:nothing", params={"dataset": "digits"})
    assert missing_response.status_code == 404


def test_a_run_watches_an_upload(shared: Asked, watched: str) -> None:
    items = get(shared, "/runs/1/probes").json()["items"]
    assert items[-1] == {"image": watched, "label": None}
    assert len(items) == 11


def test_a_run_that_names_an_upload_which_is_not_there_is_422(shared: Asked, watched: str) -> None:
    for dataset, reference in [("digits", "upload:nothing"), ("mnist", watched)]:
        spec = {"dataset": dataset, "probes": {"images": [reference]}}
        answer = shared.ask("POST", "/runs", json=spec)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"].endswith("probes.images")


@pytest.mark.parametrize("which", ["watched", "unwatched"])
def test_its_map_is_of_the_class_predicted_at_that_epoch(
    shared: Asked, which: str, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue(which)
    for epoch in range(3):
        body = get(shared, f"/runs/1/epochs/{epoch}/cam.json", image=image).json()
        best = int(np.argmax(list(body["scores"].values())))
        assert (body["class_index"], body["label"]) == (best, None)
        one = get(shared, f"/runs/1/epochs/{epoch}/cam", image=image)
        same = get(shared, f"/runs/1/epochs/{epoch}/cam", image=image, **{"class": str(best)})
        assert one.content == same.content


@pytest.mark.parametrize("which", ["watched", "unwatched"])
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
def test_it_is_taken_where_an_image_is(
    shared: Asked,
    which: str,
    path: str,
    params: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    assert get(shared, path, image=request.getfixturevalue(which), **params).content


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
def test_pages_of_a_runs_probes_go_on_with_one_that_has_no_class(
    shared: Asked, watched: str, path: str
) -> None:
    assert get(shared, path).content


def test_an_evaluation_takes_the_probes_that_have_a_class(shared: Asked, watched: str) -> None:
    assert get(shared, "/runs/1/epochs/1/evaluation").json()


def test_a_run_that_watches_one_takes_it_along_in_an_export(
    shared: Asked, watched: str, tmp_path: Any
) -> None:
    export_run(shared.services.store, 1, tmp_path / "run.camreel")
    with zipfile.ZipFile(tmp_path / "run.camreel") as file:
        body = json.loads(file.read("manifest.json"))["images"]
        (upload,) = (item for item in body if item["reference"] == watched)
        assert upload["upload"]["choices"]["format"] == "png"
        kept = get(shared, f"/images/{watched}", dataset="digits").content
        assert file.read(upload["png"]["name"]) == kept


@pytest.fixture
def old(application: Callable[..., Asked]) -> tuple[Asked, list[str]]:
    """Three uploads that nobody looked at for a month: a probe's, a waiting run's, nobody's."""
    app = application()
    names = [app.upload(png(slope() // n)).json()["reference"] for n in (1, 2, 3)]
    spec = SPEC | {"probes": {"per_class": 0, "images": names[:1]}}
    assert app.ask("POST", "/runs", json=spec).status_code == 201
    waiting = SPEC | {"probes": {"per_class": 0, "images": names[1:2]}}
    assert app.ask("POST", "/runs", json=waiting).status_code == 201
    with app.services.store.write_session() as session:
        session.execute(text("DELETE FROM probes WHERE run_id = 2"))
        session.execute(text("UPDATE runs SET status = 'queued' WHERE id = 2"))
        cutoff = datetime.now(UTC) - timedelta(days=31)
        session.execute(text("UPDATE uploads SET used_at = :then"), {"then": cutoff})
    return app, names


def there(one: Asked, names: list[str]) -> list[bool]:
    with one.services.store.read_session() as session:
        kept = set(session.scalars(text("SELECT reference FROM images")))
    return [name in kept for name in names]


def test_what_nothing_used_for_a_month_goes_but_for_what_runs_watch(
    old: tuple[Asked, list[str]],
) -> None:
    app, names = old
    app.upload(png(slope() // 7))
    assert there(app, names) == [True, True, False]


def test_what_is_looked_at_is_used(old: tuple[Asked, list[str]]) -> None:
    app, names = old
    assert app.ask("GET", f"/images/{names[2]}?dataset=digits").status_code == 200
    app.services.pipeline.recorder.flush()
    app.upload(png(slope() // 7))
    assert there(app, names) == [True, True, True]


def test_a_full_store_takes_no_upload(application: Callable[..., Asked]) -> None:
    app = application(quota_bytes=1)
    assert app.upload(png(slope())).status_code == 507


def test_removing_is_told_by_its_count(application: Callable[..., Asked]) -> None:
    app = application()
    app.upload(png(slope()))
    with app.services.store.write_session() as session:
        assert uploaded_images.delete_unused(session, timedelta(days=1)) == 0
        assert uploaded_images.delete_unused(session, timedelta(0)) == 1


def test_unused_uploads_are_removed_a_few_at_a_time(
    application: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application()
    for number in range(3):
        app.upload(png(slope() // (number + 2)))
    monkeypatch.setattr(uploaded_images, "DELETE_BATCH", 2)
    counts = []
    for _ in range(3):
        with app.services.store.write_session() as session:
            counts.append(uploaded_images.delete_unused(session, timedelta(0)))
    assert counts == [2, 1, 0]


def test_the_kept_png_is_the_same_on_every_look(shared: Asked, watched: str) -> None:
    looks = {
        hashlib.sha256(get(shared, f"/images/{watched}", dataset="digits").content).hexdigest()
        for _ in range(2)
    }
    assert len(looks) == 1
