"""Mistakes: the misclassified test images of an epoch, and the confusion matrix that they make."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_MISTAKES = 100_000
"""Misclassified images that are recorded per epoch, at most: the first of the split."""

_DTYPE = np.dtype([("index", "<u4"), ("label", "<u2"), ("predicted", "<u2")])

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mistakes:
    """The misclassified images of a split: index, label and predicted class of each, (M,)."""

    indices: Integers
    labels: Integers
    predictions: Integers

    @classmethod
    def of_predictions(cls, labels: Integers, predictions: Integers) -> "Mistakes":
        """Those of a whole split, labels and predicted classes (N,)."""
        indices = np.flatnonzero(labels != predictions)[:MAX_MISTAKES]
        return cls(indices.astype(np.int64), labels[indices], predictions[indices])

    def confusion(self, class_sizes: Sequence[int]) -> Integers:
        """Number of images by true class (rows) and predicted class (columns), (C, C).

        `class_sizes` are the numbers of images of each class in the split.
        """
        classes = len(class_sizes)
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (self.labels, self.predictions), 1)
        np.fill_diagonal(matrix, np.asarray(class_sizes) - matrix.sum(axis=1))
        return matrix

    def cell(self, label: int, predicted: int) -> list[int]:
        """Indices of the images of class `label` that were taken for `predicted`, ascending."""
        indices: list[int] = self.indices[
            (self.labels == label) & (self.predictions == predicted)
        ].tolist()
        return indices

    def to_bytes(self) -> bytes:
        """8 bytes per image, little-endian: index, label, predicted class."""
        table = np.empty(len(self.indices), _DTYPE)
        table["index"], table["label"] = self.indices, self.labels
        table["predicted"] = self.predictions
        return table.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Mistakes":
        """The mistakes of `to_bytes`. Raises ValueError for other bytes."""
        table = np.frombuffer(data, _DTYPE)
        columns = [table[name].astype(np.int64) for name in ("index", "label", "predicted")]
        if (np.diff(columns[0]) <= 0).any() or (columns[1] == columns[2]).any():
            raise ValueError("these are not mistakes in the order of the split")
        return cls(*columns)
