"""Predictions are kept once, as they were computed, and read along the epochs."""

import numpy as np
import pytest

from service.errors import StatementRefused
from service.store import predictions
from service.store.predictions import Prediction


@pytest.fixture
def run(new_run, add_epoch):
    created = new_run()
    for epoch in range(3):
        add_epoch(created, epoch)
    return created


def keep(store, *found: Prediction) -> None:
    with store.write_session() as session:
        predictions.add_missing(session, found)


def test_predictions_come_by_epoch_and_are_kept_once(store, run):
    sure = np.array([0.1, 0.9], np.float32).tolist()
    keep(store, Prediction(run.id, 2, "test:7", sure), Prediction(run.id, 0, "test:7", [1.0, 0.0]))
    keep(store, Prediction(run.id, 2, "test:7", [0.5, 0.5]), Prediction(run.id, 0, "test:1", sure))
    with store.read_session() as session:
        assert predictions.list_for_image(session, run.id, "test:7") == [
            Prediction(run.id, 0, "test:7", [1.0, 0.0]),
            Prediction(run.id, 2, "test:7", sure),
        ]
        assert predictions.list_for_image(session, run.id, "test:2") == []


def test_a_prediction_needs_its_epoch(store, run):
    with pytest.raises(StatementRefused):
        keep(store, Prediction(run.id, 9, "test:7", [1.0]))
