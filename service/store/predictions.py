"""Queries on predictions: class probabilities of images by epoch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.insert_missing import insert_missing
from service.store.rows import PredictionRow
from service.store.run_status import is_visible

FLOAT32_LE = np.dtype("<f4")


@dataclass(frozen=True)
class Prediction:
    """Softmax probabilities of all classes for an image, by the network of an epoch."""

    run_id: int
    epoch: int
    image: str
    probabilities: Sequence[float] | npt.NDArray[np.float32]


def add_missing(session: Session, predictions: Iterable[Prediction]) -> None:
    """Insert the predictions that are missing. The prediction of a checkpoint never changes."""
    rows = [
        {**vars(prediction), "probabilities": _to_bytes(prediction.probabilities)}
        for prediction in predictions
    ]
    insert_missing(session, PredictionRow, rows)


def list_for_image(
    session: Session, run_id: int, image: str, epoch_range: tuple[int, int] | None = None
) -> list[Prediction]:
    """Predictions for an image by epoch. `epoch_range` is the first and the last epoch."""
    query = (
        select(PredictionRow.epoch, PredictionRow.probabilities)
        .where(PredictionRow.run_id == run_id, PredictionRow.image == image, is_visible(run_id))
        .order_by(PredictionRow.epoch)
    )
    if epoch_range is not None:
        query = query.where(PredictionRow.epoch.between(*epoch_range))
    return [
        Prediction(run_id, row.epoch, image, _to_list(row.probabilities))
        for row in session.execute(query)
    ]


def list_for_epoch(session: Session, run_id: int, epoch: int) -> list[Prediction]:
    """Predictions of an epoch, by image."""
    query = (
        select(PredictionRow.image, PredictionRow.probabilities)
        .where(PredictionRow.run_id == run_id, PredictionRow.epoch == epoch, is_visible(run_id))
        .order_by(PredictionRow.image)
    )
    return [
        Prediction(run_id, epoch, row.image, _to_list(row.probabilities))
        for row in session.execute(query)
    ]


def _to_bytes(probabilities: Sequence[float] | npt.NDArray[np.float32]) -> bytes:
    return np.asarray(probabilities, FLOAT32_LE).tobytes()


def _to_list(data: bytes) -> list[float]:
    probabilities: list[float] = np.frombuffer(data, FLOAT32_LE).tolist()
    return probabilities
