"""The export of the maps of many images and epochs to one file."""

from pathlib import Path

import numpy as np
import pytest

from service.core.cams.maps import explain_images
from service.core.images import from_png
from service.core.spec import RunSpec
from service.errors import InvalidValue
from service.flows.maps.export import export_maps
from service.flows.maps.pipeline import MapPipeline
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import schema
from service.store.store import open_store


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    url = f"sqlite:///{folder / 'camreel.db'}"
    spec = RunSpec(dataset="digits", epochs=2, samples_per_epoch=200)
    with open_store(url) as store:
        schema.ensure(store)
        start_run(store, InlineExecutor(), Workspace(url, "sql", folder), spec)
        yield MapPipeline(store, folder, memory_bytes=2**26)


def test_file_contains_the_engines_values(pipeline: MapPipeline, tmp_path: Path):
    path = tmp_path / "maps.npz"
    assert (
        export_maps(pipeline, 1, "1:2", "layer-cam/centered", path, image_count=40) == 2 * 40 * 10
    )
    pixels = [from_png(pipeline.images.get("digits", f"test:{i}").png) for i in range(40)]
    with np.load(path) as arrays:
        assert arrays["epochs"].tolist() == [1, 2]
        assert arrays["images"].tolist() == [f"test:{i}" for i in range(40)]
        assert arrays["classes"].tolist() == [str(digit) for digit in range(10)]
        network = pipeline.computer.network(pipeline.resolver.resolve_epoch(1, 2)[1])
        maps = explain_images(network, pixels, "conv2", ["layer-cam/centered"])
        signed = arrays["epoch-00002/signed"]
        assert signed.shape == (40, 10, 24, 24)
        peak = np.abs(signed).max()
        assert np.allclose(signed, maps.signed["layer-cam/centered"], atol=1e-5 * peak)
        assert np.allclose(arrays["epoch-00002/probabilities"], maps.probabilities, atol=1e-6)
        assert not np.allclose(arrays["epoch-00001/signed"], signed)


def test_without_image_count_the_probes_are_exported(pipeline: MapPipeline, tmp_path: Path):
    path = tmp_path / "maps.npz"
    export_maps(pipeline, 1, "0:", "proposed", path, layer="conv1,conv2")
    with np.load(path) as arrays:
        assert arrays["epoch-00000/signed"].shape == (10, 10, 26, 26)
        assert len(arrays["images"]) == 10


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"image_count": 0}, "images"),
        ({"image_count": 298}, "images"),
        ({"layer": "conv3"}, "layer"),
        ({"explanation": "grad-cam/x"}, "target"),
        ({"epochs": "x"}, "epochs"),
    ],
)
def test_invalid_request_is_refused_before_a_file_is_created(pipeline, tmp_path, options, field):
    path = tmp_path / "maps.npz"
    arguments = {"epochs": "0:", "explanation": "proposed", **options}
    with pytest.raises(InvalidValue) as refusal:
        export_maps(
            pipeline, 1, arguments.pop("epochs"), arguments.pop("explanation"), path, **arguments
        )
    assert refusal.value.field == field
    assert not path.exists()
