"""The class that each epoch's network predicts for an image without a label."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from service.flows.cache import Cache
from service.flows.maps.request import MapSeries
from service.store import predictions
from service.store.epochs import Epoch
from service.store.predictions import Prediction
from service.store.store import Store

MAX_CACHED_CLASSES = 100_000

Predictions = tuple[Sequence[Prediction], Mapping[int, str]]
"""Predictions, and the reasons of epochs whose checkpoint turned out to be damaged."""

PredictEpochs = Callable[[MapSeries, Sequence[Epoch]], Predictions]
"""Computes and records the predictions for a series' image."""


class PredictedClasses:
    """Reads recorded predictions, computes the others, and caches their classes."""

    def __init__(self, store: Store, predict: PredictEpochs) -> None:
        self._store = store
        self._predict = predict
        self._classes: Cache[int] = Cache(MAX_CACHED_CLASSES, lambda _: 1)

    def of_epochs(
        self, series: MapSeries, epochs: Sequence[Epoch]
    ) -> tuple[dict[int, int], Mapping[int, str]]:
        """The class with the highest score by epoch, and the reasons of damaged epochs.

        The first class where the scores are not finite: none is higher than another.
        """
        keys = {epoch.epoch: (epoch.checkpoint.sha256, series.image_sha256) for epoch in epochs}
        classes = {
            number: class_index
            for number, key in keys.items()
            if (class_index := self._classes.get(key)) is not None
        }
        missing = [epoch for epoch in epochs if epoch.epoch not in classes]
        if not missing:
            return classes, {}
        by_epoch = self._recorded(series, missing)
        unrecorded = [epoch for epoch in missing if epoch.epoch not in by_epoch]
        damage_reasons: Mapping[int, str] = {}
        if unrecorded:
            new_predictions, damage_reasons = self._predict(series, unrecorded)
            by_epoch |= _best_classes(new_predictions)
        for number in by_epoch.keys() & keys.keys():
            classes[number] = by_epoch[number]
            self._classes.put(keys[number], by_epoch[number])
        return classes, damage_reasons

    def _recorded(self, series: MapSeries, epochs: Sequence[Epoch]) -> dict[int, int]:
        first_and_last = epochs[0].epoch, epochs[-1].epoch
        with self._store.read_session() as session:
            rows = predictions.list_for_image(
                session, series.run_id, series.image.reference, epoch_range=first_and_last
            )
        return _best_classes(rows)


def _best_classes(rows: Sequence[Prediction]) -> dict[int, int]:
    return {row.epoch: int(np.argmax(row.probabilities)) for row in rows}
