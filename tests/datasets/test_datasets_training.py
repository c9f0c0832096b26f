"""Runs on image folders: trained, explained, and readable without the folder."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.core.images import from_png
from service.core.spec import RunSpec
from service.errors import DatasetChanged, InvalidSettings, InvalidValue, UnknownName
from service.flows import worker
from service.flows.datasets import load_dataset, resolve_dataset
from service.flows.doctor.examination import examine
from service.flows.folder_decoder import FolderDecoder
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.runs import cancel_run, resume_run, start_run
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import map_inputs, runs, schema
from service.store.store import open_store

SPEC = RunSpec.model_validate(
    {
        "dataset": "folder:colors",
        "architecture": {"channels": [4, 4], "hidden_units": 8},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "input": {
            "resize": {"mode": "shorter", "size": 20},
            "crop": {"size": 16},
            "mean": [0.5, 0.4, 0.3],
            "std": [0.3, 0.3, 0.3],
        },
        "epochs": 3,
        "batch_size": 4,
    }
)


@pytest.fixture
def workspace(tmp_path: Path, data_dir: Path) -> Workspace:
    return Workspace(tmp_path / "camreel.db", "sql", data_dir)


def train(workspace: Workspace, spec: RunSpec) -> int:
    with open_store(workspace.database) as store:
        schema.ensure(store)
        return start_run(store, InlineExecutor(), workspace, spec).id


def test_run_on_a_folder_learns_its_classes_and_opens_when_it_is_gone(workspace, colors):
    run_id = train(workspace, SPEC)
    original = Image.open(colors / "test" / "blue" / "001.png")
    shutil.rmtree(workspace.data_dir)
    with open_store(workspace.database) as store:
        with store.read_session() as session:
            run = runs.get(session, run_id)
            probes = map_inputs.list_probes(session, run_id)
        assert run.status == "succeeded", run.error
        spec = RunSpec.model_validate(run.spec)
        assert spec.source.class_names == ("amber", "blue", "coral")
        assert (spec.source.train_size, spec.source.test_size) == (12, 6)
        assert spec.samples_per_epoch == 12
        pipeline = MapPipeline(store, workspace.data_dir)
        request = pipeline.resolver.resolve_map(MapQuery(run_id, "proposed"), 3)
        assert request.series.pixels.shape == (3, 16, 16)
        ((maps,),) = pipeline.computer.compute_columns([[request]])
        assert len(maps.probabilities[0]) == 3
        pipeline.close()
    assert [probe.label for probe in probes] == [0, 1, 2]
    # test:2 is the first blue test image: a different file than `original`, of the same color.
    pixels = from_png(probes[1].png).numpy()
    assert np.abs(pixels.mean((1, 2)) - np.asarray(original).mean((0, 1))).max() < 10


def test_image_seen_by_a_run_is_pillows_resize_and_center_crop(workspace, colors):
    run_id = train(workspace, SPEC)
    with open_store(workspace.database) as store:
        pipeline = MapPipeline(store, workspace.data_dir)
        image = pipeline.images.get_seen(pipeline.resolver.resolve_run(run_id), "train:5")
        pipeline.close()
    original = Image.open(colors / "train" / "blue" / "001.png")
    resized = original.resize((26, 20), Image.Resampling.BILINEAR)  # 40 x 30, shorter side 20
    expected = np.asarray(resized)[2:18, 5:21].transpose(2, 0, 1)
    assert image.label == 1
    assert np.array_equal(from_png(image.png).numpy(), expected)


def test_same_run_is_the_same_bit_for_bit(workspace):
    first_id, second_id = train(workspace, SPEC), train(workspace, SPEC)
    assert checkpoint_hashes(workspace, first_id) == checkpoint_hashes(workspace, second_id)


def test_run_on_a_folder_that_changed_before_it_started_fails(workspace, colors):
    spec = resolve_dataset(workspace, SPEC)
    shutil.copyfile(colors / "train" / "blue" / "000.png", colors / "train" / "amber" / "new.png")
    with pytest.raises(InvalidValue) as refusal:
        train(workspace, spec)
    assert refusal.value.code == "dataset_changed"
    with pytest.raises(DatasetChanged):
        load_dataset(workspace, spec)


def test_settings_that_do_not_fit_the_folder_are_refused_all_at_once(workspace):
    values = {"samples_per_epoch": 13, "probes": {"images": ["test:6", "train:12"]}}
    spec = RunSpec.model_validate({"dataset": "folder:colors"} | values)
    with pytest.raises(InvalidSettings) as refusal:
        resolve_dataset(workspace, spec)
    assert [(error.field, error.code) for error in refusal.value.errors] == [
        ("samples_per_epoch", "more_than_dataset"),
        ("probes.images.0", "image_index"),
        ("probes.images.1", "image_index"),
    ]
    assert "12 training images" in refusal.value.errors[0].message


def test_missing_folder_is_refused_with_the_existing_ones(workspace):
    with pytest.raises(UnknownName, match="folder:colors"):
        resolve_dataset(workspace, RunSpec(dataset="folder:colours"))


def test_folder_info_of_a_built_in_dataset_is_refused(workspace):
    info = resolve_dataset(workspace, SPEC).model_dump(mode="json")["dataset_info"]
    with pytest.raises(ValueError, match="built-in"):
        RunSpec.model_validate({"dataset": "digits", "dataset_info": info})


def test_run_is_cancelled_while_its_images_are_resized(workspace, monkeypatch):
    monkeypatch.setattr(worker, "CANCEL_POLL_SECONDS", 0.0)
    resized_count = 0

    def resize_slowly(self: FolderDecoder, data: bytes, input_spec: object) -> np.ndarray:
        nonlocal resized_count
        resized_count += 1
        if resized_count == 2:
            with open_store(workspace.database) as other_store:
                cancel_run(other_store, 1)
        return np.zeros((3, 20, 26), np.uint8)

    monkeypatch.setattr(FolderDecoder, "resize", resize_slowly)
    run_id = train(workspace, SPEC)
    with open_store(workspace.database) as store, store.read_session() as session:
        assert runs.get(session, run_id).status == "cancelled"
    assert resized_count == 2
    assert not list((workspace.data_dir / "cache" / "colors").glob("*-*"))


def checkpoint_hashes(workspace: Workspace, run_id: int) -> list[str]:
    with open_store(workspace.database) as store, store.read_session() as session:
        return [epoch.checkpoint.sha256 for epoch in map_inputs.list_epochs(session, run_id)]


def test_resumed_run_is_bit_identical_although_its_cache_was_removed(workspace):
    whole_id = train(workspace, SPEC)
    first_id = train(workspace, SPEC.model_copy(update={"epochs": 1}))
    shutil.rmtree(workspace.data_dir / "cache")
    with open_store(workspace.database) as store:
        resume_run(store, InlineExecutor(), workspace, first_id, 3)
    assert checkpoint_hashes(workspace, first_id) == checkpoint_hashes(workspace, whole_id)


def test_equal_weights_with_another_normalization_are_another_checkpoint(workspace):
    plain = {"mean": [0.0] * 3, "std": [1.0] * 3}
    other_input = SPEC.input.model_copy(update=plain)
    ids = [
        train(workspace, SPEC.model_copy(update={"epochs": 1, "input": input_spec}))
        for input_spec in (SPEC.input, other_input)
    ]
    # Epoch 0 is untrained: the same weights, which see other values.
    assert checkpoint_hashes(workspace, ids[0])[0] != checkpoint_hashes(workspace, ids[1])[0]


def test_exported_run_is_imported_where_its_folder_does_not_exist(workspace, tmp_path):
    run_id = train(workspace, SPEC)
    with open_store(workspace.database) as store:
        export_run(store, run_id, tmp_path / "run.camreel")
        assert examine(store).findings == examine(store, repair=True).findings == []
    with open_store(tmp_path / "elsewhere.db") as store:
        schema.ensure(store)
        imported = import_run(store, tmp_path / "run.camreel")
        pipeline = MapPipeline(store, tmp_path / "nowhere")
        request = pipeline.resolver.resolve_map(MapQuery(imported.id, "proposed"), 3)
        ((maps,),) = pipeline.computer.compute_columns([[request]])
        assert request.series.class_label == "amber"
        assert len(maps.probabilities[0]) == 3
        assert examine(store).findings == []
        pipeline.close()
