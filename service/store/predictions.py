"""Queries on predictions: how sure a network was of each class, epoch by epoch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.insert_missing import insert_missing
from service.store.rows import PredictionRow
from service.store.run_status import is_visible

LITTLE_FLOATS = np.dtype("<f4")


@dataclass(frozen=True)
class Prediction:
    """Softmax's probability of each class, of an image by an epoch's network."""

    run_id: int
    epoch: int
    image: str
    probabilities: Sequence[float] | npt.NDArray[np.float32]


def add_missing(session: Session, predictions: Iterable[Prediction]) -> None:
    """Insert those that are not there yet: a network's prediction never changes."""
    rows = [
        {**vars(one), "probabilities": np.asarray(one.probabilities, LITTLE_FLOATS).tobytes()}
        for one in predictions
    ]
    insert_missing(session, PredictionRow, rows)


def list_for_image(
    session: Session, run_id: int, image: str, epoch_range: tuple[int, int] | None = None
) -> list[Prediction]:
    """Those of one image, by epoch: all, or from the first to the last of two epochs."""
    query = (
        select(PredictionRow.epoch, PredictionRow.probabilities)
        .where(PredictionRow.run_id == run_id, PredictionRow.image == image, is_visible(run_id))
        .order_by(PredictionRow.epoch)
    )
    if epoch_range is not None:
        query = query.where(PredictionRow.epoch.between(*epoch_range))
    return [
        Prediction(
            run_id, row.epoch, image, np.frombuffer(row.probabilities, LITTLE_FLOATS).tolist()
        )
        for row in session.execute(query)
    ]


def list_for_epoch(session: Session, run_id: int, epoch: int) -> list[Prediction]:
    """Those of one epoch, by image."""
    query = (
        select(PredictionRow.image, PredictionRow.probabilities)
        .where(PredictionRow.run_id == run_id, PredictionRow.epoch == epoch, is_visible(run_id))
        .order_by(PredictionRow.image)
    )
    return [
        Prediction(
            run_id, epoch, row.image, np.frombuffer(row.probabilities, LITTLE_FLOATS).tolist()
        )
        for row in session.execute(query)
    ]
