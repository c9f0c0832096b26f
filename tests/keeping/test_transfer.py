"""A run moves as one file: bit for bit, or not at all."""

import hashlib
import io
import json
import os
import shutil
import socket
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.core.images import to_png
from service.core.spec import Probes, RunSpec
from service.errors import EpochQuarantined, FileRefused, ImportRefused, RunConflict, StoreFull
from service.flows.deletion import DeletedRunCleaner, delete_run
from service.flows.maps.pictures import MapPictures, Rendering
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.runs import resume_run, start_run
from service.flows.transfer import archive as archive_module
from service.flows.transfer import layout as layout_module
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import _Import, import_run
from service.flows.transfer.layout import Layout
from service.flows.transfer.manifest import to_json
from service.flows.upload_service import UploadService, upload_decoder
from service.jobs.inline import InlineExecutor
from service.store import (
    deleted_runs,
    epochs,
    events,
    heatmaps,
    images,
    imports,
    predictions,
    run_lifecycle,
    runs,
    schema,
    training_states,
    uploaded_images,
)  # fmt: skip
from service.store.storage_quota import StorageLimits
from service.store.store import Store, open_store
from tests.keeping.conftest import EPOCHS, SPEC, StateFolder


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "run.camreel"
    with trained["file"].open_store() as store:
        size = export_run(store, 1, out)
    assert size == out.stat().st_size
    return out


@pytest.fixture
def elsewhere(blob_type, tmp_path) -> StateFolder:
    """Another service, which has nothing yet."""
    state_folder = StateFolder(tmp_path / "elsewhere", blob_type)
    with state_folder.open_store() as store:
        schema.ensure(store)
    return state_folder


OF_ITS_WORKERS = ("attempt", "lease_owner", "heartbeats", "heartbeat_at", "lost_workers")


def everything(store: Store, run_id: int) -> dict:
    """All that a run is, but for its id and where its bytes are."""
    with store.read_session() as session:
        run = runs.get(session, run_id)
        there = epochs.list_epochs(session, run_id)
        return {
            "run": {
                key: value
                for key, value in vars(run).items()
                if key not in ("id", "origin", *OF_ITS_WORKERS)
            },
            "epochs": [
                (e.epoch, e.metrics, e.checkpoint.sha256, e.checkpoint.bytes, e.created_at)
                for e in there
            ],
            "checkpoints": [store.blobs.get(session, e.checkpoint.blob_key) for e in there],
            "events": events.list_after(session, run_id, 0),
            "training_state": (
                (state := training_states.get(session, run_id)) is not None
                and (state.epoch, store.blobs.get(session, state.blob_key))
            ),
            "images": images.list_probes(session, run_id),
            "heatmaps": [
                {k: v for k, v in vars(row).items() if k != "run_id"}
                for e in there
                for row in heatmaps.list_for_epoch(session, run_id, e.epoch)
            ],
            "predictions": [
                (p.epoch, p.image, p.probabilities)
                for e in there
                for p in predictions.list_for_epoch(session, run_id, e.epoch)
            ],
        }


def nothing_is_left(state_folder: StateFolder) -> bool:
    rows = [
        state_folder.execute(f"SELECT count(*) FROM {table}")[0][0]
        for table in ("runs", "run_tags", "epochs", "checkpoints", "blobs", "heatmaps", "images",
                      "predictions", "events", "probes", "training_states", "uploads")
    ]  # fmt: skip
    files = [path for path in (state_folder.folder / "blobs").rglob("*") if path.is_file()]
    return not any(rows) and not files


def picture(store: Store, query: MapQuery, epoch: int) -> bytes:
    pipeline = MapPipeline(store, Path("nowhere"))
    content = MapPictures(pipeline).cam(query, epoch, Rendering()).compute().value.content
    pipeline.close()
    return content


