"""The class that each epoch's network predicts for an image without a label."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from service.flows.cache import Cache
from service.flows.subjects import Subject
from service.store import predictions
from service.store.epochs import Epoch
from service.store.predictions import Prediction
from service.store.store import Store

MAX_CLASSES = 100_000

ComputeScores = Callable[[Subject, Sequence[Epoch]], Sequence[Prediction]]
"""Of the subject's image at those epochs, in their order; kept."""


class PredictedClasses:
    """Recorded classes are read, others are computed; each is cached."""

    def __init__(self, store: Store, compute: ComputeScores) -> None:
        self._store = store
        self._compute = compute
        self._classes: Cache[int] = Cache(MAX_CLASSES, lambda _: 1)

    def of(self, subject: Subject, chosen: Sequence[Epoch]) -> list[int]:
        """The class of the highest score at each of those epochs.

        The first class where the scores are not finite: none is higher than another.
        """
        keys = [(epoch.checkpoint.sha256, subject.image.sha256) for epoch in chosen]
        missing = [e for e, key in zip(chosen, keys, strict=True) if key not in self._classes]
        known = self._recorded(subject, missing) if missing else {}
        unknown = [epoch for epoch in missing if epoch.epoch not in known]
        if len(unknown) > 1:  # several at once; a single one below, once for all who ask
            known |= _best(self._compute(subject, unknown))
        return [
            self._classes.get_or_make(key, partial(self._class_at, subject, epoch, known))
            for key, epoch in zip(keys, chosen, strict=True)
        ]

    def _recorded(self, subject: Subject, chosen: Sequence[Epoch]) -> dict[int, int]:
        span = chosen[0].epoch, chosen[-1].epoch
        with self._store.read_session() as session:
            return _best(
                predictions.list_for_image(
                    session, subject.run.id, subject.image.reference, epoch_range=span
                )
            )

    def _class_at(self, subject: Subject, epoch: Epoch, known: dict[int, int]) -> int:
        if epoch.epoch not in known:
            return _best(self._compute(subject, [epoch]))[epoch.epoch]
        return known[epoch.epoch]


def _best(scores: Sequence[Prediction]) -> dict[int, int]:
    return {one.epoch: int(np.argmax(one.probabilities)) for one in scores}
