"""Export and import of a run as one file: bit-identical, or not at all."""

import shutil
import zipfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from sqlalchemy import update

from service.core.images import to_png
from service.core.spec import Probes, RunSpec
from service.errors import EpochQuarantined, FileRefused, RunConflict
from service.flows.deletion import DeletedRunCleaner
from service.flows.maps.pictures import MapPictures, Rendering
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.runs import change_labels, resume_run, start_run
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import _Import, import_run
from service.flows.upload_service import UploadService, upload_decoder
from service.jobs.inline import InlineExecutor
from service.store import (
    deleted_runs,
    epochs,
    experiments,
    images,
    imports,
    run_lifecycle,
    runs,
    schema,
    uploaded_images,
)  # fmt: skip
from service.store.rows import RunRow
from service.store.storage_quota import StorageLimits
from service.store.store import Store, open_store
from service.store_errors import StoreFull
from tests.keeping.conftest import EPOCHS, SPEC, StateFolder
from tests.keeping.transfers import (
    is_empty,
    run_contents,
)


def render_map(store: Store, query: MapQuery, epoch: int) -> bytes:
    pipeline = MapPipeline(store, Path("nowhere"))
    content = MapPictures(pipeline).cam(query, epoch, Rendering()).compute().value.content
    pipeline.close()
    return content


def test_imported_run_is_bit_identical(trained, exported_run, empty_state_folder):
    with (
        trained["file"].open_store() as original_store,
        empty_state_folder.open_store() as import_store,
    ):
        expected = run_contents(original_store, 1)
        run = import_run(import_store, exported_run)
        assert run_contents(import_store, run.id) == expected
        assert (run.name, run.tags) == ("kept", ["one", "two"])
        assert run.origin["run_id"] == 1
        query = MapQuery(1, "proposed")
        for epoch in range(4):
            pictures = [render_map(store, query, epoch) for store in (original_store, import_store)]
            assert pictures[0] == pictures[1]


def test_notes_are_exported_and_the_experiment_is_not(state_folder, empty_state_folder, tmp_path):
    with state_folder.open_store() as store:
        with store.write_session() as session:
            experiment = experiments.create(session, "", "", {})
            session.execute(update(RunRow).values(experiment_id=experiment.id))
        change_labels(store, 1, notes="first\nsecond")
        export_run(store, 1, tmp_path / "annotated.camreel")
    with empty_state_folder.open_store() as store:
        run = import_run(store, tmp_path / "annotated.camreel")
    assert (run.notes, run.experiment_id) == ("first\nsecond", None)


def test_imported_run_has_a_new_id_and_its_origin(exported_run, state_folder):
    with state_folder.open_store() as store:
        assert import_run(store, exported_run).id == 2
        assert import_run(store, exported_run).id == 3
    with state_folder.client() as client:
        answer = client.get("/runs/2").json()
        assert answer["origin"]["run_id"] == 1
        assert client.get("/runs/1").json()["origin"] is None
        assert client.get("/runs/2/epochs/3/cam").is_success
        assert client.delete("/runs/2").status_code == 204
        assert client.get("/runs/3/epochs/3/cam").is_success


def test_imported_run_resumes_like_the_original(
    trained, exported_run, empty_state_folder, tmp_path
):
    shutil.copytree(trained["file"].folder, tmp_path / "original")
    original = StateFolder(tmp_path / "original", "file")
    results = []
    for state_folder in (original, empty_state_folder):
        with state_folder.open_store() as store:
            run_id = 1 if state_folder is original else import_run(store, exported_run).id
            resume_run(store, InlineExecutor(), state_folder.workspace, run_id, EPOCHS + 2)
            results.append(
                {key: run_contents(store, run_id)[key] for key in ("checkpoints", "training_state")}
            )
            assert len(results[-1]["checkpoints"]) == EPOCHS + 3
            # Only the latest training state exists, also after an import.
            blob_names = [blob.name for blob in _list_blobs(store)]
            assert len(blob_names) == EPOCHS + 3 + 1, blob_names
    assert results[0] == results[1]


def _list_blobs(store: Store) -> list:
    with store.read_session() as session:
        return list(store.blobs.list_blobs(session))


def test_uploads_among_the_probes_are_exported_and_imported(empty_state_folder, tmp_path):
    original = StateFolder(tmp_path / "original", "sql")
    original.folder.mkdir()
    with original.open_store() as store:
        schema.ensure(store)
        png = to_png(torch.arange(28 * 28, dtype=torch.uint8).view(1, 28, 28))
        with closing(upload_decoder(10**6, 10**6)) as decoder:
            upload, _ = UploadService(store, decoder, 10**6, timedelta(days=1)).add(
                RunSpec(dataset="digits"), png
            )
        reference = upload.image.reference
        probes = {"per_class": 0, "images": [reference, "test:1"]}
        spec = SPEC.model_copy(update={"probes": Probes.model_validate(probes), "epochs": 1})
        run_id = start_run(store, InlineExecutor(), original.workspace, spec).id
        export_run(store, run_id, tmp_path / "run")
        expected = run_contents(store, run_id)
    with empty_state_folder.open_store() as store:
        for _ in range(2):  # the second import finds the upload
            run = import_run(store, tmp_path / "run")
            assert run_contents(store, run.id) == expected
        with store.read_session() as session:
            image = images.get(session, "digits", reference)
            assert image is not None
            assert image.png == upload.image.png
            assert uploaded_images.get(session, "digits", reference)[1] == upload.choices
        new_run = start_run(store, InlineExecutor(), empty_state_folder.workspace, spec)
        assert new_run.epochs_total == 1  # the upload can be used in this store
        query = MapQuery(run.id, "layer-cam", image=reference)
        assert render_map(store, query, 1)