def test_a_run_is_the_same_where_it_was_imported_bit_for_bit(trained, exported, elsewhere):
    with trained["file"].open_store() as here, elsewhere.open_store() as there:
        runs_before = everything(here, 1)
        run = import_run(there, exported)
        assert everything(there, run.id) == runs_before
        assert (run.name, run.tags) == ("kept", ["one", "two"])
        assert run.origin["run_id"] == 1
        query = MapQuery(1, "proposed")
        for epoch in range(4):
            drawn = [picture(store, query, epoch) for store in (here, there)]
            assert drawn[0] == drawn[1]


def test_an_imported_run_has_an_id_of_its_own_and_says_where_it_is_from(exported, state_folder):
    with state_folder.open_store() as store:
        assert import_run(store, exported).id == 2
        assert import_run(store, exported).id == 3
    with state_folder.client() as client:
        answer = client.get("/runs/2").json()
        assert answer["origin"]["run_id"] == 1
        assert client.get("/runs/1").json()["origin"] is None
        assert client.get("/runs/2/epochs/3/cam").is_success
        assert client.delete("/runs/2").status_code == 204
        assert client.get("/runs/3/epochs/3/cam").is_success


def test_an_imported_run_goes_on_as_the_original_does(trained, exported, elsewhere, tmp_path):
    shutil.copytree(trained["file"].folder, tmp_path / "original")
    original = StateFolder(tmp_path / "original", "file")
    known = []
    for state_folder in (original, elsewhere):
        with state_folder.open_store() as store:
            run_id = 1 if state_folder is original else import_run(store, exported).id
            resume_run(store, InlineExecutor(), state_folder.workspace, run_id, EPOCHS + 2)
            known.append(
                {key: everything(store, run_id)[key] for key in ("checkpoints", "training_state")}
            )
            assert len(known[-1]["checkpoints"]) == EPOCHS + 3
            # Of the states, one is kept: what was imported is no leftover.
            stored = [blob.name for blob in _stored(store)]
            assert len(stored) == EPOCHS + 3 + 1, stored
    assert known[0] == known[1]


def _stored(store: Store) -> list:
    with store.read_session() as session:
        return list(store.blobs.list_blobs(session))


def test_a_run_that_watches_an_upload_takes_it_along(elsewhere, tmp_path):
    here = StateFolder(tmp_path / "here", "sql")
    here.folder.mkdir()
    with here.open_store() as store:
        schema.ensure(store)
        drawn = to_png(torch.arange(28 * 28, dtype=torch.uint8).view(1, 28, 28))
        with closing(upload_decoder(10**6, 10**6)) as decoder:
            upload, _ = UploadService(store, decoder, 10**6, timedelta(days=1)).add("digits", drawn)
        reference = upload.image.reference
        probes = {"per_class": 0, "images": [reference, "test:1"]}
        spec = SPEC.model_copy(update={"probes": Probes.model_validate(probes), "epochs": 1})
        run_id = start_run(store, InlineExecutor(), here.workspace, spec).id
        export_run(store, run_id, tmp_path / "run")
        before = everything(store, run_id)
    with elsewhere.open_store() as store:
        for _ in range(2):  # the second finds it there
            run = import_run(store, tmp_path / "run")
            assert everything(store, run.id) == before
        with store.read_session() as session:
            kept = images.get(session, "digits", reference)
            assert kept is not None
            assert kept.png == upload.image.png
            assert uploaded_images.get(session, "digits", reference)[1] == upload.choices
        again = start_run(store, InlineExecutor(), elsewhere.workspace, spec)
        assert again.epochs_total == 1  # it is an upload of this store now
        query = MapQuery(run.id, "layer-cam", image=reference)
        assert picture(store, query, 1)


def test_the_same_run_exports_to_the_same_parts(trained, exported, elsewhere, tmp_path):
    out = tmp_path / "again"
    with elsewhere.open_store() as store:
        run = import_run(store, exported)
        export_run(store, run.id, out)
    with zipfile.ZipFile(exported) as one, zipfile.ZipFile(out) as other:
        names = one.namelist()
        assert names[0] == "manifest.json"
        assert names == other.namelist()
        assert [one.read(name) for name in names[1:]] == [other.read(name) for name in names[1:]]


