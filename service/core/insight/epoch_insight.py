"""The insight of an epoch: its measures and what its presentations and predictions show."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.core.datasets.dataset import Dataset
from service.core.insight.dataset_facts import DatasetFacts
from service.core.insight.measures import EPOCH_MEASURES
from service.core.insight.mistakes import Mistakes
from service.core.insight.network_sample import EpochView, Floats, NetworkSample
from service.core.insight.sample_statistics import ListedImage, SampleStatistics
from service.core.models.network import Network
from service.core.presentations import Presentations
from service.core.spec import RunSpec
from service.core.training import EpochResult, TrainingObservations

MAX_TIME_SHARE = 0.05
"""Share of the training time that measures may take: while they have taken more, an epoch goes
without those of its network. The first epochs and the last one are always measured."""

FIRST_EPOCHS = 1
OCCASIONAL_INTERVAL = 10
"""Expensive measures are taken at each tenth epoch, the first one and the last."""

DOUBTFUL_THRESHOLD = 0.9
"""1 - mean probability of the given label from which on a label is doubtful; see
`core/insight/label_rules.py` for where it comes from."""

HALF_FLOAT = np.dtype("<f2")


@dataclass(frozen=True)
class EpochInsight:
    """What is stored of an epoch beside its metrics.

    `values` are the measures by name; a missing one was not taken. The class-mean maps are
    those of the first classes, NaN for a class whose maps are all blank.
    """

    epoch: int
    values: dict[str, float | None]
    mistakes: Mistakes
    presentations: Presentations | None = None  # None for epoch 0
    class_means: Floats | None = None  # (K, H, W); None: not measured
    hardest: list[ListedImage] = field(default_factory=list)
    most_forgotten: list[ListedImage] = field(default_factory=list)
    facts: DatasetFacts | None = None  # with epoch 0

    def to_document(self) -> dict[str, Any]:
        """The values, lists and facts as JSON values."""
        means = self.class_means
        return {
            "values": self.values,
            "hardest": [vars(image) for image in self.hardest],
            "most_forgotten": [vars(image) for image in self.most_forgotten],
            "facts": self.facts and self.facts.to_document(),
            "class_means_shape": None if means is None else list(means.shape),
        }

    def class_means_bytes(self) -> bytes | None:
        """The class-mean maps as little-endian float16."""
        return None if self.class_means is None else self.class_means.astype(HALF_FLOAT).tobytes()

    @classmethod
    def from_stored(
        cls,
        epoch: int,
        document: dict[str, Any],
        mistakes: bytes,
        presentations: bytes | None = None,
        class_means: bytes | None = None,
    ) -> "EpochInsight":
        """The insight of its stored parts. Raises KeyError, TypeError or ValueError for others."""
        shape = document["class_means_shape"]
        means = None
        if class_means is not None and shape is not None:
            means = np.frombuffer(class_means, HALF_FLOAT).reshape(shape).astype(np.float32)
        return cls(
            epoch,
            document["values"],
            Mistakes.from_bytes(mistakes),
            None if presentations is None else Presentations.from_bytes(presentations),
            means,
            [ListedImage(**image) for image in document["hardest"]],
            [ListedImage(**image) for image in document["most_forgotten"]],
            document["facts"] and DatasetFacts.from_document(document["facts"]),
        )

    def check(self, class_count: int) -> None:
        """Raises ValueError for values that no run with so many classes has."""
        numbers = [value for value in self.values.values() if value is not None]
        if not all(type(value) in (int, float) and math.isfinite(value) for value in numbers):
            raise ValueError("a measure is not a number")
        labels = [*self.mistakes.labels, *self.mistakes.predictions]
        images = [*self.hardest, *self.most_forgotten]
        if any(not 0 <= c < class_count for c in (*labels, *(image.label for image in images))):
            raise ValueError("an unknown class")
        if self.facts is not None:
            sizes = (self.facts.train_class_sizes, self.facts.test_class_sizes)
            if any(len(part) != class_count for part in sizes):
                raise ValueError("not one size per class")


class EpochObserver:
    """Makes the insight of each epoch of a run, in order.

    `resume` takes the epochs that were stored before, so that statistics continue.
    """

    def __init__(self, spec: RunSpec, data: Dataset) -> None:
        self._spec = spec
        self._data = data
        self._train_labels = data.train.labels.cpu().numpy()
        self._test_labels = data.test.labels.cpu().numpy()
        self._statistics = SampleStatistics(len(data.train.labels))
        self._sample: NetworkSample | None = None
        self._first_means: Floats | None = None
        self._last_means: Floats | None = None
        self._training_seconds = 0.0
        self._measuring_seconds = 0.0

    def resume(self, insight: EpochInsight) -> None:
        """Continue after a stored epoch; call it for all of them, in order."""
        if insight.presentations is not None:
            self._statistics.add(insight.presentations)
        if insight.class_means is not None:
            self._first_means = insight.class_means if insight.epoch == 0 else self._first_means
            self._last_means = insight.class_means

    def observe(self, result: EpochResult, explain: Callable[[], Network]) -> EpochInsight:
        """The insight of an epoch. `explain` gives the network as maps are computed from it; it
        is called only if the epoch is measured.
        """
        self._training_seconds += result.seconds
        observations = result.observations
        values: dict[str, float | None] = {}
        if observations is not None:
            self._statistics.add(observations.presentations)
            values |= self._training_values(observations)
        means = None
        if self._is_measured(result.epoch):
            start = time.perf_counter()
            measured_values, means = self._measure(result.epoch, explain())
            values |= measured_values
            self._measuring_seconds += time.perf_counter() - start
        return EpochInsight(
            result.epoch,
            {name: _finite(value) for name, value in values.items()},
            Mistakes.of_predictions(self._test_labels, result.test_predictions),
            None if observations is None else observations.presentations,
            means,
            self._statistics.hardest(self._train_labels),
            self._statistics.most_forgotten(self._train_labels),
            DatasetFacts.of_dataset(self._data) if result.epoch == 0 else None,
        )

    def _is_measured(self, epoch: int) -> bool:
        is_affordable = self._measuring_seconds <= MAX_TIME_SHARE * self._training_seconds
        return epoch <= FIRST_EPOCHS or epoch == self._spec.epochs or is_affordable

    def _measure(self, epoch: int, network: Network) -> tuple[dict[str, float | None], Floats]:
        if self._sample is None:
            self._sample = NetworkSample.of_dataset(self._data, self._spec.input)
        view = EpochView(
            network, self._sample.on(network.device), self._last_means, self._first_means
        )
        is_occasion = epoch in {1, self._spec.epochs} or epoch % OCCASIONAL_INTERVAL == 0
        values = {
            measure.name: measure.compute(view)
            for measure in EPOCH_MEASURES
            if is_occasion or not measure.is_occasional
        }
        means = _rounded(view.class_means)
        self._last_means = means
        if epoch == 0:
            self._first_means = means
        return values, means

    def _training_values(self, observations: TrainingObservations) -> dict[str, float | None]:
        statistics = self._statistics
        presented = statistics.count_presented()
        return {
            "gradient_norm_median": observations.gradient_norm_median,
            "gradient_norm_max": observations.gradient_norm_max,
            "loss_swing": observations.loss_swing,
            "label_repeat_share": observations.label_repeat_share,
            "presentations": statistics.mean_presentations,
            "never_forgotten_share": statistics.never_forgotten_share,
            "forgotten_per_image": statistics.forgotten_per_image,
            "mean_confidence": statistics.mean_confidence,
            "mean_variability": statistics.mean_variability,
            "presented_images": presented,
            "doubtful_images": statistics.count_doubtful(DOUBTFUL_THRESHOLD),
            "median_confidence": statistics.median_confidence(),
        }


def _rounded(means: Floats) -> Floats:
    """Maps divided by their largest magnitude, as accurate as they are stored.

    Correlations do not depend on the scale, and a resumed run compares with the same numbers.
    """
    peaks = np.abs(means).max(axis=(1, 2), keepdims=True)
    scaled: Floats = (means / np.where(peaks > 0, peaks, 1)).astype(HALF_FLOAT).astype(np.float32)
    return scaled


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