def test_exports_of_the_same_run_have_equal_parts(
    trained, exported_run, empty_state_folder, tmp_path
):
    second_export = tmp_path / "again"
    with empty_state_folder.open_store() as store:
        run = import_run(store, exported_run)
        export_run(store, run.id, second_export)
    with zipfile.ZipFile(exported_run) as archive, zipfile.ZipFile(second_export) as second_archive:
        names = archive.namelist()
        assert names[0] == "manifest.json"
        assert names == second_archive.namelist()
        assert [archive.read(name) for name in names[1:]] == [
            second_archive.read(name) for name in names[1:]
        ]


def test_export_does_not_overwrite_a_file(trained, tmp_path):
    file = tmp_path / "run"
    file.write_text("mine")
    with trained["sql"].open_store() as store, pytest.raises(FileRefused, match="run exists"):
        export_run(store, 1, file)
    assert file.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_run_with_a_bad_checkpoint_is_not_exported(state_folder, tmp_path):
    state_folder.replace_checkpoint(2, b"bad")
    with state_folder.open_store() as store, pytest.raises(EpochQuarantined):
        export_run(store, 1, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_queued_run_is_not_exported(state_folder, tmp_path):
    with state_folder.open_store() as store:
        with store.write_session() as session:
            run = runs.create(session, "", [], RunSpec().model_dump(mode="json"), 1)
        with pytest.raises(RunConflict, match="queued"):
            export_run(store, run.id, tmp_path / "run")


def test_import_beyond_the_quota_leaves_nothing(exported_run, empty_state_folder):
    bounds = StorageLimits(quota_bytes=empty_state_folder.file.stat().st_size + 1000)
    with (
        open_store(empty_state_folder.database, empty_state_folder.blobs, bounds) as store,
        pytest.raises(StoreFull),
    ):
        import_run(store, exported_run)
    assert is_empty(empty_state_folder)


def test_import_that_fails_halfway_leaves_nothing(exported_run, empty_state_folder, monkeypatch):
    restore, calls = epochs.restore, []

    def fail_at_third_epoch(session, epoch):
        calls.append(epoch)
        if len(calls) == 3:
            raise OSError("the disk is gone")
        restore(session, epoch)

    monkeypatch.setattr(epochs, "restore", fail_at_third_epoch)
    with empty_state_folder.open_store() as store, pytest.raises(OSError):
        import_run(store, exported_run)
    assert is_empty(empty_state_folder)


def test_import_does_not_block_writers_and_becomes_visible_when_complete(
    exported_run, empty_state_folder, monkeypatch
):
    """A second connection writes between any two batches, without waiting."""
    monkeypatch.setattr("service.flows.transfer.importing.BATCH_BYTES", 1)
    batches, visible = _Import._batches, []

    with empty_state_folder.open_store() as store, empty_state_folder.open_store() as other_store:

        def batches_between_writes(self):
            for batch in batches(self):
                yield batch
                with other_store.write_session() as session:
                    created = runs.create(session, "other", [], SPEC.model_dump(mode="json"), 1)
                    visible.extend(
                        {run.id for run in runs.list_newest(session, limit=9)} - {created.id}
                    )
                    run_lifecycle.mark_deleted(session, created.id)

        monkeypatch.setattr(_Import, "_batches", batches_between_writes)
        run = import_run(store, exported_run)
        assert visible == []
        with store.read_session() as session:
            assert [row.id for row in runs.list_newest(session, limit=9)] == [run.id]
            # One deleted run per written batch.
            assert len(deleted_runs.list_ids(session)) == EPOCHS + 1


def test_killed_import_is_deleted_when_its_heartbeats_stop(
    exported_run, empty_state_folder, monkeypatch
):
    with empty_state_folder.open_store() as store:
        with monkeypatch.context() as patched:
            patched.setattr(_Import, "_undo", lambda *_: None)
            patched.setattr(_Import, "_write_training_state", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                import_run(store, exported_run)
        with store.read_session() as session:
            (hidden_run_id,) = imports.get_heartbeats(session)
            assert runs.list_newest(session, limit=5) == []
        clock = [1000.0]
        monkeypatch.setattr("service.flows.deletion.time.monotonic", lambda: clock[0])
        deletion = DeletedRunCleaner(store)
        for seconds, heartbeat in ((0, False), (599, True), (599, False)):
            clock[0] += seconds
            deletion.free_space()
            with store.write_session() as session:
                assert hidden_run_id in imports.get_heartbeats(session)
                if heartbeat:
                    imports.update_heartbeat(session, hidden_run_id)
        clock[0] += 601
        deletion.free_space()
        with store.write_session() as session:
            assert imports.get_heartbeats(session) == {}
            assert not imports.update_heartbeat(session, hidden_run_id)
    assert is_empty(empty_state_folder)