def test_an_export_writes_over_nothing_and_leaves_nothing_half(trained, tmp_path):
    out = tmp_path / "run"
    out.write_text("mine")
    with trained["sql"].open_store() as store, pytest.raises(FileRefused, match="run exists"):
        export_run(store, 1, out)
    assert out.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_bad_checkpoint_is_not_exported(state_folder, tmp_path):
    state_folder.replace_checkpoint(2, b"bad")
    with state_folder.open_store() as store, pytest.raises(EpochQuarantined):
        export_run(store, 1, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_run_that_has_not_ended_is_not_exported(state_folder, tmp_path):
    with state_folder.open_store() as store:
        with store.write_session() as session:
            run = runs.create(session, "", [], RunSpec().model_dump(mode="json"), 1)
        with pytest.raises(RunConflict, match="queued"):
            export_run(store, run.id, tmp_path / "run")


# What is refused


def parts(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(out: Path, members, **options) -> Path:
    """A file of those members, (name, bytes) in order, its comment right."""
    members = list(members.items() if isinstance(members, dict) else members)
    with zipfile.ZipFile(out, "w", options.get("method", zipfile.ZIP_STORED)) as archive:
        archive.comment = (
            hashlib.sha256(dict(members).get("manifest.json", b"")).hexdigest().encode()
        )
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, options.get("method"))
    return out


def changed(exported: Path, out: Path, change) -> Path:
    """The file with a manifest that `change` worked on."""
    members = parts(exported)
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    text = json.dumps(manifest, separators=(",", ":"))  # NaN, too
    return written(out, members | {"manifest.json": text.encode()})


def with_member(exported: Path, out: Path, name: str, data: bytes) -> Path:
    """The file with other bytes in a member, and a manifest that says so."""

    def resign(manifest):
        lines = [image["png"] for image in manifest["images"]]
        lines += [epoch[part] for epoch in manifest["epochs"] for part in ("rows", "checkpoint")]
        lines.append(manifest["training_state"])
        (line,) = (line for line in lines if line["name"] == name)
        line |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    members = parts(exported)
    manifest = json.loads(members["manifest.json"])
    resign(manifest)
    return written(out, members | {name: data, "manifest.json": to_json(manifest)})


def refused(file: Path, elsewhere: StateFolder) -> str:
    with elsewhere.open_store() as store, pytest.raises(ImportRefused) as refusal:
        import_run(store, file)
    assert nothing_is_left(elsewhere)
    assert str(file.parent) not in str(refusal.value)
    return str(refusal.value)


CHECKPOINT = "checkpoints/00002.safetensors"
ROWS = "rows/00002.json"
STATE = "states/00003.safetensors"
# Of an optimiser that has one more parameter than the run's network.
OTHER_STATE = safetensors.torch.save(
    {"8.square_avg": torch.ones(3)},
    {"camreel": json.dumps({"format": 1, "epoch": 3, "scalars": {}})},
)


def set_at(*path):
    def change(manifest, value=path[-1]):
        *way, last = path[:-1]
        state_folder = manifest
        for key in way:
            state_folder = state_folder[key]
        state_folder[last] = value

    return change


MANIFESTS = {
    "unknown-field": (set_at("mood", "good"), "mood"),
    "unknown-field-within": (set_at("epochs", 1, "mood", 1), "mood"),
    "text-for-a-number": (set_at("run", "epochs_done", "3"), "epochs_done"),
    "true-for-a-number": (set_at("epochs", 0, "epoch", True), "epoch"),
    "nan": (set_at("epochs", 1, "test_loss", float("nan")), "test_loss"),
    "infinity": (set_at("epochs", 1, "test_loss", float("inf")), "test_loss"),
    "true-for-a-format": (set_at("format", True), "format"),
    "a-number-with-a-point-for-a-format": (set_at("format", 2.0), "format"),
    "a-newer-format": (set_at("format", 4), "newer Camreel"),
    "no-format": (set_at("format", None), "format"),
    "a-status-that-is-not-an-end": (set_at("run", "status", "running"), "status"),
    "a-spec-with-an-unknown-dataset": (set_at("run", "spec", "dataset", "x"), "dataset"),
    "a-spec-out-of-bounds": (set_at("run", "spec", "epochs", 0), "epochs"),
    "another-architecture": (
        set_at("run", "spec", "architecture", "hidden_units", 9), "another epoch or network",
    ),
    "a-hole-in-the-epochs": (lambda m: m["epochs"].pop(1), "parts|epochs"),
    "one-epoch-too-many-done": (set_at("run", "epochs_done", 4), "last epoch"),
    "an-absolute-name": (set_at("epochs", 1, "checkpoint", "name", "/etc/passwd"), "name"),
    "a-name-that-climbs": (set_at("epochs", 1, "checkpoint", "name", "../x"), "name"),
    "an-event-of-no-epoch": (
        set_at("events", 2, {"number": 3, "kind": "epoch", "data": {"epoch": 77}}), "events",
    ),
    "an-event-of-another-kind": (
        set_at("events", 2, {"number": 3, "kind": "mood", "data": {}}), "kind",
    ),
    "a-wrong-checksum": (set_at("epochs", 1, "checkpoint", "sha256", "0" * 64), "checkpoint"),
    "a-wrong-length": (set_at("epochs", 1, "checkpoint", "bytes", 5), "long"),
    "no-time-zone": (set_at("run", "created_at", "2026-01-01T00:00:00"), "created_at"),
    "a-label-that-is-none": (set_at("images", 0, "label", 10), "class 10"),
    "an-image-of-no-such-split": (set_at("images", 0, "reference", "test:999999"), "999999"),
    "a-state-of-another-name": (
        set_at("training_state", "name", "states/00002.safetensors"), "parts",
    ),
    "an-upload-that-is-none": (
        set_at("images", 0, "upload", {"digest": "0" * 64, "choices": {
            "format": "png", "width": 1, "height": 1, "bits": 8}}), "upload",
    ),
    "an-upload-without-its-choices": (set_at("images", 0, "reference", "upload:x"), "upload"),
    "choices-of-no-upload": (
        set_at("images", 0, "upload", {"digest": "0" * 64, "choices": {"mood": 1}}), "mood|choices",
    ),
    "two-images-of-one-name": (set_at("images", 0, "reference", "test:1"), "once|image"),
}  # fmt: skip


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_that_does_not_hold_is_refused(exported, elsewhere, tmp_path, case):
    change, words = MANIFESTS[case]
    if case == "two-images-of-one-name":
        second = json.loads(parts(exported)["manifest.json"])["images"][1]["reference"]
        change = set_at("images", 0, "reference", second)
    said = refused(changed(exported, tmp_path / "file", change), elsewhere)
    assert any(word in said for word in words.split("|")), said


def with_comment(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.comment) == 64
    return data[:-66] + (70).to_bytes(2, "little") + data[-64:] + b"camera"


def changed_at(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + value + data[offset + len(value) :]


def with_a_gap(data: bytes) -> bytes:
    """Bytes that no member has, between the last member and the directory."""
    directory = data.index(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    moved = (directory + 9).to_bytes(4, "little")
    return (
        data[:directory]
        + b"in a gap."
        + data[directory:end]
        + data[end : end + 16]
        + moved
        + data[end + 20 :]
    )


def with_a_hidden_member(data: bytes) -> bytes:
    """A member that the directory does not name, in the gap before it."""
    hidden = Layout().header("secret", 0, 0)
    return with_a_gap(data).replace(b"in a gap.", hidden[:9])


DISGUISES = {
    "a byte appended": lambda data: data + b"x",
    "a line break appended": lambda data: data + b"\n",
    "another zip appended": lambda data: data + data,
    "a byte put before": lambda data: b"x" + data,
    "a script put before": lambda data: b"#!/bin/sh\n" + data,
    "a longer comment": with_comment,
    "a gap before the directory": with_a_gap,
    "a hidden member": with_a_hidden_member,
    "another time in the local header": changed_at(10, b"\x01"),
    "another name in the local header": changed_at(30, b"M"),
    "another checksum in the local header": changed_at(14, b"\0"),
    "flags in the local header": changed_at(6, b"\x02"),
    "another version in the local header": changed_at(4, b"\x0a"),
    "attributes in the directory": lambda data: data.replace(
        (0o600 << 16).to_bytes(4, "little"), (0o777 << 16).to_bytes(4, "little"), 1
    ),
    "a moment in the directory": lambda data: changed_at(data.index(b"PK\1\2") + 12, b"\1")(data),
    "a disk number at the end": lambda data: changed_at(data.rindex(b"PK\5\6") + 4, b"\1")(data),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_file_with_any_other_byte_around_its_members_is_refused(
    exported, elsewhere, tmp_path, disguise
):
    data = exported.read_bytes()
    file = tmp_path / "file"
    file.write_bytes(DISGUISES[disguise](data))
    assert file.read_bytes() != data
    refused(file, elsewhere)


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
    ids=["a space", "a name twice", "a space within", "other numbers"],
)
def test_json_that_no_export_writes_is_refused(exported, elsewhere, tmp_path, name, rewrite):
    members = parts(exported)
    data = rewrite(members[name])
    if name == ROWS:
        file = with_member(exported, tmp_path / "file", name, data)
    else:
        file = written(tmp_path / "file", members | {name: data})
    refused(file, elsewhere)


@pytest.mark.parametrize("limit", [60, 300, 2**31 - 1])
def test_the_layout_is_the_one_that_zipfile_writes(monkeypatch, limit):
    # Exports of earlier versions were written by it. A low limit makes small files wide ones.
    monkeypatch.setattr(layout_module, "ZIP64_LIMIT", limit)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    members = [(f"parts/{size:05d}.bin", bytes(size)) for size in (0, 50, 58, 59, 290, 301, 500)]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = b"comment"
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    layout = Layout()
    written = [layout.header(name, zlib.crc32(data), len(data)) + data for name, data in members]
    assert b"".join([*written, layout.end(b"comment")]) == file.getvalue()


def endless(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def socket_file(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    return path


@pytest.mark.parametrize("make", [endless, pipe, folder, socket_file, lambda path: path])
def test_what_is_no_regular_file_is_refused_at_once(elsewhere, tmp_path, make):
    with elsewhere.open_store() as store, pytest.raises(FileRefused) as refusal:
        import_run(store, make(tmp_path / "named"))
    assert "\n" not in str(refusal.value)
    assert nothing_is_left(elsewhere)


def test_swapped_epochs_are_refused(exported, elsewhere, tmp_path):
    def swap(manifest):
        one, other = manifest["epochs"][1], manifest["epochs"][2]
        one["checkpoint"], other["checkpoint"] = other["checkpoint"], one["checkpoint"]

    members = parts(exported)
    manifest = json.loads(members["manifest.json"])
    swap(manifest)
    names = ["manifest.json"]
    names += [image["png"]["name"] for image in manifest["images"]]
    names += [e[part]["name"] for e in manifest["epochs"] for part in ("rows", "checkpoint")]
    names.append(STATE)
    members["manifest.json"] = to_json(manifest)
    file = written(tmp_path / "file", [(name, members[name]) for name in names])
    assert "another" in refused(file, elsewhere)


def test_members_that_are_missing_doubled_or_too_many_are_refused(exported, elsewhere, tmp_path):
    whole = list(parts(exported).items())
    for number, members in enumerate(
        [
            whole[:-1],
            whole[1:],
            [*whole, ("extra", b"")],
            [*whole, ("../../outside", b"")],
            [*whole, ("/absolute", b"")],
            [whole[1], whole[0], *whole[2:]],
            [whole[0], whole[2], whole[1], *whole[3:]],
        ]
    ):
        refused(written(tmp_path / str(number), members), elsewhere)
    with pytest.warns(UserWarning, match="Duplicate"):
        double = written(tmp_path / "double", [*whole, whole[-1]])
    refused(double, elsewhere)


def test_a_bomb_is_refused_by_what_it_says_of_itself(exported, elsewhere, tmp_path, monkeypatch):
    members = parts(exported) | {CHECKPOINT: bytes(50_000_000)}
    file = written(tmp_path / "file", members, method=zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 500_000
    assert "compressed" in refused(file, elsewhere)
    for bound in ("MAX_MANIFEST_BYTES", "MAX_MEMBERS"):
        with monkeypatch.context() as patched:
            patched.setattr(archive_module, bound, 5)
            refused(exported, elsewhere)
    with monkeypatch.context() as patched:
        patched.setitem(archive_module.MAX_BYTES_BY_FOLDER, "checkpoints", 5)
        assert "more than 5 bytes" in refused(exported, elsewhere)


def test_a_length_that_is_a_lie_is_refused(exported, elsewhere, tmp_path):
    data = bytearray(exported.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # the last member's line of the directory
    data[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2
    file = tmp_path / "file"
    file.write_bytes(data)
    assert "larger than the file" in refused(file, elsewhere)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (CHECKPOINT, b""),
        (CHECKPOINT, b"\x80\x05cposix\nsystem\n"),
        (CHECKPOINT, b"PK\x03\x04"),
        (CHECKPOINT, None),  # that of epoch 1
        (ROWS, b"{}"),
        (ROWS, b"[" * 100_000),
        (ROWS, b'{"heatmaps": [], "predictions": [], "more": 1}'),
        (ROWS, b'{"heatmaps": [], "predictions": [{"image": "test:1", "probabilities": [0.5]}]}'),
        (ROWS, b'{"heatmaps": NaN, "predictions": []}'),
        (ROWS, None),  # those of epoch 1
        (STATE, b""),
        (STATE, b"\x80\x05cposix\nsystem\n"),
        (STATE, OTHER_STATE),
        ("images/00000.png", b"GIF89a"),
        ("images/00000.png", b""),
    ],
)
def test_a_part_that_is_signed_and_wrong_is_refused(exported, elsewhere, tmp_path, name, data):
    if data is None:
        data = parts(exported)[name.replace("00002", "00001")]
    refused(with_member(exported, tmp_path / "file", name, data), elsewhere)


def test_another_image_under_a_known_name_is_refused(exported, state_folder, tmp_path):
    other = parts(exported)["images/00001.png"]
    file = with_member(exported, tmp_path / "file", "images/00000.png", other)
    with state_folder.open_store() as store:
        before = everything(store, 1)
        with pytest.raises(ImportRefused, match="another image"):
            import_run(store, file)
        assert everything(store, 1) == before
    assert state_folder.execute("SELECT count(*) FROM runs") == [(1,)]


def test_an_import_beyond_the_quota_leaves_nothing(exported, elsewhere):
    bounds = StorageLimits(quota_bytes=elsewhere.file.stat().st_size + 1000)
    with (
        open_store(elsewhere.database, elsewhere.blobs, bounds) as store,
        pytest.raises(StoreFull),
    ):
        import_run(store, exported)
    assert nothing_is_left(elsewhere)


def test_an_import_that_fails_in_its_midst_leaves_nothing(exported, elsewhere, monkeypatch):
    real, calls = epochs.restore, []

    def fails(session, epoch):
        calls.append(epoch)
        if len(calls) == 3:
            raise OSError("the disk is gone")
        real(session, epoch)

    monkeypatch.setattr(epochs, "restore", fails)
    with elsewhere.open_store() as store, pytest.raises(OSError):
        import_run(store, exported)
    assert nothing_is_left(elsewhere)


def test_others_write_while_a_run_is_imported_and_see_it_when_it_is_whole(
    exported, elsewhere, monkeypatch
):
    """A second connection writes between any two batches, without waiting."""
    monkeypatch.setattr("service.flows.transfer.importing.BATCH_BYTES", 1)
    real, visible = _Import._batches, []

    with elsewhere.open_store() as store, elsewhere.open_store() as other:

        def batches_between_writes(self):
            for batch in real(self):
                yield batch
                with other.write_session() as session:
                    created = runs.create(session, "other", [], SPEC.model_dump(mode="json"), 1)
                    visible.extend(
                        {run.id for run in runs.list_newest(session, limit=9)} - {created.id}
                    )
                    run_lifecycle.mark_deleted(session, created.id)

        monkeypatch.setattr(_Import, "_batches", batches_between_writes)
        run = import_run(store, exported)
        assert visible == []
        with store.read_session() as session:
            assert [one.id for one in runs.list_newest(session, limit=9)] == [run.id]
            # One between any two epochs.
            assert len(deleted_runs.list_ids(session)) == EPOCHS + 1


def test_an_import_that_was_killed_is_deleted_when_its_heartbeats_stop(
    exported, elsewhere, monkeypatch
):
    with elsewhere.open_store() as store:
        with monkeypatch.context() as patched:
            patched.setattr(_Import, "_undo", lambda *_: None)
            patched.setattr(_Import, "_write_training_state", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                import_run(store, exported)
        with store.read_session() as session:
            (hidden,) = imports.get_heartbeats(session)
            assert runs.list_newest(session, limit=5) == []
        clock = [1000.0]
        monkeypatch.setattr("service.flows.deletion.time.monotonic", lambda: clock[0])
        deletion = DeletedRunCleaner(store)
        for seconds, heartbeat in ((0, False), (599, True), (599, False)):
            clock[0] += seconds
            deletion.free_space()
            with store.write_session() as session:
                assert hidden in imports.get_heartbeats(session)
                if heartbeat:
                    imports.update_heartbeat(session, hidden)
        clock[0] += 601
        deletion.free_space()
        with store.write_session() as session:
            assert imports.get_heartbeats(session) == {}
            assert not imports.update_heartbeat(session, hidden)
    assert nothing_is_left(elsewhere)


# A fuzz corpus


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> StateFolder:
    state_folder = StateFolder(tmp_path_factory.mktemp("target"), "sql")
    with state_folder.open_store() as store:
        schema.ensure(store)
    return state_folder


FLIP = st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255))
CUT = st.tuples(st.just("cut"), st.floats(0, 1), st.integers(1, 5_000))
COPY = st.tuples(st.just("copy"), st.floats(0, 1), st.floats(0, 1))
END = st.tuples(st.just("end"), st.floats(0, 1), st.integers(0, 0))
MORE = st.tuples(st.just("more"), st.floats(0, 1), st.binary(min_size=1, max_size=50))


def mutated(data: bytes, mutations) -> bytes:
    out = bytearray(data)
    for kind, where, what in mutations:
        at = int(where * max(0, len(out) - 1))
        match kind:
            case "flip" if out:
                out[at] ^= what
            case "cut":
                del out[at : at + what]
            case "copy":
                start = int(what * len(out))
                out[at : at + 500] = out[start : start + 500]
            case "end":
                del out[at:]
            case "more":
                out[at:at] = what
    return bytes(out)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mutations=st.lists(st.one_of(FLIP, CUT, COPY, END, MORE), min_size=1, max_size=3))
@example(mutations=[("end", 0.0, 0)])
@example(mutations=[("more", 0.0, b"before")])
@example(mutations=[("more", 1.0, b"behind")])
def test_a_mutated_file_imports_the_same_run_or_nothing(
    trained, exported, target, tmp_path, mutations
):
    file = tmp_path / "file"
    file.write_bytes(mutated(exported.read_bytes(), mutations))
    with target.open_store() as store, trained["file"].open_store() as original:
        try:
            run = import_run(store, file)
        except ImportRefused:
            assert target.execute("SELECT count(*) FROM runs") == [(0,)]
        else:
            # What was changed was none of the run: a moment in the zip's own directory.
            assert everything(store, run.id) == everything(original, 1)
            delete_run(store, run.id)
            DeletedRunCleaner(store).free_space()
