"""Scores are the network's output, recorded for probes and computed once for other images."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from service.core.images import from_png
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec
from service.errors import CheckpointCorrupt, EpochNotFound, ImageNotFound, RunNotFound
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.scores import scores as scores_of
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import schema
from service.store.store import open_store


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    url = f"sqlite:///{folder / 'camreel.db'}"
    spec = RunSpec(dataset="digits", epochs=2, samples_per_epoch=200)
    with open_store(url) as store:
        schema.ensure(store)
        start_run(store, InlineExecutor(), Workspace(url, "sql", folder), spec)
        yield MapPipeline(store, folder)


def restart_without_checkpoints(pipeline: MapPipeline) -> MapPipeline:
    """Removes all checkpoints; returns the pipeline of a service that has just started."""
    with pipeline.store.write_session() as session:
        session.execute(text("UPDATE checkpoints SET blob_key = 'gone'"))
    return MapPipeline(pipeline.store, Path("nowhere"))


def test_scores_are_the_networks_output_and_computed_once(pipeline: MapPipeline):
    for image in ("test:0", "test:40"):
        scores = scores_of(pipeline, 1, image, "0:").compute().value
        assert (scores.image, scores.epochs) == (image, [0, 1, 2])
        assert scores.classes == tuple(str(digit) for digit in range(10))
        assert scores.label == pipeline.images.get("digits", image).label
        pixels = to_network_input(from_png(pipeline.images.get("digits", image).png).unsqueeze(0))
        for epoch, probabilities in zip(scores.epochs, scores.probabilities, strict=True):
            network = pipeline.computer.network(pipeline.resolver.resolve_epoch(1, epoch)[1])
            expected_scores = network(pixels).softmax(1)[0].tolist()
            np.testing.assert_allclose(probabilities, expected_scores, atol=1e-5)
    image_scores = scores_of(pipeline, 1, "test:40", "1:2").compute().value
    assert image_scores.probabilities == scores.probabilities[1:]
    restarted_pipeline = restart_without_checkpoints(pipeline)
    assert scores_of(restarted_pipeline, 1, "test:40", "0:").compute().value == scores
    # The run's own probes were recorded while it trained.
    assert len(scores_of(restarted_pipeline, 1, None, "0:").compute().value.probabilities) == 3
    with pytest.raises(CheckpointCorrupt):
        scores_of(restarted_pipeline, 1, "test:41", "0:").compute()


def test_missing_epoch_image_or_run_is_an_error(pipeline: MapPipeline):
    with pytest.raises(EpochNotFound):
        scores_of(pipeline, 1, None, "9").compute()
    with pytest.raises(ImageNotFound):
        scores_of(pipeline, 1, "test:99999", "0:").compute()
    with pytest.raises(RunNotFound):
        scores_of(pipeline, 7, None, "0:").compute()
