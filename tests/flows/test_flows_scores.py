"""Scores are the network's own, recorded for probes and computed once for other images."""

import numpy as np
import pytest
from sqlalchemy import text

from service.core.images import from_png
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec
from service.errors import CheckpointCorrupt, EpochNotFound, ImageNotFound, RunNotFound
from service.flows.runs import start_run
from service.flows.scores import score_request
from service.flows.viewing import Viewer
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import schema
from service.store.store import open_store


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    url = f"sqlite:///{folder / 'camreel.db'}"
    spec = RunSpec(dataset="digits", epochs=2, samples_per_epoch=200)
    with open_store(url) as store:
        schema.ensure(store)
        start_run(store, InlineExecutor(), Workspace(url, "sql", folder), spec)
        yield Viewer(store, folder)


def forget_the_checkpoints(viewer: Viewer) -> Viewer:
    with viewer.store.write_session() as session:
        session.execute(text("UPDATE checkpoints SET blob_key = 'gone'"))
    return Viewer(viewer.store, viewer._data_dir)


def test_scores_are_the_networks_and_are_computed_once(viewer: Viewer):
    for image in ("test:0", "test:40"):
        scores = score_request(viewer, 1, image, "0:").scores()
        assert (scores.image, scores.epochs) == (image, [0, 1, 2])
        assert scores.classes == tuple(str(digit) for digit in range(10))
        assert scores.label == viewer.image("digits", image).label
        pixels = to_network_input(from_png(viewer.image("digits", image).png).unsqueeze(0))
        for epoch, probabilities in zip(scores.epochs, scores.probabilities, strict=True):
            network = viewer.network(viewer.epoch(1, epoch))
            expected = network(pixels).softmax(1)[0].tolist()
            np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    some = score_request(viewer, 1, "test:40", "1:2").scores()
    assert some.probabilities == scores.probabilities[1:]
    started_again = forget_the_checkpoints(viewer)
    assert score_request(started_again, 1, "test:40", "0:").scores() == scores
    # The run's own probes were recorded while it trained.
    assert len(score_request(started_again, 1, None, "0:").scores().probabilities) == 3
    with pytest.raises(CheckpointCorrupt):
        score_request(started_again, 1, "test:41", "0:").scores()


def test_what_is_not_there_is_told(viewer: Viewer):
    with pytest.raises(EpochNotFound):
        score_request(viewer, 1, None, "9").scores()
    with pytest.raises(ImageNotFound):
        score_request(viewer, 1, "test:99999", "0:").scores()
    with pytest.raises(RunNotFound):
        score_request(viewer, 7, None, "0:").scores()
