"""Tensors are stored once, verified, kept while an epoch uses them, exported and backed up."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from service.errors import BackupRefused, EpochQuarantined, ImportRefused
from service.flows.backup import back_up
from service.flows.deletion import DeletedRunCleaner, UnusedTensorCleaner
from service.flows.doctor.examination import examine
from service.flows.networks import Networks
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.flows.transfer.manifest import to_json
from service.store import deleted_runs, epochs, images, networks, schema, tensors
from service.store.program_rows import NetworkRow, TensorRow, TensorUploadRow
from service.store.store import Store, open_store
from tests.keeping.transfers import read_parts, run_contents, write_archive
from tests.processes import wait_until
from tests.recorded.conftest import Recorder, new_network, png, sha256

BOTH_BLOB_STORES = pytest.mark.parametrize("blobs", ["sql", "file"], indirect=True)


def record_run(recorder: Recorder, epochs_count: int = 3) -> None:
    """A run whose head changes in every epoch, with a probe."""
    assert recorder.start(epochs=epochs_count - 1, config={"lr": 0.1}).status_code == 201
    recorder.call("PUT", "probes/0?label=1", content=png(0))
    module = new_network()
    for epoch in range(epochs_count):
        module.head.bias.data += 1
        response = recorder.record(
            epoch,
            module,
            metrics={"test_loss": 0.5, "f1": None},
            steps={"loss": [[0, 2.5], [10, None]]},
        )
        assert response.status_code == 201, response.text
    recorder.call("POST", "finish")


def age_everything(store: Store) -> None:
    """As if nothing had been used for two days."""
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    with store.write_session() as session:
        session.execute(update(TensorRow).values(used_at=two_days_ago))
        session.execute(update(TensorUploadRow).values(updated_at=two_days_ago))
        session.execute(update(NetworkRow).values(used_at=two_days_ago))


def blob_names(store: Store) -> set[str]:
    with store.read_session() as session:
        return {blob.name for blob in store.blobs.list_blobs(session)}


def tensor_hashes(store: Store) -> set[str]:
    with store.read_session() as session:
        return set(tensors.list_hashes(session))


def break_tensor(store: Store, digest: str, data: bytes | None) -> None:
    """Replaces the first part of a tensor, or deletes it."""
    with store.write_session() as session:
        tensor = tensors.get(session, digest)
        assert tensor is not None
        key = tensors.part_keys(tensor.folder, tensor.parts)[0]
        if data is None:
            store.blobs.delete(session, [key])
        else:
            store.blobs.put(session, key, data)


def is_freed(store: Store) -> bool:
    """Frees deleted runs, unless the service itself is just doing so; whether none is left."""
    DeletedRunCleaner(store).free_space()
    with store.read_session() as session:
        return not deleted_runs.list_ids(session)


@BOTH_BLOB_STORES
def test_tensors_of_a_deleted_run_are_freed_unless_another_run_uses_them(
    recorder: Recorder, store: Store
) -> None:
    record_run(recorder)
    deleted_id = recorder.run_id
    shared = {sha256(file) for file in recorder.files(new_network()).values()}
    recorder.start()
    recorder.record(0, new_network())
    age_everything(store)
    assert recorder.http.delete(f"/runs/{deleted_id}").status_code == 204
    wait_until(lambda: is_freed(store))
    assert UnusedTensorCleaner(store).free_space()
    assert tensor_hashes(store) == shared
    with store.read_session() as session:
        assert images.get(session, images.dataset_of_run(deleted_id), "probe:0") is None
        assert networks.get(session, recorder.export.program.identity) is not None
    assert examine(store, checks=("checkpoints", "references", "blobs")).findings == []


@BOTH_BLOB_STORES
def test_unused_tensors_are_deleted_after_a_day(recorder: Recorder, store: Store) -> None:
    recorder.start()
    files = recorder.files(new_network(7))
    digest = sha256(files["head.weight"])
    recorder.put_tensor(files["head.weight"])
    cleaner = UnusedTensorCleaner(store)
    assert cleaner.free_space()
    assert tensor_hashes(store) == {digest}
    age_everything(store)
    # The refusal of an epoch tells the recorder that the tensor is stored: it may rely on it.
    assert recorder.put_epoch(0, files).status_code == 422
    assert cleaner.free_space()
    assert tensor_hashes(store) == {digest}
    age_everything(store)
    assert cleaner.free_space()
    assert tensor_hashes(store) == set()
    assert blob_names(store) == set()
    with store.read_session() as session:
        # The run uses the network, so it stays.
        assert networks.get(session, recorder.export.program.identity) is not None


def test_unused_network_is_deleted_after_a_day(recorder: Recorder, store: Store) -> None:
    identity = recorder.export.program.identity
    recorder.http.post("/networks", content=recorder.export.program.to_json())
    assert UnusedTensorCleaner(store).free_space()
    with store.read_session() as session:
        assert networks.get(session, identity) is not None
    age_everything(store)
    assert UnusedTensorCleaner(store).free_space()
    with store.read_session() as session:
        assert networks.get(session, identity) is None


@BOTH_BLOB_STORES
@pytest.mark.parametrize(
    ("data", "reason"), [(None, "missing"), (b"x", "truncated"), (b"\0", "corrupt")]
)
def test_damaged_tensor_quarantines_the_epochs_that_use_it(
    recorder: Recorder, store: Store, data: bytes | None, reason: str
) -> None:
    record_run(recorder)
    module = new_network()
    module.head.bias.data += 2
    file = recorder.files(module)["head.bias"]  # of epoch 1 alone
    if data == b"\0":
        data = file[:-1] + bytes([file[-1] ^ 1])
    break_tensor(store, sha256(file), data)
    with store.read_session() as session:
        by_number = {e.epoch: e for e in epochs.list_epochs(session, recorder.run_id)}
    with pytest.raises(EpochQuarantined):
        Networks(store).load(by_number[1])
    Networks(store).load(by_number[0])
    addresses = [f"/runs/{recorder.run_id}/epochs/{epoch}" for epoch in range(3)]
    reasons = [recorder.http.get(address).json()["quarantine_reason"] for address in addresses]
    assert reasons == [None, reason, None]


def test_doctor_quarantines_damaged_epochs_and_releases_repaired_ones(
    recorder: Recorder, store: Store
) -> None:
    record_run(recorder)
    file = recorder.files(new_network())["frozen.weight"]  # of all epochs
    break_tensor(store, sha256(file), b"damaged")
    examination = examine(store, repair=True, checks=("checkpoints",))
    findings = [(f.finding.epoch, f.finding.message) for f in examination.findings]
    assert findings == [(epoch, "its checkpoint is truncated") for epoch in range(3)]
    assert examine(store, checks=("checkpoints",)).status == 1
    break_tensor(store, sha256(file), file)
    messages = [f.finding.message for f in examine(store, repair=True).findings]
    assert messages == ["is quarantined (truncated), but is intact again"] * 3
    assert examine(store).findings == []


@BOTH_BLOB_STORES
def test_backup_contains_tensors_and_refuses_damaged_ones(
    recorder: Recorder, store: Store, tmp_path: Path, blobs: str
) -> None:
    if store.file is None:
        pytest.skip("PostgreSQL has backups of its own")
    record_run(recorder)
    target = tmp_path / "backup"
    back_up(store, target)
    is_folder = blobs != "sql"
    database = target / "camreel.db" if is_folder else target
    with open_store(database, f"file:{target / 'blobs'}" if is_folder else "sql") as copy:
        with copy.read_session() as session:
            epoch = epochs.get(session, recorder.run_id, 2)
        assert Networks(copy).load(epoch).program == recorder.export.program
        assert examine(copy).findings == []
    break_tensor(store, sha256(recorder.files(new_network())["norm.bias"]), None)
    with pytest.raises(BackupRefused):
        back_up(store, tmp_path / "second")


@BOTH_BLOB_STORES
def test_recorded_run_is_imported_as_it_was_exported(
    recorder: Recorder, store: Store, tmp_path: Path
) -> None:
    record_run(recorder)
    file = tmp_path / "run.camreel"
    export_run(store, recorder.run_id, file)
    names = list(read_parts(file))
    # The biases of three epochs, and what all have in common; zeros of one shape are one tensor.
    files = recorder.files(new_network())
    unique = 3 + len({file for name, file in files.items() if name != "head.bias"})
    assert sum(name.startswith("tensors/") for name in names) == unique
    blob_count = len(blob_names(store))
    imported = import_run(store, file)
    # The tensors are shared with the run that is still there; the manifests are its own.
    assert len(blob_names(store)) == blob_count + 3
    contents, imported_contents = (
        run_contents(store, run_id) for run_id in (recorder.run_id, imported.id)
    )
    for part, run_id in ((contents, recorder.run_id), (imported_contents, imported.id)):
        assert [i.dataset for i in part["images"]] == [images.dataset_of_run(run_id)]
        part["images"] = [(i.reference, i.label, i.png) for i in part["images"]]
    assert contents == imported_contents
    with open_store(f"sqlite:///{tmp_path / 'other.db'}") as other_store:
        schema.ensure(other_store)
        run = import_run(other_store, file)
        assert run.spec["config"] == {"lr": 0.1}
        with other_store.read_session() as session:
            epoch = epochs.get(session, run.id, 2)
        Networks(other_store).load(epoch)
        assert examine(other_store).findings == []
        age_everything(other_store)
        assert UnusedTensorCleaner(other_store).free_space()
        assert len(tensor_hashes(other_store)) == unique


def changed_archive(file: Path, target: Path, name: str, data: bytes) -> Path:
    """A copy in which a member has other bytes, with a matching manifest."""
    parts = read_parts(file)
    manifest = json.loads(parts["manifest.json"])
    member = next(m for m in [manifest["network"], *manifest["tensors"]] if m["name"] == name)
    member |= {"sha256": sha256(data), "bytes": len(data)}
    parts |= {name: data, "manifest.json": to_json(manifest)}
    return write_archive(target, list(parts.items()))


def test_import_of_a_recorded_run_verifies_its_network_and_tensors(
    recorder: Recorder, store: Store, tmp_path: Path
) -> None:
    record_run(recorder)
    file = tmp_path / "run.camreel"
    export_run(store, recorder.run_id, file)
    parts = read_parts(file)
    other_tensor = recorder.files(new_network(9))["head.weight"]
    program = parts["networks/00000.json"]
    for name, data in (
        ("tensors/00000.safetensors", other_tensor),
        ("tensors/00000.safetensors", b"\x80\x04K\x01."),
        ("networks/00000.json", program.replace(b'"relu"', b'"from_file"')),
        ("networks/00000.json", b"{}"),
    ):
        hashes = tensor_hashes(store)
        with pytest.raises(ImportRefused):
            import_run(store, changed_archive(file, tmp_path / "changed", name, data))
        (tmp_path / "changed").unlink()
        assert tensor_hashes(store) == hashes


def test_quota_counts_tensors_and_their_unfinished_uploads(new_client, tiny_export) -> None:
    client = new_client(quota_bytes=4 * 2**20)
    file = bytes(2**20)
    for start in (0, 3 * 2**20):
        refusal = client.put(
            f"/tensors/{sha256(file)}",
            content=file,
            headers={"Content-Range": f"bytes {start}-{start + 2**20 - 1}/{8 * 2**20}"},
        )
        assert (refusal.status_code, refusal.json()["type"]) == (507, "store-full")
