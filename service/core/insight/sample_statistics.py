"""Forgetting and data map: what the presentations of a run say about each training image.

As drawn, so with dropout and augmentation on: the literature's shares of images that are never
forgotten, 92 to 96 % of MNIST, are of evaluation mode; with dropout 0.5 they are near 72 %.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.core.presentations import Presentations, tracking_stride

MIN_PRESENTATIONS = 3
"""Presentations from which on an image counts as hard: the first ones rate an untrained network."""

LISTED_IMAGES = 20
"""Hardest and most forgotten images that are listed, at most."""


@dataclass(frozen=True)
class ListedImage:
    """A training image: its index, given label, and statistics over its presentations."""

    index: int
    label: int
    presentations: int
    mean_probability: float  # of the given label, 0..1
    forgotten: int  # times that a correct presentation was followed by an incorrect one


class SampleStatistics:
    """Counts over the presentations of the tracked images, 13 bytes per image."""

    def __init__(self, train_size: int) -> None:
        self._stride = tracking_stride(train_size)
        count = -(-train_size // self._stride)
        self._presentations = np.zeros(count, np.uint16)
        self._correct = np.zeros(count, np.uint16)
        self._forgotten = np.zeros(count, np.uint16)
        self._was_correct = np.zeros(count, np.bool_)  # at the last presentation
        self._sum = np.zeros(count, np.float32)  # of the probabilities of the given label
        self._sum_of_squares = np.zeros(count, np.float32)

    def add(self, presentations: Presentations) -> None:
        """The next epoch's presentations, each image at most once. Raises ValueError for indices
        that are not tracked.
        """
        rows = presentations.indices.astype(np.int64) // self._stride
        is_tracked = presentations.indices % self._stride == 0
        if len(rows) and (rows[-1] >= len(self._sum) or not is_tracked.all()):
            raise ValueError("the presentations are of another training split")
        self._forgotten[rows] += self._was_correct[rows] & ~presentations.is_correct
        self._was_correct[rows] = presentations.is_correct
        self._presentations[rows] += 1
        self._correct[rows] += presentations.is_correct
        probabilities = presentations.probabilities.astype(np.float32)
        self._sum[rows] += probabilities
        self._sum_of_squares[rows] += probabilities**2

    @property
    def mean_presentations(self) -> float:
        """Presentations per tracked image."""
        return float(self._presentations.mean())

    @property
    def never_forgotten_share(self) -> float | None:
        """Of the images presented at least twice and correct at least once, the share that was
        never forgotten, 0..1. Toneva et al. 2019, section 3: unforgettable examples.
        """
        is_learned = (self._presentations >= 2) & (self._correct > 0)
        count = int(is_learned.sum())
        return float((self._forgotten[is_learned] == 0).mean()) if count else None

    @property
    def forgotten_per_image(self) -> float | None:
        """Mean number of forgetting events of the images presented at least twice."""
        rows = self._presentations >= 2
        return float(self._forgotten[rows].mean()) if rows.any() else None

    @property
    def mean_confidence(self) -> float | None:
        """Mean over images of the mean probability of the given label, 0..1. Swayamdipta et al.
        2020, section 2.
        """
        rows = self._presentations > 0
        return float(self._means()[rows].mean()) if rows.any() else None

    @property
    def mean_variability(self) -> float | None:
        """Mean over images of the deviation of that probability over the presentations, 0..0.5."""
        rows = self._presentations >= 2
        if not rows.any():
            return None
        counts = self._presentations[rows]
        variance = self._sum_of_squares[rows] / counts - self._means()[rows] ** 2
        return float(np.sqrt(variance.clip(min=0)).mean())

    def count_presented(self, minimum: int = MIN_PRESENTATIONS) -> int:
        """Images with at least so many presentations."""
        return int((self._presentations >= minimum).sum())

    def count_doubtful(self, threshold: float, minimum: int = MIN_PRESENTATIONS) -> int:
        """Images of those whose 1 - mean probability of the given label is at least `threshold`."""
        rows = self._presentations >= minimum
        return int((1 - self._means()[rows] >= threshold).sum())

    def median_confidence(self, minimum: int = MIN_PRESENTATIONS) -> float | None:
        """Median of the mean probabilities of the given labels, of those images."""
        rows = self._presentations >= minimum
        return float(np.median(self._means()[rows])) if rows.any() else None

    def hardest(self, labels: npt.NDArray[np.int64]) -> list[ListedImage]:
        """The images with the smallest mean probability, presented MIN_PRESENTATIONS times."""
        rows = np.flatnonzero(self._presentations >= MIN_PRESENTATIONS)
        order = np.argsort(self._means()[rows], kind="stable")
        return self._list(rows[order[:LISTED_IMAGES]], labels)

    def most_forgotten(self, labels: npt.NDArray[np.int64]) -> list[ListedImage]:
        """The images with the most forgetting events, those with none left out."""
        rows = np.flatnonzero(self._forgotten > 0)
        order = np.argsort(-self._forgotten[rows].astype(np.int64), kind="stable")
        return self._list(rows[order[:LISTED_IMAGES]], labels)

    def _means(self) -> npt.NDArray[np.float64]:
        means: npt.NDArray[np.float64] = self._sum / np.maximum(self._presentations, 1)
        return means

    def _list(self, rows: npt.NDArray[np.intp], labels: npt.NDArray[np.int64]) -> list[ListedImage]:
        means = self._means()
        return [
            ListedImage(
                index=int(row) * self._stride,
                label=int(labels[row * self._stride]),
                presentations=int(self._presentations[row]),
                mean_probability=round(float(means[row]), 6),
                forgotten=int(self._forgotten[row]),
            )
            for row in rows
        ]
