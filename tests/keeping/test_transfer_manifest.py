"""Archives with an invalid manifest or invalid parts are refused and leave nothing."""

import json

import pytest
import safetensors.torch
import torch

from service.errors import ImportRefused
from service.flows.transfer.importing import import_run
from service.flows.transfer.manifest import to_json
from tests.keeping.conftest import MAINLY_SQL
from tests.keeping.transfers import (
    read_parts,
    refuse_import,
    run_contents,
    with_manifest,
    with_part,
    write_archive,
)


@pytest.fixture(params=MAINLY_SQL)
def blob_type(request) -> str:
    return request.param


CHECKPOINT = "checkpoints/00002.safetensors"
ROWS = "rows/00002.json"
STATE = "states/00003.safetensors"
# A state of an optimizer with one more parameter than the run's network.
OTHER_STATE = safetensors.torch.save(
    {"8.square_avg": torch.ones(3)},
    {"camreel": json.dumps({"format": 1, "epoch": 3, "scalars": {}})},
)


def set_at(*path):
    def change(manifest, value=path[-1]):
        *outer, last = path[:-1]
        parent = manifest
        for key in outer:
            parent = parent[key]
        parent[last] = value

    return change


MANIFEST_CHANGES = {
    "unknown-field": (set_at("mood", "good"), "mood"),
    "unknown-field-within": (set_at("epochs", 1, "mood", 1), "mood"),
    "text-instead-of-a-number": (set_at("run", "epochs_done", "3"), "epochs_done"),
    "true-instead-of-a-number": (set_at("epochs", 0, "epoch", True), "epoch"),
    "nan": (set_at("epochs", 1, "test_loss", float("nan")), "test_loss"),
    "infinity": (set_at("epochs", 1, "test_loss", float("inf")), "test_loss"),
    "true-as-format": (set_at("format", True), "format"),
    "float-as-format": (set_at("format", 2.0), "format"),
    "newer-format": (set_at("format", 7), "newer Camreel"),
    "no-format": (set_at("format", None), "format"),
    "non-terminal-status": (set_at("run", "status", "running"), "status"),
    "spec-with-an-unknown-dataset": (set_at("run", "spec", "dataset", "x"), "dataset"),
    "spec-out-of-bounds": (set_at("run", "spec", "epochs", -1), "epochs"),
    "another-architecture": (
        set_at("run", "spec", "architecture", "hidden_units", 9), "another epoch or network",
    ),
    "missing-epoch": (lambda m: m["epochs"].pop(1), "parts|epochs"),
    "too-many-epochs-done": (set_at("run", "epochs_done", 4), "last epoch"),
    "absolute-name": (set_at("epochs", 1, "checkpoint", "name", "/etc/passwd"), "name"),
    "parent-folder-in-a-name": (set_at("epochs", 1, "checkpoint", "name", "../x"), "name"),
    "event-of-a-missing-epoch": (
        set_at("events", 2, {"number": 3, "kind": "epoch", "data": {"epoch": 77}}), "events",
    ),
    "unknown-kind-of-event": (
        set_at("events", 2, {"number": 3, "kind": "mood", "data": {}}), "kind",
    ),
    "wrong-checksum": (set_at("epochs", 1, "checkpoint", "sha256", "0" * 64), "checkpoint"),
    "wrong-length": (set_at("epochs", 1, "checkpoint", "bytes", 5), "long"),
    "no-time-zone": (set_at("run", "created_at", "2026-01-01T00:00:00"), "created_at"),
    "invalid-label": (set_at("images", 0, "label", 10), "class 10"),
    "image-outside-its-split": (set_at("images", 0, "reference", "test:999999"), "999999"),
    "training-state-with-another-name": (
        set_at("training_state", "name", "states/00002.safetensors"), "parts",
    ),
    "unexpected-upload": (
        set_at("images", 0, "upload", {"digest": "0" * 64, "choices": {
            "format": "png", "width": 1, "height": 1, "bits": 8}}), "upload",
    ),
    "upload-without-choices": (set_at("images", 0, "reference", "upload:x"), "upload"),
    "invalid-choices": (
        set_at("images", 0, "upload", {"digest": "0" * 64, "choices": {"mood": 1}}), "mood|choices",
    ),
    "steps-without-a-norm": (
        set_at("divergence", {"epoch": 4, "first_step": 1, "losses": [None], "gradient_norms": []}),
        "each step",
    ),
    "two-images-with-one-name": (set_at("images", 0, "reference", "test:1"), "once|image"),
}  # fmt: skip


