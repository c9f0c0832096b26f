"""Runs of networks that are described by a program: explained, resumed, and stored once."""

import numpy as np
import pytest
import torch
from safetensors.torch import load

from service.core.cams.method import AttributionLevel
from service.core.cams.methods import METHODS
from service.core.epoch_manifests import EpochManifest
from service.core.spec import RunSpec
from service.flows.checkpoints import load_weights
from service.flows.doctor.examination import examine
from service.flows.maps.pipeline import MapPipeline
from service.flows.runs import resume_run
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.jobs.inline import InlineExecutor
from service.store import epochs, schema, tensors
from tests.keeping.conftest import StateFolder, train

RESNET = RunSpec(
    dataset="digits",
    architecture={"name": "resnet20"},
    epochs=2,
    samples_per_epoch=40,
    batch_size=20,
    optimizer={"name": "adam", "learning_rate": 0.01},
)
FROZEN = RESNET.model_copy(
    update={
        "architecture": RunSpec(
            architecture={"name": "torchvision:squeezenet1_1", "trainable": "head"},
            dataset="digits",
        ).architecture,
        "epochs": 3,
    }
)
FEW_SAMPLES = {"samples": 2, "steps": 2, "patch": 14, "window": 14, "stride": 14}
LARGE_METHODS = {"ss-cam", "is-cam"}  # hundreds of passes for each image


@pytest.fixture
def blob_type() -> str:
    return "sql"


@pytest.fixture(scope="module")
def resnet(tmp_path_factory) -> StateFolder:
    state_folder = StateFolder(tmp_path_factory.mktemp("resnet"), "sql")
    train(state_folder, RESNET)
    return state_folder


def weights(state_folder: StateFolder, epoch: int, run_id: int = 1) -> bytes:
    with state_folder.open_store() as store:
        with store.read_session() as session:
            row = epochs.get(session, run_id, epoch)
        return load_weights(store, row)


@pytest.mark.parametrize("method", sorted(set(METHODS) - LARGE_METHODS))
def test_every_method_explains_the_network(resnet, method):
    fields = METHODS[method].parameters.model_fields
    query = {name: value for name, value in FEW_SAMPLES.items() if name in fields}
    with resnet.client() as client:
        response = client.get("/runs/1/epochs/2/cam.json", params=query | {"method": method})
        assert response.status_code == 200, response.text
        values = np.array(response.json()["values"])
    is_of_pixels = METHODS[method].attribution_level is AttributionLevel.INPUT
    is_of_layers = METHODS[method].attribution_level is AttributionLevel.MULTI_LAYER
    assert values.shape == ((28, 28) if is_of_pixels or is_of_layers else (7, 7))


def test_layers_are_named_by_modules_and_their_aliases(resnet):
    with resnet.client() as client:
        network = client.get("/runs/1/network").json()
        names = [layer["name"] for layer in network["layers"]]
        assert network["default_layer"] == names[-1]
        cam = client.get("/runs/1/epochs/2/cam", params={"layer": names[-1]})
        default = client.get("/runs/1/epochs/2/cam")
        assert cam.content == default.content
        shallow = client.get("/runs/1/epochs/2/cam.json", params={"layer": names[0]}).json()
        assert np.array(shallow["values"]).shape == (28, 28)
        unknown = client.get("/runs/1/epochs/2/cam", params={"layer": "layer9"})
        assert unknown.status_code == 422
        assert names[0] in unknown.json()["errors"][0]["message"]


def test_map_is_grad_cam_of_the_trained_module(resnet):
    with resnet.open_store() as store:
        pipeline = MapPipeline(store, resnet.folder)
        with store.read_session() as session:
            row = epochs.get(session, 1, 2)
        network = pipeline.networks.load(row)
        pipeline.close()
    module = RESNET.architecture.build((1, 28, 28), 10).eval()
    module.load_state_dict(load(weights(resnet, 2)))
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(network(images), module(images), atol=1e-5)


@pytest.mark.parametrize(
    "view", ["strip", "sheet", "atlas.json", "blanks", "scores", "report.html", "probes",
             "epochs/2/evaluation?measure=deletion", "strip.webp"],
)  # fmt: skip
def test_everything_that_exists_works_for_it(resnet, view):
    with resnet.client() as client:
        response = client.get(f"/runs/1/{view}")
    assert response.status_code == 200, response.text


def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(resnet, tmp_path):
    interrupted = StateFolder(tmp_path, "sql")
    train(interrupted, RESNET.model_copy(update={"epochs": 1}))
    with interrupted.open_store() as store:
        resume_run(store, InlineExecutor(), interrupted.workspace, 1, 2)
    assert weights(interrupted, 2) == weights(resnet, 2)
    assert interrupted.checkpoint_bytes(2) == resnet.checkpoint_bytes(2)


def test_frozen_tensors_are_stored_once(tmp_path):
    state_folder = StateFolder(tmp_path, "sql")
    train(state_folder, FROZEN)
    manifests = [EpochManifest.decode(state_folder.checkpoint_bytes(epoch)) for epoch in range(4)]
    files = [set(manifest.tensors.values()) for manifest in manifests]
    changed = {name for name in manifests[0].tensors
               if manifests[0].tensors[name] != manifests[3].tensors[name]}  # fmt: skip
    assert changed == {"classifier.1.weight", "classifier.1.bias"}
    with state_folder.open_store() as store, store.read_session() as session:
        assert set(tensors.list_hashes(session)) == set.union(*files)
        one_checkpoint = sum(t.bytes for t in tensors.get_many(session, files[0]).values())
        assert tensors.blob_bytes(session) <= 1.2 * one_checkpoint


def test_damaged_tensor_quarantines_its_epoch_alone(tmp_path):
    state_folder = StateFolder(tmp_path, "sql")
    train(state_folder, RESNET)
    manifest = EpochManifest.decode(state_folder.checkpoint_bytes(1))
    others = {
        sha256
        for epoch in (0, 2)
        for sha256 in EpochManifest.decode(state_folder.checkpoint_bytes(epoch)).tensors.values()
    }
    damaged = next(sha256 for sha256 in manifest.tensors.values() if sha256 not in others)
    with state_folder.open_store() as store, store.write_session() as session:
        tensor = tensors.get(session, damaged)
        (key, *_) = tensors.part_keys(tensor.folder, tensor.parts)
        data = bytearray(store.blobs.get(session, key))
        data[-1] ^= 1
        store.blobs.put(session, key, bytes(data))
    with state_folder.client() as client:
        response = client.get("/runs/1/epochs/1/cam?image=train:3")
        assert response.status_code == 410, response.text
        assert client.get("/runs/1/epochs/2/cam?image=train:3").status_code == 200


def test_exported_run_is_imported_and_resumed(resnet, tmp_path):
    file = tmp_path / "run.camreel"
    imported = StateFolder(tmp_path / "imported", "sql")
    imported.folder.mkdir()
    with resnet.open_store() as store:
        export_run(store, 1, file)
    with imported.open_store() as store:
        schema.ensure(store)
        assert import_run(store, file).status == "succeeded"
        assert not examine(store).findings
        resume_run(store, InlineExecutor(), imported.workspace, 1, 3)
    assert weights(imported, 2) == weights(resnet, 2)
    with imported.client() as client, resnet.client() as original:
        assert client.get("/runs/1").json()["status"] == "succeeded"
        url = "/runs/1/epochs/2/cam?image=test:5&method=layer-cam"
        assert client.get(url).content == original.get(url).content


def test_doctor_finds_no_damage(resnet):
    with resnet.open_store() as store:
        assert not examine(store).findings
