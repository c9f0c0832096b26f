"""Predictions: stored once, listed by epoch."""

import numpy as np
import pytest

from service.store import predictions
from service.store.predictions import Prediction
from service.store_errors import StatementRefused


@pytest.fixture
def run(new_run, add_epoch):
    created = new_run()
    for epoch in range(3):
        add_epoch(created, epoch)
    return created


def add_predictions(store, *rows: Prediction) -> None:
    with store.write_session() as session:
        predictions.add_missing(session, rows)


def test_predictions_are_listed_by_epoch_and_stored_once(store, run):
    scores = np.array([0.1, 0.9], np.float32).tolist()
    add_predictions(
        store, Prediction(run.id, 2, "test:7", scores), Prediction(run.id, 0, "test:7", [1.0, 0.0])
    )
    add_predictions(
        store, Prediction(run.id, 2, "test:7", [0.5, 0.5]), Prediction(run.id, 0, "test:1", scores)
    )
    with store.read_session() as session:
        assert predictions.list_for_image(session, run.id, "test:7") == [
            Prediction(run.id, 0, "test:7", [1.0, 0.0]),
            Prediction(run.id, 2, "test:7", scores),
        ]
        assert predictions.list_for_image(session, run.id, "test:2") == []


def test_prediction_requires_its_epoch(store, run):
    with pytest.raises(StatementRefused):
        add_predictions(store, Prediction(run.id, 9, "test:7", [1.0]))