@pytest.mark.parametrize("case", MANIFEST_CHANGES)
def test_invalid_manifest_is_refused(exported_run, empty_state_folder, tmp_path, case):
    change, texts = MANIFEST_CHANGES[case]
    if case == "two-images-with-one-name":
        second = json.loads(read_parts(exported_run)["manifest.json"])["images"][1]["reference"]
        change = set_at("images", 0, "reference", second)
    message = refuse_import(
        with_manifest(exported_run, tmp_path / "file", change), empty_state_folder
    )
    assert any(text in message for text in texts.split("|")), message


@pytest.mark.parametrize("name", ["manifest.json", ROWS])
@pytest.mark.parametrize(
    "rewrite",
    [
        lambda data: data + b" ",
        lambda data: b"{" + b'"format":2,' + data[1:],
        lambda data: data.replace(b":", b": ", 1),
        lambda data: data.replace(b'"seconds":', b'"seconds":0', 1).replace(
            b'"peak":', b'"peak": '
        ),
    ],
    ids=["trailing space", "duplicate key", "space after a colon", "other numbers"],
)
def test_json_in_another_form_than_exported_is_refused(
    exported_run, empty_state_folder, tmp_path, name, rewrite
):
    members = read_parts(exported_run)
    data = rewrite(members[name])
    if name == ROWS:
        file = with_part(exported_run, tmp_path / "file", name, data)
    else:
        file = write_archive(tmp_path / "file", members | {name: data})
    refuse_import(file, empty_state_folder)


def test_swapped_epochs_are_refused(exported_run, empty_state_folder, tmp_path):
    def swap(manifest):
        first, second = manifest["epochs"][1], manifest["epochs"][2]
        first["checkpoint"], second["checkpoint"] = second["checkpoint"], first["checkpoint"]

    members = read_parts(exported_run)
    manifest = json.loads(members["manifest.json"])
    swap(manifest)
    names = ["manifest.json"]
    names += [image["png"]["name"] for image in manifest["images"]]
    names += [e[part]["name"] for e in manifest["epochs"] for part in ("rows", "checkpoint")]
    names.append(STATE)
    members["manifest.json"] = to_json(manifest)
    file = write_archive(tmp_path / "file", [(name, members[name]) for name in names])
    assert "another" in refuse_import(file, empty_state_folder)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (CHECKPOINT, b""),
        (CHECKPOINT, b"\x80\x05cposix\nsystem\n"),
        (CHECKPOINT, b"PK\x03\x04"),
        (CHECKPOINT, None),  # the checkpoint of epoch 1
        (ROWS, b"{}"),
        (ROWS, b"[" * 100_000),
        (ROWS, b'{"heatmaps": [], "predictions": [], "more": 1}'),
        (ROWS, b'{"heatmaps": [], "predictions": [{"image": "test:1", "probabilities": [0.5]}]}'),
        (ROWS, b'{"heatmaps": NaN, "predictions": []}'),
        (ROWS, None),  # the rows of epoch 1
        (STATE, b""),
        (STATE, b"\x80\x05cposix\nsystem\n"),
        (STATE, OTHER_STATE),
        ("images/00000.png", b"GIF89a"),
        ("images/00000.png", b""),
    ],
)
def test_invalid_part_with_a_valid_digest_is_refused(
    exported_run, empty_state_folder, tmp_path, name, data
):
    if data is None:
        data = read_parts(exported_run)[name.replace("00002", "00001")]
    refuse_import(with_part(exported_run, tmp_path / "file", name, data), empty_state_folder)


def test_another_image_with_an_existing_name_is_refused(exported_run, state_folder, tmp_path):
    other_image = read_parts(exported_run)["images/00001.png"]
    file = with_part(exported_run, tmp_path / "file", "images/00000.png", other_image)
    with state_folder.open_store() as store:
        expected = run_contents(store, 1)
        with pytest.raises(ImportRefused, match="another image"):
            import_run(store, file)
        assert run_contents(store, 1) == expected
    assert state_folder.execute("SELECT count(*) FROM runs") == [(1,)]
